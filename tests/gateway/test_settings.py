import pytest
from pydantic import ValidationError

from gateway.settings import Settings, SettingsError


def test_defaults_serve_on_loopback_under_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({})
    assert settings.base_url == "http://127.0.0.1:8080/v1"
    assert settings.data_dir == tmp_path / ".llmos"
    assert settings.master_key_path == tmp_path / ".llmos" / "master.key"
    assert settings.env == "development"


def test_a_variable_wins_over_the_file_and_an_override_over_both(tmp_path):
    file = tmp_path / "llmos.toml"
    file.write_text('port = 1111\nhost = "0.0.0.0"\nmodels = ["a", "b"]\n')
    environ = {"LLMOS_CONFIG": str(file), "LLMOS_PORT": "2222"}
    assert Settings.read({"LLMOS_CONFIG": str(file)}).port == 1111
    assert Settings.read(environ).port == 2222
    assert Settings.read(environ, port=3333).port == 3333
    assert Settings.read(environ, port=None).port == 2222
    assert Settings.read(environ).models == ("a", "b")
    assert Settings.read(environ).base_url == "http://127.0.0.1:2222/v1"


def test_an_empty_variable_counts_as_unset():
    assert Settings.read({"LLMOS_UPSTREAM": ""}).upstream is None


def test_names_are_comma_separated_and_urls_lose_their_last_slash():
    settings = Settings.read({"LLMOS_MODELS": "a, b,", "LLMOS_UPSTREAM": "http://h:1/v1/"})
    assert settings.models == ("a", "b")
    assert settings.upstream == "http://h:1/v1"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LLMOS_ENVIRONMENT": "production"}, "LLMOS_ENVIRONMENT is not a setting"),
        ({"LLMOS_PROT": "1"}, "did you mean LLMOS_PORT"),
        ({"LLMOS_PORT": "70000"}, "LLMOS_PORT"),
        ({"LLMOS_UPSTREAM": "localhost:8001"}, "must be an http:// or https:// base URL"),
        ({"LLMOS_REDIS_URL": "localhost:6379"}, "must begin with redis://"),
        ({"LLMOS_ENV": "production", "LLMOS_DEV_KEY": "x", "LLMOS_MASTER_KEY_FILE": "/k"}, "unset LLMOS_DEV_KEY"),
        ({"LLMOS_ENV": "production"}, "LLMOS_MASTER_KEY_FILE"),
        ({"LLMOS_CONFIG": "/nonexistent.toml"}, "can't be read"),
    ],
)
def test_what_is_wrong_is_said_by_name(environ, message):
    with pytest.raises(SettingsError, match=message):
        Settings.read(environ)


def test_an_unknown_key_of_the_file_is_refused(tmp_path):
    file = tmp_path / "llmos.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(SettingsError, match="LLMOS_PROT"):
        Settings.read({"LLMOS_CONFIG": str(file)})
    file.write_text("port = \n")
    with pytest.raises(SettingsError, match="is not TOML"):
        Settings.read({"LLMOS_CONFIG": str(file)})


def test_secrets_show_neither_in_a_repr_nor_in_a_message():
    canary = "canary-4539148803436467"
    settings = Settings.read({"LLMOS_DEV_KEY": canary, "LLMOS_UPSTREAM_API_KEY": canary, "LLMOS_REDIS_URL": f"redis://:{canary}@h/0"})
    assert canary not in repr(settings) + str(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.read({"LLMOS_REDIS_URL": canary})
    assert canary not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings.read({}).port = 1


def test_every_setting_is_documented():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_secret_comes_from_a_file_as_well_and_is_masked(tmp_path):
    file = tmp_path / "redis-url"
    file.write_text("rediss://:hunter2@store/0\n")
    settings = Settings.read({"LLMOS_REDIS_URL_FILE": str(file)})
    assert settings.redis_url.get_secret_value() == "rediss://:hunter2@store/0"
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError, match="both set"):
        Settings.read({"LLMOS_REDIS_URL_FILE": str(file), "LLMOS_REDIS_URL": "redis://h"})
    with pytest.raises(SettingsError, match="can't be read"):
        Settings.read({"LLMOS_REDIS_URL_FILE": str(tmp_path / "missing")})
    (tmp_path / "empty").touch()
    with pytest.raises(SettingsError, match="empty"):
        Settings.read({"LLMOS_UPSTREAM_API_KEY_FILE": str(tmp_path / "empty")})
    with pytest.raises(SettingsError, match="not a setting"):
        Settings.read({"LLMOS_PORT_FILE": str(file)})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LLMOS_TLS_KEY_FILE": "/k"}, "need LLMOS_TLS_CERT_FILE"),
        ({"LLMOS_TLS_CLIENT_CA_FILE": "/k"}, "need LLMOS_TLS_CERT_FILE"),
        ({"LLMOS_UPSTREAM_KEY_FILE": "/k"}, "needs LLMOS_UPSTREAM_CERT_FILE"),
        ({"LLMOS_REDIS_CA_FILE": "/k", "LLMOS_REDIS_URL": "redis://h"}, "rediss"),
    ],
)
def test_half_a_certificate_is_refused(environ, message):
    with pytest.raises(SettingsError, match=message):
        Settings.read(environ)

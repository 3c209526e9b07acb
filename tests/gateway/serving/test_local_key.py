from gateway.serving.local_key import LocalKey, Origin
from gateway.settings import Settings


def settings(tmp_path, **more):
    return Settings.read({"LLMOS_DATA_DIR": str(tmp_path), **more})


def test_the_first_start_makes_a_key_and_shows_it_once(tmp_path):
    first = LocalKey.of(settings(tmp_path), demonstrates=False)
    assert first.origin is Origin.FIRST_START
    assert first.value in first.for_shell
    assert len(first.value) > 40
    first.remember(settings(tmp_path))
    later = LocalKey.of(settings(tmp_path), demonstrates=False)
    assert later.value is None
    assert "first start" in later.explanation
    assert not any(first.value in path.read_text() for path in tmp_path.iterdir())


def test_a_start_that_failed_has_not_shown_its_key(tmp_path):
    LocalKey.of(settings(tmp_path), demonstrates=True)
    assert LocalKey.of(settings(tmp_path), demonstrates=True).origin is Origin.FIRST_START


def test_a_later_demonstration_uses_a_key_that_is_not_shown(tmp_path):
    LocalKey.of(settings(tmp_path), demonstrates=True).remember(settings(tmp_path))
    later = LocalKey.of(settings(tmp_path), demonstrates=True)
    assert later.value not in later.for_shell + later.for_python + later.explanation + repr(later)


def test_the_setting_is_used_and_never_printed(tmp_path):
    key = LocalKey.of(settings(tmp_path, LLMOS_DEV_KEY="canary-key"), demonstrates=True)
    assert key.value == "canary-key"
    assert "canary-key" not in key.for_shell + key.for_python + key.explanation + repr(key)


def test_production_has_no_local_key(tmp_path):
    key = LocalKey.of(settings(tmp_path, LLMOS_ENV="production", LLMOS_MASTER_KEY_FILE="/k"), demonstrates=False)
    assert key.value is None

"""The deployment's settings: one frozen value, read once at start from LLMOS_* variables over an optional TOML file.

Policies (what is scrubbed, noised, routed) are reviewed data and live in `policies`, not here. Secrets are masked in
repr; that does not protect them from somebody who can read this process's environment or the settings file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

PREFIX = "LLMOS_"
CONFIG_FILE_VARIABLE = "LLMOS_CONFIG"
FOREIGN_PREFIXES = ("LLMOS_TEST_", "LLMOS_BENCH_", "LLMOS_CLIENT_")  # read by tests, benchmarks and client commands

Port = Annotated[int, Field(ge=1, le=65535)]
PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]


class SettingsError(ValueError):
    """A setting is unknown, malformed, or refused in production. The message never quotes a value."""


class Settings(BaseModel):
    """Every field `x` is the variable LLMOS_X and the TOML key `x`; `model_fields` carries the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Literal["development", "production"] = Field(
        "development", description="`production` refuses the conveniences meant for one's own machine."
    )
    data_dir: Path = Field(Path(".llmos"), description="Where the model, the embedded Valkey, the logs and the master key live.")
    host: str = Field("127.0.0.1", description="The address that the gateway binds.")
    port: Port = Field(8080, description="The port that the gateway binds.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The level of the log; no level writes request text."
    )

    tls_cert_file: Path | None = Field(None, description="The listener's certificate chain in PEM; with it the gateway speaks https.")
    tls_key_file: Path | None = Field(None, description="The private key of LLMOS_TLS_CERT_FILE. Unset: it is in the same file.")
    tls_client_ca_file: Path | None = Field(
        None, description="Authorities in PEM: only clients with a certificate of theirs are let in (mutual TLS)."
    )
    drain_delay_s: Seconds = Field(
        0.0, description="After SIGTERM: how long requests are still taken while /readyz says 503, so that a load balancer notices."
    )
    drain_timeout_s: PositiveSeconds = Field(
        30.0, description="After SIGTERM: the longest that answers in progress may go on; then they are broken off."
    )

    upstream: str | None = Field(None, description="Base URL of an OpenAI-compatible server, ending in /v1. Unset: `llmos up` starts vLLM.")
    upstream_api_key: SecretStr | None = Field(None, description="The key that the upstream asks for, if it does.")
    upstream_ca_file: Path | None = Field(None, description="Authorities in PEM that vouch for an https upstream. Unset: the system's.")
    upstream_cert_file: Path | None = Field(None, description="The gateway's own certificate towards an upstream that asks for one.")
    upstream_key_file: Path | None = Field(None, description="The private key of LLMOS_UPSTREAM_CERT_FILE.")
    embeddings_upstream: str | None = Field(
        None, description="Base URL of the server for /v1/embeddings (vLLM: a process with `--runner pooling`)."
    )
    models: tuple[str, ...] = Field(
        (), description="Model names served besides those that the upstream lists; comma-separated in the variable."
    )
    vllm_port: Port = Field(8001, description="The loopback port of the vLLM that `llmos up` starts.")
    vllm_max_model_len: PositiveInt = Field(2048, description="Context length in tokens of the vLLM that `llmos up` starts.")

    mpc_config: Path | None = Field(None, description="The file mpc.yaml of `llmos mpc init`. Unset: no secret-shared inference.")
    mpc_model: str = Field("smollm2-mpc", description="The name under which the secret-shared model is served.")

    redis_url: SecretStr | None = Field(None, description="A Redis or Valkey server. Unset: an embedded Valkey under the data directory.")
    redis_ca_file: Path | None = Field(None, description="Authorities in PEM that vouch for a rediss:// server. Unset: the system's.")
    redis_cert_file: Path | None = Field(None, description="The gateway's own certificate towards a Redis server that asks for one.")
    redis_key_file: Path | None = Field(None, description="The private key of LLMOS_REDIS_CERT_FILE.")
    master_key_file: Path | None = Field(
        None, description="32 random bytes that every key of the gateway is derived from. Unset: `master.key` in the data directory."
    )
    master_key: SecretStr | None = Field(
        None, description="The key ring's lines themselves, joined by `;`, where secrets come as variables. Then no file is read."
    )
    pkcs11_module: Path | None = Field(
        None, description="An HSM's PKCS#11 library. With it the master key file is sealed by a key of the HSM."
    )
    pkcs11_token: str = Field("llmos", description="The label of the HSM's token.")
    pkcs11_key: str = Field("llmos-key-ring", description="The label of the AES key in the token.")
    pkcs11_pin: SecretStr | None = Field(None, description="The user PIN of the token.")
    transit_url: str | None = Field(
        None,
        description="A key service with Vault's transit API: the mount, such as https://vault.example:8200/v1/transit. "
        "With it the master key file is sealed by a key there.",
    )
    transit_key: str = Field("llmos-key-ring", pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="The name of the key at the key service.")
    transit_token: SecretStr | None = Field(None, description="The token that the key service asks for.")
    transit_ca_file: Path | None = Field(None, description="Authorities in PEM for the key service. Unset: the system's.")
    dev_key: SecretStr | None = Field(None, description="An API key for local use; refused in production.")

    otlp_endpoint: str | None = Field(
        None, description="Where OpenTelemetry traces go (OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces). Unset: nowhere."
    )

    oidc_issuer: str | None = Field(None, description="The OIDC issuer whose tokens may administer (https://…). Unset: admin keys only.")
    oidc_audience: str = Field("llmos", description="The audience that an OIDC token must name.")
    oidc_client_id: str | None = Field(None, description="The console's client at the OIDC provider. Unset: a token is pasted.")
    oidc_client_secret: SecretStr | None = Field(None, description="The secret of LLMOS_OIDC_CLIENT_ID, unless it is a public client.")
    oidc_redirect_url: str | None = Field(
        None, description="Where the provider sends browsers back: this gateway's address with /console/oidc/callback."
    )

    max_body_bytes: PositiveInt = Field(4 * 2**20, description="The largest request body.")
    max_messages: PositiveInt = Field(2000, description="The most messages (or inputs) in one request.")
    max_depth: PositiveInt = Field(64, description="The deepest nesting of a request's JSON.")
    max_concurrent_requests: PositiveInt = Field(256, description="Requests served at once; more get a 503 with Retry-After.")
    request_timeout_s: PositiveSeconds = Field(
        600.0, description="The longest time from the first byte of a request to the last of its answer."
    )
    upstream_connect_timeout_s: PositiveSeconds = Field(5.0, description="The longest time to connect to the upstream.")
    upstream_idle_timeout_s: PositiveSeconds = Field(120.0, description="The longest silence of the upstream inside an answer.")
    detector_workers: PositiveInt = Field(2, description="Processes that detect personal data.")
    detect_timeout_s: PositiveSeconds = Field(
        30.0, description="The longest detection for one request; then it is refused, never sent unscrubbed."
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("upstream", "embeddings_upstream", "otlp_endpoint")
    @classmethod
    def _is_http_base(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http:// or https:// base URL, such as http://127.0.0.1:8001/v1")
        return value.rstrip("/") if value else None

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @model_validator(mode="after")
    def _is_fit_for_production(self) -> Self:
        if self.env == "production":
            if self.dev_key is not None:
                raise ValueError("dev_key is for one's own machine; unset LLMOS_DEV_KEY and issue keys with `llmos keys`")
            if self.master_key_file is None and self.master_key is None:
                raise ValueError("production needs LLMOS_MASTER_KEY_FILE, a file kept apart from the data directory")
        return self

    @model_validator(mode="after")
    def _has_one_whole_envelope(self) -> Self:
        if self.transit_url is None:
            return self
        if self.pkcs11_module is not None:
            raise ValueError("one of LLMOS_PKCS11_MODULE and LLMOS_TRANSIT_URL seals the key ring; unset the other")
        if self.transit_token is None:
            raise ValueError("LLMOS_TRANSIT_URL needs LLMOS_TRANSIT_TOKEN or LLMOS_TRANSIT_TOKEN_FILE")
        if not self.transit_url.startswith("https://"):
            raise ValueError("LLMOS_TRANSIT_URL must begin with https://: the key ring passes through it")
        return self

    @model_validator(mode="after")
    def _has_whole_certificates(self) -> Self:
        if self.tls_cert_file is None and (self.tls_key_file or self.tls_client_ca_file):
            raise ValueError("LLMOS_TLS_KEY_FILE and LLMOS_TLS_CLIENT_CA_FILE need LLMOS_TLS_CERT_FILE")
        if self.upstream_cert_file is None and self.upstream_key_file is not None:
            raise ValueError("LLMOS_UPSTREAM_KEY_FILE needs LLMOS_UPSTREAM_CERT_FILE")
        if self.redis_cert_file is None and self.redis_key_file is not None:
            raise ValueError("LLMOS_REDIS_KEY_FILE needs LLMOS_REDIS_CERT_FILE")
        if self.redis_ca_file and not (self.redis_url and self.redis_url.get_secret_value().startswith("rediss://")):
            raise ValueError("LLMOS_REDIS_CA_FILE is for a rediss:// URL, and LLMOS_REDIS_URL is none")
        return self

    @model_validator(mode="after")
    def _has_a_whole_oidc_client(self) -> Self:
        client = (self.oidc_issuer, self.oidc_client_id, self.oidc_redirect_url)
        if self.oidc_client_id is not None and None in client:
            raise ValueError("LLMOS_OIDC_CLIENT_ID needs LLMOS_OIDC_ISSUER and LLMOS_OIDC_REDIRECT_URL")
        return self

    @property
    def master_key_path(self) -> Path:
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def model_dir(self) -> Path:
        """Where `llmos model prepare` puts SmolLM2."""
        return self.data_dir / "models" / "smollm2"

    @property
    def base_url(self) -> str:
        """Where an OpenAI client on this machine finds the gateway."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compares, does not bind
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}/v1"

    @classmethod
    def read(cls, environ: Mapping[str, str], **overrides: Any) -> Self:
        """Settings from `environ`, over the TOML file that LLMOS_CONFIG names, under `overrides` that are not None.

        An empty variable counts as unset. A secret LLMOS_X may come as LLMOS_X_FILE, which names a file that holds it.
        Raises SettingsError, also for a LLMOS_* variable that no field knows: a misspelt LLMOS_ENV would otherwise run
        production as development.
        """
        values = _read_toml(environ.get(CONFIG_FILE_VARIABLE))
        for variable, value in environ.items():
            if not variable.startswith(PREFIX) or variable.startswith(FOREIGN_PREFIXES) or variable == CONFIG_FILE_VARIABLE or not value:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in cls.model_fields and name.removesuffix("_file") in _SECRETS:
                name, value = name.removesuffix("_file"), _read_secret(variable, value)
                if environ.get(PREFIX + name.upper()):
                    raise SettingsError(f"{variable} and {PREFIX}{name.upper()} are both set; unset one")
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name, cls.model_fields, n=1)
                hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "docs/settings.md lists those that are."
                raise SettingsError(f"{variable} is not a setting; {hint}")
            values[name] = value
        values |= {name: value for name, value in overrides.items() if value is not None}
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_describe(each["loc"], each["msg"]) for each in error.errors(include_input=False))) from None
        return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})

    @classmethod
    def from_process(cls, **overrides: Any) -> Self:
        """`read` over this process's environment: called once, by a command."""
        return cls.read(os.environ, **overrides)


_SECRETS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)


def _read_secret(variable: str, path: str) -> str:
    """The content of a secret's file without the newline at its end, as orchestrators mount it."""
    try:
        secret = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable} names {path}, which can't be read: {error.__class__.__name__}") from None
    if not secret:
        raise SettingsError(f"{variable} names {path}, which is empty")
    return secret


def _read_toml(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{CONFIG_FILE_VARIABLE} names {path}, which can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _describe(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    return f"{PREFIX}{name.upper()}: {message}" if name else message

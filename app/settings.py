"""The settings of the service: one frozen class, read from the environment (LAPSRN_*) and validated at startup."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.api_keys import ApiKey, keys_in, text_of
from app.errors import SettingsRefused, StartupError
from app.formats import INPUT_FORMATS
from app.setting_errors import PREFIX, SHA256, complaint
from app.webhook_rules import Rules, is_host_pattern, secrets_in

_MIB = 1024 * 1024
_ROOT = Path(__file__).resolve().parent.parent
_SHIPPED = next(
    (place for place in (_ROOT / "weights", _ROOT / "lapsrn" / "weights") if place.is_dir()), Path("weights")
)
"""The folder of shipped weights, in a checkout or in an installed wheel."""
_DEFAULT_WEIGHTS = _SHIPPED / "lapsrn_x4.safetensors"

_YEAR = 365 * 24 * 3600
"""Maximum of durations: timers of the system accept neither infinity nor values near a float's maximum."""
MOST = 1 << 50
"""Maximum of bytes, pixels and counts: sums of a few still fit the system's integers."""
Positive = Annotated[int, Field(ge=1, le=MOST)]
Seconds = Annotated[float, Field(gt=0, le=_YEAR)]
WholeSeconds = Annotated[int, Field(ge=1, le=_YEAR)]


class Settings(BaseSettings):
    """The settings of the service. Names contain their units (bytes, pixels, seconds); limits are inclusive."""

    model_config = SettingsConfigDict(env_prefix="LAPSRN_", env_ignore_empty=True, frozen=True, extra="forbid")

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    root_path: Annotated[
        str,
        Field(
            pattern=PREFIX,
            description="Path prefix under which a proxy serves everything, such as /sr for https://example.org/sr/.",
        ),
    ] = ""
    metrics_port: Annotated[
        int | None, Field(ge=0, le=65535, description="Serve /metrics and health here as well, and /metrics only here.")
    ] = None
    forwarded_allow_ips: Annotated[
        str,
        Field(
            description="Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, "
            "separated by commas; * for any: what a client sends in these headers then counts, unless the proxy "
            "replaces it."
        ),
    ] = "127.0.0.1"
    replicas: Annotated[
        Positive | Literal["auto"],
        Field(
            description="Processes to start, all on the same port, at most 4 for each core; more than 1 needs Redis. "
            "auto: one for every three cores if there are a GPU and Redis, else 1."
        ),
    ] = 1
    pin_replicas: Annotated[
        bool,
        Field(
            description="Restrict each replica to its own share of the cores: faster if nothing else runs on them, and "
            "slower otherwise. Linux only."
        ),
    ] = False
    processes: Annotated[
        Positive,
        Field(description="Number of services behind one address, such as containers; more than 1 needs Redis."),
    ] = 1

    weights: Annotated[Path, Field(description="The network's weights, a safetensors file.")] = _DEFAULT_WEIGHTS
    more_weights: Annotated[
        tuple[Path, ...],
        NoDecode,
        Field(
            description="More networks: weights files, or folders of them, separated by commas, or none. Each is a "
            "model under its file's name, and serves scales that the first lacks. By default, the other files in the "
            "folder of the shipped weights are served with the shipped weights."
        ),
    ] = (_SHIPPED,)
    weights_sha256: Annotated[
        str | None, Field(pattern=SHA256, description="SHA-256 that the weights must have, if set.")
    ] = None
    devices: Annotated[
        str,
        Field(description="auto, cpu, or accelerators separated by commas, such as cuda:0,cuda:1: one worker each."),
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], Field(description="Arithmetic of the network.")
    ] = "auto"
    backend: Annotated[
        str,
        Field(
            description="One of the backends below, or auto for the fastest that supports the network and this machine."
        ),
    ] = "auto"
    cpu_workers: Annotated[
        int,
        Field(ge=0, le=64, description="Workers if the network runs on the CPU; 0: one for each available core."),
    ] = 0
    hang_seconds: Annotated[
        float, Field(ge=5, le=_YEAR, description="A worker whose batch takes longer is replaced.")
    ] = 120.0
    worker_threads: Annotated[Positive, Field(description="CPU threads of each worker.")] = 1
    codec_threads: Annotated[
        int, Field(ge=0, le=64, description="Threads for the large pictures of a client; 0: half as many as cores.")
    ] = 0
    decode: Annotated[
        Literal["inline", "process"],
        Field(description="Decode in this process, or in separate processes that can be killed."),
    ] = "process"
    decode_timeout_seconds: Annotated[
        float,
        Field(
            gt=0, le=24 * 3600, description="A decoder process that takes longer is killed; for LAPSRN_DECODE=process."
        ),
    ] = 30.0

    max_input_bytes: Annotated[Positive, Field(description="Largest request body.")] = 32 * _MIB
    max_input_pixels: Annotated[Positive, Field(description="Largest input picture, height x width (M).")] = 16 * _MIB
    max_output_pixels: Annotated[
        Positive,
        Field(description="Largest picture that the network may produce, height x width, before any reduction."),
    ] = 64 * _MIB
    memory_bytes: Annotated[
        Positive | None,
        Field(
            description="Memory for the service and its decoders; by default the container's limit, or the machine's. "
            "If it is scarce, limits marked (M) that are not set become smaller."
        ),
    ] = None
    max_body_bytes_in_flight: Annotated[
        Positive, Field(description="Bytes of request bodies in memory, for a single client (M).")
    ] = 256 * _MIB
    max_answer_bytes_in_flight: Annotated[
        Positive,
        Field(description="Bytes of responses being sent, for all clients; a single one may have half (M)."),
    ] = 512 * _MIB
    formats: Annotated[
        tuple[str, ...], NoDecode, Field(description="Accepted picture formats, separated by commas.")
    ] = INPUT_FORMATS

    max_queue_tiles: Annotated[Positive, Field(description="Tiles waiting or being computed, for a single client.")] = (
        8192
    )
    max_queue_bytes: Annotated[
        Positive,
        Field(
            description="Memory for the pictures in progress of all clients, from decoding to writing; one picture "
            "that needs more is a 413 (M)."
        ),
    ] = 4096 * _MIB
    deadline_seconds: Annotated[Seconds, Field(description="Maximum time for a request; then a 504.")] = 300.0
    job_deadline_seconds: Annotated[Seconds, Field(description="The same for jobs (Prefer: respond-async).")] = 3600.0
    job_ttl_seconds: Annotated[Seconds, Field(description="How long a finished job is remembered.")] = 600.0
    job_lease_seconds: Annotated[
        float,
        Field(
            ge=2,
            le=_YEAR,
            description="Lease of a job in Redis. It is renewed every 0.6 s, or later under load; once it has expired, "
            "other processes report the job as lost.",
        ),
    ] = 10.0
    max_jobs: Annotated[
        Positive, Field(description="Jobs remembered, including finished ones, for a single client.")
    ] = 1000
    webhook_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Allowed targets of webhooks, separated by commas: hosts, .example.org for all below it, * for "
            "any public one; addresses and networks, which may be private. Empty: webhooks are off."
        ),
    ] = ()
    webhook_secret: Annotated[
        SecretStr | None,
        Field(description="Secret that signs webhooks: whsec_ and base64; several separated by spaces."),
    ] = None
    webhook_secret_file: Annotated[Path | None, Field(description="A file that contains this secret.")] = None
    webhook_timeout_seconds: Annotated[Seconds, Field(description="Time for one attempt to deliver a webhook.")] = 10.0
    webhook_tries: Annotated[
        int, Field(ge=1, le=12, description="Attempts, with pauses of 1, 3, 9... seconds: eight are 18 minutes.")
    ] = 8
    max_webhooks: Annotated[
        Positive, Field(description="Pending webhooks, including those of running jobs, for a single client.")
    ] = 1000
    heartbeat_seconds: Annotated[Seconds, Field(description="Interval of heartbeats in an event stream.")] = 15.0
    lame_duck_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=_YEAR,
            description="Time after SIGTERM to keep serving with failing readiness, before the grace time begins.",
        ),
    ] = 0.0
    grace_seconds: Annotated[Seconds, Field(description="Time to finish admitted work when the service stops.")] = 30.0

    max_connections: Annotated[
        Positive,
        Field(
            description="Maximum number of connections; beyond it, a client gets one of the client with the most, and "
            "if none has more, only health checks and scrapes are served."
        ),
    ] = 1024
    header_timeout_seconds: Annotated[Seconds, Field(description="Maximum time for a request's headers.")] = 10.0
    max_header_bytes: Annotated[
        int, Field(ge=512, le=MOST, description="Bytes of a request's URL and headers; more is a 431.")
    ] = 65536
    max_header_fields: Annotated[
        int, Field(ge=16, le=MOST, description="Headers of a request, and parameters in its URL; more is a 431.")
    ] = 100
    body_idle_seconds: Annotated[Seconds, Field(description="Longest pause within a body; then a 408.")] = 10.0
    body_timeout_seconds: Annotated[
        Seconds,
        Field(
            description="Maximum time for a whole body; then a 408. If others need its memory, a body that would take "
            "more than a quarter of this at its pace is a 408, too."
        ),
    ] = 120.0
    write_idle_seconds: Annotated[
        Seconds, Field(description="A client that reads nothing of its response for this long is cut off.")
    ] = 30.0
    write_timeout_seconds: Annotated[
        Seconds,
        Field(
            description="A response that would take longer at its client's pace is cut off if others need its memory."
        ),
    ] = 300.0
    keep_alive_seconds: Annotated[WholeSeconds, Field(description="Idle connections are closed after this time.")] = 5

    result_max_bytes: Annotated[
        int, Field(ge=0, description="Bytes of results kept in memory (M) or in Redis; 0: no results and no jobs.")
    ] = 512 * _MIB
    result_ttl_seconds: Annotated[WholeSeconds, Field(description="How long results are kept.")] = 600
    store_retry_seconds: Annotated[
        float,
        Field(
            ge=0, le=_YEAR, description="How long storing the result of a job is retried while Redis is unavailable."
        ),
    ] = 60.0
    redis_url: Annotated[
        SecretStr | None, Field(description="Keep results in this Redis (redis://, rediss:// or unix://).")
    ] = None
    redis_url_file: Annotated[Path | None, Field(description="A file that contains this address.")] = None

    api_keys: Annotated[tuple[ApiKey, ...], Field(description="JSON list of keys; empty: no key is needed.")] = ()
    api_keys_file: Annotated[
        Path | None,
        Field(description="A file that contains this list; reread on SIGHUP and `POST /admin/reload`."),
    ] = None
    allow_anonymous: Annotated[
        bool,
        Field(description="Allow listening beyond loopback without keys: anybody who can connect may then send work."),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Host names that are served, separated by commas: hosts, .example.org for all below it, local "
            "for names of local networks and any name behind a proxy with TLS, * for any. By default, local on "
            "loopback without keys, and otherwise *. IP addresses, localhost and health checks are always served."
        ),
    ] = ()
    client_max_concurrent: Annotated[
        Positive, Field(description="Upscales running at once per client: jobs, and requests until they are answered.")
    ] = 64
    client_max_connections: Annotated[
        Positive,
        Field(
            description="Connections per address or /64, at most three quarters of LAPSRN_MAX_CONNECTIONS; any number "
            "for proxies of LAPSRN_FORWARDED_ALLOW_IPS."
        ),
    ] = 256
    client_max_fetches: Annotated[
        Positive, Field(description="Concurrent fetches of levels, job states and event streams per client.")
    ] = 128
    client_requests_per_minute: Annotated[
        int,
        Field(
            ge=0,
            description="Upscale requests per minute and client (a key, an address, or an IPv6 /64); 0: unlimited.",
        ),
    ] = 0
    cors_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Origins of web pages that may call the service, separated by commas."),
    ] = ()

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Lowest level logged.")] = (
        "info"
    )
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Field(description="One JSON line per event, or text; auto is text on a terminal and JSON elsewhere."),
    ] = "auto"
    tracing: Annotated[bool, Field(description="OpenTelemetry spans (needs the extra `tracing`).")] = False

    @field_validator("formats", "cors_origins", "more_weights", "webhook_hosts", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Splits text at commas; the word none is an empty list."""
        if value == "none":
            return ()
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("replicas", mode="wrap")
    @classmethod
    def _replica_count(cls, value: object, check: ValidatorFunctionWrapHandler) -> object:
        """One complaint instead of one for a number and one for the word."""
        try:
            return check(value)
        except ValidationError:
            raise ValueError(f"{value!r} was given; give a whole number from 1, or auto") from None

    @field_validator("root_path", mode="before")
    @classmethod
    def _without_last_slash(cls, value: object) -> object:
        return value.rstrip("/") if isinstance(value, str) else value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies(cls, value: str) -> str:
        """Refuses anything but addresses and networks, which uvicorn would treat as a name that no proxy has."""
        for part in filter(None, map(str.strip, [] if value.strip() == "*" else value.split(","))):
            try:
                ipaddress.ip_network(part)
            except ValueError:
                raise ValueError(
                    f"'{part}' is neither an address such as 10.0.0.7 nor a network such as 10.0.0.0/8; "
                    "* alone stands for any"
                ) from None
        return value.strip()

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(rediss?|unix)://", value.get_secret_value()):
            raise ValueError("an address begins with redis://, rediss:// or unix://")
        return value

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Names in upper case, all of them in INPUT_FORMATS."""
        if not value:
            raise ValueError("name at least one picture format")
        formats = tuple(name.upper() for name in value)
        unknown = [name for name in formats if name not in INPUT_FORMATS]
        if unknown:
            raise ValueError(f"there is no format {unknown[0]}; there are {', '.join(INPUT_FORMATS)}")
        return formats

    @field_validator("webhook_hosts")
    @classmethod
    def _webhook_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Rules.of(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not (name == "*" or is_host_pattern(name.lower())):
                raise ValueError(
                    f"'{name}' is neither a host such as example.org (without a port), nor .example.org for all below "
                    "it, nor local, nor *"
                )
        return tuple(name.lower() for name in value)

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            secrets_in(value.get_secret_value())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _cors_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(f"'{origin}' is not an origin such as https://example.org (no path, no *)")
        return value

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Reads secrets from their files, as if they were in the environment."""
        for name in ("api_keys", "redis_url", "webhook_secret"):
            variable, file = f"LAPSRN_{name.upper()}", values.get(f"{name}_file")
            if not file:
                continue
            if values.get(name):
                raise ValueError(f"{variable} and {variable}_FILE are both set; keep one of them")
            secret = keys_in(Path(file)) if name == "api_keys" else text_of(Path(file), f"{variable}_FILE").strip()
            values = values | {name: secret}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_keys(self.api_keys)
        if self.webhook_hosts and not self.webhook_keys:
            raise ValueError(
                "LAPSRN_WEBHOOK_HOSTS: webhooks have to be signed: set LAPSRN_WEBHOOK_SECRET or "
                "LAPSRN_WEBHOOK_SECRET_FILE"
            )
        for name in ("replicas", "processes"):
            count = getattr(self, name)
            if count not in (1, "auto") and self.redis_url is None:
                raise ValueError(
                    f"LAPSRN_{name.upper()}: {count} processes cannot share results kept in memory: "
                    "set LAPSRN_REDIS_URL, or run one process"
                )
        return self

    def _check_keys(self, keys: Sequence[ApiKey]) -> None:
        for field in ("name", "sha256"):
            if len({getattr(key, field) for key in keys}) != len(keys):
                raise ValueError(f"LAPSRN_API_KEYS: two keys have the same {field}")
        if not (keys or self.allow_anonymous or is_loopback(self.host)):
            raise ValueError(
                f"LAPSRN_HOST: refusing to listen on {self.host} without API keys: set LAPSRN_API_KEYS or "
                "LAPSRN_API_KEYS_FILE, listen on 127.0.0.1, or set LAPSRN_ALLOW_ANONYMOUS=true"
            )

    def keys_now(self) -> tuple[ApiKey, ...]:
        """The current API keys, read again from LAPSRN_API_KEYS_FILE if it is set. Raises SettingsRefused."""
        if self.api_keys_file is None:
            return self.api_keys
        try:
            keys = keys_in(self.api_keys_file)
            self._check_keys(keys)
        except ValueError as error:
            raise SettingsRefused(f"The API keys were not changed: {error}.") from error
        return keys

    @property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """The keys with which webhooks are signed."""
        return () if self.webhook_secret is None else secrets_in(self.webhook_secret.get_secret_value())

    @property
    def other_weights(self) -> tuple[Path, ...]:
        """Weights files and folders of further networks; the shipped ones only along with the shipped weights."""
        return self.more_weights if self.weights == _DEFAULT_WEIGHTS or self.more_weights != (_SHIPPED,) else ()


def is_loopback(host: str) -> bool:
    """Whether `host` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings() -> Settings:
    """Settings from the environment. Raises StartupError with one line that names every wrong setting."""
    try:
        return Settings()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        variable = f"LAPSRN_{field[1].upper()}" if field else "a setting"
        raise StartupError(f"{variable}: not valid JSON ({error.__cause__}); see docs/configuration.md") from None
    except ValidationError as error:
        raise StartupError("; ".join(complaint(dict(item)) for item in error.errors(include_url=False))) from None


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Those of `names` that start with LAPSRN_ but are unknown: typing errors, which would otherwise go unnoticed."""
    known = {f"LAPSRN_{name.upper()}" for name in Settings.model_fields} | {"LAPSRN_SERVER", "LAPSRN_API_KEY"}
    return sorted(name for name in names if name.startswith("LAPSRN_") and name not in known)

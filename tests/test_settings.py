"""Settings: read from the environment, checked once, refused in one clear line."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import StartupError
from app.settings import Settings, is_loopback, load_settings, unknown_settings

DIGEST = "0" * 64
KEY = f'{{"name": "ann", "sha256": "{DIGEST}"}}'


def test_defaults_suit_a_laptop() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.weights == Path(__file__).resolve().parent.parent / "weights" / "lapsrn_x4.safetensors"
    assert settings.api_keys == ()
    assert settings.other_weights == (settings.weights.parent,)


@pytest.mark.parametrize(
    ("weights", "more", "others"),
    [
        ("", "none", []),
        ("mine.safetensors", "", []),
        ("", "a.safetensors, b/c.safetensors", ["a", "c"]),
        ("mine.safetensors", "a.safetensors", ["a"]),
    ],
)
def test_shipped_networks_are_only_added_to_the_shipped_weights(
    monkeypatch: pytest.MonkeyPatch, weights: str, more: str, others: list[str]
) -> None:
    monkeypatch.setenv("LAPSRN_WEIGHTS", weights)
    monkeypatch.setenv("LAPSRN_MORE_WEIGHTS", more)
    assert [file.stem for file in load_settings().other_weights] == others


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_PORT", "9000")
    monkeypatch.setenv("LAPSRN_FORMATS", "png, jpeg")
    monkeypatch.setenv("LAPSRN_CORS_ORIGINS", "https://a.example,http://localhost:3000")
    monkeypatch.setenv("LAPSRN_API_KEYS", f'[{{"name": "ann", "sha256": "{DIGEST}", "max_concurrent": 3}}]')
    settings = load_settings()
    assert settings.port == 9000
    assert settings.formats == ("PNG", "JPEG")
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert [(key.name, key.max_concurrent, key.admin) for key in settings.api_keys] == [("ann", 3, False)]


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAPSRN_API_KEYS", "LAPSRN_REDIS_URL", "LAPSRN_METRICS_PORT", "LAPSRN_CORS_ORIGINS"):
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings()


def test_misspelled_settings_are_found() -> None:
    names = ["LAPSRN_PORT", "LAPSRN_PROT", "LAPSRN_SERVER", "PORT", "LAPSRN_GRACE_SECOND"]
    assert unknown_settings(names) == ["LAPSRN_GRACE_SECOND", "LAPSRN_PROT"]


def test_settings_cannot_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LAPSRN_PORT", "70000", "LAPSRN_PORT: "),
        ("LAPSRN_PORT", "http", "LAPSRN_PORT: "),
        ("LAPSRN_DTYPE", "float8", "'float16'"),
        ("LAPSRN_MAX_INPUT_BYTES", "0", "LAPSRN_MAX_INPUT_BYTES: "),
        ("LAPSRN_FORMATS", " , ", "at least one"),
        # With less, even a health check would be a 431.
        ("LAPSRN_MAX_HEADER_BYTES", "511", "greater than or equal to 512"),
        ("LAPSRN_MAX_HEADER_FIELDS", "15", "greater than or equal to 16"),
        # With less, jobs under way were called lost.
        ("LAPSRN_JOB_LEASE_SECONDS", "1.9", "greater than or equal to 2"),
        ("LAPSRN_CORS_ORIGINS", "*", "'*' is not an origin"),
        ("LAPSRN_REDIS_URL", "localhost:6379", "LAPSRN_REDIS_URL: an address begins with redis://"),
        ("LAPSRN_FORWARDED_ALLOW_IPS", "*, 10.0.0.1", "'*' is neither an address"),
        ("LAPSRN_CORS_ORIGINS", "https://a.example/path", "no path"),
        ("LAPSRN_API_KEYS", '[{"name": "a b", "sha256": "' + DIGEST + '"}]', "LAPSRN_API_KEYS[0][name]"),
        ("LAPSRN_API_KEYS", '[{"name": "a", "sha256": "secret"}]', "LAPSRN_API_KEYS[0][sha256]"),
        ("LAPSRN_API_KEYS", '[{"name": "a", "sha256": "secret"}]', "give 64 hex digits in lower case, as sha256sum"),
        ("LAPSRN_WEIGHTS_SHA256", "ab", "LAPSRN_WEIGHTS_SHA256: give 64 hex digits"),
        ("LAPSRN_ROOT_PATH", "sr", "LAPSRN_ROOT_PATH: give a path that begins with /, such as /sr"),
        ("LAPSRN_FORWARDED_ALLOW_IPS", "127.0.0.1, proxy", "LAPSRN_FORWARDED_ALLOW_IPS: 'proxy' is neither an address"),
        ("LAPSRN_FORWARDED_ALLOW_IPS", "172.18.0.1/16", "nor a network such as 10.0.0.0/8"),
        ("LAPSRN_FORWARDED_ALLOW_IPS", "127.0.0.1,*", "* alone stands for any"),
        (
            "LAPSRN_API_KEYS",
            "no json",
            "LAPSRN_API_KEYS: not valid JSON (Expecting value: line 1 column 1 (char 0)); see docs/configuration.md",
        ),
        ("LAPSRN_API_KEYS", '[{"name": "secret"', "LAPSRN_API_KEYS: not valid JSON ("),
        ("LAPSRN_API_KEYS", "[1]", "LAPSRN_API_KEYS[0]: "),
        ("LAPSRN_API_KEYS", f"[{KEY}, {KEY}]", "LAPSRN_API_KEYS: two keys have the same name"),
        ("LAPSRN_FORMATS", "png,pgn", "LAPSRN_FORMATS: there is no format PGN; there are PNG, JPEG, WEBP, TIFF, BMP, "),
        ("LAPSRN_HOST", "0.0.0.0", "LAPSRN_HOST: refusing to listen on 0.0.0.0 without API keys"),
        ("LAPSRN_PROCESSES", "2", "LAPSRN_PROCESSES: 2 processes cannot share"),
        ("LAPSRN_PROCESSES", "2", "LAPSRN_REDIS_URL"),
        ("LAPSRN_REPLICAS", "2", "LAPSRN_REPLICAS: 2 processes cannot share"),
        ("LAPSRN_REPLICAS", "many", "LAPSRN_REPLICAS: 'many' was given; give a whole number from 1, or auto"),
        ("LAPSRN_REPLICAS", "0", "LAPSRN_REPLICAS: '0' was given; give a whole number from 1, or auto"),
        ("LAPSRN_MAX_INPUT_BYTES", "32MB", "'32MB' was given; give a whole number, without a unit or quotes"),
        ("LAPSRN_KEEP_ALIVE_SECONDS", "0.5", "'0.5' was given; give a whole number"),
        ("LAPSRN_PORT", '"8000"', """'"8000"' was given; give a whole number, without a unit or quotes"""),
        ("LAPSRN_DEADLINE_SECONDS", "30s", "'30s' was given; give a number, without a unit or quotes"),
        ("LAPSRN_TRACING", "y e s", "'y e s' was given; give true or false"),
        ("LAPSRN_API_KEYS", KEY, "LAPSRN_API_KEYS: give a list in square brackets"),
        (
            "LAPSRN_API_KEYS",
            '[{"name": "a", "sha256": "' + DIGEST + '", "max_concurrent": "secret"}]',
            "LAPSRN_API_KEYS[0][max_concurrent]: give a whole number",
        ),
    ],
)
def test_a_bad_setting_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError) as stopped:
        load_settings()
    assert says in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert "secret" not in str(stopped.value)


def test_every_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_PORT", "x")
    monkeypatch.setenv("LAPSRN_GRACE_SECONDS", "-1")
    with pytest.raises(StartupError, match=r"LAPSRN_PORT: .*; LAPSRN_GRACE_SECONDS: "):
        load_settings()


def test_integers_beyond_the_range_of_the_system_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2**63, the decoders would not start."""
    monkeypatch.setenv("LAPSRN_MAX_INPUT_BYTES", str(2**63))
    with pytest.raises(StartupError, match=r"^LAPSRN_MAX_INPUT_BYTES: [^\n]*$"):
        load_settings()


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_seconds")])
@pytest.mark.parametrize("value", ["inf", "1e30", "nan", "-1"])
def test_times_beyond_the_range_of_clocks_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """With infinity, the decoders would not start, and a drain would end with a traceback."""
    monkeypatch.setenv(f"LAPSRN_{name.upper()}", value)
    with pytest.raises(StartupError, match=f"^LAPSRN_{name.upper()}: [^\n]*$"):
        load_settings()
    monkeypatch.setenv(f"LAPSRN_{name.upper()}", str(24 * 3600))
    assert getattr(load_settings(), name) == 24 * 3600


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_addresses_other_than_loopback_need_keys_or_explicit_permission(host: str) -> None:
    key = {"name": "ann", "sha256": DIGEST}
    with pytest.raises(ValidationError, match="without API keys"):
        Settings(host=host)
    assert Settings(host=host, allow_anonymous=True).host == host
    assert Settings(host=host, api_keys=(key,)).host == host  # type: ignore[arg-type]


def key_file(folder: Path, *names: str) -> Path:
    """A file with a key for each name."""
    file = folder / "keys.json"
    file.write_text(json.dumps([{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names]))
    return file


def test_secret_files_with_a_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    """The mark at their beginning would otherwise be "Invalid JSON"."""
    keys, address = tmp_path / "keys", tmp_path / "address"
    keys.write_text(f"[{KEY}]\r\n", "utf-8-sig")
    address.write_text("redis://127.0.0.1:6379/0\r\n", "utf-8-sig")
    settings = Settings(api_keys_file=keys, redis_url_file=address)
    assert [key.name for key in settings.api_keys] == ["ann"]
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAPSRN_API_KEYS_FILE", str(key_file(tmp_path, "ann", "bob")))
    (tmp_path / "redis").write_text("redis://:hunter2@localhost/0\n")
    monkeypatch.setenv("LAPSRN_REDIS_URL_FILE", str(tmp_path / "redis"))
    settings = load_settings()
    assert [key.name for key in settings.api_keys] == ["ann", "bob"]
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:hunter2@localhost/0"
    assert "hunter2" not in repr(settings)


def test_api_keys_are_read_again_from_their_file(tmp_path: Path) -> None:
    settings = Settings(api_keys_file=key_file(tmp_path, "ann"))
    key_file(tmp_path, "bob", "eve")
    assert [key.name for key in settings.keys_now()] == ["bob", "eve"]
    assert [key.name for key in settings.api_keys] == ["ann"]
    assert Settings().keys_now() == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "keys.json cannot be read (No such file or directory)"),
        ("hunter2", "LAPSRN_API_KEYS_FILE: Invalid JSON"),
        ('[{"name": "a b", "sha256": "' + DIGEST + '"}]', "LAPSRN_API_KEYS_FILE[0][name]: "),
        ('[{"name": "a", "sha256": "hunter2"}]', "LAPSRN_API_KEYS_FILE[0][sha256]: give 64 hex digits"),
        (f'[{{"name": "a", "sha256": "{DIGEST}"}}, {{"name": "a", "sha256": "{DIGEST}"}}]', "the same name"),
        ("[]", "refusing to listen on 0.0.0.0 without API keys"),
    ],
)
def test_a_bad_key_file_is_refused_at_the_start_and_on_reload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, says: str
) -> None:
    file = key_file(tmp_path, "ann")
    settings = Settings(host="0.0.0.0", api_keys_file=file)
    file.unlink()
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("LAPSRN_HOST", "0.0.0.0")
    monkeypatch.setenv("LAPSRN_API_KEYS_FILE", str(file))
    for read in (load_settings, settings.keys_now):
        with pytest.raises(StartupError) as stopped:
            read()
        assert says in str(stopped.value)
        assert "hunter2" not in str(stopped.value)
        assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("name", ["API_KEYS", "REDIS_URL"])
def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(f"LAPSRN_{name}", '[{"name": "a", "sha256": "' + DIGEST + '"}]')
    monkeypatch.setenv(f"LAPSRN_{name}_FILE", str(tmp_path / "file"))
    with pytest.raises(StartupError, match=f"LAPSRN_{name} and LAPSRN_{name}_FILE are both set; keep one"):
        load_settings()


def test_a_missing_redis_url_file_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAPSRN_REDIS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(StartupError, match=r"LAPSRN_REDIS_URL_FILE: .*none cannot be read \(No such file"):
        load_settings()


@pytest.mark.parametrize(("name", "sha256", "says"), [("ann", "1" * 64, "same name"), ("bob", DIGEST, "same sha256")])
def test_two_keys_that_cannot_be_told_apart_are_refused(name: str, sha256: str, says: str) -> None:
    keys = ({"name": "ann", "sha256": DIGEST}, {"name": name, "sha256": sha256})
    with pytest.raises(ValidationError, match=says):
        Settings(api_keys=keys)  # type: ignore[arg-type]


def test_several_processes_are_allowed_with_redis() -> None:
    assert Settings(processes=2, redis_url="redis://localhost").processes == 2  # type: ignore[arg-type]


def test_values_with_a_meaning_of_their_own_are_accepted() -> None:
    settings = Settings(forwarded_allow_ips=" * ", replicas="auto")
    assert (settings.forwarded_allow_ips, settings.replicas, settings.redis_url) == ("*", "auto", None)


def test_the_redis_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Settings(redis_url="redis://:hunter2@localhost"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_loopback_hosts_are_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_allowed_hosts_are_host_names_without_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_ALLOWED_HOSTS", "Example.org, .example.net,local")
    assert load_settings().allowed_hosts == ("example.org", ".example.net", "local")
    for wrong in ("example.org:8000", "https://example.org", "*.example.org", "a b", "a..b"):
        monkeypatch.setenv("LAPSRN_ALLOWED_HOSTS", wrong)
        with pytest.raises(StartupError, match=r"LAPSRN_ALLOWED_HOSTS: .*is neither a host"):
            load_settings()


@pytest.mark.parametrize(
    ("given", "root_path"), [("", ""), ("/", ""), ("/sr", "/sr"), ("/sr/", "/sr"), ("/a/b", "/a/b")]
)
def test_a_prefix_may_end_with_a_slash(given: str, root_path: str) -> None:
    assert Settings(root_path=given).root_path == root_path


@pytest.mark.parametrize("given", ["sr", "https://example.org/sr", "/a b", "/a//b", "/sr?x"])
def test_a_prefix_that_is_not_a_path_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=given)

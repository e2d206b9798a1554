"""The names that the service answers to: a page whose own name resolves to it (DNS rebinding) gets nothing."""

import httpx
import pytest

from app.api.hosts import host_of, is_known, names_of
from app.settings import Settings
from tests import pictures
from tests.conftest import Running

PNG = pictures.png(pictures.gray())
DIGEST = "0" * 64
KEY = {"name": "ann", "sha256": DIGEST}


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org:8000", "example.org"),
        ("example.org.", "example.org"),
        ("example.org.:80", "example.org"),
        ("example.org:", "example.org"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("", ""),
        ("localhost:80@evil.example", "localhost:80@evil.example"),
        ("localhost:evil.example", "localhost:evil.example"),
        ("localhost/.evil.example", "localhost/.evil.example"),
    ],
)
def test_the_host_name_is_parsed_from_the_header(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("names", "known", "unknown"),
    [
        (
            ("local",),
            "localhost 127.0.0.1 10.1.2.3 ::1 fe80::1%eth0 nas nas.local a.b.internal host.docker.internal x.lan",
            "evil.example local.evil.example 127.0.0.1.evil.example 127.1 0x7f.0.0.1 evil.localx localhost:80@evil",
        ),
        (
            ("example.org",),
            "example.org localhost 10.1.2.3",
            "www.example.org evil-example.org nas nas.local example.net",
        ),
        ((".example.org", "a.net"), "www.example.org a.b.example.org a.net", "example.org b.a.net wwwexample.org"),
        (("*",), "evil.example nas 10.1.2.3", ""),
    ],
)
def test_names_are_matched_against_the_allowed_hosts(names: tuple[str, ...], known: str, unknown: str) -> None:
    assert [host for host in known.split() if not is_known(host, names, is_encrypted=False)] == []
    assert [host for host in unknown.split() if is_known(host, names, is_encrypted=False)] == []
    assert is_known("", names, is_encrypted=False), "HTTP/1.0"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ("local",)),
        ({"host": "::1"}, ("local",)),
        ({"host": "0.0.0.0", "allow_anonymous": True}, ("*",)),
        ({"allow_anonymous": True}, ("*",)),
        ({"api_keys": (KEY,)}, ("*",)),
        ({"api_keys": (KEY,), "allowed_hosts": "example.org"}, ("example.org",)),
        ({"host": "0.0.0.0", "allow_anonymous": True, "allowed_hosts": "local"}, ("local",)),
    ],
)
def test_by_default_only_local_services_require_local_names(
    settings: dict[str, object], names: tuple[str, ...]
) -> None:
    assert names_of(Settings(**settings)) == names  # type: ignore[arg-type]


async def test_requests_from_a_page_under_a_rebound_name_are_refused(client: httpx.AsyncClient) -> None:
    page = {"host": "evil.example:8000", "origin": "http://evil.example:8000"}
    refused = await client.post("/upscale", files={"image": PNG}, headers=page)
    assert (refused.status_code, refused.json()["type"]) == (421, "urn:lapsrn:problem:unknown-host")
    assert "'evil.example'" in refused.json()["detail"]
    assert "LAPSRN_ALLOWED_HOSTS" in refused.json()["detail"]
    for path in ("/", "/model", "/metrics", "/jobs/x", "/static/js/main.js"):
        assert (await client.get(path, headers={"host": "evil.example"})).status_code == 421
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path, headers={"host": "evil.example"})).status_code == 200
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "nas.local"):
        answer = await client.post("/upscale", files={"image": PNG}, headers=page | {"host": host})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("proto", "origin", "status"),
    [
        ("https", "https://example.org", 200),
        ("https", None, 200),
        ("https, http", None, 200),
        ("http", None, 421),
        ("https", "http://example.org", 421),
        ("https", "null", 421),
    ],
)
async def test_a_tls_proxy_needs_no_setting_and_a_page_cannot_pose_as_one(
    client: httpx.AsyncClient, proto: str, origin: str | None, status: int
) -> None:
    headers = {"host": "example.org", "x-forwarded-proto": proto} | ({"origin": origin} if origin else {})
    assert (await client.post("/upscale", files={"image": PNG}, headers=headers)).status_code == status


async def test_only_listed_names_are_accepted(serve: Running) -> None:
    async with serve(allowed_hosts="example.org,.example.net") as client:
        for host, status in [("example.org", 200), ("a.example.net", 200), ("other.org", 421), ("10.0.0.1:8000", 200)]:
            headers = {"host": host, "x-forwarded-proto": "https"}
            assert (await client.get("/model", headers=headers)).status_code == status

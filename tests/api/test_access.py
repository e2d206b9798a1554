"""API keys, owners of results, and what one client may have under way."""

import asyncio
import hashlib
import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.access import network_of
from app.api_keys import ApiKey
from app.errors import TooManyRequests
from app.service.caller import Caller
from app.service.client_quota import ClientQuota, FetchQuota, UnderWay
from tests import pictures
from tests.conftest import Running, service_of, until
from tests.fakes import FakeModel

PNG = pictures.png(pictures.gray())
FILES = {"image": PNG}


def key(name: str, secret: str, **limits: object) -> ApiKey:
    return ApiKey(name=name, sha256=hashlib.sha256(secret.encode()).hexdigest(), **limits)  # type: ignore[arg-type]


KEYS = (key("ann", "ann's key"), key("bob", "bob's key"), key("root", "root's key", admin=True))

NAMES = ("ann", "bob", "eve")


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}'s key"}


@pytest.mark.parametrize(
    "headers",
    [
        bearer("ann"),
        {"authorization": "bearer ann's key"},
        {"x-api-key": "bob's key"},
        {"authorization": "Bearer", "x-api-key": "bob's key"},
        {"authorization": "Bearer ", "x-api-key": "bob's key"},
        bearer("ann") | {"x-api-key": ""},
    ],
)
async def test_a_known_key_is_accepted(serve: Running, headers: dict[str, str]) -> None:
    async with serve(api_keys=KEYS) as client:
        assert (await client.post("/upscale", files=FILES, headers=headers)).status_code == 200


WRONG: list[dict[str, str]] = [
    {},
    {"authorization": "Bearer "},
    {"authorization": "Bearer ann"},
    {"authorization": "Basic YTpi"},
    {"x-api-key": "é"},
]
GUARDED = [
    ("POST", "/upscale"),
    ("GET", "/upscale?level=2&id=a"),
    ("DELETE", "/upscale?id=a"),
    ("GET", "/jobs/a"),
    ("GET", "/jobs/a/events"),
    ("DELETE", "/jobs/a"),
    ("POST", "/admin/reload"),
]


@pytest.mark.parametrize("headers", WRONG)
async def test_a_missing_or_wrong_key_is_401(serve: Running, headers: dict[str, str]) -> None:
    async with serve(api_keys=KEYS) as client:
        for method, path in GUARDED:
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = await client.request(method, path, headers=raw)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="lapsrn"'
            assert "X-API-Key" in answer.json()["detail"]


@pytest.mark.parametrize(("headers", "says"), [({}, "key is required"), ({"x-api-key": "eve"}, "key is invalid")])
async def test_missing_and_wrong_keys_have_different_messages(
    serve: Running, headers: dict[str, str], says: str
) -> None:
    async with serve(api_keys=KEYS) as client:
        assert says in (await client.get("/jobs/a", headers=headers)).json()["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/model", "/", "/docs", "/openapi.json"])
async def test_public_routes_need_no_key(serve: Running, path: str) -> None:
    async with serve(api_keys=KEYS) as client:
        assert (await client.get(path)).status_code == 200


async def test_results_are_only_visible_with_the_key_that_made_them(serve: Running) -> None:
    async with serve(api_keys=KEYS) as client:
        made = await client.post("/upscale", files=FILES, headers=bearer("ann"))
        url = made.headers["content-location"]
        theirs = await client.get(url, headers=bearer("bob"))
        unknown = await client.get(f"/upscale?level=4&id={'A' * 32}", headers=bearer("bob"))
        assert theirs.status_code == unknown.status_code == 404
        assert theirs.json()["detail"] == unknown.json()["detail"]
        assert (await client.delete(url.replace("level=4&", ""), headers=bearer("bob"))).status_code == 404
        assert (await client.get(url, headers=bearer("ann"))).content == made.content


async def test_jobs_are_only_visible_with_the_key_that_made_them(serve: Running) -> None:
    async with serve(api_keys=KEYS) as client:
        made = await client.post("/upscale", files=FILES, headers=bearer("ann") | {"prefer": "respond-async"})
        url = made.headers["location"]
        for method in ("GET", "DELETE"):
            assert (await client.request(method, url, headers=bearer("bob"))).status_code == 404
        assert (await client.get(url, headers=bearer("ann"))).status_code == 200


async def test_administration_needs_an_admin_key(serve: Running) -> None:
    async with serve(api_keys=KEYS) as client:
        assert (await client.post("/admin/reload", headers=bearer("ann"))).status_code == 403
        assert (await client.post("/admin/reload", headers=bearer("root"))).status_code == 200
    async with serve() as client:
        answer = await client.post("/admin/reload")
        assert answer.status_code == 403
        assert "LAPSRN_API_KEYS" in answer.json()["detail"]


def write_keys(file: Path, *keys: ApiKey) -> None:
    file.write_text(json.dumps([each.model_dump() for each in keys]))


async def test_keys_can_be_changed_without_a_restart(serve: Running, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, *KEYS)
    async with serve(api_keys_file=file) as client:
        write_keys(file, KEYS[1], KEYS[2], key("eve", "eve's key"))
        assert (await client.post("/upscale", files=FILES, headers=bearer("eve"))).status_code == 401
        assert (await client.post("/admin/reload", headers=bearer("root"))).status_code == 200
        statuses = [(await client.post("/upscale", files=FILES, headers=bearer(name))).status_code for name in NAMES]
        assert statuses == [401, 200, 200]


async def test_a_bad_key_file_changes_nothing(serve: Running, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, *KEYS)
    async with serve(api_keys_file=file) as client:
        file.write_text("[{]")
        answer = await client.post("/admin/reload", headers=bearer("root"))
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:lapsrn:problem:settings-refused")
        assert "LAPSRN_API_KEYS_FILE: Invalid JSON" in answer.json()["detail"]
        assert (await client.post("/upscale", files=FILES, headers=bearer("ann"))).status_code == 200


async def test_the_request_rate_is_limited_per_client(serve: Running) -> None:
    keys = (key("ann", "ann's key", requests_per_minute=2), key("bob", "bob's key"))
    async with serve(api_keys=keys) as client:
        statuses = [(await client.post("/upscale", files=FILES, headers=bearer("ann"))).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = await client.post("/upscale", files=FILES, headers=bearer("ann"))
        assert refused.json()["type"] == "urn:lapsrn:problem:too-many-requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert (await client.post("/upscale", files=FILES, headers=bearer("bob"))).status_code == 200


async def test_concurrent_requests_are_limited_per_client(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], client_max_concurrent=2) as client:
        first = [asyncio.create_task(client.post("/upscale", files=FILES)) for _ in range(2)]
        await until(lambda: service_of(client).quota.under_way() == 2)
        refused = await client.post("/upscale", files=FILES)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]
        assert (await client.post("/upscale", files=FILES)).status_code == 200
        assert service_of(client).quota.under_way() == 0


async def test_keys_never_reach_the_log(serve: Running, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(api_keys=KEYS) as client:
        made = await client.post("/upscale", files=FILES, headers=bearer("ann"))
        await client.get(made.headers["content-location"], headers=bearer("ann"))
        printed = capsys.readouterr().out
        assert "client=ann" in printed
        assert "ann's key" not in printed
        assert made.headers["x-upscale-id"] not in printed


def test_a_bucket_refills_with_time() -> None:
    now = 0.0
    limits = ClientQuota(clock=lambda: now)
    caller = Caller("a", "", max_concurrent=100, requests_per_minute=6, admin=False)
    for _ in range(6):
        limits.enter(caller)()
    with pytest.raises(TooManyRequests) as refused:
        limits.enter(caller)
    assert refused.value.retry_after == pytest.approx(10.0)
    now = 9.7
    with pytest.raises(TooManyRequests, match=r"^You may send 6 upscales a minute\. Wait 1 s\.$"):  # 0.3 s, rounded up
        limits.enter(caller)
    now = 10.0
    limits.enter(caller)()
    with pytest.raises(TooManyRequests):
        limits.enter(caller)
    now = 1000.0
    limits.enter(caller)()
    now = 1050.0
    for _ in range(6):
        limits.enter(caller)()
    with pytest.raises(TooManyRequests):
        limits.enter(caller)


def test_concurrent_fetches_are_limited_per_client() -> None:
    fetches, ann, bob = FetchQuota(2), *(Caller(name, "", 1, 0, admin=False) for name in ("ann", "bob"))
    first, second = fetches.enter(ann), fetches.enter(ann)
    with pytest.raises(TooManyRequests):
        fetches.enter(ann)
    fetches.enter(bob)()
    first()
    fetches.enter(ann)()
    second()
    assert fetches.under_way() == 0


def test_nothing_is_kept_of_a_client_without_requests() -> None:
    counts = UnderWay()
    leave = counts.enter("ann")
    assert "ann" in repr(vars(counts))
    leave()
    assert "ann" not in repr(vars(counts))


def test_idle_buckets_are_forgotten() -> None:
    now = 0.0
    limits = ClientQuota(clock=lambda: now)
    for number in range(4096):
        limits.enter(Caller(str(number), "", 1, 60, admin=False))()
    now = 61.0
    limits.enter(Caller("last", "", 1, 60, admin=False))()
    assert len(limits._buckets) == 1


class _Watched(OrderedDict[str, Any]):
    """Buckets, and how often they were gone through from the first to the last."""

    walks = 0

    def items(self) -> Any:
        self.walks += 1
        return super().items()


def test_any_number_of_clients_takes_bounded_memory_and_constant_time_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket each for the names asked with last; what is remembered is not gone through for every request."""
    monkeypatch.setattr("app.service.client_quota.MAX_BUCKETS", 5000)
    limits = ClientQuota(clock=lambda: 0.0)
    limits._buckets = watched = _Watched()
    for number in range(6000):
        limits.enter(Caller(str(number), "", 1, 60, admin=False))()
    assert (list(watched), watched.walks) == ([str(number) for number in range(1000, 6000)], 0)


def test_a_busy_client_is_not_forgotten_in_favour_of_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.client_quota.MAX_BUCKETS", 3)
    limits = ClientQuota(clock=lambda: 0.0)
    busy = Caller("busy", "", 1, 4, admin=False)
    for number in range(4):
        limits.enter(busy)()
        limits.enter(Caller(str(number), "", 1, 60, admin=False))()
    with pytest.raises(TooManyRequests):
        limits.enter(busy)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
        ("\x9b31m", "unknown"),
    ],
)
def test_clients_without_keys_are_identified_by_their_network(address: str, name: str) -> None:
    assert network_of(address) == name


async def test_a_client_without_a_key_is_logged_by_its_address(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await client.post("/upscale", files=FILES)
    assert "client=192.0.2.1" in capsys.readouterr().out

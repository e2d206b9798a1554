"""How many connections there may be, and what the limit on open files allows."""

import resource
from functools import partial

import pytest

from app.api.connections import RESERVE, Connections, affordable_connections, most_of_one

INFINITY = resource.RLIM_INFINITY


def test_above_the_limit_only_a_reserve_for_probes_is_left() -> None:
    connections = Connections(2, per_client=1000)
    admitted = [connections.enter("192.0.2.1") for _ in range(2 + RESERVE + 1)]
    assert admitted == ["open"] * 2 + ["probes"] * RESERVE + ["refused"]
    for _ in range(RESERVE + 2):
        connections.leave("192.0.2.1")
    assert connections.enter("192.0.2.1") == "open"


def test_each_client_has_its_own_limit_and_a_proxy_has_none() -> None:
    connections = Connections(100, per_client=2, is_proxy=lambda address: address == "192.0.2.9")
    assert [connections.enter("192.0.2.1") for _ in range(3)] == ["open", "open", "refused"]
    assert connections.enter("192.0.2.2") == "open"
    assert [connections.enter("192.0.2.9") for _ in range(10)] == ["open"] * 10
    connections.leave("192.0.2.1")
    connections.leave("192.0.2.1")
    assert connections.enter("192.0.2.1") == "open"


@pytest.mark.parametrize(("wanted", "limit", "most"), [(256, 1024, 256), (256, 200, 150), (1000, 4, 3), (5, 1, 1)])
def test_the_limit_per_client_never_covers_all_connections(wanted: int, limit: int, most: int) -> None:
    assert most_of_one(wanted, limit) == most


def test_a_network_of_ipv6_addresses_is_one_client() -> None:
    connections = Connections(100, per_client=2)
    assert [connections.enter(f"2001:db8::{number}") for number in range(3)] == ["open", "open", "refused"]
    assert connections.enter("2001:db8:0:1::1") == "open"
    for number in range(3):
        connections.leave(f"2001:db8::{number}")
    assert connections.enter("2001:db8::9") == "open"


def test_the_oldest_of_a_clients_too_many_lingering_connections_is_closed() -> None:
    """They have no request, so through a proxy, limits on requests would not stop one client from taking them all."""
    connections, ended = Connections(1000, per_client=1000), list[str]()
    waiting = [partial(ended.append, f"ann {number}") for number in range(66)]
    connections.linger("bob", partial(ended.append, "bob"))
    for end in waiting[:-1]:
        connections.linger("ann", end)
    assert ended == ["ann 0"]
    for end in waiting[:5]:
        connections.stop_lingering("ann", end)
    connections.linger("ann", waiting[-1])
    assert ended == ["ann 0"]


@pytest.mark.parametrize(
    ("limits", "affordable", "raised"),
    [
        ((1024, 4096), 1000, (2256, 4096)),
        ((1024, INFINITY), 1000, (2256, INFINITY)),
        ((1024, 1024), 384, (1024, 1024)),
        ((256, 1024), 384, (1024, 1024)),
        ((8192, 8192), 1000, None),
        ((INFINITY, INFINITY), 1000, None),
        ((100, 100), 1, (100, 100)),
    ],
)
def test_open_files_are_reserved_for_probes_and_transfers(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], affordable: int, raised: tuple[int, int] | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: set_to.append(pair))
    assert affordable_connections(1000) == affordable
    assert set_to == ([] if raised is None else [raised])

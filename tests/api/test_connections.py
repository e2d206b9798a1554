"""How many connections there may be, and what the limit on open files allows."""

import resource
from dataclasses import dataclass
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from app.api.connections import RESERVE, Connections, affordable_connections, most_of_one
from app.metrics import Metrics

INFINITY = resource.RLIM_INFINITY
ANN, BOB, CLEO, PROXY = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"


@dataclass(eq=False)
class Line:
    """An open connection."""

    awaited: bool = False
    displaced: bool = False

    def displace(self) -> None:
        self.displaced = True


def taken(connections: Connections, address: str, count: int, awaited: tuple[int, ...] = ()) -> list[Line]:
    """Connections that a client has opened; some of them are awaited."""
    lines = [Line(number in awaited) for number in range(count)]
    assert {connections.enter(address, line) for line in lines} == {"open"}
    return lines


def test_above_the_limit_only_a_reserve_for_probes_is_left() -> None:
    connections, line = Connections(2, per_client=1000), Line()
    admitted = [connections.enter(ANN, line) for _ in range(2 + RESERVE + 1)]
    assert admitted == ["open"] * 2 + ["probes"] * RESERVE + ["refused"]
    for _ in range(RESERVE + 2):
        connections.leave(ANN, line)
    assert connections.enter(ANN, Line()) == "open"


def test_each_client_has_its_own_limit_and_a_proxy_has_none() -> None:
    connections = Connections(100, per_client=2, is_proxy=PROXY.__eq__)
    first, second = taken(connections, ANN, 2)
    refused = Line()
    assert connections.enter(ANN, refused) == "refused"
    taken(connections, BOB, 1)
    taken(connections, PROXY, 10)
    connections.leave(ANN, refused)
    connections.leave(ANN, second)
    assert connections.enter(ANN, Line()) == "open"
    assert not first.displaced


def test_when_all_are_taken_the_client_with_the_most_gives_up_its_oldest() -> None:
    connections = Connections(6, per_client=4)
    anns, bobs = taken(connections, ANN, 4), taken(connections, BOB, 2)
    cleos = taken(connections, CLEO, 2)
    assert [line.displaced for line in anns] == [True, True, False, False]
    assert connections.enter(CLEO, Line()) == "probes"
    for line in anns[:2]:
        connections.leave(ANN, line)
    assert connections.enter(ANN, Line()) == "probes"
    assert not any(line.displaced for line in (*anns[2:], *bobs, *cleos))


def test_connections_whose_answer_is_awaited_are_given_up_last() -> None:
    connections = Connections(4, per_client=4)
    anns = taken(connections, ANN, 4, awaited=(0, 1, 3))
    taken(connections, BOB, 2)
    assert [line.displaced for line in anns] == [True, False, True, False]


def test_a_proxy_gives_up_no_connection_and_takes_none_from_clients_with_fewer() -> None:
    connections = Connections(6, per_client=4, is_proxy=PROXY.__eq__)
    through_proxy, anns = taken(connections, PROXY, 4), taken(connections, ANN, 2)
    assert connections.enter(PROXY, Line()) == "probes"
    taken(connections, BOB, 1)
    assert [line.displaced for line in (*through_proxy, *anns)] == [False, False, False, False, True, False]
    assert connections.enter(CLEO, Line()) == "probes"


@pytest.mark.parametrize(("wanted", "limit", "most"), [(256, 1024, 256), (256, 200, 150), (1000, 4, 3), (5, 1, 1)])
def test_the_limit_per_client_never_covers_all_connections(wanted: int, limit: int, most: int) -> None:
    assert most_of_one(wanted, limit) == most


def test_a_network_of_ipv6_addresses_is_one_client() -> None:
    connections, lines = Connections(100, per_client=2), [Line() for _ in range(3)]
    admitted = [connections.enter(f"2001:db8::{number}", line) for number, line in enumerate(lines)]
    assert admitted == ["open", "open", "refused"]
    assert connections.enter("2001:db8:0:1::1", Line()) == "open"
    for number, line in enumerate(lines):
        connections.leave(f"2001:db8::{number}", line)
    assert connections.enter("2001:db8::9", Line()) == "open"


def test_the_oldest_of_a_clients_too_many_lingering_connections_is_closed() -> None:
    """They have no request, so through a proxy, limits on requests would not stop one client from taking them all."""
    connections, ended = Connections(1000, per_client=1000), list[str]()
    waiting = [partial(ended.append, f"ann {number}") for number in range(66)]
    connections.linger("bob", partial(ended.append, "bob"))
    for end in waiting:
        connections.linger("ann", end)
    assert ended == ["ann 0", "ann 1"], "which take a moment to end"
    for end in waiting[:5]:
        connections.stop_lingering("ann", end)
    connections.linger("ann", partial(ended.append, "another"))
    assert ended == ["ann 0", "ann 1"]


def test_nothing_is_remembered_of_clients_that_have_left() -> None:
    connections, line, end = Connections(10, per_client=10), Line(), partial(print)
    assert connections.enter(ANN, line) == "open"
    connections.linger(ANN, end)
    assert ANN in repr(vars(connections))
    connections.stop_lingering(ANN, end)
    connections.leave(ANN, line)
    assert ANN not in repr(vars(connections))


@pytest.mark.parametrize(
    ("per_client", "addresses", "dropped"),
    [
        (2, (ANN, ANN), 0),
        (2, (ANN, ANN, ANN), 1),
        (2, (ANN, ANN, BOB), 1),
        (1000, (ANN,) * (2 + RESERVE), 0),
        (1000, (ANN,) * (2 + RESERVE + 2), 2),
    ],
    ids=["room for all", "too many of one client", "one is displaced", "reserved for probes", "more than that"],
)
def test_connections_and_those_that_are_dropped_are_counted(
    per_client: int, addresses: tuple[str, ...], dropped: int
) -> None:
    registry = CollectorRegistry()
    connections = Connections(2, per_client, metrics=Metrics(registry))
    for address in addresses:
        connections.enter(address, Line())
    assert registry.get_sample_value("lapsrn_connections") == len(addresses)
    assert registry.get_sample_value("lapsrn_connections_dropped_total", {"reason": "too-many"}) == dropped


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

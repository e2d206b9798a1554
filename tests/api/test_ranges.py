"""Range requests, which resume an interrupted transfer."""

import httpx
import pytest

from app.api.ranges import part
from app.errors import RangeNotSatisfiable
from tests.api.test_upscale import post

TAG = '"a"'


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-9", range(10)),
        ("bytes=3-", range(3, 10)),
        ("bytes=3-100", range(3, 10)),
        ("Bytes=9-9", range(9, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-100", range(10)),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=+1-", None),
        ("bytes=\u00b2-", None),
        ("lines=0-1", None),
        ("bytes=0-1 ", range(2)),
        ("bytes=" + 5000 * "9" + "-", None),
    ],
)
def test_ranges_are_resolved_to_parts(wanted: str, expected: range | None) -> None:
    assert part(wanted, "", TAG, 10) == expected


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_beyond_the_end_is_not_satisfiable(wanted: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        part(wanted, "", TAG, 10)


@pytest.mark.parametrize(
    ("if_range", "is_part"), [(TAG, True), ('W/"a"', False), ('"b"', False), ("Fri, 31 Jan 2026 12:00:00 GMT", False)]
)
def test_a_part_is_only_sent_if_if_range_matches(if_range: str, is_part: bool) -> None:
    assert (part("bytes=3-", if_range, TAG, 10) is not None) == is_part


async def test_a_broken_transfer_can_be_resumed(client: httpx.AsyncClient) -> None:
    made = await post(client)
    url, tag, whole = made.headers["content-location"], made.headers["etag"], made.content
    had = len(whole) // 2
    rest = await client.get(url, headers={"range": f"bytes={had}-", "if-range": tag})
    assert (rest.status_code, whole[:had] + rest.content) == (206, whole)
    assert rest.headers["content-range"] == f"bytes {had}-{len(whole) - 1}/{len(whole)}"
    assert rest.headers["content-length"] == str(len(whole) - had)
    assert (rest.headers["etag"], rest.headers["content-type"]) == (tag, "image/png")


async def test_resuming_a_complete_transfer_is_416(client: httpx.AsyncClient) -> None:
    made = await post(client)
    answer = await client.get(made.headers["content-location"], headers={"range": f"bytes={len(made.content)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(made.content)}")
    assert answer.json()["type"] == "urn:lapsrn:problem:range-not-satisfiable"


@pytest.mark.parametrize(
    ("if_match", "status"),
    [("{}", 200), ('"x", {}', 200), ("*", 200), ("", 200), ('"x"', 412), ("W/{}", 412), ('"x", "y"', 412)],
)
async def test_if_match_must_match_the_picture(client: httpx.AsyncClient, if_match: str, status: int) -> None:
    """Strongly compared (RFC 9110, section 13.1.1), and before If-None-Match and Range."""
    made = await post(client)
    url, tag = made.headers["content-location"], made.headers["etag"]
    condition = {"if-match": if_match.format(tag)}
    for method in ("GET", "HEAD"):
        assert (await client.request(method, url, headers=condition)).status_code == status
    had = await client.get(url, headers=condition | {"if-none-match": tag})
    rest = await client.get(url, headers=condition | {"range": "bytes=1-"})
    expected = (304, 206) if status == 200 else (412, 412)
    assert (had.status_code, rest.status_code) == expected


async def test_range_is_evaluated_after_other_conditions_and_ignored_for_head(client: httpx.AsyncClient) -> None:
    made = await post(client)
    url = made.headers["content-location"]
    had = await client.get(url, headers={"range": "bytes=0-1", "if-none-match": made.headers["etag"]})
    head = await client.head(url, headers={"range": "bytes=0-1"})
    assert (had.status_code, head.status_code) == (304, 200)
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(len(made.content)), "bytes")


async def test_caches_keep_no_answer_to_a_post_and_ask_again_for_each_fetch(client: httpx.AsyncClient) -> None:
    """Without id=, the cookie decides which picture it is."""
    made = await post(client)
    assert (made.headers["cache-control"], made.headers["vary"]) == ("no-store", "Accept")
    fetched = await client.get(made.headers["content-location"])
    assert (fetched.headers["cache-control"], fetched.headers["vary"]) == ("private, no-cache", "Cookie")

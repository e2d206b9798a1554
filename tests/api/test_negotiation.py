"""Accept, If-None-Match and Prefer."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.negotiation import acceptable_formats, is_meant, revalidates, wants_async
from app.errors import NotAcceptable
from app.formats import OUTPUT_FORMATS, OutputFormat

MEDIA_TYPES = {name: row.media_type for name, row in OUTPUT_FORMATS.items()}


def choose_format(accept: str, *, strict: bool = True) -> OutputFormat:
    return acceptable_formats(accept, strict=strict)[0]


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/png", "png"),
        ("image/webp", "webp"),
        ("IMAGE/WebP", "webp"),
        ("image/avif,image/webp,image/png,*/*;q=0.8", "png"),
        ("image/avif,image/webp,*/*;q=0.8", "webp"),
        ("image/jpeg;q=0.9, image/png;q=0.8", "jpeg"),
        ("image/png;q=0, */*", "webp"),
        ("image/tiff;q=0.001", "tiff"),
        ("text/html, image/*;q=0.5", "png"),
        ("image/png;q=abc, image/jpeg;q=0.1", "jpeg"),
        ("image/webp;level=1;q=0.3, image/png;q=0.2", "webp"),
        ("image/webp;level=1, image/png;q=0.2", "webp"),
        ("image/png;q=0.9, image/webp;q=1", "webp"),
        ("image/png;q=0.9, image/webp;q=1.000", "webp"),
        ("image/png, image/webp;q=1.5", "png"),
        ("image/png;q=0.1, image/webp;q=2.5", "png"),
        ("image/png;q=0.1, image/webp;q=1.x", "png"),
    ],
)
def test_the_format_preferred_by_accept_is_first(accept: str, name: str) -> None:
    assert acceptable_formats(accept)[0] == name


@pytest.mark.parametrize("entries", [511, 512, 513, 20_000])
def test_only_the_beginning_of_a_very_long_list_is_read(entries: int) -> None:
    """Parsing one client's lists of 60 KiB delayed others by 0.1 s. The entry that is cut off is ignored."""
    assert acceptable_formats("image/webp," + "a/b," * entries + "image/png") == ("webp",)
    assert acceptable_formats("image/webp," + "a/b," * 507 + "image/png;q=0.5") == ("webp",)
    assert wants_async("wait=1,respond-async," + "a=b," * entries)
    assert not wants_async("wait=1," + "a=b," * entries + "respond-async")
    for asks in (revalidates, is_meant):
        assert asks('"b",' + '"a",' * entries, '"b"')
        assert not asks('"a",' * entries + '"a","b"', '"b"')


@pytest.mark.parametrize(
    "accept", ["text/html", "image/gif", "*/*;q=0", "image/png;q=0", ";", "image/*;q=nan", "*/*;q=.", "*;q=0"]
)
def test_accept_without_a_writable_format_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, image/webp"):
        acceptable_formats(accept)


@dataclass(frozen=True)
class Range:
    """One media range of Accept: what it means, and how it is written."""

    media_range: str
    thousandths: int
    written: str


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    """With any weight, in any of its spellings, and blanks wherever they may be."""
    media_range = draw(st.sampled_from([*MEDIA_TYPES.values(), "image/*", "*/*", "text/html", "image/gif", "text/*"]))
    thousandths = draw(st.integers(0, 1000))
    weights = {f"{thousandths / 1000:.{digits}f}" for digits in (1, 2, 3)} | {f"{thousandths / 1000:g}"}
    q = draw(st.sampled_from(sorted(weight for weight in weights if round(float(weight) * 1000) == thousandths)))
    blank = st.sampled_from(["", " ", "\t", "  "])
    name = draw(st.sampled_from([media_range, media_range.upper(), media_range.title()]))
    other = draw(st.sampled_from(["", ";level=1", "; Q2=0.7", ";"]))
    weight = f"{draw(blank)};{draw(blank)}{draw(st.sampled_from('qQ'))}={q}"
    if thousandths == 1000:
        weight = draw(st.sampled_from(["", weight]))
    return Range(media_range, thousandths, f"{draw(blank)}{name}{other}{weight}{draw(blank)}")


def liked(accepted: Sequence[Range]) -> dict[str, int]:
    """RFC 9110: a format's weight is that of the most specific range that covers it, here the last of equal ones."""
    weights = dict.fromkeys(map(str, MEDIA_TYPES), 0)
    for name, media_type in MEDIA_TYPES.items():
        for media_range in ("*/*", "image/*", media_type):
            for each in accepted:
                if each.media_range == media_range:
                    weights[name] = each.thousandths
    return weights


@given(accepted=st.lists(ranges(), min_size=1, max_size=6))
def test_the_format_with_the_highest_weight_is_chosen_in_any_notation(accepted: list[Range]) -> None:
    header, weights = ",".join(each.written for each in accepted), liked(accepted)
    best = max(weights.values())
    if best:
        assert choose_format(header) == next(name for name, weight in weights.items() if weight == best)
    else:
        with pytest.raises(NotAcceptable):
            choose_format(header)
        assert choose_format(header, strict=False) == "png"


PIECES = st.sampled_from([*"*/;,=. q\t01", "image/png", "image/", "q=", "0.5", "-1", "1e9", "nan", "\u0663", "\xff"])


@given(header=st.text() | st.lists(PIECES).map("".join))
def test_any_accept_header_gives_a_format_or_not_acceptable(header: str) -> None:
    assert choose_format(header, strict=False) in MEDIA_TYPES
    try:
        assert choose_format(header) in MEDIA_TYPES
    except NotAcceptable:
        assert header.strip(), "no wish is no refusal"


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json", "APPLICATION/*;q=0.1"])
def test_clients_that_accept_only_json_get_png(accept: str) -> None:
    """OpenAPI Generator makes such clients for Python, Go, Ruby and C#; what they want is the picture."""
    assert acceptable_formats(accept) == ("png",)
    assert acceptable_formats(f"{accept}, image/webp") == ("webp",)
    with pytest.raises(NotAcceptable):
        acceptable_formats("application/json;q=0, text/*")


def test_a_job_is_not_refused_for_accepting_only_json() -> None:
    assert acceptable_formats("text/html", strict=False) == ("png",)
    assert acceptable_formats("application/json, image/webp", strict=False) == ("webp",)


@pytest.mark.parametrize(
    ("accept", "names"),
    [
        ("", ("png", "webp", "jpeg", "avif", "tiff", "jxl")),
        ("image/webp,*/*", ("png", "webp", "jpeg", "avif", "tiff", "jxl")),
        ("image/webp,*/*;q=0.8", ("webp", "png", "jpeg", "avif", "tiff", "jxl")),
        ("image/avif,image/webp;q=0.9,image/png;q=0.1", ("avif", "webp", "png")),
        (
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",  # Java's, before version 18
            ("jpeg", "png", "webp", "avif", "tiff", "jxl"),
        ),
        ("image/jpeg, *;q=0.2", ("jpeg", "png", "webp", "avif", "tiff", "jxl")),
        ("image/*;q=0.5,image/png;q=0,image/tiff", ("tiff", "webp", "jpeg", "avif", "jxl")),
    ],
)
def test_acceptable_formats_are_ordered_by_preference(accept: str, names: tuple[str, ...]) -> None:
    assert acceptable_formats(accept) == names


@pytest.mark.parametrize(
    ("header", "same"),
    [("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_if_none_match_compares_weakly(header: str, same: bool) -> None:
    assert revalidates(header, '"a"') is same


@pytest.mark.parametrize(
    ("header", "meant"), [("", True), ("*", True), ('"b", "a"', True), ('"b"', False), ('W/"a"', False), ("a", False)]
)
def test_if_match_compares_strongly(header: str, meant: bool) -> None:
    assert is_meant(header, '"a"') is meant


@pytest.mark.parametrize(
    ("prefer", "patient"),
    [("", False), ("respond-async", True), ("Respond-Async", True), ("wait=5, respond-async", True),
     ("respond-async; wait=5", True), ("return=minimal", False), ("respond-asynchronously", False)],
)  # fmt: skip
def test_prefer_respond_async_requests_a_job(prefer: str, patient: bool) -> None:
    assert wants_async(prefer) is patient

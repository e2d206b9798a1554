"""Accept, If-None-Match and Prefer."""

import pytest

from app.api.negotiation import acceptable_formats, revalidates, wants_async
from app.errors import NotAcceptable


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
    ],
)
def test_choice(accept: str, name: str) -> None:
    assert acceptable_formats(accept)[0] == name


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0", "image/png;q=0", ";", "image/*;q=nan"])
def test_nothing_fits(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, image/webp"):
        acceptable_formats(accept)


def test_a_job_is_not_refused_for_wanting_json() -> None:
    assert acceptable_formats("application/json", strict=False) == ("png",)
    assert acceptable_formats("application/json, image/webp", strict=False) == ("webp",)


@pytest.mark.parametrize(
    ("accept", "names"),
    [
        ("", ("png", "webp", "jpeg", "avif", "tiff")),
        ("image/webp,*/*", ("png", "webp", "jpeg", "avif", "tiff")),
        ("image/webp,*/*;q=0.8", ("webp", "png", "jpeg", "avif", "tiff")),
        ("image/avif,image/webp;q=0.9,image/png;q=0.1", ("avif", "webp", "png")),
        ("image/*;q=0.5,image/png;q=0,image/tiff", ("tiff", "webp", "jpeg", "avif")),
    ],
)
def test_second_choices_follow(accept: str, names: tuple[str, ...]) -> None:
    assert acceptable_formats(accept) == names


@pytest.mark.parametrize(
    ("header", "same"),
    [("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_revalidation(header: str, same: bool) -> None:
    assert revalidates(header, '"a"') is same


@pytest.mark.parametrize(
    ("prefer", "patient"),
    [("", False), ("respond-async", True), ("Respond-Async", True), ("wait=5, respond-async", True),
     ("respond-async; wait=5", True), ("return=minimal", False), ("respond-asynchronously", False)],
)  # fmt: skip
def test_asynchrony(prefer: str, patient: bool) -> None:
    assert wants_async(prefer) is patient

"""Content negotiation: the picture formats, revalidation and asynchrony that a client's headers ask for."""

from collections.abc import Mapping

from app.errors import NotAcceptable
from app.formats import DEFAULT_FORMAT, OUTPUT_FORMATS, OutputFormat

_JSON = ("application/json", "application/problem+json")
"""Types of responses other than pictures. OpenAPI Generator's clients accept only JSON if any response is JSON."""

_MAX_LIST = 2048
"""Characters of a list header that are parsed, up to the last complete entry: clients need no more, and parsing 64 KiB
would block the event loop for 20 ms."""


def acceptable_formats(accept: str, *, strict: bool = True) -> tuple[OutputFormat, ...]:
    """The formats that `accept` (RFC 9110, section 12.5.1) allows, best first; PNG is the first among equals.

    Raises NotAcceptable if it excludes them all; instead returns PNG if it allows JSON, or if not `strict`, because the
    response is a job's JSON.
    """
    accept = beginning_of(accept)
    if not accept.strip():
        return tuple(OUTPUT_FORMATS)
    ranges = _ranges(accept)
    weights = {name: _weight(row.media_type, ranges) for name, row in OUTPUT_FORMATS.items()}
    allowed = sorted((name for name in weights if weights[name] > 0.0), key=lambda name: -weights[name])
    if not allowed:
        if not strict or any(_weight(media_type, ranges) for media_type in _JSON):
            return (DEFAULT_FORMAT,)
        possible = ", ".join(row.media_type for row in OUTPUT_FORMATS.values())
        raise NotAcceptable(f"None of the media types in Accept is available. Accept one of {possible}.")
    return tuple(allowed)


def _ranges(accept: str) -> dict[str, float]:
    """Media range -> q. An invalid q counts as 0.

    Java's HttpURLConnection before version 18 sends `*; q=.2, */*; q=.2`.
    """
    ranges: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        q = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                q = _number(value.strip())
        if media_range:
            ranges["*/*" if media_range == "*" else media_range.lower()] = q
    return ranges


def _number(text: str) -> float:
    """The number 0..1 in `text`; 0 if it is invalid."""
    whole, _, fraction = text.partition(".")
    plain = (whole in ("0", "1") and (not fraction or fraction.isdecimal())) or (not whole and fraction.isdecimal())
    return min(1.0, float(text)) if plain else 0.0


def _weight(media_type: str, ranges: Mapping[str, float]) -> float:
    """The q of the most specific range that covers `media_type`; 0 if none does."""
    family = media_type.partition("/")[0] + "/*"
    return next((ranges[key] for key in (media_type, family, "*/*") if key in ranges), 0.0)


def is_meant(if_match: str, etag: str) -> bool:
    """Whether If-Match is absent or matches this representation (strong comparison; RFC 9110, section 13.1.1)."""
    tags = [tag.strip() for tag in beginning_of(if_match).split(",")]
    return not if_match.strip() or "*" in tags or etag in tags


def revalidates(if_none_match: str, etag: str) -> bool:
    """Whether the client has this representation, according to If-None-Match (weak comparison)."""
    tags = [tag.strip().removeprefix("W/") for tag in beginning_of(if_none_match).split(",")]
    return "*" in tags or etag in tags


def wants_async(prefer: str) -> bool:
    """Whether Prefer (RFC 7240) contains respond-async."""
    return any(part.split(";")[0].strip().lower() == "respond-async" for part in beginning_of(prefer).split(","))


def beginning_of(entries: str) -> str:
    """The complete entries within the first _MAX_LIST characters of a comma-separated header."""
    return entries if len(entries) <= _MAX_LIST else entries[:_MAX_LIST].rpartition(",")[0]

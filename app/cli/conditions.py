"""Refuses options that contradict each other or have no effect, before anything is read or loaded."""

from collections.abc import Collection
from urllib.parse import urlsplit

from app.cli.backends import Place
from app.cli.inputs import PlanError
from app.formats import OUTPUT_FORMATS, OutputFormat
from app.options import UpscaleOptions


def check_place(place: Place, typed: Collection[str]) -> None:
    """Raises PlanError for options that need a service or exclude one, and for a bad address.

    `typed` holds the names of the parameters that were given on the command line.
    """
    if place.server is None:
        for name in ("jobs", "api_key"):
            if name in typed:
                flag = _flag(name)
                raise PlanError(f"{flag} is for work done by a service: give --server URL too, or leave {flag} out.")
        return
    for name in ("weights", "device"):
        if name in typed:
            raise PlanError(
                f"{_flag(name)} is for work on this machine, but --server (or LAPSRN_SERVER) has {place.server} do it: "
                "give only one of them."
            )
    if not _is_address(place.server):
        raise PlanError(
            f"--server (or LAPSRN_SERVER) is {place.server!r}; it has to be an address such as http://127.0.0.1:8000."
        )
    if not (place.api_key.isascii() and place.api_key.isprintable()):
        raise PlanError("--api-key (or LAPSRN_API_KEY) has characters other than printable ASCII ones.")


def check_size(options: UpscaleOptions) -> None:
    """Raises PlanError for sizes that contradict each other."""
    if options.long_side is not None and (options.width is not None or options.height is not None):
        raise PlanError("--long-side does not go with --width or --height: leave one of them out.")


def check_scale(options: UpscaleOptions) -> None:
    """Raises PlanError unless the scale is a level of a network, for commands that support nothing else."""
    if options.scale != options.least_level:
        raise PlanError(f"--scale {options.scale:g} is not a level of a network: give 2, 4 or 8.")


def check_level(level: int, options: UpscaleOptions) -> None:
    """Raises PlanError unless the level that was asked for is a smaller one of the pass."""
    scale = f"{options.scale:g}"
    if options.sized or options.scale != options.least_level:
        raise PlanError(f"--level {level} is of a pass at 2, 4 or 8: leave it out, or ask for such a --scale alone.")
    if level > options.scale:
        raise PlanError(f"--level {level} is more than --scale {scale}: a pass has the levels up to its scale.")
    if level == options.scale:
        raise PlanError(f"--level {level} is what --scale {scale} gives anyway: leave it out, or choose a smaller one.")


def check_format(options: UpscaleOptions, form: OutputFormat) -> None:
    """Raises PlanError if this format cannot provide the quality that was asked for."""
    numbered = options.lossy_quality is not None
    row = OUTPUT_FORMATS[form]
    if not row.lossy and numbered:
        raise PlanError(
            f"--quality is for lossy formats, and {form} is lossless: leave it out, or choose {_formats(lossy=True)}."
        )
    if not row.lossy and options.lossless is False:
        raise PlanError(f"--no-lossless does not go with {form}: choose {_formats(lossy=True)}.")
    if not row.lossless and options.lossless:
        raise PlanError(f"--lossless does not go with {form}: choose {_formats(lossy=False)}.")
    if numbered and options.lossless:
        raise PlanError("--quality and --lossless contradict each other: leave one of them out.")


def _formats(*, lossy: bool) -> str:
    """The formats that can be lossy, or lossless, as text."""
    *others, last = (name for name, row in OUTPUT_FORMATS.items() if (row.lossy if lossy else row.lossless))
    return f"{', '.join(others)} or {last}"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")

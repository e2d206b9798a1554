"""The options of an upscale: the single declaration that HTTP, jobs, the command line and the codec use.

Plain dataclasses, so that decoder processes and `lapsrn --help` do not load pydantic. lapsrn_client is independent and
repeats them; tests/test_options.py keeps both and docs/api.md consistent.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, TypeAlias, get_args

from app.formats import DEFAULT_FORMAT, OutputFormat

LevelChoice: TypeAlias = Literal[2, 4, 8]
"""The pyramid levels that a network can have."""
_LEVELS: tuple[int, ...] = get_args(LevelChoice)
MoreEffort: TypeAlias = Literal["medium", "high", "best"]
"""Names of efforts above the standard: a better result in more time."""
MORE_EFFORT: tuple[str, ...] = get_args(MoreEffort)
Effort: TypeAlias = Literal["standard", MoreEffort]
"""How much work is done for a result; app.service.choice defines each."""


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is documented: `description` in OpenAPI, `help` and `metavar` on the command line."""

    description: str
    help: str
    metavar: str | None = None
    example: object = None
    max_length: int | None = None
    least: float | None = None
    most: float | None = None
    """Limits of a number, both inclusive."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(alias, value) pairs that are accepted in a query, but not documented."""
    general: bool = False
    """Whether the command line lists it with the general options instead of those about pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleOptions:
    """The options of an upscale. Whatever reads them from a request or a command line has validated the values."""

    scale: Annotated[
        float,
        Option(
            "How many times as wide and high, 1 to 8. The network itself makes the levels that GET /model lists; other "
            "sizes, such as 3 or 1.5, are made from the next larger level. 1 is for a model that removes artifacts.",
            "How many times as wide and high, 1 to 8; 2, 4 and 8 are levels, others are made from the next larger one.",
            metavar="1..8",
            example=2,
            least=1,
            most=_LEVELS[-1],
            general=True,
        ),
    ] = 4
    width: Annotated[
        int | None,
        Option(
            "Width of the result in pixels, instead of `scale`; its height follows. With `height`, the largest result "
            "that fits within both.",
            "Width of the results, instead of --scale; with --height, both are upper limits.",
            metavar="PIXELS",
            least=1,
            general=True,
        ),
    ] = None
    height: Annotated[
        int | None,
        Option(
            "The same for the height.",
            "The same for the height.",
            metavar="PIXELS",
            least=1,
            general=True,
        ),
    ] = None
    long_side: Annotated[
        int | None,
        Option(
            "Length of the result's longer side in pixels, instead of `scale`.",
            "Length of the longer side, instead of --scale.",
            metavar="PIXELS",
            least=1,
            general=True,
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            "Which network, by its name in GET /model; by default, the first that has the scale. Its deep companion "
            "takes over for clean-up and high quality. `lapsrn_x4_jpeg` is another name for `clean=1`.",
            "Network to use; lapsrn_x4_jpeg means --clean 1.",
            metavar="NAME",
            example="lapsrn_x8",
            max_length=64,
            general=True,
        ),
    ] = None
    clean: Annotated[
        float | Literal["auto"],
        Option(
            "How strongly to remove traces of compression and noise: from 0, nothing, to 1, in eighths. `auto`, the "
            "default, chooses what suits the compression, noise or shrinking that the picture shows, and 0 if it shows "
            "none.",
            "How strongly to remove traces of compression and noise: 0 to 1, or auto to decide by the picture.",
            metavar="0..1|auto",
            example=0.5,
        ),
    ] = "auto"
    format: Annotated[
        OutputFormat | None,
        Option(
            "Format of the response; by default, Accept decides, and PNG is sent if it has no preference.",
            "Format of the results; by default, that of the extension of OUT, or png.",
            aliases=(("jpg", "jpeg"), ("tif", "tiff")),
        ),
    ] = None
    effort: Annotated[
        MoreEffort | None,
        Option(
            "A better result in more time, for any format: `medium` is the mean of two passes, over the picture and a "
            "quarter turn, `high` the same by the network's deep companion, and `best` is `ensemble=true`. Without a "
            "companion, `high` is `best`.",
            "A better result in more time; best is the same as --ensemble.",
        ),
    ] = None
    quality: Annotated[
        int | MoreEffort | None,
        Option(
            "Of lossy formats, 1 to 100. A word is another name for `effort`, for any format.",
            "Quality of lossy formats; a word is another name for --effort.",
            metavar="1..100|medium|high|best",
            example=90,
        ),
    ] = None
    ensemble: Annotated[
        bool,
        Option(
            "The best quality, the geometric self-ensemble: the mean over the picture's four quarter turns and their "
            "mirrors, by the network's deep companion if it has one. It counts as eight times as many tiles, of a "
            "network that takes longer for each one.",
            "The best result: the mean over four quarter turns and their mirror images; about twelve times slower.",
        ),
    ] = False
    lossless: Annotated[
        bool | None,
        Option(
            "For WebP and JPEG XL: lossless unless `quality` is given or this is false.",
            "For WebP and JPEG XL: lossless, which is the default without --quality.",
        ),
    ] = None
    depth: Annotated[
        Literal["keep", "8"],
        Option("Keep 16 bits per sample, or reduce them to 8.", "Keep 16 bits per sample, or reduce them to 8."),
    ] = "keep"
    color: Annotated[
        Literal["keep", "srgb"],
        Option("Keep the ICC profile, or convert to sRGB.", "Keep the ICC profile, or convert to sRGB."),
    ] = "keep"
    metadata: Annotated[
        Literal["drop", "keep", "all"],
        Option(
            "Drop EXIF, XMP, IPTC and resolution, keep them without the position, or keep everything.",
            "EXIF, XMP, IPTC and resolution: drop them, keep them without the position, or keep everything.",
        ),
    ] = "drop"
    frames: Annotated[
        Literal["single", "first", "all"],
        Option(
            "Animations: refuse them, take the first frame, or upscale all frames.",
            "Animations: refuse them, take the first frame, or upscale all frames.",
        ),
    ] = "single"
    truncated: Annotated[
        Literal["reject", "allow"],
        Option(
            "Refuse an incomplete file, or upscale what is there.",
            "Damaged files: reject them, or upscale what is there.",
        ),
    ] = "reject"

    @property
    def sized(self) -> bool:
        """Whether a size is asked for, instead of a scale."""
        return self.width is not None or self.height is not None or self.long_side is not None

    @property
    def least_level(self) -> int:
        """The smallest level that may be needed, for a picture of any size."""
        return _LEVELS[0] if self.sized else next(level for level in _LEVELS if level >= self.scale)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result for an upright picture of this size, at least 1 x 1."""
        factor = Fraction(self.scale)
        if self.long_side is not None:
            factor = Fraction(self.long_side, max(height, width))
        elif self.sized:
            limits = ((self.height, height), (self.width, width))
            factor = min(Fraction(limit, side) for limit, side in limits if limit is not None)
        return max(1, _rounded(height * factor)), max(1, _rounded(width * factor))

    @property
    def cleans(self) -> bool:
        """Whether luma is cleaned up. Only meaningful once "auto" has been replaced by a strength."""
        return self.clean not in ("auto", 0)

    @property
    def output_format(self) -> OutputFormat:
        """The format to write; PNG by default."""
        return self.format or DEFAULT_FORMAT

    @property
    def lossy_quality(self) -> int | None:
        """The quality as a number, if one was given."""
        return self.quality if isinstance(self.quality, int) else None

    @property
    def asked_effort(self) -> Effort:
        """The highest effort asked for by any of `effort`, `quality` and `ensemble`."""
        asked = (self.effort, self.quality, "best" if self.ensemble else None)
        return next((each for each in reversed(get_args(MoreEffort)) if each in asked), "standard")


def listed(words: tuple[str, ...]) -> str:
    """A list as text, such as "medium, high or best"."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _rounded(value: Fraction) -> int:
    """The nearest integer; halves are rounded up."""
    return int(value + Fraction(1, 2))

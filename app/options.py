"""What can be asked of one upscale: the one declaration that HTTP, jobs, the command line and the codec read.

Plain dataclasses, as decoder processes and `lapsrn --help` should not load pydantic. app.client stands alone and
mirrors them by hand; tests/test_options.py holds the two and docs/api.md together.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from app.formats import DEFAULT_FORMAT, OutputFormat

LevelChoice: TypeAlias = Literal[2, 4, 8]


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is described: in the OpenAPI document, and in the help of the command line."""

    description: str
    help: str
    metavar: str | None = None
    example: object = None
    max_length: int | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    """Other names of values in a query, each with the value that it means; they are taken, but not advertised."""
    general: bool = False
    """On the command line, listed with the general options and not among those about pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleOptions:
    """The values have been validated by whoever took them from a request or a command line."""

    scale: Annotated[
        LevelChoice,
        Option(
            "How many times as high and wide; of these, what GET /model names.",
            "How many times as wide and as high.",
            general=True,
        ),
    ] = 4
    model: Annotated[
        str | None,
        Option(
            "Which network, by its name in GET /model. Without it, the first that has the scale. `lapsrn_x4_jpeg` is "
            "another name of `clean=1`.",
            "Network to use; lapsrn_x4_jpeg is --clean 1.",
            metavar="NAME",
            example="lapsrn_x8",
            max_length=64,
            general=True,
        ),
    ] = None
    clean: Annotated[
        float | Literal["auto"],
        Option(
            "How strongly to remove traces of compression and noise: from 0, nothing, to 1, in eighths. `auto` takes "
            "what suits the picture's compression, by its quantisation and its pixels, and 0 if it has none.",
            "How strongly to remove traces of compression and noise: 0 to 1, or auto, by the picture.",
            metavar="0..1|auto",
            example=0.5,
        ),
    ] = "auto"
    format: Annotated[
        OutputFormat | None,
        Option(
            "Format of the answer; without it, Accept decides, and PNG where that is indifferent.",
            "Format of the results; otherwise the ending of OUT decides, or png.",
            aliases=(("jpg", "jpeg"), ("tif", "tiff")),
        ),
    ] = None
    quality: Annotated[
        int | Literal["high"] | None,
        Option(
            "Of lossy formats, 1 to 100. Or `high`: the same as `ensemble=true`, for any format.",
            "Quality of lossy formats; high means --ensemble.",
            metavar="1..100|high",
            example=90,
        ),
    ] = None
    ensemble: Annotated[
        bool,
        Option(
            "The geometric self-ensemble, the best quality: mean of the picture's four quarter turns and "
            "their mirrors. Takes eight times as long, and counts as eight times as many tiles.",
            "Best quality: the mean over four quarter turns and their mirror images, eight times slower.",
        ),
    ] = False
    lossless: Annotated[
        bool | None,
        Option(
            "For WebP: lossless unless `quality` is given or this is false.",
            "For WebP: lossless, which is the default without --quality.",
        ),
    ] = None
    depth: Annotated[
        Literal["keep", "8"],
        Option("16-bit pictures stay 16-bit, or are reduced to 8.", "Keep 16 bits per sample, or reduce them to 8."),
    ] = "keep"
    color: Annotated[
        Literal["keep", "srgb"],
        Option("Keep the ICC profile, or convert to sRGB.", "Keep the ICC profile, or convert to sRGB."),
    ] = "keep"
    metadata: Annotated[
        Literal["drop", "keep", "all"],
        Option(
            "Drop EXIF and XMP, keep them without position, or keep them all.",
            "EXIF and XMP: drop them, keep them without the position, or keep all.",
        ),
    ] = "drop"
    frames: Annotated[
        Literal["single", "first", "all"],
        Option(
            "An animation is refused, gives its first frame, or is upscaled in full.",
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
    def cleans(self) -> bool:
        """Whether luma is cleaned up. To be asked once "auto" has been replaced by a strength."""
        return self.clean not in ("auto", 0)

    @property
    def output_format(self) -> OutputFormat:
        """The format to write; PNG where none was chosen."""
        return self.format or DEFAULT_FORMAT

    @property
    def lossy_quality(self) -> int | None:
        """The quality as a number, if one was given."""
        return None if self.quality == "high" else self.quality

    @property
    def self_ensemble(self) -> bool:
        """Whether the result is the mean over the eight symmetries of the square."""
        return self.ensemble or self.quality == "high"

"""What goes into the codec and what comes out: limits, options, planes, metadata, encoded bytes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.formats import INPUT_FORMATS, WritableFormat

Plane = NDArray[np.float32]
"""(height, width), C-contiguous; 1.0 is full scale (255 at 8 bits, 65535 at 16)."""

Samples = NDArray[np.unsignedinteger]
"""(height, width, channels), uint8 or uint16, C-contiguous: gray, gray and alpha, RGB, or RGB and alpha."""

HDR_TRANSFERS = (16, 18)
"""Transfer characteristics (ITU-T H.273) of PQ and HLG, which stand for more light than ordinary displays have."""

Bytes = NDArray[np.uint8]
"""Of a file in the making: rows (height, bytes), or all of them in one line."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What the decoder accepts. Pixels are counted over every frame that would be decoded."""

    max_input_bytes: int = 32 * 1024 * 1024
    max_input_pixels: int = 16 * 1024 * 1024
    max_output_pixels: int = 64 * 1024 * 1024
    formats: tuple[str, ...] = INPUT_FORMATS
    """Titles of rows of app.formats."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What travels from the source file to the result besides pixels.

    `icc` is a profile; `srgb` says that the samples are sRGB by conversion or by the file's own word; `gamma`, that a
    PNG gives the gamma and primaries of sRGB, by which Chromium shows it darker in the shadows; `cicp` are colour
    primaries and transfer characteristics (ITU-T H.273) of RGB or gray of full range, which go before a profile.
    `mastering` and `light` go with them: x and y of a display's red, green, blue and white, in 0.00002, and its most
    and least luminance; the most light of a pixel, and of a frame's mean; both in 0.0001 cd/m².

    `exif` is a TIFF structure without the "Exif\\0\\0" prefix; `xmp` is an XML packet; `iptc` are data sets of
    IPTC-IIM; `dpi` is (vertical, horizontal) in pixels per inch; `dropped` names the blocks that were left out, each
    with the reason, in ASCII. As decoded, orientation is reset, but sizes and resolution are the source's, and
    placeholders in `xmp`; app.codec.metadata.fitted replaces them with the result's.
    """

    icc: bytes | None = None
    srgb: bool = False
    gamma: bool = False
    cicp: tuple[int, int] | None = None
    mastering: tuple[int, ...] | None = None
    light: tuple[int, int] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a picture has been through."""

    kind: Literal["jpeg", "webp", "avif", "grid", "noise", "area", "aliased"]
    """Lossy compression that the file's own headers tell of; or what the pixels do: that they were a JPEG once
    ("grid"), that they are noisy, or that they were shrunk by area or without antialiasing ("aliased")."""
    amount: int
    """The quality of compression, 0 to 100; the standard deviation of noise, in levels of 255; 0 for shrinking."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame as planes (H, W), in units of full scale: luma in studio range, chroma around 0, alpha.

    `opaque`: it has an alpha channel that is full everywhere and needs no network.
    """

    luma: Plane
    chroma: tuple[Plane, Plane] | None = None
    alpha: Plane | None = None
    opaque: bool = False

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.luma.shape[1])

    @property
    def planes(self) -> tuple[Plane, ...]:
        """What goes through the network: luma, then alpha if there is one."""
        return (self.luma,) if self.alpha is None else (self.luma, self.alpha)

    @property
    def channels(self) -> int:
        """Of the result: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
        return (1 if self.chroma is None else 3) + (self.alpha is not None or self.opaque)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded file: its frames, all of one size and kind, and what to know about it.

    `durations_ms` has one entry a frame and is empty for stills; `loop` is the number of plays, 0 for ever.
    `truncated` says that the file was incomplete or damaged and that what was there was taken.
    """

    frames: tuple[Picture, ...]
    depth: Literal[8, 16]
    format: str
    metadata: Metadata = field(default_factory=Metadata)
    durations_ms: tuple[int, ...] = ()
    loop: int = 0
    truncated: bool = False
    findings: tuple[Finding, ...] = ()
    """What it has been through, where that was looked for."""
    split_seconds: float = 0.0

    @property
    def height(self) -> int:
        """Rows of each frame."""
        return self.frames[0].height

    @property
    def width(self) -> int:
        """Columns of each frame."""
        return self.frames[0].width

    @property
    def planes(self) -> list[Plane]:
        """What goes through the network, of every frame."""
        return [plane for frame in self.frames for plane in frame.planes]

    def depth_in(self, target: WritableFormat) -> Literal[8, 16]:
        """Bits of a sample that goes into a file of this format."""
        hdr = self.metadata.cicp is not None and self.metadata.cicp[1] in HDR_TRANSFERS
        return self.depth if target.sixteen_bits or (target.deep_hdr and hdr) else 8

    def strengths(self, clean: float) -> list[float]:
        """Of clean-up for each of `planes`, where luma gets `clean`; alpha is not compressed with losses."""
        return [clean if plane is frame.luma else 0.0 for frame in self.frames for plane in frame.planes]

    def by_frame(self, outputs: Iterable[Mapping[int, Plane]], scale: int) -> list[list[Plane]]:
        """What became of `planes`, in its order and {scale: plane} each, cut into frames again, at one scale."""
        remaining = iter(outputs)
        return [[next(remaining)[scale] for _ in frame.planes] for frame in self.frames]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished file."""

    body: bytes
    media_type: str

"""EXIF: which tags are kept, and those that depend on the size and the colours of the picture."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from PIL.ExifTags import IFD, Base

from app.codec.metadata.directories import (
    ASCII,
    HEADER,
    Directory,
    Entry,
    Structure,
    Unreadable,
    long,
    packed,
    rational,
    short,
)

Choice = Literal["drop", "keep", "all"]

KEPT_MAIN = frozenset(
    {
        *(Base.ImageDescription, Base.XPTitle, Base.XPSubject, Base.XPComment, Base.Rating, Base.RatingPercent),
        *(Base.Artist, Base.XPAuthor, Base.Copyright),
        *(Base.Make, Base.Model, Base.Software, Base.DateTime),
        *(Base.XResolution, Base.YResolution, Base.ResolutionUnit),
    }
)
"""Of the main directory: what the picture is and shows, who made it, with what, and when."""
KEPT_DETAILS = frozenset(
    {
        *(Base.ExifVersion, Base.FlashPixVersion, Base.ColorSpace, Base.Gamma),
        *(Base.ExifImageWidth, Base.ExifImageHeight),
        *(Base.DateTimeOriginal, Base.DateTimeDigitized),
        *(Base.SubsecTime, Base.SubsecTimeOriginal, Base.SubsecTimeDigitized),
        *(Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized),
        *(Base.ExposureTime, Base.FNumber, Base.ExposureProgram, Base.ExposureMode, Base.ExposureIndex),
        *(Base.ShutterSpeedValue, Base.ApertureValue, Base.MaxApertureValue, Base.BrightnessValue),
        *(Base.ExposureBiasValue, Base.MeteringMode, Base.LightSource, Base.WhiteBalance, Base.Flash, Base.FlashEnergy),
        *(Base.SensitivityType, Base.ISOSpeedRatings, Base.StandardOutputSensitivity, Base.RecommendedExposureIndex),
        *(Base.ISOSpeed, Base.ISOSpeedLatitudeyyy, Base.ISOSpeedLatitudezzz, Base.SpectralSensitivity),
        *(Base.FocalLength, Base.FocalLengthIn35mmFilm, Base.DigitalZoomRatio),
        *(Base.SubjectDistance, Base.SubjectDistanceRange),
        *(Base.FocalPlaneXResolution, Base.FocalPlaneYResolution, Base.FocalPlaneResolutionUnit),
        *(Base.LensSpecification, Base.LensMake, Base.LensModel),
        *(Base.SensingMethod, Base.FileSource, Base.SceneType, Base.SceneCaptureType, Base.CustomRendered),
        *(Base.GainControl, Base.Contrast, Base.Saturation, Base.Sharpness, Base.CompositeImage),
    }
)
"""Of the EXIF directory: exposure, lens and dates; no owner, no serial number, nothing that a program fills freely."""

_STALE = frozenset(
    {
        # How the pixels of the source are stored, and blocks that travel by themselves.
        *range(0x00FE, 0x010B),
        *(Base.StripOffsets, *range(0x0115, 0x011A), Base.PlanarConfiguration, *range(0x011E, 0x0126), Base.PageNumber),
        *(Base.TransferFunction, *range(0x013D, 0x0160), *range(0x0190, 0x01B4), *range(0x0200, 0x0230)),
        *(Base.XMLPacket, *range(0x1000, 0x1003), *range(0x80E3, 0x80E7), 0x828D, 0x828E),
        *(Base.IPTCNAA, Base.ImageResources, Base.InterColorProfile, 0x935C, *range(0xC612, 0xD000)),
        # Where on the ground the pixels of the source lie (GeoTIFF), and where on them the subject is.
        *(0x830E, *range(0x847E, 0x8483), 0x85D8, *range(0x87AF, 0x87B2), 0x9214, Base.SubjectLocation),
        # Films behind the picture, directories of raw files, room for editing, and notes with offsets of their own.
        *(0x8897, 0x8290, 0x8606, 0x888A, 0xFE00, 0xEA1C, 0xEA1D, Base.MakerNote),
        *(Base.ComponentsConfiguration, Base.CompressedBitsPerPixel, Base.ExifInteroperabilityOffset),
        *(Base.ExifOffset, Base.GPSInfo),
    }
)
"""What no rewriting leaves true; not even "all" keeps it."""
_STACKS = (b'{"shape":', b"ImageJ=")  # descriptions in which tifffile and ImageJ tell how the file is laid out
_INTEROP = frozenset({1, 2})  # index and version; the rest is the size of another file
_GPS = range(32)
_PER_INCH = {2: Fraction(1), 3: Fraction(254, 100)}  # by unit: inch, centimetre
_INCH = 2
_SRGB = 1
_AXES = (
    (Base.XResolution, Base.YResolution),
    (Base.FocalPlaneXResolution, Base.FocalPlaneYResolution),
)
_DENSITIES = frozenset(tag for pair in _AXES for tag in pair)


@dataclass(frozen=True, slots=True)
class Exif:
    """What is kept of an EXIF block, the orientation that it had, if any, and whether all of it could be read."""

    kept: Directory
    orientation: int | None
    sound: bool


def read(block: bytes | memoryview, choice: Choice) -> Exif:
    """The block, a TIFF structure or a whole TIFF file. Raises Unreadable."""
    structure = Structure(block)
    kinds = {"drop": frozenset[int](), "keep": KEPT_MAIN, "all": None}
    main = structure.directory(structure.first, _among(kinds[choice], Base.Orientation, IFD.Exif, IFD.GPSInfo))
    orientation = main.pop(Base.Orientation, None)
    if (text := main.get(Base.ImageDescription)) and text.value.startswith(_STACKS):
        del main[Base.ImageDescription]
    pointers = {tag: main.pop(tag, None) for tag in (IFD.Exif, IFD.GPSInfo)}
    kept: Directory = dict(main)
    if choice != "drop":
        wanted = _among(KEPT_DETAILS if choice == "keep" else None, IFD.Interop)
        details: Directory = dict(_nested(structure, pointers[IFD.Exif], wanted))
        interop = details.pop(IFD.Interop, None)
        if choice == "all":
            details[IFD.Interop] = dict(_nested(structure, interop, _INTEROP.__contains__))
            kept[IFD.GPSInfo] = dict(_nested(structure, pointers[IFD.GPSInfo], _GPS.__contains__))
        kept[IFD.Exif] = _filled(details)
    if choice == "keep":
        kept = _ended(kept)
    number = None if orientation is None else orientation.whole_number()
    return Exif(_filled(kept), number if number in range(1, 9) else None, structure.sound)


def _among(kept: frozenset[int] | None, *others: int) -> Callable[[int], bool]:
    """Whether a tag is kept, None meaning all that do not go stale, or one of the others."""
    return lambda tag: tag in others or (tag not in _STALE if kept is None else tag in kept)


def _nested(
    structure: Structure, pointer: "Entry | Directory | None", wanted: Callable[[int], bool]
) -> dict[int, Entry]:
    if not isinstance(pointer, Entry):
        return {}
    try:
        return structure.directory(pointer.whole_number() or 0, wanted)
    except Unreadable:
        structure.sound = False
        return {}


def _ended(directory: Directory) -> Directory:
    """With text up to its end: in a damaged block it may go on with what else is in there. Copyright has two parts."""
    ended: Directory = {}
    for tag, item in directory.items():
        if isinstance(item, dict):
            item = _ended(item)
        elif item.kind == ASCII:
            parts = item.value.split(b"\0", 2)[: 2 if tag == Base.Copyright else 1]
            value = b"\0".join(part for part in parts if part) + b"\0"
            item = Entry(ASCII, len(value), value)
        ended[tag] = item
    return ended


def _filled(directory: Directory) -> Directory:
    """Without directories that are empty, as many a reader takes offence at them."""
    return {tag: item for tag, item in directory.items() if item != {}}


def turned(kept: Directory) -> Directory:
    """With the axes exchanged, for a picture that is turned by a quarter."""
    swapped: dict[int, int] = {tag: other for pair in _AXES for tag, other in (pair, pair[::-1])}
    return {swapped.get(tag, tag): turned(item) if isinstance(item, dict) else item for tag, item in kept.items()}


def dpi(kept: Directory) -> tuple[float, float] | None:
    """(horizontal, vertical) pixels per inch; None if they are not told."""
    x, y = (item.fraction() if isinstance(item := kept.get(tag), Entry) else None for tag in _AXES[0])
    unit = kept.get(Base.ResolutionUnit)
    per_inch = _PER_INCH.get((unit.whole_number() or 0) if isinstance(unit, Entry) else _INCH)
    if x is None or y is None or per_inch is None:
        return None
    return float(x * per_inch), float(y * per_inch)


def block(kept: Directory) -> bytes | None:
    """The structure as bytes; None if it holds nothing."""
    return HEADER + packed(kept) if kept else None


def scaled(kept: Directory, scale: int, height: int, width: int, srgb: bool) -> Directory:
    """As it is true of the result, `height` x `width`: `scale` times as large, and in sRGB if it is so."""
    result: Directory = {}
    for tag, item in kept.items():
        if isinstance(item, dict):
            if not (srgb and tag == IFD.Interop):  # its index tells the colour space once more
                result[tag] = scaled(item, scale, height, width, srgb)
        elif tag in _DENSITIES:
            density = item.fraction()
            if density is not None and density > 0:
                result[tag] = rational(density * scale)
        elif tag == Base.ExifImageWidth:
            result[tag] = long(width)
        elif tag == Base.ExifImageHeight:
            result[tag] = long(height)
        elif srgb and tag == Base.ColorSpace:
            result[tag] = short(_SRGB)
        elif not (srgb and tag == Base.Gamma):
            result[tag] = item
    return _filled(result)


def resolution(dpi: tuple[float, float]) -> Directory:
    """The tags that tell (vertical, horizontal) pixels per inch."""
    y, x = (rational(Fraction(value).limit_denominator(10_000)) for value in dpi)
    return {Base.XResolution: x, Base.YResolution: y, Base.ResolutionUnit: short(_INCH)}

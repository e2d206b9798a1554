"""A codec with the project's formulas, fake upscalers, and a comparison of pictures that saves both if they differ."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from app.build import build_formulas
from app.codec import Codec, Decoded, DecodeLimits, Encoded, Plane
from app.options import LevelChoice, UpscaleOptions
from model import resample

FORMULAS = build_formulas()
FAILURES = Path(__file__).resolve().parent.parent / "failures"

Array = NDArray[Any]
Upscaler = Callable[[Plane, int], Plane]


def nearest(plane: Plane, scale: int) -> Plane:
    """The plane with every sample repeated."""
    return plane.repeat(scale, axis=0).repeat(scale, axis=1)


def bicubic(plane: Plane, scale: int) -> Plane:
    """The plane enlarged as chroma is."""
    return resample.resize(plane, plane.shape[0] * scale, plane.shape[1] * scale).astype(np.float32)


def codec(*, consistent: bool = False, **limits: Any) -> Codec:
    """A single-threaded codec with the project's formulas; planes are not corrected unless `consistent`."""
    return Codec(FORMULAS, DecodeLimits(**limits), threads=1, consistent=consistent)


def wanted(scale: int = 1, **options: Any) -> UpscaleOptions:
    """Options, also at scale 1: clients cannot request it, but it must reproduce every pixel."""
    return UpscaleOptions(scale=cast(LevelChoice, scale), **options)


def upscaled(
    data: bytes,
    scale: int = 1,
    *,
    upscaler: Upscaler = nearest,
    encode: UpscaleOptions | None = None,
    **options: Any,
) -> tuple[Decoded, Encoded]:
    """Decodes and encodes a picture, with a fake network in between. At scale 1 every pixel must be unchanged."""
    service = codec()
    decoded = service.decode(data, wanted(scale=scale, **options))
    planes = [[upscaler(plane, scale) for plane in frame.planes] for frame in decoded.frames]
    return decoded, service.encode(decoded, planes, scale, encode or wanted())


def opened(body: bytes) -> Image.Image:
    """A file opened and loaded by Pillow, the independent decoder."""
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def pixels(body: bytes) -> Array:
    """The pixels of a file by decoders other than the codec's: png_reference, imagecodecs (JPEG XL) or Pillow."""
    from tests.codec.png_reference import read_png

    if body.startswith(b"\x89PNG"):
        return read_png(body)
    if body.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        array = np.asarray(imagecodecs.jpegxl_decode(body))
    else:
        array = np.asarray(opened(body))
    return array[..., None] if array.ndim == 2 else array


def assert_same(actual: Array, expected: Array, name: str, source: bytes = b"", tolerance: int = 0) -> None:
    """Asserts equal shape, dtype and samples within `tolerance` levels; else saves input, output and difference."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    difference = np.abs(actual.astype(np.int64) - expected)
    if difference.max(initial=0) <= tolerance:
        return
    folder = FAILURES / name.replace("/", "_").replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.bin").write_bytes(source)
    for label, samples in (("output", actual), ("expected", expected), ("difference", difference)):
        np.save(folder / f"{label}.npy", samples)
        shown = (samples * (255 / max(1, int(samples.max())))).astype(np.uint8)
        Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown).save(folder / f"{label}.png")
    worst = np.unravel_index(difference.argmax(), difference.shape)
    raise AssertionError(
        f"{name}: {np.count_nonzero(difference > tolerance)} samples differ, the worst by {difference.max()} at "
        f"{tuple(int(i) for i in worst)}: {actual[worst]} for {expected[worst]}; see {folder}"
    )


def saved(samples: Array, form: str, mode: str | None = None, **settings: Any) -> bytes:
    """A file of these samples by Pillow, or by another writer for HEIC and JXL, which are lossless."""
    if form == "HEIC":
        return _heic(samples, **settings)
    if form == "JXL":
        return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, **settings))
    image = Image.fromarray(samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples)
    if mode is not None and mode != image.mode:
        image = Image.frombytes(mode, image.size, np.ascontiguousarray(samples).tobytes())
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def _heic(samples: Array, bits: int | None = None, **settings: Any) -> bytes:
    """A lossless HEIC by libx265; gray with alpha is stored as gray and a separate alpha picture."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels] + (f";{bits}" if bits else "")
    size = samples.shape[1], samples.shape[0]
    image = pillow_heif.from_bytes(mode, size, np.ascontiguousarray(samples).tobytes())
    file = io.BytesIO()
    image.save(file, **({"quality": -1, "chroma": 444, "matrix_coefficients": 0} | settings))
    return file.getvalue()


def picture(height: int, width: int, channels: int, dtype: type = np.uint8, seed: int = 0) -> Array:
    """Random samples over the whole range of the dtype."""
    full = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, full, (height, width, channels), dtype=dtype, endpoint=True)

"""Mutated real files always give a picture or a ClientError, and nothing else."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import ClientError
from app.options import UpscaleOptions
from tests.codec.formats_table import CASES
from tests.codec.metadata.sources import FORMATS, IPTC, with_all
from tests.codec.support import codec, nearest, picture, saved, wanted

SEEDS = {f"{case.format} {case.what}": case.make()[0] for case in CASES}


def _film(form: str) -> bytes:
    images = [Image.fromarray(picture(9, 8, 3, seed=seed)) for seed in range(3)]
    file = io.BytesIO()
    images[0].save(file, form, save_all=True, append_images=images[1:], duration=40)
    return file.getvalue()


def _pages() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([picture(9, 8, 3)] * 3), photometric="rgb", compression="lzw")
    return file.getvalue()


SEEDS |= {f"animated {form}": _film(form) for form in ("GIF", "PNG", "WEBP")} | {"TIFF pages": _pages()}
SEEDS |= {"JPEG with metadata": saved(picture(9, 8, 3), "JPEG", exif=b"Exif\0\0MM\0*" + bytes(20), dpi=(72, 72))}
SEEDS |= {f"{form} with everything": with_all(form, iptc=IPTC) for form in FORMATS}

SERVICE = codec(max_input_pixels=1 << 16, max_output_pixels=1 << 18)


MAGIC = 12  # bytes at the beginning that stay unchanged, so that mutated files reach the decoders


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A file of the table with a few mutations; the checksums of a PNG may be corrected afterwards."""
    data = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["byte", "byte", "word", "word", "flip", "remove", "repeat", "insert", "cut"]))
        # Headers are short and matter most, so half of the mutations are there.
        reach = len(data) if draw(st.booleans()) else min(len(data), 200)
        at = draw(st.integers(min(MAGIC, len(data)), max(MAGIC, reach)))
        size = draw(st.integers(1, 16))
        if kind == "byte":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "word":
            value = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            width = draw(st.sampled_from([2, 4]))
            data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, draw(st.sampled_from(["little", "big"])))
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at : at + size]
        elif kind == "repeat":
            data[at:at] = data[at : at + size]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=size))
    if draw(st.booleans()):
        _set_checksums(data)
    return bytes(data)


def _set_checksums(data: bytearray) -> None:
    """Corrects the checksum of every chunk that can be reached by the lengths."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


OPTIONS = st.builds(
    UpscaleOptions,
    scale=st.just(2),
    frames=st.sampled_from(["single", "first", "all"]),
    truncated=st.sampled_from(["reject", "allow"]),
    color=st.sampled_from(["keep", "srgb"]),
    metadata=st.sampled_from(["drop", "keep", "all"]),
    depth=st.sampled_from(["keep", "8"]),
)


def _survives(data: bytes, options: UpscaleOptions, target: Any) -> None:
    try:
        decoded = SERVICE.decode(data, options)
        encode = wanted(format=target)
        SERVICE.check(decoded, 2, encode)
    except ClientError as error:
        assert str(error)
        return
    assert decoded.height * decoded.width * len(decoded.frames) <= 1 << 16
    planes = [[nearest(plane, 2) for plane in frame.planes] for frame in decoded.frames]
    assert SERVICE.encode(decoded, planes, 2, encode).body


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(data=mutated(), options=OPTIONS, target=st.sampled_from(["png", "png", "png", "tiff", "jpeg", "webp"]))
def test_mutated_files_give_a_picture_or_a_client_error(data: bytes, options: UpscaleOptions, target: str) -> None:
    _survives(data, options, target)


@pytest.mark.filterwarnings("ignore")
@given(
    start=st.sampled_from([data[:size] for data in SEEDS.values() for size in (4, 12, 40)]),
    rest=st.binary(max_size=300),
    options=OPTIONS,
)
def test_noise_after_a_valid_beginning_gives_a_picture_or_a_client_error(
    start: bytes, rest: bytes, options: UpscaleOptions
) -> None:
    _survives(start + rest, options, "png")

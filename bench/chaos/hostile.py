"""Pictures that are small to send and expensive to read."""

import io
import zlib

import numpy as np
from PIL import Image

PACKET_WORDS = 140_000
SCANS = 20_000


def flat(side: int) -> bytes:
    """A gray PNG of one colour: some KB for `side` x `side` pixels."""
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


def noise(side: int) -> bytes:
    """An RGB JPEG whose result no format makes small."""
    file = io.BytesIO()
    samples = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(samples).save(file, "JPEG", quality=90)
    return file.getvalue()


def packet() -> bytes:
    """A PNG of 1.6 KB whose XMP is one word again and again."""
    whole = flat(32)
    body = b"iTXt" + b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<a:GPS>" * PACKET_WORDS, 9)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return whole[:33] + chunk + whole[33:]


def scans(side: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), 128, np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * min(SCANS, 3_000_000 // len(last)) + data[-2:]

"""What the clients send: small photographs, and garbage."""

import io
import random

from PIL import Image

from bench.pictures import photograph

SIZES = ((48, 64), (96, 80), (33, 129), (160, 160))
"""(height, width) of the pictures; small, so that there are many of them."""
GARBAGE_KINDS = 10


def pictures() -> list[bytes]:
    """A PNG of each size."""
    return [_png(height, width, seed) for seed, (height, width) in enumerate(SIZES)]


def _png(height: int, width: int, seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photograph(height, width, seed)).save(file, "PNG")
    return file.getvalue()


def garbage(kind: int, picture: bytes) -> bytes:
    """What is no picture, `kind` from 0 to 9, some of it made from one; answered with 4xx."""
    flipped = bytearray(picture)
    flipped[len(picture) // 2] ^= 0x55
    huge = picture[:16] + (60_000).to_bytes(4, "big") * 2 + picture[24:]
    return (
        b"hello",
        picture[:40],
        picture[: len(picture) // 2],
        bytes(flipped),
        huge,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bytes(4096),
        b"\xff\xd8\xff\xe0" + bytes(200),
        b"GIF89a" + bytes(64),
        random.Random(kind).randbytes(2000),
    )[kind]

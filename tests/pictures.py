"""Small pictures with structure in them, as encoded files and as arrays."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def rgb(height: int = 6, width: int = 9) -> NDArray[np.uint8]:
    """(height, width, 3): red grows downwards, green to the right, blue is a checkerboard."""
    rows, columns = np.indices((height, width))
    red = 20 + rows * 200 // max(1, height - 1)
    green = 20 + columns * 200 // max(1, width - 1)
    blue = 60 + 120 * ((rows + columns) % 2)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def gray(height: int = 6, width: int = 9) -> NDArray[np.uint8]:
    """(height, width): a ramp over both axes."""
    rows, columns = np.indices((height, width))
    return (rows * 30 + columns * 5).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of these pixels."""
    return encoded(pixels, "PNG")


def encoded(pixels: NDArray[np.uint8], form: str) -> bytes:
    """A file of these pixels in Pillow's format `form`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def opened(body: bytes) -> NDArray[np.uint8]:
    """The pixels of a file, as Pillow reads them."""
    with Image.open(io.BytesIO(body)) as image:
        return np.asarray(image)

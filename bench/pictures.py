"""Made-up photographs: noise whose spectrum falls off as a photograph's does, the same on every machine."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3), 0..255: amplitudes fall with frequency as 1/f, the channels go mostly together."""
    random = np.random.default_rng(seed)
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width)) ** 1.2
    common, *own = (np.fft.irfft2(np.fft.rfft2(random.normal(size=(height, width))) * falloff) for _ in range(4))
    channels = [common + 0.3 * each for each in own]
    return np.stack([_stretched(channel) for channel in channels], axis=-1)


def _stretched(channel: NDArray[np.float64]) -> NDArray[np.uint8]:
    spread = channel.std() or 1.0
    stretched: NDArray[np.uint8] = np.clip(128 + 50 * (channel - channel.mean()) / spread, 0, 255).astype(np.uint8)
    return stretched


def luma(height: int, width: int) -> NDArray[np.float32]:
    """(height, width), 16/255..235/255: what the network sees of a photograph."""
    plane: NDArray[np.float32] = 16 / 255 + photograph(height, width)[..., 1].astype(np.float32) * (219 / 255 / 255)
    return np.ascontiguousarray(plane, np.float32)


@lru_cache(maxsize=64)
def jpeg(height: int, width: int, seed: int = 0) -> bytes:
    """A photograph as a camera would send it."""
    file = io.BytesIO()
    Image.fromarray(photograph(height, width, seed)).save(file, "JPEG", quality=90)
    return file.getvalue()

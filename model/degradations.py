"""What happens to pictures before people send them: other ways of shrinking, blur, camera noise, JPEG.

Pictures are 8-bit, gray (H, W) or RGB (H, W, 3). Where chance is involved, the generator decides.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model.color import linear_from_srgb, srgb_from_linear
from model.pictures import Picture
from model.resample import degrade, round_to_uint8

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
KERNELS = ("bicubic", "box", "bilinear", "lanczos", "linear-light", "aliased")
"""Ways of shrinking: MATLAB's bicubic on 8 bits, the mean of areas, antialiased triangle, Lanczos with three lobes,
bicubic on linear light, and bilinear interpolation without antialiasing, as OpenCV's INTER_LINEAR."""


def shrink(picture: Picture, height: int, width: int, kernel: str = "bicubic") -> Picture:
    """The picture at `height` x `width`; `kernel` is one of KERNELS.

    "bicubic" is MATLAB's, to the last bit, where both sides are divided by the same integer, else Pillow's.
    """
    factor = picture.shape[0] // height
    if kernel == "bicubic" and picture.shape[:2] == (factor * height, factor * width):
        return degrade(picture, factor)
    if kernel == "linear-light":
        light = linear_from_srgb(np.arange(256) / 255).astype(np.float32)[picture]
        planes = [light] if picture.ndim == 2 else list(np.moveaxis(light, 2, 0))
        shrunk = [_resized(Image.fromarray(plane), height, width, "bicubic") for plane in planes]
        small = (shrunk[0] if picture.ndim == 2 else np.stack(shrunk, axis=-1)).astype(np.float64)
        return round_to_uint8(srgb_from_linear(small.clip(0, 1)) * 255).astype(np.uint8)
    if kernel == "aliased":
        return round_to_uint8(_interpolated(_interpolated(picture, 0, height), 1, width)).astype(np.uint8)
    return np.asarray(_resized(Image.fromarray(picture), height, width, kernel))


def _interpolated(values: NDArray[np.generic], axis: int, size: int) -> NDArray[np.float64]:
    """`size` values along `axis`, each interpolated linearly between the two around its place."""
    whole = values.shape[axis]
    places = ((np.arange(size) + 0.5) * whole / size - 0.5).clip(0, whole - 1)
    before = np.floor(places).astype(int)
    share = (places - before).reshape(-1, *[1] * (values.ndim - 1 - axis))
    after = np.minimum(before + 1, whole - 1)
    found: NDArray[np.float64] = (1 - share) * values.take(before, axis) + share * values.take(after, axis)
    return found


def _resized(image: Image.Image, height: int, width: int, kernel: str) -> NDArray[np.generic]:
    return np.asarray(image.resize((width, height), FILTERS[kernel]))


def blurred(picture: Picture, sigma: float) -> Picture:
    """Blurred by a Gaussian of `sigma` pixels (approximated by repeated box filters)."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def noisy(picture: Picture, sigma: float, rng: np.random.Generator, shot: float = 0.0) -> Picture:
    """With Gaussian noise, independent in every sample, of `sigma` levels of 255 at mid-gray.

    shot: the share, 0 to 1, of the variance that grows with brightness, as photons make it; the rest is the same
    everywhere, as read-out makes it (Foi et al., IEEE Transactions on Image Processing 2008).
    """
    values = picture.astype(np.float32)
    deviation = sigma * np.sqrt(1 - shot + shot * values / 127.5)
    noise = rng.standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(np.floor(values + deviation * noise + 0.5), 0, 255), dtype=np.uint8)


def through_jpeg(picture: Picture, quality: int) -> Picture:
    """The picture as a JPEG of this quality (1 to 100) leaves it, chroma at half the resolution (4:2:0)."""
    file = io.BytesIO()
    more = {} if picture.ndim == 2 else {"subsampling": "4:2:0"}
    Image.fromarray(picture).save(file, "JPEG", quality=quality, **more)
    with Image.open(file) as image:
        return np.asarray(image)


def cut_before_jpeg(picture: Picture, quality: int, top: int, left: int) -> Picture:
    """As `through_jpeg`, cropped since: its grid of 8x8 blocks begins `top` rows and `left` columns earlier."""
    padding = [(top, 0), (left, 0), (0, 0)][: picture.ndim]
    return through_jpeg(np.pad(picture, padding, mode="edge"), quality)[top:, left:]

"""BT.601 studio-range luma and chroma, and sRGB's transfer function; the one definition of these formulas.

Values are in units of full scale (1.0 = 255 at 8 bits, 65535 at 16), so black has luma 16/255 and white 235/255.
Source: ITU-R BT.601-7, section 2.5, in the scaling of MATLAB's rgb2ycbcr, which published Y-PSNR figures use.
"""

import numpy as np
from numpy.typing import NDArray

YCBCR_FROM_RGB: NDArray[np.float64] = (
    np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
)
YCBCR_OFFSET: NDArray[np.float64] = np.array([16.0, 128.0, 128.0]) / 255
RGB_FROM_YCBCR: NDArray[np.float64] = np.linalg.inv(YCBCR_FROM_RGB).astype(np.float64)

Array = NDArray[np.float32] | NDArray[np.float64]


def ycbcr_from_rgb(rgb: Array) -> NDArray[np.float64]:
    """R'G'B' (..., 3) in 0..1 to Y, Cb, Cr (..., 3), float64, not rounded."""
    return rgb @ YCBCR_FROM_RGB.T + YCBCR_OFFSET


def rgb_from_ycbcr(ycbcr: Array) -> NDArray[np.float64]:
    """The exact inverse of `ycbcr_from_rgb`, float64, neither clipped nor rounded."""
    return (ycbcr - YCBCR_OFFSET) @ RGB_FROM_YCBCR.T


def luma_from_gray(gray: Array) -> NDArray[np.float64]:
    """The luma of a gray picture in 0..1: what `ycbcr_from_rgb` gives for R' = G' = B'."""
    return np.asarray(gray * YCBCR_FROM_RGB[0].sum() + YCBCR_OFFSET[0], dtype=np.float64)


def luma(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma (H, W) of an 8-bit picture, gray (H, W) or R'G'B' (H, W, 3)."""
    scaled = picture / 255
    return luma_from_gray(scaled) if picture.ndim == 2 else scaled @ YCBCR_FROM_RGB[0] + YCBCR_OFFSET[0]


def linear_from_srgb(values: Array) -> NDArray[np.float64]:
    """Linear light 0..1 of sRGB's non-linear values 0..1, of any shape (IEC 61966-2-1, section 5.2)."""
    return np.asarray(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4), np.float64)


def srgb_from_linear(light: Array) -> NDArray[np.float64]:
    """The inverse of `linear_from_srgb`: sRGB's non-linear values 0..1 of linear light 0..1, not rounded."""
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055), np.float64)

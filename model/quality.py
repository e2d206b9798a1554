"""Full-reference quality on luma, as published super-resolution figures use it."""

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.uint8]
LEAST_SIDE = 8
"""Low-resolution pixels that a side needs: at x2, with two pixels shaved, SSIM's window of 11 then fits."""


def shaved(picture: Luma, shave: int) -> NDArray[np.float64]:
    """`picture` (H, W) without `shave` pixels on each side."""
    inner = picture[shave : picture.shape[0] - shave, shave : picture.shape[1] - shave]
    if inner.size == 0:
        raise ValueError(f"nothing is left of {picture.shape} after shaving {shave}; use a larger picture")
    return np.asarray(inner, dtype=np.float64)


def psnr(picture: Luma, truth: Luma, shave: int) -> float:
    """Peak signal-to-noise ratio in dB of two lumas (H, W) on 0..255, borders shaved; infinite when equal."""
    error = np.mean((shaved(picture, shave) - shaved(truth, shave)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(picture: Luma, truth: Luma, shave: int) -> float:
    """Structural similarity of two lumas (H, W) on 0..255 (Wang et al. 2004): 11x11 Gaussian, valid part only."""
    x, y = shaved(picture, shave), shaved(truth, shave)
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    line /= line.sum()

    def blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = sum(w * plane[i : plane.shape[0] - 10 + i] for i, w in enumerate(line))
        return np.asarray(sum(w * rows[:, i : plane.shape[1] - 10 + i] for i, w in enumerate(line)))

    if min(x.shape) < 11:
        raise ValueError(f"SSIM needs at least 11x11 pixels after shaving, not {x.shape[0]}x{x.shape[1]}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, covariance = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def gmsd(picture: Luma, truth: Luma, shave: int) -> float:
    """Gradient magnitude similarity deviation of two lumas (H, W) on 0..255, borders shaved; 0 is equal, lower better.

    Xue et al., IEEE Transactions on Image Processing 2014: halved by 2x2 means, Prewitt gradients, constant 170. Blur,
    ringing and blocks that differ over the picture raise it, which squared error hardly tells apart.
    """

    def gradients(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = (side // 2 * 2 for side in plane.shape)
        halved = plane[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        if min(halved.shape) < 3:
            raise ValueError(f"GMSD needs at least 6x6 pixels after shaving, not {plane.shape[0]}x{plane.shape[1]}")
        rows = (halved[:-2] + halved[1:-1] + halved[2:]) / 3
        columns = (halved[:, :-2] + halved[:, 1:-1] + halved[:, 2:]) / 3
        return np.asarray(np.hypot(rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]))

    x, y = gradients(shaved(picture, shave)), gradients(shaved(truth, shave))
    return float(np.std((2 * x * y + 170) / (x * x + y * y + 170)))

"""Full-reference quality on luma, as published super-resolution figures use it."""

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.uint8]


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

"""Scores a picture's outermost pixels by how the picture is continued beyond its border, beside bicubic.

    python -m bench.border

The low resolution is the middle of the published one, so that what lies beyond its border is known and not flat. Y-PSNR
of what one source pixel becomes all around, which scores as in papers leave out, and of the whole result.
"""

from pathlib import Path

import numpy as np

from bench.paths import DATA, WEIGHTS
from model.color import luma
from model.entry import Parser, file_errors
from model.evaluate import pairs
from model.resample import resize
from model.runtime import Weights

FRAME = 8
"""Source pixels that are cut off first: some of the pictures have a line drawn round them."""
MODES = {"mirrored about the edge": "symmetric", "about the last pixel's middle": "reflect", "repeated": "edge"}


def scores(folder: Path, weights: Path) -> dict[str, tuple[float, float]]:
    """Mean dB over a set at the finest scale, {way: (outermost source pixel, whole result)}."""
    runtime = Weights.open(weights).runtime("cpu", "float32")
    scale, margin = max(runtime.info.scales), runtime.info.window_margin
    found: dict[str, list[tuple[float, float]]] = {}
    for _, truth, low in pairs(folder / "HR", folder / f"LRx{scale}", scale):
        source = luma(low)[FRAME:-FRAME, FRAME:-FRAME].astype(np.float32)
        target = luma(truth)[FRAME * scale : -FRAME * scale, FRAME * scale : -FRAME * scale]
        made = {
            way: runtime.run(np.pad(source, margin, mode=mode)[None], scale)[scale][0]  # type: ignore[call-overload]
            for way, mode in MODES.items()
        }
        for way, result in {"bicubic": resize(source, *target.shape), **made}.items():
            error = (255 * (result - target)) ** 2
            inside = error[scale:-scale, scale:-scale]
            border = (error.sum() - inside.sum()) / (error.size - inside.size)
            found.setdefault(way, []).append((decibels(border), decibels(error.mean())))
    return {
        way: (float(np.mean([b for b, _ in each])), float(np.mean([w for _, w in each]))) for way, each in found.items()
    }


def decibels(mean_square: float) -> float:
    """PSNR on 0..255 of a mean squared error."""
    return float(10 * np.log10(255**2 / mean_square))


def main() -> None:
    """Prints a line for each set and way."""
    parser = Parser("bench.border", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with Set5 and Set14")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        for name in ("Set5", "Set14"):
            for way, (border, whole) in scores(arguments.data / name, arguments.weights).items():
                print(f"{name:<6} {way:<30} outermost {border:.2f} dB, whole {whole:.2f} dB")


if __name__ == "__main__":
    main()

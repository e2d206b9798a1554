"""Scores results as they are served: Y-PSNR with and without the step that makes them agree with their source.

    python -m bench.served

model.evaluate scores the network alone: luma as it is computed, without colours and the clipping and rounding of these.
"""

from pathlib import Path

import numpy as np

from app.build import build_formulas
from app.codec.merge import merge
from app.codec.split import split
from bench.paths import DATA, WEIGHTS
from model.entry import Parser, file_errors
from model.evaluate import luma_8bit, pad, pairs
from model.quality import psnr
from model.resample import degrade
from model.runtime import Weights


def scores(folder: Path, weights: Path) -> dict[tuple[int, bool], float]:
    """Mean dB over a set, {(scale, consistent): dB}."""
    runtime = Weights.open(weights).runtime("cpu", "float32", "torch")
    finest, formulas = max(runtime.info.scales), build_formulas()
    found: dict[tuple[int, bool], list[float]] = {}
    for _, truth, low in pairs(folder / "HR", folder / f"LRx{finest}", finest):
        picture = split(low if low.ndim == 3 else low[..., None], formulas)
        levels = runtime.run(pad(picture.luma, runtime.info.window_margin)[None], finest)
        for scale in runtime.info.scales:
            target = luma_8bit(truth if scale == finest else degrade(truth, finest // scale))
            for consistent in (False, True):
                result = merge(picture, [levels[scale][0]], scale, 8, formulas, consistent=consistent)
                shown = luma_8bit((result if result.shape[2] == 3 else result[..., 0]).astype(np.uint8))
                found.setdefault((scale, consistent), []).append(psnr(shown, target, scale))
    return {key: float(np.mean(values)) for key, values in found.items()}


def main() -> None:
    """Prints a line for each set and scale."""
    parser = Parser("bench.served", __doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with Set5 and Set14")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        for name in ("Set5", "Set14"):
            found = scores(arguments.data / name, arguments.weights)
            for scale in sorted({scale for scale, _ in found}):
                print(
                    f"{name:<6} x{scale}  without {found[scale, False]:.3f} dB, as served {found[scale, True]:.3f} dB"
                )


if __name__ == "__main__":
    main()

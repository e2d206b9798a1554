"""The cost of making results agree with their source in brightness: `python -m bench.agreement`.

CPU milliseconds of merging 256x256 pixels at x2 and x4, without and with the step, alternating in one run; medians.
"""

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from app.build import build_formulas
from app.codec.merge import merge
from app.codec.split import split
from bench.paths import WEIGHTS
from bench.pictures import photograph
from model.entry import Parser
from model.evaluate import pad
from model.runtime import Weights

SIDE, TURNS = 256, 21


def pictures() -> dict[str, NDArray[np.uint8]]:
    """A photograph, and drawings in which the network overshoots everywhere."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    odd = ((rows + columns) % 2 > 0)[..., None]
    return {
        "photograph": photograph(SIDE, SIDE),
        "white and gray checkers": np.where(odd, np.uint8(255), np.uint8(128)),
        "red and white checkers": np.where(odd, np.array([255, 0, 0], np.uint8), np.uint8(255)),
    }


def main() -> None:
    """A line for each picture."""
    Parser("bench.agreement", __doc__).parse_args()
    runtime, formulas = Weights.open(WEIGHTS).runtime("cpu", "float32", "torch"), build_formulas()
    for name, samples in pictures().items():
        source = split(samples, formulas)
        levels = runtime.run(pad(source.luma, runtime.info.window_margin)[None], 4)
        found: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(TURNS):
            for consistent, times in found.items():
                began = time.process_time()
                for scale, level in levels.items():
                    merge(source, [level[0]], scale, 8, formulas, consistent=consistent)
                times.append(1000 * (time.process_time() - began))
        without, with_it = (statistics.median(times) for times in found.values())
        print(f"{name:<24} without {without:5.2f} ms, with {with_it:5.2f} ms: {with_it - without:5.2f} ms")


if __name__ == "__main__":
    main()

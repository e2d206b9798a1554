"""Validation of a run: pictures that it does not learn from, scored and shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.color import luma
from model.evaluate import pairs, upscale, validate
from model.folded import FoldedLapSRN
from model.pictures import find_pictures
from model.resample import resize, round_to_uint8
from model.training.data import Gray, gray_of, gray_of_luma, pyramid
from model.training.patches import PatchSource
from model.training.trainer import Trainer

SHOWN = 4  # pictures in TensorBoard
SIDE = 64  # low-resolution pixels per side of the middle part that is shown

Pair = tuple[Gray, list[Gray]]


class Validation:
    """The held-out pictures of a run or, with `folder`, the pictures there, damaged as those that are trained on.

    A folder with HR/ is one of a benchmark: its pictures are taken as they are, with those of LRx4/ if it is there.
    """

    def __init__(self, source: PatchSource, folder: Path | None = None) -> None:
        self._source = source
        self._folder = folder
        self._check()

    def _check(self) -> None:
        """Raises FileNotFoundError or PictureError before training, not in the middle, if pictures cannot be scored."""
        if self._folder is None:
            self._source.check(self._source.held_out.values())
        elif (self._folder / "HR").is_dir():
            for _ in self._benchmark(self._folder):
                pass
        else:
            self._source.check(find_pictures([self._folder]))

    def scores(self, trainer: Trainer) -> dict[str, Any]:
        """What the averaged weights score: {"psnr": {scale: dB}}, or {} where there is nothing to score.

        With strengths, "psnr" is the mean, and "psnr at S" that of each.
        """
        found = {}
        for kind, strength in enumerate(trainer.config.strengths or (None,)):
            scores = validate(trainer.averaged(strength), self._pairs(kind))
            found["psnr" if strength is None else f"psnr at {strength:g}"] = scores
        if not all(found.values()):
            return {}
        means = {
            scale: float(np.mean([each[scale] for each in found.values()])) for scale in next(iter(found.values()))
        }
        return {"psnr": means, **found}

    def pictures(self, trainer: Trainer) -> dict[str, NDArray[np.uint8]]:
        """The middle of the first few, gray (h, 3 w): bicubic, the averaged network, the original."""
        kinds = trainer.config.strengths or (None,)
        with torch.no_grad():
            folded = trainer.averaged(kinds[-1]).fold()
        found = {}
        for index, (low, finer) in enumerate(self._pairs(len(kinds) - 1)):
            if index == SHOWN:
                break
            found[f"validation/{index}"] = side_by_side(folded, low, finer[-1])
        return found

    def _pairs(self, kind: int) -> Iterator[Pair]:
        if self._folder is None:
            yield from self._source.validation(kind)
        elif (self._folder / "HR").is_dir():
            for truth, low in self._benchmark(self._folder):
                yield low, pyramid(truth, self._source.config.scale)[1:]
        else:
            yield from self._source.pairs_of([self._folder], kind)

    def _benchmark(self, folder: Path) -> Iterator[tuple[Gray, Gray]]:
        """High and low resolution of every picture."""
        low = folder / f"LRx{self._source.config.scale}"
        for _, truth, shrunk in pairs(folder / "HR", low if low.is_dir() else None, self._source.config.scale):
            yield gray_of(truth), gray_of(shrunk)


def side_by_side(folded: FoldedLapSRN, low: Gray, truth: Gray) -> NDArray[np.uint8]:
    """The middle of a picture, gray (h, 3 w): bicubic, the network's finest level, the original."""
    scale = truth.shape[0] // low.shape[0]
    height, width = (min(side, SIDE) for side in low.shape)
    top, left = (low.shape[0] - height) // 2, (low.shape[1] - width) // 2
    small = low[top : top + height, left : left + width]
    original = truth[scale * top : scale * (top + height), scale * left : scale * (left + width)]
    bicubic = round_to_uint8(resize(small.astype(np.float64), *original.shape))
    ours = gray_of_luma(upscale(folded, luma(small))[-1])
    return np.concatenate([bicubic, ours, original], axis=1).astype(np.uint8)

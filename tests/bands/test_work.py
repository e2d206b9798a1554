"""Bands and results count as done only once they are on disk."""

from pathlib import Path

import numpy as np
import pytest

from app.bands.assemble import assemble
from app.bands.work import Work
from app.codec.types import Metadata
from app.options import UpscaleOptions

SAMPLES = (np.arange(6 * 5 * 3) % 256).astype(np.uint8).reshape(6, 5, 3)


def test_a_band_is_synced_before_it_counts_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(tmp_path / "out.bands")
    done_while_synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: done_while_synced.append(work.done(0)))
    work.put(0, SAMPLES)
    assert done_while_synced == [False]
    assert work.done(0)
    np.testing.assert_array_equal(work.get(0), SAMPLES)


def test_a_result_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, target = Work(tmp_path / "out.bands"), tmp_path / "out.png"
    work.put(0, SAMPLES)
    there_while_synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: there_while_synced.append(target.exists()))
    assemble(target, work, 1, (6, 5, 3), Metadata(), UpscaleOptions())
    assert there_while_synced == [False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.bands", "out.png"]

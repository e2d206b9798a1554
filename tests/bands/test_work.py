"""Bands and results count as done only once they are on disk, and processes do not do work twice."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bands.assemble import assemble
from app.bands.work import Work
from app.codec.types import Metadata
from app.options import UpscaleOptions

SAMPLES = (np.arange(6 * 5 * 3) % 256).astype(np.uint8).reshape(6, 5, 3)


def test_a_band_is_synced_to_disk_before_it_counts_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(tmp_path / "out.bands")
    done_while_synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: done_while_synced.append(work.done(0)))
    work.put(0, SAMPLES)
    assert done_while_synced == [False]
    assert work.done(0)
    np.testing.assert_array_equal(work.get(0), SAMPLES)


def test_a_result_is_synced_to_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, target = Work(tmp_path / "out.bands"), tmp_path / "out.png"
    work.put(0, SAMPLES)
    there_while_synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: there_while_synced.append(target.exists()))
    assemble(target, work, 1, (6, 5, 3), Metadata(), UpscaleOptions())
    assert there_while_synced == [False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.bands", "out.png"]


def test_one_process_has_a_claim_as_long_as_the_work_is_under_way(tmp_path: Path) -> None:
    work, other = Work(tmp_path / "out.bands"), Work(tmp_path / "out.bands")
    with work.claim("000000") as before_the_plan:
        assert not before_the_plan
    work.plan({}, dict)
    with work.claim("000000") as mine, other.claim("000000") as theirs:
        assert mine
        assert not theirs
    with other.claim("000000") as theirs:
        assert theirs


def test_bands_that_are_being_removed_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing large files takes a while, in which another process looks for bands that are missing."""
    work, other = Work(tmp_path / "out.bands"), Work(tmp_path / "out.bands")
    work.plan({}, dict)
    work.put(0, SAMPLES)
    claims: list[bool] = []
    remove = shutil.rmtree

    def in_between(folder: Path, **options: Any) -> None:
        (folder / "000000.npy").unlink()
        with other.claim("000000") as mine:
            claims.append(mine)
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", in_between)
    work.remove()
    assert claims == [False]
    assert not other.under_way
    assert not work.folder.exists()


def test_only_work_without_a_plan_is_forgotten(tmp_path: Path) -> None:
    work = Work(tmp_path / "out.bands")
    work.plan({}, dict)
    work.forget()
    assert work.under_way
    (work.folder / "plan.json").unlink()
    work.forget()
    assert not work.folder.exists()


def test_bands_without_a_plan_are_not_used(tmp_path: Path) -> None:
    """They are left when a process is killed while it removes them."""
    work = Work(tmp_path / "out.bands")
    work.put(0, SAMPLES)
    work.plan({}, dict)
    assert not work.done(0)
    work.put(0, SAMPLES)
    work.plan({}, dict)
    assert work.done(0)

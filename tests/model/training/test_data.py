"""Training patches: the right pixels of the right pictures, the same ones for the same step, where there is detail."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.degradations import through_jpeg
from model.entry import UsageError
from model.pictures import PictureError, read
from model.resample import degrade
from model.training.damage import Damage
from model.training.data import CELL, DataConfig, _build, focus_map, gray_of, held_out_of, pyramid
from model.training.patches import PatchSource, mirrored
from tests.model.networks import save_pictures, texture

CONFIG = DataConfig(scale=4, core=16, margin=9, turns=False, flips=False, hold_out=3)
SIZES = [(96, 128), (130, 101), (88, 96), (64, 64)]

Make = Callable[..., PatchSource]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Sources on the pictures of SIZES with changes to CONFIG."""
    folder = tmp_path / "pictures"
    save_pictures(folder, SIZES)

    def made(**changes: Any) -> PatchSource:
        return PatchSource([folder], replace(CONFIG, **changes), tmp_path / "cache")

    return made


def codes(patches: torch.Tensor) -> NDArray[np.uint8]:
    """Luma (N, 1, H, W) back to the 8-bit grays (N, H, W) that it was made of; they must be whole numbers."""
    grays = (patches[:, 0].double().numpy() * 255 - 16) / 219 * 255
    assert np.abs(grays - np.rint(grays)).max() < 1e-3
    return np.rint(grays).astype(np.uint8)


def levels_of(source: PatchSource) -> list[list[NDArray[np.uint8]]]:
    """Every pyramid that patches are cut from."""
    kept = source.pyramids

    def level(start: int, height: int, width: int) -> NDArray[np.uint8]:
        return kept.pixels[start : start + height * width].reshape(height, width)

    tables = zip(kept.starts, kept.heights, kept.widths, strict=True)
    return [list(map(level, starts, heights, widths)) for starts, heights, widths in tables]


def test_patches_have_the_right_shapes_and_range(make: Make) -> None:
    low, x2, x4 = make().batch(0, 3)
    assert [tuple(level.shape) for level in (low, x2, x4)] == [(3, 1, 34, 34), (3, 1, 32, 32), (3, 1, 64, 64)]
    assert all(level.dtype == torch.float32 and level.is_contiguous() for level in (low, x2, x4))
    assert 16 / 255 - 1e-6 <= float(x4.min()) < float(x4.max()) <= 235 / 255 + 1e-6


@pytest.mark.parametrize("changed", [{"step": 4}, {"rank": 1}, {"seed": 1}], ids=str)
def test_a_batch_depends_on_step_and_rank_only(make: Make, changed: dict[str, int]) -> None:
    source = make(turns=True, flips=True)
    first = source.batch(3, 4, rank=0)
    source.batch(8, 2)
    again = make(turns=True, flips=True).batch(3, 4, rank=0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    seed = changed.get("seed", 0)
    other = make(turns=True, flips=True, seed=seed).batch(changed.get("step", 3), 4, rank=changed.get("rank", 0))
    assert not any(torch.equal(a, b) for a, b in zip(first[2], other[2], strict=True))


def test_the_low_resolution_is_the_degraded_patch(make: Make) -> None:
    """Bit for bit, two pixels in from the patch's border, where the kernel sees nothing outside."""
    low, x2, x4 = (codes(level) for level in make().batch(0, 6))
    for patch in range(6):
        np.testing.assert_array_equal(degrade(x4[patch], 4)[2:-2, 2:-2], low[patch, 11:-11, 11:-11])
        np.testing.assert_array_equal(degrade(x4[patch], 2)[2:-2, 2:-2], x2[patch, 2:-2, 2:-2])


def test_turns_and_flips_keep_the_levels_aligned(make: Make) -> None:
    """As above but for the order of the two roundings, which a quarter turn swaps."""
    low, x2, x4 = (codes(level).astype(int) for level in make(turns=True, flips=True).batch(0, 24))
    for patch in range(24):
        finest = x4[patch].astype(np.uint8)
        assert np.abs(degrade(finest, 4).astype(int) - low[patch, 9:-9, 9:-9])[2:-2, 2:-2].max() <= 1
        assert np.abs(degrade(finest, 2).astype(int) - x2[patch])[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize(
    ("flips", "turns", "count"), [(False, False, 1), (True, False, 2), (False, True, 4), (True, True, 8)]
)
def test_all_orientations_occur_and_no_others(tmp_path: Path, flips: bool, turns: bool, count: int) -> None:
    """On one picture of one patch's size, every patch is that picture in some orientation."""
    (picture,) = save_pictures(tmp_path / "one", [(64, 64)])
    config = replace(CONFIG, flips=flips, turns=turns)
    finest = codes(PatchSource([tmp_path / "one"], config, tmp_path / "cache").batch(0, 64)[2])
    allowed = {
        np.rot90(p, k).tobytes() for p in ([picture, picture[:, ::-1]] if flips else [picture]) for k in range(4)
    }
    seen = {patch.tobytes() for patch in finest}
    assert len(seen) == count
    assert seen <= allowed
    if not turns:
        assert seen == {picture.tobytes()} | ({picture[:, ::-1].tobytes()} if flips else set())


def test_the_margin_beyond_the_picture_is_its_mirror_image(tmp_path: Path) -> None:
    (picture,) = save_pictures(tmp_path / "one", [(64, 64)])
    low = codes(PatchSource([tmp_path / "one"], CONFIG, tmp_path / "cache").batch(0, 2)[0])
    expected = np.pad(degrade(picture, 4), 9, mode="symmetric")
    np.testing.assert_array_equal(low, np.stack([expected, expected]))


def test_the_margin_within_the_picture_is_the_picture(tmp_path: Path) -> None:
    (picture,) = save_pictures(tmp_path / "one", [(320, 256)])
    low, _, finest = (codes(level) for level in PatchSource([tmp_path / "one"], CONFIG, tmp_path / "c").batch(0, 8))
    whole = np.pad(degrade(picture, 4), 9, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(whole, (34, 34))
    for patch, target in zip(low, finest, strict=True):
        found = np.argwhere((windows == patch).all(axis=(2, 3)))
        assert len(found) == 1
        top, left = found[0] * 4
        np.testing.assert_array_equal(target, picture[top : top + 64, left : left + 64])


@pytest.mark.parametrize("length", [1, 2, 3, 10])
@pytest.mark.parametrize("margin", [1, 9, 20])
def test_mirrored_equals_numpy(length: int, margin: int) -> None:
    line = np.arange(length)
    expected = np.pad(line, margin, mode="symmetric")
    found = mirrored(torch.arange(-margin, length + margin), torch.tensor(length))
    np.testing.assert_array_equal(line[found.numpy()], expected)


def test_pyramid_is_cropped_and_smallest_first() -> None:
    gray = texture(43, 50)
    levels = pyramid(gray, 8)
    assert [level.shape for level in levels] == [(5, 6), (10, 12), (20, 24), (40, 48)]
    np.testing.assert_array_equal(levels[-1], gray[:40, :48])
    np.testing.assert_array_equal(levels[0], degrade(gray[:40, :48], 8))
    np.testing.assert_array_equal(levels[2], degrade(gray[:40, :48], 2))


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
def test_the_focus_map_equals_brute_force(focus: float) -> None:
    hr = texture(100, 132)
    levels = pyramid(hr, 4)
    found = focus_map(levels, 10, focus)
    assert found.shape == (len(range(0, 25 - 10 + 1, CELL)), len(range(0, 33 - 10 + 1, CELL)))
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            top, left = row * CELL * 4, column * CELL * 4
            patch = hr[top : top + 40, left : left + 40].astype(float)
            down, right = np.abs(np.diff(patch, axis=0))[:, :-1], np.abs(np.diff(patch, axis=1))[:-1]
            assert found[row, column] == pytest.approx(((down + right).mean() + 0.5) ** focus, rel=1e-5)


@pytest.mark.parametrize(("focus", "least", "most"), [(0.0, 0.15, 0.55), (1.0, 0.9, 1.0)])
def test_patches_prefer_texture(tmp_path: Path, focus: float, least: float, most: float) -> None:
    """A picture that is flat but for its right end: how many patches show anything of it."""
    picture = np.full((64, 512), 90, np.uint8)
    picture[:, 384:] = texture(64, 128)
    (tmp_path / "one").mkdir()
    Image.fromarray(picture).save(tmp_path / "one" / "half.png")
    source = PatchSource([tmp_path / "one"], replace(CONFIG, focus=focus), tmp_path / "cache")
    share = (np.ptp(codes(source.batch(0, 200)[2]), axis=(1, 2)) > 0).mean()
    assert least < share <= most


def test_held_out_pictures_are_used_for_validation_and_never_for_training(make: Make) -> None:
    source = make()
    kept = sorted(path.name for path in source.held_out.values())
    assert 0 < len(kept) < 4
    assert sorted([*kept, *(path.name for path in source.used.values())]) == ["a.png", "b.png", "c.png", "d.png"]
    shown = {patch.tobytes() for step in range(10) for patch in codes(source.batch(step, 8)[2])}
    for path, (low, truths) in zip(source.held_out.values(), source.validation(), strict=True):
        picture = read(path)
        np.testing.assert_array_equal(truths[-1], pyramid(picture, 4)[-1])
        np.testing.assert_array_equal(low, degrade(truths[-1], 4))
        np.testing.assert_array_equal(truths[0], degrade(truths[-1], 2))
        windows = np.lib.stride_tricks.sliding_window_view(picture, (64, 64)).reshape(-1, 64 * 64)
        assert not shown & {window.tobytes() for window in windows}


DIGESTS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(250)]


@pytest.mark.parametrize("one_in", [2, 5, 100])
def test_whether_a_picture_is_held_out_depends_on_its_content_only(one_in: int) -> None:
    whole = held_out_of(DIGESTS, one_in)
    assert 0.5 < len(whole) * one_in / len(DIGESTS) < 2
    assert held_out_of(DIGESTS[:200], one_in) == whole & set(DIGESTS[:200])


def test_at_least_one_of_several_pictures_is_held_out_and_one_is_not() -> None:
    kept = [name for name in DIGESTS if int(name[:16], 16) * 2 < 1 << 64]
    assert held_out_of(kept[:1], 2) == set()
    assert held_out_of(kept[:3], 2) == set(kept[:3]) - {max(kept[:3])}
    assert held_out_of(kept[:3], 0) == set()
    others = [name for name in DIGESTS if name not in kept]
    assert held_out_of(others[:3], 2) == {min(others[:3])}


def test_renaming_a_picture_does_not_change_whether_it_is_held_out(make: Make, tmp_path: Path) -> None:
    before = make()
    for path in sorted((tmp_path / "pictures").iterdir()):
        path.rename(path.with_name(f"z-{path.name}"))
    after = make()
    assert before.held_out.keys() == after.held_out.keys()
    assert all(torch.equal(a, b) for a, b in zip(before.batch(0, 2), after.batch(0, 2), strict=True))


def test_pictures_held_out_by_an_earlier_run_stay_held_out(make: Make, tmp_path: Path) -> None:
    name = next(iter(make().used))
    again = PatchSource([tmp_path / "pictures"], CONFIG, tmp_path / "cache", keep_out=[name[:16]])
    assert name in again.held_out
    assert name[:16] in again.about["held_out"]


def test_an_unreadable_picture_is_named_or_skipped(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    for _ in range(2):  # also from the cache
        with pytest.raises(PictureError, match=r"broken\.png: not a readable picture .* or give --skip-bad"):
            make(hold_out=0)
        source = PatchSource([folder], replace(CONFIG, hold_out=0), tmp_path / "cache", skip_bad=True)
        assert (source.about["count"], source.about["skipped"]) == (4, 1)
        assert ["broken.png" in line for line in source.pyramids.bad] == [True]


def test_a_file_that_cannot_be_opened_is_named_or_skipped(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "link.png").symlink_to("nowhere.png")
    with pytest.raises(PictureError, match=r"link\.png: not a readable picture \(No such file .* or give --skip-bad"):
        make(hold_out=0)
    source = PatchSource([folder], replace(CONFIG, hold_out=0), tmp_path / "cache", skip_bad=True)
    assert (source.about["count"], source.about["skipped"]) == (4, 1)
    assert ["link.png" in line for line in source.bad] == [True]


def test_flat_pictures_are_not_validated_on(make: Make, tmp_path: Path) -> None:
    """Such as blank pages: rounding noise at 150 dB would outweigh every other picture."""
    folder = tmp_path / "validation"
    save_pictures(folder, [(64, 64)])
    Image.new("L", (64, 64), 255).save(folder / "blank.png")
    assert len(list(make().pairs_of([folder]))) == 1


def test_pictures_too_small_to_score_are_not_validated_on(make: Make, tmp_path: Path) -> None:
    save_pictures(tmp_path / "small", [(3, 90), (31, 40), (32, 40)])
    ((low, finer),) = make().pairs_of([tmp_path / "small"])
    assert (low.shape, [level.shape for level in finer]) == ((8, 10), [(16, 20), (32, 40)])


def test_variants_are_shrunk_within_the_range(make: Make) -> None:
    """Three of each picture but the smallest, which no longer holds a patch once it is shrunk."""
    source = make(scales=(0.75, 0.99), variants=3, hold_out=0)
    heights = [levels[-1].shape[0] for levels in levels_of(source)]
    sizes = [read(path).shape[0] for _, path in sorted(source.used.items())]
    whole = [size for size in sizes for _ in range(3) if size > 64]
    assert all(0.75 * of - 4 <= height < of for height, of in zip(heights, whole, strict=True))
    assert all(len(set(heights[first : first + 3])) > 1 for first in (0, 3, 6))


def test_the_cache_is_reused_for_equal_settings_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make().batch(0, 2)
    monkeypatch.setattr("model.training.data._build", lambda *_: pytest.fail("built again"))
    assert all(torch.equal(a, b) for a, b in zip(first, make().batch(0, 2), strict=True))
    with pytest.raises(pytest.fail.Exception, match="built again"):
        make(core=12)


@pytest.mark.parametrize("file", range(3), ids=["pixels", "maps", "index"])
def test_a_cache_that_could_not_be_written_is_rebuilt(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: int
) -> None:
    """The disk is full at one of its files."""
    calls = iter(range(9))

    def full(descriptor: int) -> None:
        if next(calls) == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*cache/"):
            make()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix in (".json", ".partial")]
    assert make().pyramids.pixels.size


def test_a_killed_worker_process_is_reported_in_one_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux kills one when memory runs out."""

    class Killed(ProcessPoolExecutor):
        def map(self, *_: Any, **__: Any) -> Any:
            return map(Future.result, [self.submit(os._exit, 1)])

    monkeypatch.setattr("model.training.data.ProcessPoolExecutor", Killed)
    with pytest.raises(UsageError, match=r"^a process that prepared pictures was killed, most likely for want of mem"):
        make()


def test_worker_processes_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """They would otherwise wait for work forever, and keep open the pipe that the run wrote to."""
    killed = """
import os, signal, sys
from pathlib import Path
from model.training import data

def kill(pool, pictures, config):
    print(*pool.map(abs, range(8)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

data._variants_of_all = kill
data._build({}, data.DataConfig(), *(Path(sys.argv[1], name) for name in ("index", "pixels", "maps")))
"""
    # It ends once nobody has the pipe open any more.
    done = subprocess.run([sys.executable, "-c", killed, tmp_path], stdout=subprocess.PIPE, check=False, timeout=120)
    assert (done.stdout, done.returncode) == (b"0 1 2 3 4 5 6 7\n", -signal.SIGKILL)


def test_a_cache_is_built_by_one_run_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that begin together would otherwise write to one file, and learn from what is not there yet."""
    built = []
    other = threading.Thread(target=make)

    def build(*arguments: Any) -> None:
        built.append(threading.current_thread())
        if other not in built:
            other.start()
        _build(*arguments)

    monkeypatch.setattr("model.training.data._build", build)
    make()
    other.join()
    assert built == [threading.main_thread()]


def test_gray_of_colour_has_the_luma_of_colour(tmp_path: Path) -> None:
    """Full-range gray g stands for luma 16 + 219/255 g: for primaries, from the published coefficients."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 200, 200]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    lumas = np.array([[81.481, 144.553], [40.966, 16 + 219 * 200 / 255]])
    np.testing.assert_array_equal(gray_of(read(tmp_path / "colour.png")), np.rint((lumas - 16) * 255 / 219))
    Image.fromarray(colours[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(gray_of(read(tmp_path / "gray.png")), colours[..., 0])


def test_the_low_resolution_is_compressed_with_a_quality_in_the_range(tmp_path: Path) -> None:
    """The finer levels stay as they are."""
    (picture,) = save_pictures(tmp_path / "one", [(64, 64)])
    config = replace(CONFIG, damage=Damage(quality=(40, 60)), damages=6)
    found = levels_of(PatchSource([tmp_path / "one"], config, tmp_path / "cache"))
    low, x2, finest = pyramid(picture, 4)
    compressed = {through_jpeg(low, quality).tobytes() for quality in range(40, 61)}
    assert len(found) == 6
    assert {levels[0].tobytes() for levels in found} <= compressed
    assert len({levels[0].tobytes() for levels in found}) > 1
    for levels in found:
        np.testing.assert_array_equal(levels[1], x2)
        np.testing.assert_array_equal(levels[2], finest)


def test_validation_has_the_damage_of_training_and_is_reproducible(make: Make) -> None:
    source = make(damage=Damage(quality=(40, 61)))
    first, again = list(source.validation()), list(source.validation())
    assert first
    for (low, truths), (same, _) in zip(first, again, strict=True):
        assert low.tobytes() in {through_jpeg(degrade(truths[-1], 4), quality).tobytes() for quality in range(40, 62)}
        np.testing.assert_array_equal(low, same)


def test_steps_alternate_between_the_strengths(make: Make, tmp_path: Path) -> None:
    """With each strength's own damage; the finer levels of all are those of one variant, kept once."""
    source = make(damage=Damage(quality=(30, 98)), damages=2, strengths=(0.25, 1.0), hold_out=0)
    kept = source.pyramids
    assert kept.kinds.tolist() == [0, 0, 1, 1] * 4
    assert len({tuple(starts[1:]) for starts in kept.starts}) == 4
    assert [source.kind(step) for step in range(4)] == [0, 1, 0, 1]
    for step in range(4):
        pictures = source.choose(step, 50)[0]
        assert set(kept.kinds[pictures].tolist()) == {step % 2}
    clean, light, heavy = (
        [low.astype(float) for low, _ in of.pairs_of([tmp_path / "pictures"], kind)]
        for of, kind in ((make(hold_out=0), 0), (source, 0), (source, 1))
    )
    for as_it_was, a, b in zip(clean, light, heavy, strict=True):
        assert np.abs(a - as_it_was).mean() < np.abs(b - as_it_was).mean()

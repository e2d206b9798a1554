"""Scores as published: on tiny pictures by hand, and bicubic's published figures on Set5 and Set14."""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model import export
from model.checkpoint import load_weights, save_weights
from model.color import luma, rgb_from_ycbcr, ycbcr_from_rgb
from model.entry import UsageError
from model.evaluate import (
    Enlarge,
    Score,
    evaluate,
    luma_8bit,
    main,
    mean,
    score_picture,
    summary,
    table,
    upscale,
    upscale_ensemble,
    upscale_twice,
    validate,
)
from model.network import LapSRN, LapSRNConfig, constant
from model.pictures import PictureError, read
from model.quality import psnr, ssim
from model.resample import degrade, resize, round_to_uint8
from model.training import ablation
from tests.model.networks import plane, random_network, save_pictures, texture

SMALLEST = LapSRNConfig(scale=4, depth=1, width=1)


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, random_network(SMALLEST))
    return path


def by_expanded(network: LapSRN, low: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """The picture enlarged by the expanded form, on 0..255, rounded."""
    margin = network.config.margin
    padded = torch.from_numpy(np.pad(luma(low), margin, mode="symmetric")).float()
    with torch.no_grad():
        return [round_to_uint8(level[0, 0].double().numpy() * 255) for level in network(padded[None, None])]


def test_scores_of_a_gray_picture_by_hand(tmp_path: Path, weights_file: Path) -> None:
    """Sides that do not divide are cropped; the low resolution is made by the recipe; x2 is judged by the x1/2."""
    (picture,) = save_pictures(tmp_path / "hr", [(70, 83)])
    truth = picture[:68, :80]
    low = degrade(truth, 4)
    network, _ = load_weights(weights_file)
    scores = evaluate(weights_file, tmp_path / "hr")
    for score, scale, ours in zip(scores, (2, 4), by_expanded(network, low), strict=True):
        target = luma_8bit(truth if scale == 4 else degrade(truth, 2))
        bicubic = round_to_uint8(resize(luma_8bit(low), *target.shape))
        assert (score.picture, score.scale) == ("a", scale)
        assert score.psnr == pytest.approx(psnr(ours, target, scale), abs=0.01)
        assert score.ssim == pytest.approx(ssim(ours, target, scale), abs=1e-4)
        assert score.bicubic_psnr == pytest.approx(psnr(bicubic, target, scale), abs=1e-12)
        assert score.bicubic_ssim == pytest.approx(ssim(bicubic, target, scale), abs=1e-12)


def test_low_resolution_files_of_the_same_name_are_used(tmp_path: Path, weights_file: Path) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(64, 64)])
    (tmp_path / "lr").mkdir()
    low = degrade(picture, 4)
    Image.fromarray(255 - low).save(tmp_path / "lr" / "a.png")
    network, _ = load_weights(weights_file)
    expected = score_picture(network.fold(), (2, 4), "a", picture, 255 - low)
    assert evaluate(weights_file, tmp_path / "hr", tmp_path / "lr") == expected
    assert expected != evaluate(weights_file, tmp_path / "hr")


def test_low_resolution_files_may_be_in_matching_subfolders(tmp_path: Path, weights_file: Path) -> None:
    for folder, flip in (("one", 1), ("two", -1)):
        (picture,) = save_pictures(tmp_path / "hr" / folder, [(64, 64)])
        Image.fromarray(picture[::flip]).save(tmp_path / "hr" / folder / "a.png")
        (tmp_path / "lr" / folder).mkdir(parents=True)
        Image.fromarray(degrade(picture[::flip], 4)).save(tmp_path / "lr" / folder / "a.png")
    assert evaluate(weights_file, tmp_path / "hr", tmp_path / "lr") == evaluate(weights_file, tmp_path / "hr")


def test_any_file_name_can_be_printed(tmp_path: Path, weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If standard output accepts only UTF-8, any other name would end the command after all the scoring."""
    save_pictures(tmp_path / "hr", [(64, 64)])
    (tmp_path / "hr" / "a.png").rename(tmp_path / "hr" / os.fsdecode(b"a\xff\n\x1b[2J.png"))
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr("sys.stdout", out)
    main(["--weights", str(weights_file), "--hr", str(tmp_path / "hr")])
    out.seek(0)
    assert out.readlines()[1].startswith(r"a\udcff\n\x1b[2J ")


def test_colour_pictures_are_scored_on_luma(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    expected = np.rint(16 + colours @ [65.481, 128.553, 24.966] / 255)
    np.testing.assert_array_equal(luma_8bit(colours), expected)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(read(tmp_path / "colour.png"), colours)
    Image.fromarray(colours[..., 0]).save(tmp_path / "gray.png")
    assert read(tmp_path / "gray.png").shape == (40, 40)


def test_gray_is_scored_as_equal_rgb_rather_than_as_luma() -> None:
    assert luma_8bit(np.array([[0, 100, 255]], np.uint8)).tolist() == [[16, 102, 235]]


SCORES = [
    Score("a", 4, 30.0, 0.9, 28.0, 0.8),
    Score("a", 2, 36.0, 0.95, 33.0, 0.9),
    Score("b", 4, 32.0, 0.8, 29.0, 0.7),
    Score("b", 2, 38.0, 0.97, 34.0, 0.92),
]


def test_the_table_lists_every_picture_and_the_means() -> None:
    assert table(SCORES).splitlines() == [
        "picture          scale   PSNR dB     SSIM  bicubic dB     SSIM",
        "a                   x2    36.000   0.9500      33.000   0.9000",
        "b                   x2    38.000   0.9700      34.000   0.9200",
        "mean                x2    37.000   0.9600      33.500   0.9100",
        "a                   x4    30.000   0.9000      28.000   0.8000",
        "b                   x4    32.000   0.8000      29.000   0.7000",
        "mean                x4    31.000   0.8500      28.500   0.7500",
    ]


def test_the_summary_holds_the_means_of_each_scale() -> None:
    assert summary(SCORES) == {
        "2": {"psnr": 37.0, "ssim": 0.96, "bicubic_psnr": 33.5, "bicubic_ssim": 0.91},
        "4": {"psnr": 31.0, "ssim": 0.85, "bicubic_psnr": 28.5, "bicubic_ssim": 0.75},
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_what_evaluate_scores(
    as_json: bool, tmp_path: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path / "hr", [(64, 72), (80, 64)])
    arguments = ["--weights", str(weights_file), "--hr", str(tmp_path / "hr")]
    main([*arguments, "--json"] if as_json else arguments)
    printed = capsys.readouterr().out
    expected = evaluate(weights_file, tmp_path / "hr")
    assert printed == (json.dumps(summary(expected)) if as_json else table(expected)) + "\n"
    assert len(expected) == 4


def test_the_ensemble_is_the_mean_of_eight_separate_runs() -> None:
    """Each undone by its own inverse, written out."""
    folded, picture = random_network(SMALLEST).fold(), plane(13, 17)
    turns: list[tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], ...]] = [
        (lambda x: x, lambda x: x),
        (lambda x: x[::-1], lambda x: x[::-1]),
        (lambda x: x[:, ::-1], lambda x: x[:, ::-1]),
        (lambda x: x[::-1, ::-1], lambda x: x[::-1, ::-1]),
        (lambda x: x.T, lambda x: x.T),
        (lambda x: x.T[::-1], lambda x: x[::-1].T),
        (lambda x: x.T[:, ::-1], lambda x: x[:, ::-1].T),
        (lambda x: x.T[::-1, ::-1], lambda x: x[::-1, ::-1].T),
    ]
    with torch.no_grad():
        found = upscale_ensemble(folded, picture)
        alone = upscale(folded, picture)
        passes = [[back(level) for level in upscale(folded, turn(picture))] for turn, back in turns]
    assert [level.shape for level in found] == [(26, 34), (52, 68)]
    for level, parts, single in zip(found, zip(*passes, strict=True), alone, strict=True):
        np.testing.assert_allclose(level, np.mean(parts, axis=0, dtype=np.float64), rtol=0, atol=1e-6)
        assert np.abs(level - single).max() > 1e-3, "the eight differ"


@pytest.mark.parametrize(("flag", "enlarge"), [("--twice", upscale_twice), ("--ensemble", upscale_ensemble)])
def test_the_command_can_score_several_passes(
    flag: str, enlarge: Enlarge, tmp_path: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path / "hr", [(64, 72)])
    main(["--weights", str(weights_file), "--hr", str(tmp_path / "hr"), flag])
    expected = evaluate(weights_file, tmp_path / "hr", enlarge=enlarge)
    assert capsys.readouterr().out == table(expected) + "\n"
    assert expected != evaluate(weights_file, tmp_path / "hr")


def test_validation_is_the_mean_over_pictures_at_each_scale(tmp_path: Path) -> None:
    network = random_network(SMALLEST)
    pictures = save_pictures(tmp_path, [(64, 64), (48, 80)])
    pairs = [(degrade(p, 4), [degrade(p, 2), p]) for p in pictures]
    found = validate(network, pairs)
    expected = []
    for low, truths in pairs:
        margin = network.config.margin
        padded = torch.from_numpy(np.pad(luma(low), margin, mode="symmetric")).float()
        with torch.no_grad():
            levels = [level[0, 0].numpy() * 255 for level in network(padded[None, None])]
        expected.append([psnr(x, luma(t) * 255, s) for x, t, s in zip(levels, truths, (2, 4), strict=True)])
    assert found == pytest.approx(dict(zip((2, 4), np.mean(expected, axis=0), strict=True)), abs=1e-3)


def bicubic_psnr(folder: Path, low_folder: str, scale: int) -> float:
    """Mean Y-PSNR of bicubic enlargement, from the same pieces that `score_picture` uses."""
    figures = []
    for path in sorted((folder / "HR").glob("*.png")):
        target, low = luma_8bit(read(path)), luma_8bit(read(folder / low_folder / path.name))
        figures.append(psnr(round_to_uint8(resize(low, *target.shape)), target, scale))
    return float(np.mean(figures))


@pytest.mark.parametrize(("name", "published"), [("Set5", 28.42), ("Set14", 26.08)])
def test_bicubic_reaches_its_published_figures(bench_dir: Path, name: str, published: float) -> None:
    """At x4. `bridge` of Set14 is gray and taken as R = G = B; taken as luma itself the mean would be 25.99."""
    assert bicubic_psnr(bench_dir / name, "LRx4", 4) == pytest.approx(published, abs=0.01)


def test_evaluate_reports_the_published_figure_of_bicubic(bench_dir: Path, weights_file: Path) -> None:
    scores: Sequence[Score] = evaluate(weights_file, bench_dir / "Set5" / "HR", bench_dir / "Set5" / "LRx4")
    assert len(scores) == 10
    at_4 = [score for score in scores if score.scale == 4]
    assert mean(at_4, "bicubic_psnr") == pytest.approx(28.416, abs=0.001)


def test_shipped_weights_are_better_than_bicubic(bench_dir: Path, weights: Path) -> None:
    """On one picture, by more than 2 dB; the whole table is in the model card."""
    network, _ = load_weights(weights)
    truth = read(bench_dir / "Set5" / "HR" / "butterfly.png")
    low = read(bench_dir / "Set5" / "LRx4" / "butterfly.png")
    with torch.no_grad():
        x2, x4 = score_picture(network.fold(), (2, 4), "butterfly", truth, low)
    assert x2.psnr > x2.bicubic_psnr + 2
    assert x4.psnr > x4.bicubic_psnr + 2
    assert x4.ssim > x4.bicubic_ssim + 0.03


def test_scores_decrease_with_jpeg_quality(tmp_path: Path, weights_file: Path) -> None:
    save_pictures(tmp_path / "hr", [(96, 112)])
    by_quality = [
        mean(evaluate(weights_file, tmp_path / "hr", jpeg=quality), "bicubic_psnr") for quality in (None, 90, 20)
    ]
    assert by_quality == sorted(by_quality, reverse=True)
    assert by_quality[0] > by_quality[2] + 0.1


@pytest.mark.parametrize("quality", ["0", "101", "-1", "best"])
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (main, ["--weights", "w", "--hr", "x"]),
        (ablation.main, ["--hr", "x", "a=w"]),
        (export.main, ["--weights", "w", "--to", "x"]),
    ],
    ids=["evaluate", "ablation", "export"],
)
def test_an_invalid_jpeg_quality_is_refused(
    capsys: pytest.CaptureFixture[str], program: Callable[[Sequence[str]], None], arguments: list[str], quality: str
) -> None:
    with pytest.raises(SystemExit):
        program([*arguments, f"--jpeg={quality}"])
    assert f"argument --jpeg: {quality} is not a JPEG quality; give 1 to 100" in capsys.readouterr().err


def test_rgb_is_scored_with_bicubic_chroma(tmp_path: Path, weights_file: Path) -> None:
    """Each channel by hand; of a gray picture, as three equal channels."""
    colours = np.stack([texture(64, 80, seed) for seed in (1, 2, 3)], axis=-1)
    low = degrade(colours, 4)
    network, _ = load_weights(weights_file)
    (_, score) = score_picture(network.fold().map(*[constant] * 2), (2, 4), "a", colours, low, rgb=True)
    y = np.float64(by_levels(network, low)[-1])
    chroma = [resize(plane, 64, 80) for plane in np.moveaxis(ycbcr_from_rgb(low / 255), 2, 0)[1:]]
    ours = np.rint(np.clip(rgb_from_ycbcr(np.dstack([y, *chroma])), 0, 1) * 255)
    bicubic = np.dstack([np.clip(np.rint(resize(low[..., c].astype(float), 64, 80)), 0, 255) for c in range(3)])
    for found, picture in ((score.rgb_psnr, ours), (score.bicubic_rgb_psnr, bicubic)):
        error = ((picture - colours)[4:-4, 4:-4] ** 2).mean()
        assert found == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)
    gray = score_picture(network.fold().map(*[constant] * 2), (2, 4), "a", colours[..., 0], low[..., 0], rgb=True)
    truth, small = (np.dstack([each] * 3) for each in (colours[..., 0], low[..., 0]))
    same = score_picture(network.fold().map(*[constant] * 2), (2, 4), "a", truth, small, rgb=True)
    assert [s.rgb_psnr for s in gray] == pytest.approx([s.rgb_psnr for s in same], abs=0.01)


def by_levels(network: LapSRN, low: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The luma of a picture enlarged by the expanded form, 0..1."""
    padded = torch.from_numpy(np.pad(luma(low), network.config.margin, mode="symmetric")).float()
    with torch.no_grad():
        return [level[0, 0].numpy() for level in network(padded[None, None])]


def test_the_command_can_score_rgb(tmp_path: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pictures(tmp_path / "hr", [(64, 72)])
    main(["--weights", str(weights_file), "--hr", str(tmp_path / "hr"), "--rgb"])
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.endswith("RGB dB  bicubic dB")
    assert len(first) == len(head)
    main(["--weights", str(weights_file), "--hr", str(tmp_path / "hr"), "--rgb", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["4"]) == ["psnr", "ssim", "bicubic_psnr", "bicubic_ssim", "rgb_psnr", "bicubic_rgb_psnr"]


def test_a_coarser_level_is_scored_on_low_resolutions_of_its_own_scale(tmp_path: Path, weights_file: Path) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(64, 72)])
    (score,) = evaluate(weights_file, tmp_path / "hr", scale=2)
    folded = load_weights(weights_file)[0].fold()
    ours = round_to_uint8(upscale(folded, luma(degrade(picture, 2)))[0].astype(np.float64) * 255)
    assert score.scale == 2
    assert score.psnr == psnr(ours, luma_8bit(picture), 2)
    with pytest.raises(UsageError, match="has no level for scale 8; give one of 2, 4"):
        evaluate(weights_file, tmp_path / "hr", scale=8)


def test_a_flat_picture_is_refused(tmp_path: Path, weights_file: Path) -> None:
    """Its PSNR is infinite, and so would be the mean."""
    save_pictures(tmp_path / "hr", [(64, 64)])
    flat = np.full((67, 64, 3), (10, 200, 90), np.uint8)
    flat[64:] = 0  # rows that cropping to a multiple of the scale removes
    Image.fromarray(flat).save(tmp_path / "hr" / "page.png")
    with pytest.raises(PictureError, match=r"page\.png is flat: .* move it away"):
        evaluate(weights_file, tmp_path / "hr")


def test_low_resolution_of_another_size_is_refused(tmp_path: Path, weights_file: Path) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(64, 64)])
    (tmp_path / "lr").mkdir()
    Image.fromarray(degrade(picture, 2)).save(tmp_path / "lr" / "ax4.png")
    with pytest.raises(PictureError, match=r"low resolution of .*a\.png is 32x32, not 16x16"):
        evaluate(weights_file, tmp_path / "hr", tmp_path / "lr")

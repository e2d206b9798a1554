"""The comparison of recipes: its table agrees with the scores elsewhere, its picture shows what it says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.checkpoint import save_weights
from model.degradations import through_jpeg
from model.evaluate import evaluate, luma_8bit
from model.network import LapSRNConfig
from model.quality import psnr
from model.resample import degrade, resize, round_to_uint8
from model.training.ablation import GAP, ZOOM, main
from tests.model.networks import random_network, save_pictures


@pytest.fixture
def weights(tmp_path: Path) -> list[Path]:
    """Two networks, x2."""
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, file in enumerate(files):
        save_weights(file, random_network(LapSRNConfig(scale=2, depth=1, width=4), seed))
    return files


def test_the_table_and_the_sheet_compare_weights(
    tmp_path: Path, weights: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truths = save_pictures(tmp_path / "hr", [(40, 50), (48, 44)])
    sheet = tmp_path / "sheet.png"
    contestants = [f"{name}={file}" for name, file in zip(("first", "second"), weights, strict=True)]
    main(["--hr", str(tmp_path / "hr"), "--side", "12", "--to", str(sheet), *contestants, "--crop", "b:20,8", "a:1,2"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["", "PSNR dB", "SSIM", "GMSD"]
    assert [row[0] for row in rows[2:]] == ["bicubic", "first", "second"]
    for row, file in zip(rows[3:], weights, strict=True):
        scores = evaluate(file, tmp_path / "hr")
        assert float(row[1]) == pytest.approx(np.mean([score.psnr for score in scores]), abs=1e-3)
        assert float(row[2]) == pytest.approx(np.mean([score.ssim for score in scores]), abs=1e-4)
    with Image.open(sheet) as image:
        shown = np.asarray(image)
    side = 12 * ZOOM
    assert shown.shape == (2 * (side + GAP), 4 * (side + 2) - 2), "two details of bicubic, two networks, the original"
    originals = [shown[top + GAP : top + GAP + side : ZOOM, -side::ZOOM] for top in (0, side + GAP)]
    a, b = truths
    for original, detail in zip(originals, (a[2:14, 1:13], b[8:20, 20:32]), strict=True):
        # In the order of the pictures; on luma's range of 16 to 235.
        assert np.abs(original - (16 + 219 / 255 * detail.astype(float))).max() <= 0.51


def test_weights_of_different_scales_are_refused(tmp_path: Path, weights: list[Path]) -> None:
    save_weights(weights[1], random_network(LapSRNConfig(scale=4, depth=1, width=4)))
    with pytest.raises(SystemExit) as end:
        main(["--hr", str(tmp_path), *(f"{file.stem}={file}" for file in weights)])
    assert "weights of scales [2, 4] cannot be compared" in str(end.value.code)


def test_jpeg_is_applied_before_enlarging(
    tmp_path: Path, weights: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Bicubic of what a JPEG of the low resolution left."""
    (picture,) = save_pictures(tmp_path / "one", [(48, 64)])
    main(["--hr", str(tmp_path / "one"), "--jpeg", "30", f"a={weights[0]}"])
    low = through_jpeg(degrade(picture, 2), 30)
    enlarged = round_to_uint8(resize(luma_8bit(low), 48, 64))
    expected = psnr(enlarged, luma_8bit(picture), 2)
    assert f"| bicubic | {expected:.3f} |" in capsys.readouterr().out

"""What the README and the model card say of the shipped weights is what the file says, and what they score."""

from pathlib import Path

import pytest

from model.checkpoint import load_weights
from model.evaluate import evaluate, summary
from model.export import main, with_tables
from tests.model.networks import SHIPPED, random_network

ROOT = Path(__file__).parents[2]


@SHIPPED
def test_the_model_card_says_what_the_weights_say(shipped: Path) -> None:
    text = (ROOT / "weights" / "README.md").read_text()
    for block in ("scores", "recipe"):
        assert f"<!-- {block} {shipped.stem}: begin -->" in text
    assert with_tables(text, shipped) == text, "renew with python -m model.export --cards"


def test_the_readme_says_what_the_first_weights_say() -> None:
    text = (ROOT / "README.md").read_text()
    assert "<!-- scores lapsrn_x4: begin -->" in text
    assert with_tables(text, ROOT / "weights" / "lapsrn_x4.safetensors") == text, (
        "renew with python -m model.export --cards"
    )


@SHIPPED
@pytest.mark.parametrize("name", ["Set5", pytest.param("Set14", marks=pytest.mark.slow)])
def test_weights_score_what_they_claim(name: str, shipped: Path, bench_dir: Path) -> None:
    network, info = load_weights(shipped)
    low = bench_dir / name / f"LRx{network.config.scale}"
    measured = summary(evaluate(shipped, bench_dir / name / "HR", low if low.is_dir() else None))
    for scale, figures in info.scores[name].items():
        assert measured[scale]["psnr"] == pytest.approx(figures["psnr"], abs=0.005)
        assert measured[scale]["ssim"] == pytest.approx(figures["ssim"], abs=0.0005)
        assert measured[scale]["psnr"] > measured[scale]["bicubic_psnr"] + 1


def test_export_scores_and_renews_cards(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    from model.checkpoint import save_weights
    from model.network import LapSRNConfig

    (tmp_path / "run").mkdir()
    save_weights(
        tmp_path / "run" / "weights.safetensors", random_network(LapSRNConfig(depth=1, width=4)), recipe={"a": 1}
    )
    hr = tmp_path / "Set5" / "HR"
    hr.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80), np.uint8)).save(hr / "p.png")
    card = tmp_path / "card.md"
    card.write_text(
        "x\n<!-- scores w: begin -->\nold\n<!-- scores w: end -->\n<!-- recipe w: begin --><!-- recipe w: end -->\n"
        "<!-- scores v: begin -->\nof others\n<!-- scores v: end -->\ny\n"
    )
    out = tmp_path / "w.safetensors"
    arguments = ["--run", str(tmp_path / "run"), "--to", str(out), "--score", str(hr.parent), "--cards", str(card)]
    main([*arguments, "--jpeg", "60", "--purpose", "Clean up"])
    info = load_weights(out)[1]
    assert info.purpose == "Clean up"
    assert set(info.scores) == {"Set5", "Set5, JPEG 60"}
    assert set(info.scores["Set5"]) == {"2", "4"}
    assert info.scores["Set5, JPEG 60"]["4"]["bicubic_psnr"] != info.scores["Set5"]["4"]["bicubic_psnr"]
    text = card.read_text()
    assert f"**{info.scores['Set5']['4']['psnr']:.2f}**" in text
    assert "| `a` | 1 |" in text
    assert "old" not in text
    assert "of others" in text
    assert text.startswith("x\n") and text.endswith("y\n")

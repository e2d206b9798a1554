"""What the README and the model card say of the shipped weights is what the file says, and what they score."""

from pathlib import Path

import pytest

from model.checkpoint import load_weights
from model.evaluate import evaluate, summary
from model.export import main, recipe_table, score_table, write_block
from tests.model.networks import random_network

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights" / "lapsrn_x4.safetensors"


@pytest.mark.parametrize("card", ["README.md", "weights/README.md"])
def test_cards_say_what_the_weights_say(card: str) -> None:
    info = load_weights(WEIGHTS)[1]
    text = (ROOT / card).read_text()
    assert "<!-- scores: begin -->" in text
    assert write_block(text, "scores", score_table(info.scores)) == text, "renew with python -m model.export --cards"
    assert write_block(text, "recipe", recipe_table(info.recipe)) == text, "renew with python -m model.export --cards"


@pytest.mark.parametrize("name", ["Set5", pytest.param("Set14", marks=pytest.mark.slow)])
def test_weights_score_what_they_claim(name: str, bench_dir: Path) -> None:
    info = load_weights(WEIGHTS)[1]
    measured = summary(evaluate(WEIGHTS, bench_dir / name / "HR", bench_dir / name / "LRx4"))
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
        "x\n<!-- scores: begin -->\nold\n<!-- scores: end -->\n<!-- recipe: begin --><!-- recipe: end -->\ny\n"
    )
    out = tmp_path / "w.safetensors"
    main(["--run", str(tmp_path / "run"), "--to", str(out), "--score", str(tmp_path / "Set5"), "--cards", str(card)])
    info = load_weights(out)[1]
    assert set(info.scores["Set5"]) == {"2", "4"}
    text = card.read_text()
    assert f"**{info.scores['Set5']['4']['psnr']:.2f}**" in text
    assert "| `a` | 1 |" in text
    assert "old" not in text
    assert text.startswith("x\n") and text.endswith("y\n")

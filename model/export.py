"""From a training run to a weights file that says what it is: `python -m model.export --run runs/served --to FILE`."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import load_weights, save_weights
from model.entry import file_errors
from model.evaluate import evaluate, summary

# Measured elsewhere on the same files, in dB: the paper's published weights, and the best public PyTorch ones.
PUBLISHED = {
    "the paper's LapSRN": {"Set5": 31.492, "Set14": 28.136},
    "best public PyTorch": {"Set5": 31.595, "Set14": 28.214},
}


def score_table(scores: dict[str, Any]) -> str:
    """Markdown: a row per set and scale with bicubic and this network; of x4 weights with what is published, too."""
    comparable = all(list(levels)[-1] == "4" for levels in scores.values())
    others = [other for other in PUBLISHED if comparable and PUBLISHED[other].keys() & scores.keys()]
    head = ["set", "scale", "bicubic", "**these weights**", *others]
    rows = [head, ["---"] * len(head)]
    for name, levels in scores.items():
        for scale, figures in levels.items():
            ours = f"**{figures['psnr']:.2f}** / {figures['ssim']:.4f}"
            plain = f"{figures['bicubic_psnr']:.2f} / {figures['bicubic_ssim']:.4f}"
            published = [PUBLISHED[other].get(name) if scale == "4" else None for other in others]
            shown = ["" if figure is None else f"{figure:.2f}" for figure in published]
            rows.append([name, f"×{scale}", plain, ours, *shown])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def recipe_table(recipe: dict[str, Any]) -> str:
    """Markdown: what the network was trained with, every field."""
    rows = [("setting", "value"), ("---", "---"), *((f"`{name}`", f"{value}") for name, value in recipe.items())]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def write_block(text: str, name: str, block: str) -> str:
    """`text` with what stands between `<!-- name: begin -->` and `<!-- name: end -->` replaced, if it is there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{block}\n{end}", text, flags=re.DOTALL)


def with_tables(text: str, weights: Path) -> str:
    """Markdown with the blocks "scores NAME" and "recipe NAME" as the weights file of this name says of itself."""
    info = load_weights(weights)[1]
    text = write_block(text, f"scores {weights.stem}", score_table(info.scores))
    return write_block(text, f"recipe {weights.stem}", recipe_table(info.recipe))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.export`."""
    parser = argparse.ArgumentParser(prog="python -m model.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--to", type=Path, required=True, help="weights file to write")
    parser.add_argument("--score", type=Path, nargs="*", default=[], help="folders with HR/ and LRx4/ to score on")
    parser.add_argument("--jpeg", type=int, nargs="*", default=[], metavar="QUALITY", help="score through JPEG too")
    parser.add_argument("--data", default="", help="what the pictures were, in words")
    parser.add_argument("--purpose", default="", help="what it does besides enlarging, in a few words; for the page")
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="Markdown files whose tables to renew")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        export(options)


def export(options: argparse.Namespace) -> None:
    """Scores a run's averaged weights on folders that hold HR/ and perhaps LRx4/, and writes them with all of that."""
    source = options.run / "weights.safetensors"
    network, info = load_weights(source)
    scores = {}
    for folder in options.score:
        low = folder / f"LRx{network.config.scale}"
        for quality in (None, *options.jpeg):
            name = folder.name if quality is None else f"{folder.name}, JPEG {quality}"
            scores[name] = summary(evaluate(source, folder / "HR", low if low.is_dir() else None, jpeg=quality))
    about = {"recipe": info.recipe, "data": options.data or info.data, "scores": scores}
    if purpose := options.purpose or info.purpose:
        about["purpose"] = purpose
    save_weights(options.to, network, **about)
    for card in options.cards:
        card.write_text(with_tables(card.read_text(), options.to))
    print(score_table(scores))


if __name__ == "__main__":
    main()

"""Weights files described in Markdown: tables of scores and recipes, and the front matter of Hugging Face."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import NetworkInfo, load_weights

# Measured elsewhere on the same files, in dB: the paper's published weights, and the best public PyTorch ones.
PUBLISHED = {
    "the paper's LapSRN": {"Set5": 31.492, "Set14": 28.136},
    "best public PyTorch": {"Set5": 31.595, "Set14": 28.214},
}


def score_table(scores: Mapping[str, Any]) -> str:
    """Markdown: a row per set and scale with bicubic and this network; for x4 weights with published scores, too."""
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


def recipe_table(recipe: Mapping[str, Any]) -> str:
    """Markdown: every setting that the network was trained with."""
    rows = [("setting", "value"), ("---", "---"), *((f"`{name}`", f"{value}") for name, value in recipe.items())]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def write_block(text: str, name: str, block: str) -> str:
    """`text` with what stands between `<!-- name: begin -->` and `<!-- name: end -->` replaced, if it is there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{block}\n{end}", text, flags=re.DOTALL)


def renew_block(cards: Iterable[Path], name: str, block: str) -> None:
    """Writes a block into Markdown files: see `write_block`."""
    for card in cards:
        card.write_text(write_block(card.read_text("utf-8"), name, block), "utf-8")


def with_tables(text: str, weights: Path) -> str:
    """Markdown with the blocks "scores NAME" and "recipe NAME" renewed from the metadata of the weights file NAME."""
    info = load_weights(weights)[1]
    text = write_block(text, f"scores {weights.stem}", score_table(info.scores))
    return write_block(text, f"recipe {weights.stem}", recipe_table(info.recipe))


def with_front_matter(text: str, folder: Path) -> str:
    """Markdown with its front matter renewed from all weights files in a folder; text without any is left as it is."""
    if not text.startswith("---\n"):
        return text
    _, _, body = text.partition("\n---\n")
    infos = [load_weights(path)[1] for path in sorted(folder.glob("*.safetensors"))]
    return front_matter(infos) + body


def front_matter(infos: Sequence[NetworkInfo]) -> str:
    """YAML as https://huggingface.co/docs/hub/model-cards describes it: what the files are, and their scores."""
    lines = [
        "---",
        "license: mit",
        "library_name: lapsrn",
        "pipeline_tag: image-to-image",
        "tags: [super-resolution, image-restoration, lapsrn, safetensors]",
        "metrics: [psnr, ssim]",
        "model-index:",
    ]
    for info in infos:
        lines += [f"  - name: {_quoted(info.name)}", "    results:"]
        for dataset, levels in info.scores.items():
            scale, figures = list(levels.items())[-1]
            lines += [
                f"      - task: {{type: image-to-image, name: super-resolution ×{scale}}}",
                f"        dataset: {{type: {_identifier(dataset.split(',')[0])}, name: {_quoted(dataset)}}}",
                "        metrics:",
                f"          - {{type: psnr, name: Y-PSNR in dB, value: {figures['psnr']:.2f}}}",
                f"          - {{type: ssim, name: SSIM, value: {figures['ssim']:.4f}}}",
            ]
    return "\n".join([*lines, "---", ""])


def _identifier(text: str) -> str:
    """In lower case, with a hyphen for what is neither a letter nor a digit."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _quoted(text: str) -> str:
    """A string in YAML, whatever is in it: YAML reads those of JSON."""
    return json.dumps(text, ensure_ascii=False)

"""From a training run to a weights file that says what it is: `python -m model.export --run runs/served --to FILE`.

Or from a weights file to an ONNX model: `python -m model.export --weights FILE --onnx FILE`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import load_weights, save_weights
from model.entry import Parser, UsageError, check_output, file_errors, jpeg_quality
from model.evaluate import evaluate, summary
from model.files import replacing
from model.model_card import score_table, with_front_matter, with_tables
from model.weights import Waypoint


def parser() -> Parser:
    """The command line."""
    made = Parser("model.export", __doc__)
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a training run, whose averaged weights are taken")
    source.add_argument("--weights", type=Path, help="weights file, instead of a run; best.safetensors of one, perhaps")
    made.add_argument("--to", type=Path, help="weights file to write")
    made.add_argument("--onnx", type=Path, metavar="FILE", help="ONNX model to write: luma of any size in, x2, x4 out")
    made.add_argument("--score", type=Path, nargs="*", default=[], help="folders with HR/ and LRx4/ to score on")
    made.add_argument(
        "--jpeg", type=jpeg_quality, nargs="*", default=[], metavar="QUALITY", help="score through JPEG too"
    )
    made.add_argument("--data", default="", help="what the pictures were, in words")
    made.add_argument("--purpose", default="", help="what it does besides enlarging, in a few words; for the page")
    made.add_argument(
        "--waypoint",
        nargs=3,
        metavar=("NETWORK", "STRENGTH", "KIND"),
        help="it is what NETWORK becomes at this strength of clean-up for pictures that are compressed or uncompressed",
    )
    made.add_argument(
        "--deep-of",
        metavar="NETWORK",
        help="it is the deep companion of NETWORK, for high quality and clean-up",
    )
    made.add_argument("--cards", type=Path, nargs="*", default=[], help="Markdown files whose tables to renew")
    return made


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line, which go together."""
    made = parser()
    options = made.parse_args(arguments)
    if options.to is None and options.onnx is None:
        made.error("say what to write: weights with --to, or an ONNX model with --onnx")
    if options.to is None:
        for name in ("score", "data", "purpose", "waypoint", "deep_of", "cards"):
            if getattr(options, name):
                made.error(f"--{name.replace('_', '-')} is about the weights that --to writes; give both")
    if options.jpeg and not options.score:
        made.error("--jpeg says how to score; give the folders with --score")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.export`."""
    options = parse(arguments)
    with file_errors("python -m model.export"):
        waypoint = waypoint_of(*options.waypoint) if options.waypoint else None
        for path in (options.to, options.onnx):
            check_output(path)
        for card in options.cards:  # a wrong one is noticed before the scoring, not after
            try:
                card.read_text("utf-8")
            except UnicodeDecodeError:
                raise UsageError(f"{card} is not in UTF-8; give Markdown files, and save them as UTF-8") from None
        weights = options.weights or options.run / "weights.safetensors"
        if options.to is not None:
            export(
                weights,
                options.to,
                score_on=options.score,
                jpeg=options.jpeg,
                data=options.data,
                purpose=options.purpose,
                waypoint=waypoint,
                deep_of=options.deep_of,
                cards=options.cards,
            )
        if options.onnx is not None:
            export_onnx(options.to or weights, options.onnx)


def waypoint_of(network: str, strength: str, kind: str) -> Waypoint:
    """The waypoint that a command line describes. Raises UsageError."""
    number = float(strength) if strength.replace(".", "", 1).isdecimal() else 0.0
    if not 0 < number <= 1:
        raise UsageError(f"the strength of a waypoint is above 0 and at most 1, not {strength}")
    if kind not in ("compressed", "uncompressed"):
        raise UsageError(f"a waypoint is for pictures that are compressed or uncompressed, not {kind}")
    return Waypoint(network, number, kind == "compressed")


def export(
    source: Path,
    target: Path,
    *,
    score_on: Sequence[Path],
    jpeg: Sequence[int],
    data: str,
    purpose: str,
    waypoint: Waypoint | None,
    deep_of: str | None,
    cards: Sequence[Path],
) -> None:
    """Writes weights with scores and descriptions, and renews the tables of Markdown files; prints the scores.

    `score_on` are folders as for `scores_on`; without any, the scores in `source` are kept, and so is what is not given
    of the descriptions. Raises UsageError for weights that would be part of the network that they replace.
    """
    network, info = load_weights(source)
    waypoint, deep_of = waypoint or info.waypoint, deep_of or info.deep_of
    if (name := target.stem) in (info.full_strength_of, waypoint and waypoint.base, deep_of):
        raise UsageError(
            f"{source} with these options is a companion of {name}, or cleans up for it, so it cannot be {name}; give "
            "another --to"
        )
    scores = scores_on(score_on, source, network.config.scale, jpeg) if score_on else info.scores
    about: dict[str, Any] = {"recipe": info.recipe, "data": data or info.data, "scores": scores}
    if info.pictures:
        about["pictures"] = info.pictures
    if purpose := purpose or info.purpose:
        about["purpose"] = purpose
    if info.full_strength_of:
        about["clean"] = {"base": info.full_strength_of, "strengths": info.strengths}
    if waypoint:
        about["clean"] = {"base": waypoint.base, "at": waypoint.strength, "compressed": waypoint.compressed}
    if deep_of:
        about["deep"] = {"of": deep_of}
    save_weights(target, network, **about)
    for card in cards:
        text = with_tables(card.read_text("utf-8"), target)
        card.write_text(with_front_matter(text, target.parent), "utf-8")
    print(score_table(scores))


def scores_on(folders: Sequence[Path], weights: Path, scale: int, jpeg: Sequence[int]) -> dict[str, Any]:
    """Mean scores by the name of each folder, which holds HR/ and perhaps LRx4/, as they are and through JPEG."""
    scores = {}
    for folder in folders:
        name = folder.name or folder.absolute().name  # of "."
        low = folder / f"LRx{scale}"
        for quality in (None, *jpeg):
            key = name if quality is None else f"{name}, JPEG {quality}"
            scores[key] = summary(evaluate(weights, folder / "HR", low if low.is_dir() else None, jpeg=quality))
    return scores


def export_onnx(weights: Path, path: Path) -> None:
    """Writes the folded network of a weights file as ONNX. Raises UsageError where the package onnx is missing."""
    network, info = load_weights(weights)
    try:
        from model.onnx_graph import to_onnx
    except ImportError:
        raise UsageError("the package onnx is not installed; pip install -e '.[train]'") from None
    with replacing(path) as file:
        file.write(to_onnx(network, info).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.export`."""
    parser = Parser("model.export", __doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a training run, whose averaged weights are taken")
    source.add_argument("--weights", type=Path, help="weights file, instead of a run; best.safetensors of one, perhaps")
    parser.add_argument("--to", type=Path, help="weights file to write")
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help="ONNX model to write: luma of any size in, x2, x4 out"
    )
    parser.add_argument("--score", type=Path, nargs="*", default=[], help="folders with HR/ and LRx4/ to score on")
    parser.add_argument(
        "--jpeg", type=jpeg_quality, nargs="*", default=[], metavar="QUALITY", help="score through JPEG too"
    )
    parser.add_argument("--data", default="", help="what the pictures were, in words")
    parser.add_argument("--purpose", default="", help="what it does besides enlarging, in a few words; for the page")
    parser.add_argument(
        "--waypoint",
        nargs=3,
        metavar=("NETWORK", "STRENGTH", "KIND"),
        help="it is what NETWORK becomes at this strength of clean-up for pictures that are compressed or uncompressed",
    )
    parser.add_argument(
        "--deep-of",
        metavar="NETWORK",
        help="it is the deep companion of NETWORK, for high quality and clean-up",
    )
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="Markdown files whose tables to renew")
    options = parser.parse_args(arguments)
    if options.to is None and options.onnx is None:
        parser.error("say what to write: weights with --to, or an ONNX model with --onnx")
    if options.to is None:
        for name in ("score", "data", "purpose", "waypoint", "deep_of", "cards"):
            if getattr(options, name):
                parser.error(f"--{name.replace('_', '-')} is about the weights that --to writes; give both")
    if options.jpeg and not options.score:
        parser.error("--jpeg says how to score; give the folders with --score")
    with file_errors(parser.prog):
        if options.waypoint:
            options.waypoint = waypoint_of(*options.waypoint)
        for path in (options.to, options.onnx):
            check_output(path)
        for card in options.cards:  # a wrong one is noticed before the scoring, not after
            try:
                card.read_text("utf-8")
            except UnicodeDecodeError:
                raise UsageError(f"{card} is not in UTF-8; give Markdown files, and save them as UTF-8") from None
        weights = options.weights or options.run / "weights.safetensors"
        if options.to is not None:
            export(weights, options)
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


def export(source: Path, options: argparse.Namespace) -> None:
    """Scores weights on folders that hold HR/ and perhaps LRx4/, and writes them with scores and descriptions.

    Raises UsageError for weights that would be part of the network that they replace.
    """
    network, info = load_weights(source)
    waypoint, deep_of = options.waypoint or info.waypoint, options.deep_of or info.deep_of
    if (name := options.to.stem) in (info.full_strength_of, waypoint and waypoint.base, deep_of):
        raise UsageError(
            f"{source} with these options is a companion of {name}, or cleans up for it, so it cannot be {name}; give "
            "another --to"
        )
    scores = {} if options.score else dict(info.scores)
    for folder in options.score:
        called = folder.name or folder.absolute().name  # of "."
        low = folder / f"LRx{network.config.scale}"
        for quality in (None, *options.jpeg):
            key = called if quality is None else f"{called}, JPEG {quality}"
            scores[key] = summary(evaluate(source, folder / "HR", low if low.is_dir() else None, jpeg=quality))
    about: dict[str, Any] = {"recipe": info.recipe, "data": options.data or info.data, "scores": scores}
    if info.pictures:
        about["pictures"] = info.pictures
    if purpose := options.purpose or info.purpose:
        about["purpose"] = purpose
    if info.full_strength_of:
        about["clean"] = {"base": info.full_strength_of, "strengths": info.strengths}
    if waypoint:
        about["clean"] = {"base": waypoint.base, "at": waypoint.strength, "compressed": waypoint.compressed}
    if deep_of:
        about["deep"] = {"of": deep_of}
    save_weights(options.to, network, **about)
    for card in options.cards:
        text = with_tables(card.read_text("utf-8"), options.to)
        card.write_text(with_front_matter(text, options.to.parent), "utf-8")
    print(score_table(scores))


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

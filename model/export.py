"""From a training run to a weights file that says what it is: `python -m model.export --run runs/served --to FILE`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from model.checkpoint import load_weights, save_weights
from model.evaluate import evaluate, summary


def main(arguments: Sequence[str] | None = None) -> None:
    """Score a run's averaged weights on folders that hold HR/ and perhaps LRx4/, and write them with all of that."""
    parser = argparse.ArgumentParser(prog="python -m model.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--to", type=Path, required=True, help="weights file to write")
    parser.add_argument("--score", type=Path, nargs="*", default=[], help="folders with HR/ and LRx4/ to score on")
    parser.add_argument("--data", default="", help="what the pictures were, in words")
    options = parser.parse_args(arguments)
    source = options.run / "weights.safetensors"
    network, info = load_weights(source)
    scores = {}
    for folder in options.score:
        low = folder / f"LRx{network.config.scale}"
        scores[folder.name] = summary(evaluate(source, folder / "HR", low if low.is_dir() else None))
    save_weights(options.to, network, recipe=info.recipe, data=options.data or info.data, scores=scores)
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()

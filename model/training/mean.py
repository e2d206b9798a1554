"""The mean of two networks, to start a run from or to serve: `python -m model.training.mean NEAR FAR --to FILE`.

The recipe, data and pictures in the file are those of FAR.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from model.checkpoint import save_tensors
from model.entry import Parser, UsageError, check_output, file_errors, strength
from model.mixing import mixed
from model.weights import read_weights


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = Parser("model.training.mean", __doc__)
    parser.add_argument("near", type=Path, help="weights file")
    parser.add_argument("far", type=Path, help="weights file of a network of the same form")
    parser.add_argument("--strength", type=strength, default=0.5, help="weight of the second, 0 to 1 (default: 0.5)")
    parser.add_argument("--to", type=Path, required=True, help="weights file to write; the same bytes every time")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        check_output(options.to)
        (near, about), (far, other) = read_weights(options.near), read_weights(options.far)
        if about.config != other.config:
            raise UsageError(f"{options.near} and {options.far} differ in form: {about.config} and {other.config}")
        mean = {name: torch.from_numpy(values) for name, values in mixed(near, far, options.strength).items()}
        of = {about.name: 1 - options.strength, other.name: options.strength}
        kept = {"recipe": other.recipe, "data": other.data, "pictures": other.pictures}
        described = {key: value for key, value in kept.items() if value}
        save_tensors(options.to, mean, {"config": asdict(about.config), "mean": of} | described)


if __name__ == "__main__":
    main()

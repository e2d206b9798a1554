"""The learning curve of a run as a picture: `python -m model.training.curve --run runs/served --to curve.png`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.entry import Parser, UsageError, check_output, file_errors
from model.training.runlog import lines


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a run's log.jsonl by step; of steps that were computed again, the last.

    Raises FileNotFoundError, or UsageError for a log that has nothing to draw.
    """
    records = [json.loads(line) for line in lines(path)]
    by_step = {record["step"]: record for record in records}
    found = [by_step[step] for step in sorted(by_step)]
    if not any("psnr" in record for record in found):
        raise UsageError(f"{path} has no PSNR yet; train for at least --validate-every steps")
    return found


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """PSNR of the held-out pictures at the largest scale over the steps, and the learning rate below it.

    Raises UsageError where the package matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise UsageError("the package matplotlib is not installed; pip install -e '.[train]'") from None

    matplotlib.use("agg")
    from matplotlib import pyplot

    scored = [record for record in records if "psnr" in record]
    scale = max(scored[-1]["psnr"], key=int)
    figure, (score, rate) = pyplot.subplots(
        2, 1, sharex=True, figsize=(8, 5), height_ratios=(3, 1), layout="constrained"
    )
    score.plot([r["step"] for r in scored], [r["psnr"][scale] for r in scored], marker=".")
    score.set_ylabel(f"PSNR, held-out pictures, ×{scale} (dB)")
    rate.plot([r["step"] for r in records], [r["rate"] for r in records])
    rate.set_ylabel("learning rate")
    rate.set_xlabel("steps")
    for axes in (score, rate):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m model.training.curve`."""
    parser = Parser("model.training.curve", __doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--to", type=Path, required=True, help="the picture to write, .png or .svg")
    options = parser.parse_args(arguments)
    with file_errors(parser.prog):
        check_output(options.to, ".png", ".svg")
        draw(read_log(options.run / "log.jsonl"), options.to)


if __name__ == "__main__":
    main()

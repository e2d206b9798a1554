"""A file or folder that is missing, or of the wrong kind, ends a program of this package with one line."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model import evaluate, export, train
from model.checkpoint import save_weights
from model.network import LapSRNConfig
from tests.model.networks import random_network, save_pictures

TINY = ["--depth", "1", "--core", "16", "--batch", "1", "--steps", "1", "--device", "cpu", "--dtype", "float32"]


@pytest.mark.parametrize(
    ("program", "arguments", "line"),
    [
        (evaluate.main, ["--weights", "gone", "--hr", "hr"], "no weights at gone; train some with "),
        (evaluate.main, ["--weights", "text", "--hr", "hr"], "text is not a readable safetensors file"),
        (evaluate.main, ["--weights", "w", "--hr", "gone"], "there is no folder gone"),
        (evaluate.main, ["--weights", "w", "--hr", "text"], "there is no folder text"),
        (evaluate.main, ["--weights", "w", "--hr", "empty"], "no pictures below empty; give folders that hold PNG"),
        (
            evaluate.main,
            ["--weights", "w", "--hr", "hr", "--lr", "gone"],
            "gone has no low resolution of a.png; name it",
        ),
        (evaluate.main, ["--weights", "w", "--hr", "bad"], "bad/a.png: not a readable picture (cannot identify "),
        (export.main, ["--run", "gone", "--to", "out"], "no weights at gone/weights.safetensors; train some with "),
        (export.main, ["--run", "run", "--to", "out", "--score", "gone"], "there is no folder gone/HR"),
        (train.main, ["--data", "gone", *TINY], "there is no folder gone"),
        (train.main, ["--data", "hr", "gone", *TINY], "there is no folder gone"),
        (train.main, ["--data", "hr", "--output", "text/x", *TINY], "text/x: Not a directory"),
        (train.main, ["--data", "hr", "--cache", "text/x", *TINY], "text/x: Not a directory"),
        (train.main, ["--data", "hr", "--start-from", "gone", *TINY], "no weights at gone; train some with "),
    ],
)
def test_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[Sequence[str]], None],
    arguments: list[str],
    line: str,
) -> None:
    save_pictures(tmp_path / "hr", [(96, 96)])
    for folder in ("empty", "bad", "run"):
        (tmp_path / folder).mkdir()
    for file in ("text", "bad/a.png"):
        (tmp_path / file).write_text("text")
    for file in ("w", "run/weights.safetensors"):
        save_weights(tmp_path / file, random_network(LapSRNConfig(scale=4, depth=1, width=1)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        program(arguments)
    name = program.__module__
    assert str(end.value.code).startswith(f"python -m {name}: {line}")
    assert "\n" not in str(end.value.code)

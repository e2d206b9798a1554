"""A file or folder that is missing, or of the wrong kind, ends a program of this package with one line."""

import errno
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model import evaluate, export, train
from model.checkpoint import save_weights
from model.entry import file_errors
from model.network import LapSRNConfig
from model.training import ablation, curve
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
        (evaluate.main, ["--weights", "w", "--hr", "hr", "--lr", "gone"], "there is no folder gone"),
        (
            evaluate.main,
            ["--weights", "w", "--hr", "hr", "--lr", "empty"],
            "empty has no low resolution of a.png; name it",
        ),
        (evaluate.main, ["--weights", "w", "--hr", "bad"], "bad/a.png: not a readable picture (no PNG, JPEG, "),
        (
            evaluate.main,
            ["--weights", "w", "--hr", "small"],
            "small/a.png has 31x40 pixels; scores at x4 need 32x32: move it away",
        ),
        (
            evaluate.main,
            ["--weights", "w", "--hr", "set"],
            "set holds the high resolution in HR; give set/HR, and --lr",
        ),
        (ablation.main, ["--hr", "small", "a=w"], "small/a.png has 31x40 pixels; scores at x4 need 32x32"),
        (train.main, ["--data", "hr", *TINY, "--validate-on", "set"], "set/HR/a.png has 31x40 pixels; scores at x4"),
        (export.main, ["--run", "gone", "--to", "out"], "no weights at gone/weights.safetensors; train some with "),
        (export.main, ["--run", "run", "--to", "out", "--score", "gone"], "there is no folder gone/HR"),
        (export.main, ["--run", "run", "--to", "out", "--score", "set", "--cards", "gone.md"], "gone.md: No such file"),
        (export.main, ["--run", "run", "--to", "gone/out"], "there is no folder gone for out; make it first"),
        (export.main, ["--weights", "w", "--onnx", "gone/out"], "there is no folder gone for out; make it first"),
        (curve.main, ["--run", "run", "--to", "gone/out.png"], "there is no folder gone for out.png; make it first"),
        (curve.main, ["--run", "run", "--to", "out.png"], "run/log.jsonl: No such file or directory"),
        (ablation.main, ["--hr", "hr", "--to", "gone/out.png", "a=w"], "there is no folder gone for out.png; make it"),
        (curve.main, ["--run", "run", "--to", "out.gif"], "out.gif has to end in .png or .svg"),
        (export.main, ["--weights", "w", "--to", "run"], "run is a folder; name a file in it"),
        (ablation.main, ["--hr", "hr", "--to", "o.jpg", "a=w", "--crop", "a:1,1"], "o.jpg has to end in .png"),
        (ablation.main, ["--hr", "hr", "a=w", "--crop", "a:1,1"], "--crop says which details to show, and --to where"),
        (ablation.main, ["--hr", "hr", "--to", "o.png", "a=w"], "--crop says which details to show, and --to where"),
        (
            ablation.main,
            ["--hr", "hr", "--to", "o.png", "a=w", "--crop", "b:1,1"],
            "--crop b: there is no such picture in hr",
        ),
        (
            ablation.main,
            ["--hr", "hr", "--to", "o.png", "a=w", "--crop", "a:33,1"],
            "--crop a:33,1 with --side 64 is not within 96x96 pixels",
        ),
        (ablation.main, ["--hr", "hr", "w"], "w is not a name and a file; write NAME=FILE"),
        (
            ablation.main,
            ["--hr", "hr", "a=w", "--to", "o.png", "--crop", "a:1"],
            "--crop a:1 is not a detail; write PICTURE:X,Y",
        ),
        (train.main, ["--data", "empty", *TINY], "no pictures below empty; give folders that hold PNG"),
        (train.main, ["--data", "bad", *TINY], "bad/a.png: not a readable picture (no PNG, JPEG, "),
        (
            train.main,
            ["--data", "hr", *TINY, "--core", "99"],
            "every picture is smaller than a patch of 396x396; use a",
        ),
        (train.main, ["--data", "hr", *TINY, "--validate-on", "gone"], "there is no folder gone"),
        (train.main, ["--data", "hr", "--recipe-from", "gone", *TINY], "no weights at gone; train some with "),
        (train.main, ["--data", "hr", "--start-from", "w", *TINY], "w has width 1, not 64; train with the same"),
        (train.main, ["--data", "gone", *TINY], "there is no folder gone"),
        (train.main, ["--data", "hr", "gone", *TINY], "there is no folder gone"),
        (train.main, ["--data", "hr", "--output", "text/x", *TINY], "text/x: Not a directory"),
        (train.main, ["--data", "hr", "--cache", "text/x", *TINY], "text/x: Not a directory"),
        (train.main, ["--data", "hr", "--start-from", "gone", *TINY], "no weights at gone; train some with "),
    ],
)
def test_errors_that_a_user_can_fix_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[Sequence[str]], None],
    arguments: list[str],
    line: str,
) -> None:
    save_pictures(tmp_path / "hr", [(96, 96)])
    for folder in ("small", "set/HR"):
        save_pictures(tmp_path / folder, [(31, 40)])
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


def test_the_error_is_one_line_whatever_file_names_contain() -> None:
    with pytest.raises(SystemExit) as end, file_errors("it"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fsdecode(b"a\n\xff"))
    assert end.value.code == r"it: a\n\udcff: No such file or directory"


def test_an_interrupt_ends_a_program_with_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, file_errors("it"):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "\nit: interrupted\n"


def test_characters_that_stdout_cannot_encode_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", out)
    with file_errors("it"):
        print("\u00d72", flush=True)
    assert out.buffer.getvalue() == b"\\xd72\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batch", "0"], "batch is 0; it must be at least 1"),
        (["--core", "0"], "core is 0; it must be at least 1"),
        (["--hold-out", "1"], "hold_out 1 would keep every picture for validation; use 2 or more, or 0 for none"),
        (["--hold-out", "-1"], "hold_out is -1; it must be at least 0"),
        (["--steps", "0"], "steps is 0; it must be at least 1"),
        (["--rate", "nan"], "rate is nan; it must be at least 0"),
        (["--ema", "2"], "ema is 2.0; it must be from 0 to 1"),
        (["--min-scale", "0.9", "--max-scale", "0.8"], "min_scale 0.9 is above max_scale 0.8; swap them"),
        (["--kernels", "cubic"], "unknown kernels cubic; use bicubic, box, bilinear, lanczos, linear-light, aliased"),
        (["--strengths", "0"], "strength 0 is the near end, which does not change; give strengths above 0"),
        (["--device", "cuda:99"], "no device 'cuda:99' here; there are cpu and"),
        (["--device", "gpu"], "unknown device 'gpu'; use auto, cpu, cuda or cuda:N"),
        (["--log-every", "0"], "argument --log-every: 0 is not allowed; it must be at least 1"),
        (["--validate-every", "x"], "argument --validate-every: invalid int value: 'x'"),
        (["--preset", "paper", "--recipe-from", "w"], "--preset and --recipe-from are two recipes; give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_settings_are_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(["--data", "x", *arguments])
    assert end.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"python -m model.train: {line}")
    assert told.endswith("; python -m model.train --help lists all arguments")

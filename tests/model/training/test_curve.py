"""The learning curve is drawn from what a run logged."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from model.training.curve import main, read_log


def log(folder: Path, *records: dict[str, object]) -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def scored(step: int, psnr: float) -> dict[str, object]:
    return {"step": step, "loss": 0.04, "rate": 1e-3, "psnr": {"2": psnr + 4, "4": psnr}}


def test_steps_that_were_repeated_count_once(tmp_path: Path) -> None:
    log(tmp_path, scored(100, 27.0), scored(200, 28.0), scored(200, 28.5), {"step": 150, "loss": 0.1, "rate": 1e-3})
    records = read_log(tmp_path / "log.jsonl")
    assert [record["step"] for record in records] == [100, 150, 200]
    assert records[-1]["psnr"]["4"] == 28.5


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    log(tmp_path, scored(100, 27.0), scored(200, 28.0))
    main(["--run", str(tmp_path), "--to", str(tmp_path / "curve.png")])
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (800, 500)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10


@pytest.mark.parametrize("records", [[], [{"step": 1, "loss": 0.1, "rate": 1e-3}]])
def test_a_log_without_scores_is_refused(records: list[dict[str, object]], tmp_path: Path) -> None:
    log(tmp_path, *records)
    with pytest.raises(SystemExit) as end:
        main(["--run", str(tmp_path), "--to", str(tmp_path / "curve.png")])
    assert "no PSNR yet" in str(end.value.code)


def test_a_missing_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--run", str(tmp_path / "none"), "--to", str(tmp_path / "curve.png")])
    assert "log.jsonl" in str(end.value.code)


def test_an_incomplete_record_is_ignored(tmp_path: Path) -> None:
    log(tmp_path, {"step": 100, "loss": 0.1, "rate": 1e-3, "psnr": {"4": 28.0}})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 200, "lo')
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [100]


def test_without_matplotlib_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(tmp_path, scored(100, 28.0))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as end:
        main(["--run", str(tmp_path), "--to", str(tmp_path / "curve.png")])
    assert "matplotlib is not installed" in str(end.value.code)

"""The first command on a fresh machine, whose own Python may be too old or too new."""

import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parent.parent.parent / "Makefile"
UNFIT, FITS = "exit 1", "exit 0"  # what a Python answers that is asked for its version


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout that nothing was installed in."""
    for name in ("pyproject.toml", "constraints.txt", "setup.py"):
        (tmp_path / name).touch()
    return tmp_path


def make_serve(fresh: Path, *arguments: str, **pythons: str) -> subprocess.CompletedProcess[str]:
    binaries = fresh / "bin"
    binaries.mkdir()
    for name, answer in pythons.items():
        python = binaries / name.replace("_", ".")
        python.write_text(f"#!/bin/sh\n{answer}\n")
        python.chmod(0o755)
    return subprocess.run(
        ["/usr/bin/make", "--file", MAKEFILE, "serve", *arguments],
        cwd=fresh,
        env={"PATH": f"{binaries}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("PYTHON=python3.9",)])
def test_an_unsupported_python_is_reported_in_one_line(fresh: Path, arguments: tuple[str, ...]) -> None:
    unfit = dict.fromkeys(("python3", "python3_9", "python3_11", "python3_12", "python3_13", "python3_14"), UNFIT)
    done = make_serve(fresh, *arguments, **unfit)
    assert done.returncode != 0
    named = "python3.9" if arguments else "python3"
    assert done.stderr.splitlines()[0] == (
        f"{named} is not Python 3.11, 3.12, 3.13 or 3.14. Install one and name it: make serve PYTHON=python3.13"
    )
    assert not (fresh / ".venv").exists()


def test_another_installed_python_is_used_if_the_default_is_unsupported(fresh: Path) -> None:
    done = make_serve(fresh, "--dry-run", python3=UNFIT, python3_14=UNFIT, python3_13=FITS, python3_12=FITS)
    assert "\ntest -x .venv/bin/pip || python3.13 -m venv --clear .venv\n" in done.stdout


def test_an_incomplete_environment_is_recreated(fresh: Path) -> None:
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    done = make_serve(fresh, python3='case "$1" in -m) echo "$@"; exit 1;; esac')  # as on Debian without python3-venv
    assert done.stdout.splitlines()[0] == "-m venv --clear .venv"
    assert done.returncode != 0


def test_training_without_pictures_is_refused_before_anything_is_installed(fresh: Path) -> None:
    command = ["/usr/bin/make", "--file", str(MAKEFILE), "train"]
    made = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 2
    assert made.stderr.startswith("there are no pictures to train on: name a folder of them, make train DATA=")
    assert not (fresh / ".venv").exists()

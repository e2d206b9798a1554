"""The bill of materials: all that serving installs is pinned, and the tool that `make sbom` runs knows its licence."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVING = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["heif"]]
DEVELOPMENT = {"atheris", "cyclonedx-bom", "hypothesis", "mypy", "pip", "pip-audit", "pytest", "ruff", "tensorboard"}


@pytest.fixture(scope="module")
def serving() -> dict[NormalizedName, str]:
    """What serving installs, as it is installed here: normalized name -> version, without the hardware (2.13.0+cpu)."""
    found: dict[NormalizedName, str] = {}
    todo = [(Requirement(text), "") for text in SERVING]
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        if (requirement, extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add((requirement, extra))
        installed = metadata.distribution(requirement.name)
        found[canonicalize_name(requirement.name)] = installed.version.partition("+")[0]
        below = [Requirement(text) for text in installed.requires or ()]
        todo += [(each, wanted) for each in below for wanted in ("", *requirement.extras)]
    return found


def pins(lines: list[str]) -> dict[NormalizedName, str]:
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)(?:; .*)?", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def test_every_runtime_dependency_has_the_version_in_pyproject(serving: dict[NormalizedName, str]) -> None:
    declared = pins(SERVING)
    assert len(declared) == len(SERVING)
    assert declared.items() <= serving.items()


def test_everything_that_serving_installs_is_pinned(serving: dict[NormalizedName, str]) -> None:
    assert serving.items() <= pins((ROOT / "constraints.txt").read_text().splitlines()).items()


def test_the_bill_covers_the_runtime_dependencies_only(serving: dict[NormalizedName, str]) -> None:
    command = [sys.executable, "deploy/image/requirements.py", "pyproject.toml", "heif"]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert printed.splitlines() == SERVING
    assert DEVELOPMENT.isdisjoint(serving)


@pytest.mark.slow
def test_the_bill_lists_serving_packages_with_licences(serving: dict[NormalizedName, str]) -> None:
    """In this environment, where development's packages are listed too."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml", "--no-validate"]
    bill = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    parts = {canonicalize_name(part["name"]): part for part in bill["components"]}
    listed = {name: part["version"].partition("+")[0] for name, part in parts.items()}
    assert serving.items() <= listed.items()
    assert [name for name in serving if not parts[name].get("licenses")] == []

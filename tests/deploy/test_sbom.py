"""The bill of materials: all that serving installs, nothing else, with licences, at the pinned versions."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from deploy import sbom

ROOT = Path(__file__).resolve().parent.parent.parent
DEVELOPMENT = {"atheris", "cyclonedx-bom", "hypothesis", "mypy", "pip", "pip-audit", "pytest", "ruff", "tensorboard"}


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sbom.sbom())
    return document


def versions(bill: dict[str, Any]) -> dict[str, str]:
    """By normalized name, without what says for which hardware (2.13.0+cpu)."""
    return {canonicalize_name(part["name"]): part["version"].partition("+")[0] for part in bill["components"]}


def pins(lines: list[str]) -> dict[str, str]:
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.slow
def test_every_runtime_dependency_is_in_it_as_pyproject_says(bill: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = pins(project["dependencies"])
    assert len(declared) == len(project["dependencies"])
    assert declared.items() <= versions(bill).items()
    root = next(entry for entry in bill["dependencies"] if entry["ref"] == sbom.ROOT)
    assert {canonicalize_name(ref.partition("==")[0]) for ref in root["dependsOn"]} == set(declared)


@pytest.mark.slow
def test_everything_in_it_is_pinned_and_has_a_licence(bill: dict[str, Any]) -> None:
    pinned = pins((ROOT / "constraints.txt").read_text().splitlines())
    assert versions(bill).items() <= pinned.items()
    assert [part["name"] for part in bill["components"] if not part.get("licenses")] == []


@pytest.mark.slow
def test_nothing_in_it_is_for_development_alone(bill: dict[str, Any]) -> None:
    assert DEVELOPMENT.isdisjoint(versions(bill))
    needed = {ref for entry in bill["dependencies"] for ref in entry["dependsOn"]}
    assert needed == {part["bom-ref"] for part in bill["components"]}


@pytest.mark.slow
def test_it_is_valid(bill: dict[str, Any]) -> None:
    assert sbom.fault(json.dumps(bill)) is None
    assert "colour" in str(sbom.fault(json.dumps(bill | {"colour": "blue"})))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(SystemExit, match="no-such-package is not installed; run `make setup`"):
        sbom.closure(["no_such.package==1"])


def test_markers_and_extras_count() -> None:
    assert sbom.closure(["pydantic==2; python_version < '3'", "numpy==2"]) == {sbom.ROOT: {"numpy"}, "numpy": set()}
    assert "pygments" not in sbom.closure(["httpx==0.28"])
    assert "pygments" in sbom.closure(["httpx[cli]==0.28"])

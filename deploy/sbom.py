"""`python -m deploy.sbom FILE`: what serving installs, with versions and licences, as a CycloneDX bill of materials.

cyclonedx-py lists the whole environment; what only developing or testing needs is then taken out.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
ROOT = "root-component"  # cyclonedx-py's reference to the project itself


def closure(requirements: Iterable[str]) -> dict[str, set[str]]:
    """The packages below each package, by normalized names, from the requirements (below ROOT) down.

    As installed here: markers are taken on this machine. SystemExit if a package is not installed.
    """
    graph: dict[str, set[str]] = {ROOT: set()}
    todo = [(ROOT, requirement) for requirement in _applying(requirements, set())]
    seen = set()
    while todo:
        parent, requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        graph[parent].add(name)
        graph.setdefault(name, set())
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            needed = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            raise SystemExit(f"sbom: {name} is not installed; run `make setup` first") from None
        todo += [(str(name), below) for below in _applying(needed, requirement.extras)]
    return graph


def _applying(requirements: Iterable[str], extras: set[str]) -> list[Requirement]:
    """Those that hold on this machine, with these extras."""
    parsed = [Requirement(text) for text in requirements]
    return [r for r in parsed if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *extras))]


def pruned(bom: dict[str, Any], graph: dict[str, set[str]]) -> dict[str, Any]:
    """The bill with the packages and dependencies of `graph` alone."""
    names = {part["bom-ref"]: canonicalize_name(part["name"]) for part in bom["components"]} | {ROOT: ROOT}
    kept = {ref: name for ref, name in names.items() if name in graph}
    for dependency in bom["dependencies"]:
        below = graph.get(kept.get(dependency["ref"], ""), set())
        dependency["dependsOn"] = [ref for ref in dependency.get("dependsOn", ()) if kept.get(ref) in below]
    return bom | {
        "components": [part for part in bom["components"] if part["bom-ref"] in kept],
        "dependencies": [dependency for dependency in bom["dependencies"] if dependency["ref"] in kept],
    }


def fault(text: str) -> str | None:
    """What is wrong with a bill by the schema of CycloneDX 1.6, or None; web addresses are taken as they are."""
    # The check of addresses is a grammar run by Python and takes longer than all others together, by minutes.
    Draft7Validator.FORMAT_CHECKER.checkers.pop("iri-reference", None)
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if found is None else str(found)


def sbom() -> str:
    """The bill as JSON, valid by CycloneDX 1.6, the same for the same packages. SystemExit if it is not valid."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(PROJECT)]
    command += ["--spec-version", "1.6", "--output-reproducible", "--no-validate"]
    whole = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    text = json.dumps(pruned(whole, closure(requirements)), indent=2, ensure_ascii=False) + "\n"
    words = fault(text)
    if words is not None:
        raise SystemExit(f"sbom: not valid CycloneDX 1.6: {words}")
    return text


if __name__ == "__main__":
    target = Path(sys.argv[1])
    text = sbom()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"sbom: {len(json.loads(text)['components'])} packages in {target}")

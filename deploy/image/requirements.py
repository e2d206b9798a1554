"""Prints a pyproject.toml's serving dependencies, one a line, so that they can be a layer of their own."""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    print("\n".join(project["dependencies"]))

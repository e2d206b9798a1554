"""Prints a pyproject.toml's serving dependencies and those of extras, one a line, to be a layer of their own."""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    extras = (project["optional-dependencies"][name] for name in sys.argv[2:])
    print("\n".join([*project["dependencies"], *(line for lines in extras for line in lines)]))

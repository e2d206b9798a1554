"""The command line `lapsrn`; its commands are in commands.py."""

import sys

from app.process import cpu
from app.process.standard_streams import open_closed

__all__ = ["main"]


def main() -> None:
    """`lapsrn`. The standard streams come first, as a library that is imported may keep a file open."""
    open_closed()
    if problem := cpu.complaint():
        sys.exit(f"lapsrn: {problem}")
    from app.cli.commands import main as run

    run()

"""The command line `lapsrn`; its commands are in commands.py."""

import sys

from app.process import cpu
from app.process.standard_streams import open_closed

__all__ = ["main"]


def main() -> None:
    """`lapsrn`. Opens closed standard streams first, before an imported library opens a file in their place."""
    open_closed()
    if problem := cpu.complaint():
        sys.exit(f"lapsrn: {problem}")
    from app.cli.commands import main as run

    run()

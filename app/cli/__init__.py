"""The command line `lapsrn`; its commands are in commands.py."""

from app.process.standard_streams import open_closed

__all__ = ["main"]


def main() -> None:
    """`lapsrn`. The standard streams come first, as a library that is imported may keep a file open."""
    open_closed()
    from app.cli.commands import main as run

    run()

"""The command line: `lapsrn upscale | compare | serve | train | evaluate | doctor`."""

from app.cli.commands import main

__all__ = ["main"]

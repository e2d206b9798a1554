"""The page: plain HTML, CSS and JavaScript modules, served as files; nothing is built."""

from pathlib import Path

STATIC: Path = Path(__file__).parent / "static"
"""The folder of the page's files: index.html at its root, everything else beside it, addressed relatively."""

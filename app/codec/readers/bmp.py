"""BMP."""

from PIL import BmpImagePlugin

from app.codec.readers.pillow import PillowReader


class BmpReader(PillowReader):
    """A BMP, read by Pillow alone."""

    plugin = BmpImagePlugin.BmpImageFile

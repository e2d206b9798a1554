"""EXIF, XMP, IPTC and resolution: what is kept of a source's, and how it is adapted to the result.

In the decoder process, `separated` removes the metadata from a file, so that no pixel decoder parses it, and `carried`
filters it. When the result is written, `fitted` adapts it to its size and format. `jpeg`, `png` and `tiff` are for the
writers of those formats.
"""

from app.codec.metadata.blocks import EXIF_PREFIX, Blocks
from app.codec.metadata.carry import Carried, carried, dpi_of, orientation_of
from app.codec.metadata.containers import separated
from app.codec.metadata.fit import fitted

__all__ = ["EXIF_PREFIX", "Blocks", "Carried", "carried", "dpi_of", "fitted", "orientation_of", "separated"]

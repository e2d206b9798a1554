"""What travels with a picture besides its pixels: which of it is kept, and how it is made to fit the result.

On the way in, in the decoder's process, `separated` takes the metadata out of a file, so that no other code ever parses
it, and `carried` filters it. On the way out `fitted` makes it true of the result; `jpeg`, `png` and `tiff` are for the
writers.
"""

from app.codec.metadata.blocks import EXIF_PREFIX, Blocks
from app.codec.metadata.carry import Carried, carried, dpi_of, orientation_of
from app.codec.metadata.containers import separated
from app.codec.metadata.fit import fitted

__all__ = ["EXIF_PREFIX", "Blocks", "Carried", "carried", "dpi_of", "fitted", "orientation_of", "separated"]

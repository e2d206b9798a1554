"""What readers share whose files carry metadata: it is taken out before any pixel decoder sees the file."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from app.codec import metadata
from app.codec.metadata.blocks import UNUSABLE, note
from app.codec.readers.base import Reader
from app.codec.types import Metadata


class CarryingReader(Reader):
    """A reader that calls `_separated` with the file, and then `_carry`."""

    def _separated(self, data: bytes) -> bytes:
        """The file without its metadata, which no pixel decoder is to parse."""
        title, most = self.source.format.title, self.source.limits.max_input_bytes
        self._data, self._blocks = metadata.separated(title, data, most)
        return self._data

    def _carry(self, container: int | None) -> None:
        """Filters the metadata and finds the orientation. `container` is the format's own, which goes before EXIF's."""
        self._carried = metadata.carried(self._blocks, self.source.options.metadata, container)
        self.orientation = self._carried.orientation

    def metadata(self, channels: int) -> Metadata:
        """The profile, what `options.metadata` keeps of the blocks, and the resolution."""
        profile, kept = self._profile(channels), self._carried.metadata
        dpi = None
        if self.source.options.metadata != "drop":
            dpi = metadata.dpi_of(self._dpi(), self._carried.turned) or kept.dpi
        dropped = (*kept.dropped, *profile.dropped)
        return replace(profile, exif=kept.exif, xmp=kept.xmp, iptc=kept.iptc, dpi=dpi, dropped=dropped)

    @abstractmethod
    def _profile(self, channels: int) -> Metadata:
        """What the file says of its colours: `icc`, `srgb`, or `cicp` and what goes with it; and what is `dropped`."""

    def _dpi(self) -> Any:
        """(x, y) pixels per inch, where the format has a field of its own."""
        return None


def instead(profile: bytes | None, other: Metadata) -> Metadata:
    """`other`, what else a file says of its colours; it tells of a profile, if there is one, that is not for them."""
    return other if profile is None else replace(other, dropped=(note("icc", UNUSABLE),))

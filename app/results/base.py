"""What a results store is: finished pictures, found again by a secret id and its owner."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from xxhash import xxh3_128_hexdigest


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One encoded picture: bytes, media type such as "image/png", and strong entity tag, quotes included.

    `clean` is the strength of clean-up that it was made with, and why, such as "0.5; jpeg=90"; "" if that is not known.
    """

    body: bytes
    media_type: str
    etag: str
    clean: str = ""

    @classmethod
    def of(cls, body: bytes, media_type: str, clean: str = "") -> "StoredPicture":
        """Tags the bytes with a digest of themselves: not against forgers, who have nothing to gain, but cheap."""
        return cls(body, media_type, f'"{xxh3_128_hexdigest(body)}"', clean)


RECORD_BYTES = 1024
"""What a result takes beside its pictures' bytes: small ones, of which there may be many, are hardly anything else."""


def size_of(levels: Mapping[int, StoredPicture]) -> int:
    """Bytes that a result takes in a store."""
    return RECORD_BYTES + sum(len(picture.body) for picture in levels.values())


StoreState = Literal["ok", "full", "emptied", "unavailable"]
"""Whether results can be kept and fetched: "full" keeps no new ones; "emptied" can, but has just lost all it had."""


def ignore(size: int) -> None:
    """Nobody counts what is read."""


class ResultStore(Protocol):
    """Finished pictures by (id, owner). An unknown, an expired and somebody else's id look the same: None."""

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str = "") -> bool:
        """Keeps `levels` (scale -> picture); where there is no room, older results of the largest user are evicted.

        False if it is more than may be kept. That is everything for a client alone; what takes more than half of it is
        kept only if it fits beside other clients' results. Raises errors.StoreUnavailable.
        """
        ...

    async def get(
        self, result_id: str, owner: str, level: int, before_reading: Callable[[int], None] = ignore
    ) -> StoredPicture | None:
        """The picture at ×`level`, or None. Raises errors.StoreUnavailable.

        `before_reading` is called with a size in bytes where so much is about to be read into memory; it may raise.
        """
        ...

    async def delete(self, result_id: str, owner: str) -> bool:
        """Forgets all levels; False if there was nothing. Raises errors.StoreUnavailable."""
        ...

    def start(self) -> None:
        """Begins to keep `state` up to date in the background, on the running event loop."""
        ...

    async def available(self) -> bool:
        """Checks now whether results can be kept and fetched; updates `state`."""
        ...

    @property
    def state(self) -> StoreState:
        """The outcome of the last check."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes held, as last known."""
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...


def new_id() -> str:
    """An id that cannot be guessed: 192 random bits, 32 URL-safe characters."""
    return secrets.token_urlsafe(24)


def storage_key(result_id: str, owner: str) -> str:
    """Hex SHA-256 under which a result is kept: the id itself is never stored, and another owner's key differs."""
    digest = hashlib.sha256(len(owner).to_bytes(4, "big"))
    digest.update(owner.encode())
    digest.update(result_id.encode())
    return digest.hexdigest()

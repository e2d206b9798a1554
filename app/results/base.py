"""The interface of results stores: finished pictures, by a secret id and their owner."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from xxhash import xxh3_128_hexdigest


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One encoded picture: bytes, media type such as "image/png", and strong entity tag, including quotes.

    `clean` is the clean-up strength and its reason, such as "0.5; jpeg=90"; "" if unknown.
    """

    body: bytes
    media_type: str
    etag: str
    clean: str = ""

    @classmethod
    def of(cls, body: bytes, media_type: str, clean: str = "") -> "StoredPicture":
        """Uses a digest of the bytes as the entity tag: not cryptographic, as forging one gains nothing, but fast."""
        return cls(body, media_type, f'"{xxh3_128_hexdigest(body)}"', clean)


RECORD_BYTES = 1024
"""Overhead of a result besides its pictures' bytes; it dominates for small pictures, of which there may be many."""


def size_of(levels: Mapping[int, StoredPicture]) -> int:
    """Bytes that a result occupies in a store."""
    return RECORD_BYTES + sum(len(picture.body) for picture in levels.values())


StoreState = Literal["ok", "full", "emptied", "unavailable"]
"""Whether results can be kept and fetched: a "full" store keeps no new ones; an "emptied" one works, but has just lost
all it had."""


def ignore(size: int) -> None:
    """A `before_reading` that does nothing."""


class ResultStore(Protocol):
    """Finished pictures by (id, owner). Unknown and expired ids, and those of other owners, are not distinguished."""

    async def put(self, result_id: str, owner: str, levels: Mapping[int, StoredPicture], client: str = "") -> bool:
        """Keeps `levels` (scale -> picture); if there is no room, the oldest results of the largest user are evicted.

        False if it is too large. A client alone may fill the whole store, but a result of more than half of it is kept
        only if it fits beside other clients' results. Raises errors.StoreUnavailable.
        """
        ...

    async def get(
        self, result_id: str, owner: str, level: int, before_reading: Callable[[int], None] = ignore
    ) -> StoredPicture | None:
        """The picture at ×`level`, or None. Raises errors.StoreUnavailable.

        `before_reading` is called with the size in bytes before a picture is read into memory; it may raise.
        """
        ...

    async def delete(self, result_id: str, owner: str) -> bool:
        """Forgets all levels; False if there was nothing. Raises errors.StoreUnavailable."""
        ...

    def start(self) -> None:
        """Starts updating `state` in the background, on the running event loop."""
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
    """Hex SHA-256 under which a result is kept: the id itself is never stored, and the key depends on the owner."""
    digest = hashlib.sha256(len(owner).to_bytes(4, "big"))
    digest.update(owner.encode())
    digest.update(result_id.encode())
    return digest.hexdigest()

"""Where finished pictures wait for GET /upscale. Redis is imported where it is used: app.results.redis."""

from app.results.base import ResultStore, StoredPicture, new_id, storage_key
from app.results.board import JobBoard
from app.results.memory import MemoryStore

__all__ = [
    "JobBoard",
    "MemoryStore",
    "ResultStore",
    "StoredPicture",
    "new_id",
    "storage_key",
]

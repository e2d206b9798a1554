"""Stores of finished pictures for GET /upscale. Redis is imported only where it is used: app.results.redis."""

from app.results.base import ResultStore, StoredPicture, StoreState, new_id, size_of, storage_key
from app.results.board import JobBoard, Shown
from app.results.memory import MemoryStore

__all__ = [
    "JobBoard",
    "MemoryStore",
    "ResultStore",
    "Shown",
    "StoreState",
    "StoredPicture",
    "new_id",
    "size_of",
    "storage_key",
]

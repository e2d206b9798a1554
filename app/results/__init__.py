"""Stores of finished pictures, and boards that publish jobs. Only app.results.redis imports Redis."""

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

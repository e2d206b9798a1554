"""Where finished pictures wait for GET /upscale."""

from app.results.base import ResultStore, StoredPicture, new_id, storage_key
from app.results.board import JobBoard, RedisBoard
from app.results.memory import MemoryStore
from app.results.redis import RedisStore

__all__ = [
    "JobBoard",
    "MemoryStore",
    "RedisBoard",
    "RedisStore",
    "ResultStore",
    "StoredPicture",
    "new_id",
    "storage_key",
]

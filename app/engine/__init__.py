"""Batches the tiles of all requests, with fair scheduling, on a pool of workers; depends on neither torch nor HTTP."""

from app.engine.config import EngineConfig
from app.engine.engine import Engine
from app.engine.observer import SilentObserver
from app.engine.planes import Outputs
from app.engine.ports import EngineObserver, ModelFactory, NetworkInfo, Plane, TileModel
from app.engine.status import EngineStatus, WorkerStatus

__all__ = [
    "Engine",
    "EngineConfig",
    "EngineObserver",
    "EngineStatus",
    "ModelFactory",
    "NetworkInfo",
    "Outputs",
    "Plane",
    "SilentObserver",
    "TileModel",
    "WorkerStatus",
]

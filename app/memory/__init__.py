"""How much memory the service may use, and what follows for its limits."""

from app.memory.available import Available, available
from app.memory.limits import Base, Division, divided, fitted

__all__ = ["Available", "Base", "Division", "available", "divided", "fitted"]

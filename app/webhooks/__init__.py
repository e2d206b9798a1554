"""Messages to addresses that clients name: signed, and sent only where the operator allows it."""

from app.webhooks.sender import Sender
from app.webhooks.signature import signed

__all__ = ["Sender", "signed"]

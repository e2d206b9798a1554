"""Sends signed messages to URLs that clients name, as far as the operator allows them."""

from app.webhooks.sender import Sender
from app.webhooks.signature import signed

__all__ = ["Sender", "signed"]

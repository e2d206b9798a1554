"""Signatures of Standard Webhooks (standardwebhooks.com, specification 1.0)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable


def signed(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that sign a message; `timestamp` is in seconds since 1970."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, content, hashlib.sha256) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }

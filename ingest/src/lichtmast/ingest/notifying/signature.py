"""Signatures of webhooks as Standard Webhooks 1.0 has them, which receivers check with a library. Pure."""

import hmac
from base64 import b64encode
from hashlib import sha256


def headers(secret: bytes, message_id: str, now_us: int, body: bytes) -> dict[str, str]:
    """The three headers; the time is that of this attempt, the id that of the message."""
    timestamp = str(now_us // 1_000_000)
    signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
    signature = b64encode(hmac.digest(secret, signed, sha256)).decode("ascii")
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}

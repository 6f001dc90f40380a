from __future__ import annotations

import hashlib
import hmac
import time


def verified(secret: str, body: bytes, header: str, *, tolerance_s: float = 300) -> bool:
    """Whether a webhook's message is Palate's own and not older than `tolerance_s`: `header` is its `Palate-Signature`."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    at = parts.get("t", "")
    if not (at.isascii() and at.isdigit()) or abs(time.time() - int(at)) > tolerance_s:
        return False
    expected = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", ""))

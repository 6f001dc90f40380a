"""Verification of webhook signatures."""

from __future__ import annotations

import hashlib
import hmac
import re
import time


def verified(secret: str, body: bytes, header: str, *, tolerance_s: float = 300) -> bool:
    """Whether a webhook's message has a valid signature and is not older than `tolerance_s`: `header` is its
    `Palate-Signature`. Never raises an error."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    at = parts.get("t", "")
    # the header is untrusted: the number may have thousands of digits, the signature non-ASCII characters
    if not re.fullmatch(r"[0-9]{1,20}", at) or abs(time.time() - int(at)) > tolerance_s:
        return False
    expected = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), parts.get("v1", "").encode(errors="replace"))

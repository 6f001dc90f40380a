"""Who sends a request: the address and scheme of the client, also where proxies stand before the site."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

log = logging.getLogger(__name__)

FORWARDED = {b"x-forwarded-for", b"x-forwarded-proto"}


def parse_networks(names: Iterable[str]) -> list[str]:
    """Addresses and networks in their usual form.

    Raises:
        ValueError: one is neither; the message is a sentence.
    """
    try:
        return [str(ipaddress.ip_network(name.strip())) for name in names]
    except ValueError as error:
        raise ValueError(
            f"TRUSTED_PROXIES has addresses and networks, such as 10.0.0.5 or 10.1.0.0/16: {error}."
        ) from None


class TrustedProxies(ProxyHeadersMiddleware):
    """ASGI middleware: from a trusted proxy, `X-Forwarded-For` and `X-Forwarded-Proto` replace the connection's address and
    scheme. The client is the last address that is no trusted proxy's: what stands before it, the client may have sent.

    From others both are ignored. The log says so once, since a proxy that was not named leads to endless redirects to HTTPS,
    and to all users sharing an address.
    """

    has_warned = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self.has_warned and any(name in FORWARDED for name, _ in scope.get("headers", ())):
            address = (scope.get("client") or ("",))[0]
            if address not in self.trusted_hosts:
                self.has_warned = True
                log.warning(
                    "X-Forwarded-For and X-Forwarded-Proto from %s are ignored: it is not in TRUSTED_PROXIES.",
                    address or "a Unix socket",
                )
        await super().__call__(scope, receive, send)


def client_address(request: HttpRequest) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of the client; None for a Unix socket."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_network(request: HttpRequest) -> str:
    """The address of the client, or the network of its IPv6 address: each connection has 2^64 of these to choose from."""
    address = client_address(request)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or "")

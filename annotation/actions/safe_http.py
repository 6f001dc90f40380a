"""Requests to addresses that people typed in. They never reach this network: a name is resolved once, its addresses are
checked, and the connection goes to the very address that passed. Redirects are not followed."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

TIMEOUT_S = 10.0  # for all of it: a server that sends a byte now and then holds nobody longer
READ_BYTES = 1000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """Why nothing was sent, or nothing came back, in a sentence."""


class Answer(NamedTuple):
    """What came back: a status, and how the text begins, on one line."""

    status: int
    text: str


def check(url: str) -> SplitResult:
    """
    Raises:
        Refused: it is no web address, or one that plainly leads into this network.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Refused("This is no web address.") from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise Refused("Give an address that begins with https:// or http://.")
    if not url.isascii():
        raise Refused("Write the address in ASCII: a name with other letters as xn--….")
    if parts.username is not None or parts.password is not None:
        raise Refused("A user name and a password do not belong into the address.")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
            _refuse_unless_allowed(host)
    else:
        if not is_public(literal):
            _refuse_unless_allowed(host)
    return parts


def post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    """What the address answers.

    Raises:
        Refused: it leads into this network, or has not answered ten seconds after its name was resolved.
    """
    parts = check(url)
    assert parts.hostname is not None
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"The name {parts.hostname[:100]} cannot be resolved.") from None
    addresses = [str(info[4][0]) for info in found]
    for address in addresses:
        if not is_public(ipaddress.ip_address(address.partition("%")[0])):
            _refuse_unless_allowed(parts.hostname)
    connection = _Connection(parts.hostname, port, address=addresses[0], secure=secure)
    deadline = threading.Timer(TIMEOUT_S, connection.give_up)
    deadline.daemon = True
    deadline.start()
    try:
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = " ".join(answer.read(READ_BYTES).decode(errors="replace").split())
        return Answer(answer.status, "".join(filter(str.isprintable, text)))
    except (OSError, http.client.HTTPException) as error:
        why = f"{type(error).__name__}: {error}"
        if connection.given_up:
            why = f"not within {TIMEOUT_S:g} seconds"
        raise Refused(f"It does not answer: {why}"[:300]) from None
    finally:
        deadline.cancel()
        connection.close()


def is_public(address: Address) -> bool:
    """Whether an address is out on the internet, looked at through every way of wrapping one address in another."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not is_public(one) for one in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def _refuse_unless_allowed(host: str) -> None:
    if not settings.WEBHOOKS_TO_PRIVATE:
        raise Refused(
            f"{host[:100]} leads into a private network; webhooks go there only where the administrator allows it."
        )


class _Connection(http.client.HTTPConnection):
    """To `address`, whatever the name resolves to by then; the certificate must be the name's."""

    def __init__(self, host: str, port: int, *, address: str, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self.default_port = 443 if secure else 80
        self._address, self._secure = address, secure
        self._line: socket.socket | None = None
        self.given_up = False

    def connect(self) -> None:
        self.sock = self._line = socket.create_connection((self._address, self.port), TIMEOUT_S)
        if self._secure:
            # the handshake comes after, so that it can be given up too
            self.sock = self._line = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self._line.do_handshake()

    def give_up(self) -> None:
        """End whatever is being waited for. Called from another thread."""
        self.given_up = True
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

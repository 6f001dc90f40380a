"""HTTP requests to addresses that users entered, which must not reach the private network (SSRF).

A name is resolved once, its addresses are checked, and the connection goes to the address that passed. A POST follows no
redirect; a GET follows a few, each checked like an address that was entered.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

TIMEOUT_S = (
    10.0  # for the whole exchange, so that a server that sends a byte now and then cannot hold a worker
)
READ_BYTES = 1000
MAX_REDIRECTS = 3
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """Why a request was not sent or not answered, in a sentence."""


class Reply(NamedTuple):
    """The status of a response, and the start of its text on one line."""

    status: int
    text: str


def check(url: str, *, to_private: bool | None = None) -> SplitResult:
    """The parts of a URL, after checks that need no name resolution.

    Args:
        to_private: whether it may lead to the private network; as `WEBHOOKS_TO_PRIVATE` says if it is left out.

    Raises:
        Refused: it is not a web address, or names a host of the private network.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise Refused(_("This is not a web address.")) from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise Refused(_("Give an address that begins with https:// or http://."))
    if not url.isascii():
        raise Refused(_("Write the address in ASCII: a name with other letters as xn--…."))
    if parts.username is not None or parts.password is not None:
        raise Refused(_("A user name and a password do not belong into the address."))
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
            _refuse_unless(to_private, host)
    else:
        if not is_public(literal):
            _refuse_unless(to_private, host)
    return parts


def post(url: str, body: bytes, headers: dict[str, str]) -> Reply:
    """Send a POST request.

    Raises:
        Refused: the host is in the private network, or has not answered ten seconds after its name was resolved.
    """
    status, _location, content = _exchange("POST", url, body, headers, max_bytes=READ_BYTES, to_private=None)
    text = " ".join(content.decode(errors="replace").split())
    return Reply(status, "".join(filter(str.isprintable, text)))


def get(url: str, headers: dict[str, str], *, max_bytes: int, to_private: bool) -> tuple[int, bytes]:
    """The status and the first bytes of what an address, or one that it leads to, answers.

    Raises:
        Refused: as `post`, or there are too many redirects.
    """
    for _attempt in range(MAX_REDIRECTS + 1):
        status, location, content = _exchange(
            "GET", url, None, headers, max_bytes=max_bytes, to_private=to_private
        )
        if status not in (301, 302, 303, 307, 308) or not location:
            return status, content
        try:
            url = urljoin(url, location)
        except ValueError:
            raise Refused(_("It leads to an address that is none.")) from None
    raise Refused(_("It leads from one address to another too often."))


def _exchange(
    method: str,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    *,
    max_bytes: int,
    to_private: bool | None,
) -> tuple[int, str, bytes]:
    """The status, the `Location` and the first bytes of a response."""
    parts = check(url, to_private=to_private)
    assert parts.hostname is not None
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        infos = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(_("The name %(name)s cannot be resolved.") % {"name": parts.hostname[:100]}) from None
    addresses = [str(info[4][0]) for info in infos]
    for address in addresses:
        if not is_public(ipaddress.ip_address(address.partition("%")[0])):
            _refuse_unless(to_private, parts.hostname)
    connection = _Connection(parts.hostname, port, address=addresses[0], secure=secure)
    deadline = threading.Timer(TIMEOUT_S, connection.abort)
    deadline.daemon = True
    deadline.start()
    try:
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.getheader("Location", ""), response.read(max_bytes)
    except (OSError, http.client.HTTPException) as error:
        reason = f"{type(error).__name__}: {error}"
        if connection.timed_out:
            reason = _("not within %(n)s seconds") % {"n": f"{TIMEOUT_S:g}"}
        raise Refused((_("It does not answer: %(reason)s") % {"reason": reason})[:300]) from None
    finally:
        deadline.cancel()
        connection.close()


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, unwrapping IPv4 addresses embedded in IPv6 ones."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(inner is not None and not is_public(inner) for inner in embedded):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def _refuse_unless(to_private: bool | None, host: str) -> None:
    if not (settings.WEBHOOKS_TO_PRIVATE if to_private is None else to_private):
        raise Refused(
            _("%(host)s is in a private network, which only the administrator can allow.")
            % {"host": host[:100]}
        )


class _Connection(http.client.HTTPConnection):
    """A connection to a fixed address, whatever the name resolves to later; the certificate must be for the name."""

    def __init__(self, host: str, port: int, *, address: str, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self.default_port = 443 if secure else 80
        self._address, self._secure = address, secure
        self._line: socket.socket | None = None
        self.timed_out = False

    def connect(self) -> None:
        self.sock = self._line = socket.create_connection((self._address, self.port), TIMEOUT_S)
        if self._secure:
            # the handshake is separate, so that it can be aborted too
            self.sock = self._line = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self._line.do_handshake()

    def abort(self) -> None:
        """Shut the socket down, which ends every wait on it. Called from another thread."""
        self.timed_out = True
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

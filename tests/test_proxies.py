"""Who sends a request, in running web processes behind proxies and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.core.cache import cache

from config.proxies import parse_networks
from tests import builders
from tests.processes import free_port, process, until
from tests.site_client import SiteClient

pytestmark = [pytest.mark.live, pytest.mark.slow(30), pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def alone(django_db_setup: None) -> Iterator[str]:
    """The address of a web process without proxies."""
    (Path(settings.VAR) / "web-of-tests.log").write_text("")
    yield from web()


@pytest.fixture(scope="module")
def behind(django_db_setup: None) -> Iterator[str]:
    """The address of a web process behind this machine's proxy and those of a network."""
    yield from web(TRUSTED_PROXIES="127.0.0.1, 10.1.0.0/16", HTTPS="true")


def web(**environment: str) -> Iterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with process("web", port=port, **environment):
        until(SiteClient(address).is_up, "the web process answers")
        yield address


@pytest.fixture(autouse=True)
def bob() -> None:
    cache.clear()
    builders.user("bob")


class ProxiedClient(SiteClient):
    """What a proxy would pass on of a client's requests, which are HTTPS where it says so."""

    def __init__(self, site: str, forwarded: str, scheme: str) -> None:
        super().__init__(site, X_Forwarded_For=forwarded, X_Forwarded_Proto=scheme)
        self.headers["Origin"] = site.replace("http:", f"{scheme}:")

    def request(self, *args: Any, **options: Any) -> requests.Response:
        answer = super().request(*args, **options)
        for cookie in self.cookies:
            cookie.secure = False  # they are sent over HTTP, as proxies do
        return answer


def status(site: str, password: str, forwarded: str, scheme: str) -> int:
    """The answer to signing in as bob."""
    return ProxiedClient(site, forwarded, scheme).sign_in("bob", password).status_code


def test_without_proxies_nobody_says_who_they_are(alone: str) -> None:
    for n in range(10):
        status(alone, "wrong", f"192.0.2.{n}", "http")
    assert status(alone, "correct horse", "192.0.2.99", "http") == 429
    log = (Path(settings.VAR) / "web-of-tests.log").read_text()
    assert log.count("from 127.0.0.1 are ignored: it is not in TRUSTED_PROXIES") == 1


def test_the_client_is_the_last_address_that_is_no_proxy(behind: str) -> None:
    for n in range(10):
        assert status(behind, "wrong", f"198.51.100.{n}, 192.0.2.7, 10.1.2.3", "https") in (200, 429)
    assert status(behind, "correct horse", "198.51.100.99, 192.0.2.7, 10.1.2.4", "https") == 429
    assert status(behind, "correct horse", "192.0.2.7, 10.2.0.1", "https") == 302


def test_the_scheme_is_what_a_trusted_proxy_says(behind: str) -> None:
    def sign_in_page(site: str, **headers: str) -> tuple[int, str]:
        answer = SiteClient(site, **headers).get("/sign-in/", allow_redirects=False)
        return answer.status_code, answer.headers.get("Set-Cookie", "")

    assert sign_in_page(behind)[0] == 301
    code, cookie = sign_in_page(behind, X_Forwarded_Proto="https")
    assert code == 200
    assert "Secure" in cookie


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["*"], "'\\*' does not appear to be"),
        (["10.0.0.1/8"], "has host bits set"),
        (["proxy"], "'proxy' does not"),
    ],
)
def test_the_setting_has_addresses_and_networks_only(names: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"TRUSTED_PROXIES has addresses and networks.*{sentence}"):
        parse_networks(names)

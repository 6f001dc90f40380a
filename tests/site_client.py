"""A browser without a screen, which uses a running site over HTTP as people do."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests
from websockets.sync.client import ClientConnection, connect

from tests.patience import HANGS_S


class SiteClient(requests.Session):
    """`address` is the site's, such as `http://127.0.0.1:8000`; `ca` is the file of its certificate."""

    def __init__(self, address: str, ca: str = "", **headers: str) -> None:
        super().__init__()
        self.address, self.verify = address, ca or True
        self.trust_env = False  # certificates and proxies of the machine
        self.headers.update({name.replace("_", "-"): value for name, value in headers.items()})

    def request(self, method: str, url: Any, *args: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """To a path of the site."""
        options.setdefault("timeout", HANGS_S)
        return super().request(method, self.address + url, *args, **options)

    def is_up(self) -> bool:
        try:
            return self.get("/livez").ok
        except requests.exceptions.SSLError:
            raise
        except requests.ConnectionError:
            return False

    def post_form(self, path: str, page: str = "", **options: Any) -> requests.Response:
        """Post `data` with the token of the form on `page`, the path itself if empty."""
        token = fields(self.get(page or path).text)["csrfmiddlewaretoken"]
        options["data"] = {"csrfmiddlewaretoken": token} | options.get("data", {})
        headers = {"Referer": self.address + path} | options.pop("headers", {})
        return self.post(path, headers=headers, **options)

    def sign_in(self, name: str, password: str = "correct horse") -> requests.Response:
        """The response to the form, which redirects if the password is right."""
        data = {"login": name, "password": password}
        return self.post_form("/sign-in/", data=data, allow_redirects=False)

    def judge(self, slug: str = "helpfulness") -> requests.Response | None:
        """Rank the answers of the next item as they are shown; None if nothing is left."""
        path = f"/p/{slug}/work/"
        page = self.get(path).text
        if 'name="rank-A"' not in page:
            return None
        ranks = {name: str(n) for n, name in enumerate(sorted(set(re.findall(r"rank-[A-Z]", page))), 1)}
        return self.post_form(path, data=fields(page) | ranks)

    def socket(self, path: str) -> ClientConnection:
        """A WebSocket with the session's cookies."""
        parts = urlsplit(self.address)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        ssl = None
        if parts.scheme == "https":
            import ssl as tls

            ssl = tls.create_default_context(cafile=str(self.verify))
        return connect(
            f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}{path}",
            origin=self.address,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            ssl=ssl,
            open_timeout=HANGS_S,
        )


def fields(page: str) -> dict[str, str]:
    """The hidden fields of a page."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))

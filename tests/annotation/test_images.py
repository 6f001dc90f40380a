"""Pictures in texts: links, images from their sites, or images through this one, as the project says."""

from __future__ import annotations

import struct
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.cache import cache
from django.test import override_settings
from django.urls import reverse

from annotation.actions import images as actions
from annotation.actions.images import ImageRefused, fetch_image
from annotation.http.images import read_token, show_images
from annotation.logic.markdown import render
from annotation.models import AuditEntry, Project
from tests import builders
from tests.annotation.judging import JudgingTestCase
from tests.base import PalateTestCase

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 4, 4) + bytes(20)
CAT = "https://a.example/cat.png?x=1&y=2"


class PictureSite:
    """A real server with pictures, and with what is none."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                path = self.path.split("?")[0]
                content = {
                    "/cat.png": PNG,
                    "/page": b"<script>alert(1)</script>",
                    "/drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                    "/large.png": PNG + bytes(actions.MAX_BYTES),
                    "/bomb.png": PNG[:16] + struct.pack(">II", 50_000, 50_000),
                }.get(path)
                places = {
                    "/moved.png": "cat.png",
                    "/nowhere.png": "http://[",
                    "/circle.png": "/circle.png",
                    "/inside.png": "file:///etc/passwd",
                }
                self.send_response(302 if self.path in places else 200 if content else 404)
                if self.path in places:
                    self.send_header("Location", places[self.path])
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class PictureTestCase(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(VAR=Path(folder.name), IMAGES_FROM_PRIVATE=True)
        settings.enable()
        self.addCleanup(settings.disable)
        self.site = PictureSite()
        self.addCleanup(self.site.server.server_close)
        self.addCleanup(self.site.server.shutdown)

    def policy(self, images: str) -> Project:
        self.project.images = images
        self.project.save()
        return self.project

    def address(self, url: str) -> str:
        """Of a picture through this site."""
        html = show_images(render(f"![a <cat>]({url})"), self.project)
        return html.split('src="')[1].split('"')[0]


class PolicyTests(PictureTestCase):
    def test_they_are_links_unless_the_project_says_otherwise(self) -> None:
        html = render(f"![a cat]({CAT})")
        assert show_images(html, self.project) == html

    def test_they_can_be_loaded_from_their_own_sites(self) -> None:
        html = show_images(render(f"![a $x$ <cat>]({CAT})\n![]({CAT})"), self.policy("shown"))
        assert (
            html.count(
                '<img src="https://a.example/cat.png?x=1&amp;y=2" alt="a $x$ &lt;cat&gt;" loading="lazy"'
            )
            == 1
        )
        assert html.count('referrerpolicy="no-referrer"') == html.count("<img ") == 2
        assert "<img" not in show_images(
            render("![a](http://a.example/c.png) ![b](mailto:a@b.example)"), self.project
        )

    def test_they_can_be_loaded_through_this_site(self) -> None:
        self.policy("proxied")
        for url in (CAT, "http://a.example/c.png"):
            token = self.address(url).split("/")[-2]
            assert read_token(self.project, token) == url
        assert "<img" not in show_images(render(f"![a](https://a.example/{'x' * 2000})"), self.project)

    def test_a_text_cannot_write_an_image_of_its_own(self) -> None:
        for text in ('<a class="image" href="https://a.example">x</a>', "[x](https://a.example 'image')"):
            assert "<img" not in show_images(render(text), self.policy("shown"))

    def test_pages_allow_what_the_project_shows(self) -> None:
        builders.imported(
            self.project, {"prompt": f"![q]({CAT})", "responses": [f"![{n}]({CAT})" for n in range(4)]}
        )
        judgment = builders.judgment(self.project, self.dana)
        for images, sources in (
            ("blocked", "'self' data:"),
            ("proxied", "'self' data:"),
            ("shown", "'self' data: https:"),
        ):
            self.policy(images)
            pages = [
                (self.dana, reverse("item", args=[self.project.slug, judgment.item_id])),
                (self.dana, reverse("my-judgment", args=[judgment.pk])),
            ]
            if images == "shown":
                builders.imported(
                    self.project, {"prompt": "Q", "responses": [f"![{n}]({CAT})" for n in range(4)]}
                )
                pages.append((self.bob, self.url()))
            for user, url in pages:
                self.sign_in(user)
                response = self.client.get(url)
                policy = dict(
                    part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";")
                )
                assert policy["img-src"] == sources, url
                assert (b"<img " in response.content) is (images != "blocked"), url

    def test_a_lead_changes_the_policy_and_the_audit_trail_says_so(self) -> None:
        self.sign_in(self.alice)
        url = reverse("project-settings", args=[self.project.slug])
        form = {"name": "N", "criterion": "other", "k": 4, "overlap": 1, "lease_minutes": 30}
        assert self.client.post(url, form | {"images": "shown"}).status_code == 302
        assert Project.objects.get(pk=self.project.pk).images == "shown"
        assert AuditEntry.objects.filter(verb="project.changed", data__after__images="shown").exists()
        assert self.client.post(url, form | {"images": "all"}).status_code == 422
        assert self.client.post(url, form).status_code == 302
        assert Project.objects.get(pk=self.project.pk).images == "blocked"


class ProxyTests(PictureTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.policy("proxied")

    def test_a_picture_comes_from_this_site_and_can_do_nothing(self) -> None:
        address = self.address(f"{self.site.url}/cat.png")
        response = self.client.get(address)
        assert (response.status_code, response.content, response["Content-Type"]) == (200, PNG, "image/png")
        assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert self.client.get(address).content == PNG
        assert self.site.asked == ["/cat.png"]  # the second is from the cache

    def test_a_redirect_is_followed(self) -> None:
        assert self.client.get(self.address(f"{self.site.url}/moved.png")).content == PNG

    def test_what_is_refused_has_a_reason(self) -> None:
        for path, reason in (
            ("/page", "It is no PNG, JPEG, GIF or WebP picture."),
            ("/drawing.svg", "It is no PNG, JPEG, GIF or WebP picture."),
            ("/large.png", "It is larger than 5 MB."),
            ("/bomb.png", "It has more than 40 million pixels."),
            ("/nothing", "Its site answered 404."),
            ("/circle.png", "It leads from one address to another too often."),
            ("/nowhere.png", "It leads to an address that is none."),
            ("/inside.png", "Give an address that begins with https:// or http://."),
        ):
            response = self.client.get(self.address(self.site.url + path))
            assert (response.status_code, response.content.decode()) == (422, reason)
            assert response["Content-Type"].startswith("text/plain")

    def test_a_failed_fetch_is_cached(self) -> None:
        address = self.address(f"{self.site.url}/nothing")
        assert [self.client.get(address).status_code for _ in range(3)] == [422] * 3
        assert self.site.asked == ["/nothing"]
        cache.clear()
        self.client.get(address)
        assert self.site.asked == ["/nothing"] * 2

    def test_the_oldest_make_room(self) -> None:
        with patch.object(actions, "MAX_CACHE_BYTES", 2 * len(PNG)), patch.object(actions, "PRUNE_EVERY", 1):
            for n in range(4):
                fetch_image(url=f"{self.site.url}/cat.png?{n}")
        stored = [path for path in (actions.settings.VAR / "images").glob("*/*") if path.is_file()]
        assert len(stored) == 2
        fetch_image(url=f"{self.site.url}/cat.png?3")
        assert len(self.site.asked) == 4  # the newest one is still there

    def test_being_busy_is_not_remembered(self) -> None:
        with (
            patch.object(actions, "_fetches", threading.BoundedSemaphore(1)) as slots,
            patch.object(actions.safe_http, "TIMEOUT_S", 0.01),
        ):
            slots.acquire()
            with pytest.raises(ImageRefused, match="too many pictures"):
                fetch_image(url=f"{self.site.url}/cat.png")
        assert fetch_image(url=f"{self.site.url}/cat.png").content == PNG

    def test_the_private_network_is_not_reached(self) -> None:
        with (
            override_settings(IMAGES_FROM_PRIVATE=False),
            pytest.raises(ImageRefused, match="private network"),
        ):
            fetch_image(url=f"{self.site.url}/cat.png")
        with (
            override_settings(IMAGES_FROM_PRIVATE=False, WEBHOOKS_TO_PRIVATE=True),
            patch.object(cache, "get", return_value=None),
            pytest.raises(ImageRefused, match="private network"),
        ):
            fetch_image(url=f"{self.site.url}/cat.png")
        assert self.site.asked == []

    def test_only_members_see_it_and_only_what_a_text_shows(self) -> None:
        address = self.address(f"{self.site.url}/cat.png")
        for user, status in ((self.bob, 200), (self.dana, 200), (self.alice, 200), (self.charlie, 404)):
            self.sign_in(user)
            assert self.client.get(address).status_code == status, user
        self.sign_in(self.bob)
        assert self.client.post(address).status_code == 405
        assert self.client.get(address.replace("/images/", "/images/x")).status_code == 404
        other = builders.project(self.alice, "Other", images="proxied")
        self.sign_in(self.alice)
        assert self.client.get(address.replace(self.project.slug, other.slug)).status_code == 404
        self.policy("shown")
        assert self.client.get(address).status_code == 404
        self.client.logout()
        assert self.client.get(address).url.startswith(reverse("account_login"))


class ApiTests(PalateTestCase):
    def test_the_policy_is_a_setting(self) -> None:
        self.sign_in(self.alice)
        url = f"/api/v1/projects/{self.project.slug}/"
        assert self.client.get(url).json()["images"] == "blocked"
        response = self.client.patch(url, {"images": "proxied"}, content_type="application/json")
        assert response.json()["images"] == "proxied"
        wrong = self.client.patch(url, {"images": "some"}, content_type="application/json")
        assert wrong.status_code == 400
        assert "images" in wrong.json()["errors"]

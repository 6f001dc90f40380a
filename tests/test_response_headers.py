"""Headers that tell browsers what a page may do."""

from __future__ import annotations

from django.test import TestCase, override_settings
from django.urls import reverse

from tests import builders


class HeaderTests(TestCase):
    def policy(self, url: str) -> dict[str, str]:
        header = self.client.get(url)["Content-Security-Policy"]
        return dict(part.strip().partition(" ")[::2] for part in header.split(";"))

    def test_nothing_runs_that_is_no_file_of_the_site(self) -> None:
        self.client.force_login(builders.user("alice", is_staff=True), "annotation.backends.AccountBackend")
        for url in (
            "/",
            reverse("account_login"),
            reverse("account"),
            reverse("api-docs"),
            "/nothing/",
            "/admin/",
        ):
            policy = self.policy(url)
            assert policy["default-src"] == "'none'", url
            assert policy["script-src"] == policy["style-src"] == "'self'", url
            assert policy["base-uri"] == policy["frame-ancestors"] == "'none'", url
            assert "unsafe" not in str(policy), url

    def test_the_page_of_the_api_has_no_script_of_its_own(self) -> None:
        page = self.client.get(reverse("api-docs")).content.decode()
        assert "<style" not in page
        assert page.count("<script") == page.count("<script src=") == 3

    def test_other_sites_learn_nothing_and_get_no_window(self) -> None:
        response = self.client.get(reverse("account_login"))
        assert response["Referrer-Policy"] == response["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in response["Permissions-Policy"]
        assert response["X-Content-Type-Options"] == "nosniff"

    @override_settings(SECURE_HSTS_SECONDS=60)
    def test_hsts_is_sent_over_tls(self) -> None:
        assert self.client.get("/", secure=True)["Strict-Transport-Security"].startswith("max-age=")

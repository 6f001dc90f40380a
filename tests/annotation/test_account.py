from __future__ import annotations

import re
from datetime import timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotation.models import ApiToken
from tests.base import PalateTestCase

GOOD = {"name": "notebook", "scope": "read", "days": "30"}


class AccountTests(PalateTestCase):
    def setUp(self) -> None:
        self.sign_in(self.bob)

    def test_it_shows_ones_own_tokens_and_nobody_elses(self) -> None:
        ApiToken.issue(user=self.bob, name="mine")
        ApiToken.issue(user=self.dana, name="danas")
        page = self.client.get("/account/")
        self.assertContains(page, "mine")
        self.assertNotContains(page, "danas")
        self.assertContains(page, self.bob.pseudonym)
        self.assertContains(page, "Helpfulness")

    def test_a_new_token_is_shown_once_and_works(self) -> None:
        page = self.client.post("/account/", GOOD)
        assert page.status_code == 200
        key = re.search(r"palate_[\w-]+", page.content.decode())[0]
        token = ApiToken.objects.get()
        assert token.digest == ApiToken.digest_of(key)
        assert (token.user, token.name, token.scope) == (self.bob, "notebook", "read")
        assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
        assert "no-store" in page["Cache-Control"]
        self.assertNotContains(self.client.get("/account/"), key)
        script = Client(headers={"Authorization": f"Bearer {key}"})
        assert script.get("/api/v1/projects/").json()[0]["slug"] == "helpfulness"

    def test_a_token_may_be_for_ever(self) -> None:
        self.client.post("/account/", GOOD | {"days": "", "scope": "lead"})
        token = ApiToken.objects.get()
        assert (token.expires_at, token.scope) == (None, "lead")

    def test_bad_input_is_said_beside_its_field_and_makes_nothing(self) -> None:
        for changes, sentence in (
            ({"name": ""}, "This field is required"),
            ({"name": "x" * 81}, "at most 80"),
            ({"name": "a\0b"}, "Null characters"),
            ({"scope": "admin"}, "admin is not one of the available choices"),
            ({"days": "100000"}, "100000 is not one of the available choices"),
        ):
            page = self.client.post("/account/", GOOD | changes)
            self.assertContains(page, sentence, status_code=422)
        assert not ApiToken.objects.exists()

    def test_a_name_is_shown_as_text(self) -> None:
        self.client.post("/account/", GOOD | {"name": "<script>alert(1)</script>"})
        self.assertNotContains(self.client.get("/account/"), "<script>alert")

    def test_an_expired_token_says_so(self) -> None:
        ApiToken.issue(user=self.bob, name="old", expires_at=timezone.now() - timedelta(days=1))
        self.assertContains(self.client.get("/account/"), "expired")

    def test_revoking_ends_it(self) -> None:
        token, key = ApiToken.issue(user=self.bob, name="mine")
        self.assertRedirects(self.client.post(f"/account/tokens/{token.pk}/revoke/"), "/account/")
        assert not ApiToken.objects.exists()
        assert Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/projects/").status_code == 401

    def test_nobody_revokes_anothers(self) -> None:
        token, _ = ApiToken.issue(user=self.dana, name="danas")
        assert self.client.post(f"/account/tokens/{token.pk}/revoke/").status_code == 404
        assert ApiToken.objects.count() == 1

    def test_who_is_signed_out_is_sent_to_sign_in(self) -> None:
        self.client.logout()
        for address in ("/account/", "/account/tokens/1/revoke/"):
            assert self.client.post(address, GOOD)["Location"].startswith("/sign-in/")

    def test_other_methods_are_refused(self) -> None:
        assert self.client.delete("/account/").status_code == 405
        assert self.client.get("/account/tokens/1/revoke/").status_code == 405

    def test_a_token_does_not_open_the_page(self) -> None:
        """A leaked token must not make others."""
        _, key = ApiToken.issue(user=self.bob, name="mine", scope="lead")
        script = Client(headers={"Authorization": f"Bearer {key}"})
        assert script.post("/account/", GOOD).status_code == 302
        assert ApiToken.objects.count() == 1

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for n in range(5):
            ApiToken.issue(user=self.bob, name=f"{n}")
            Client().post(reverse("account_login"), {"login": "bob", "password": "correct horse"})
        # user, sessions, second factors, single sign-on, tokens, memberships
        with self.assertNumQueries(6):
            self.client.get("/account/")

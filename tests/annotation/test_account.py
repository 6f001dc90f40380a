from __future__ import annotations

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotation.models import ApiToken, User
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


class DisplayTests(PalateTestCase):
    def setUp(self) -> None:
        self.sign_in(self.bob)

    def zone(self) -> str:
        self.bob.refresh_from_db()
        return self.bob.time_zone

    def first_visit(self, name: str):
        return self.client.post(reverse("account-time-zone"), {"time_zone": name})

    def test_the_browser_s_zone_is_taken_at_the_first_visit_only(self) -> None:
        self.assertContains(self.client.get("/account/"), "data-time-zone-url")
        assert self.first_visit("Asia/Kolkata").status_code == 204
        assert self.zone() == "Asia/Kolkata"
        self.assertNotContains(self.client.get("/account/"), "data-time-zone-url")
        self.first_visit("Europe/Berlin")
        assert self.zone() == "Asia/Kolkata"

    def test_a_new_language_is_that_of_the_answer(self) -> None:
        values = {"time_zone": "UTC", "language": "de"}
        page = self.client.post(reverse("account-display"), values, follow=True)
        self.assertContains(page, "Ihre Einstellungen sind gespeichert.")

    def test_it_is_changed_on_the_account_page(self) -> None:
        response = self.client.post(reverse("account-display"), {"time_zone": "Europe/Berlin"})
        self.assertRedirects(response, "/account/")
        assert self.zone() == "Europe/Berlin"
        self.assertContains(
            self.client.get("/account/"), '<option value="Europe/Berlin" selected>Europe/Berlin</option>'
        )
        self.client.post(reverse("account-display"), {"time_zone": "UTC"})
        assert self.zone() == "UTC"  # else the browser's would be taken again

    def test_an_unknown_zone_is_refused(self) -> None:
        for name in ("Mars/Olympus", "../etc/passwd", "x" * 100):
            response = self.client.post(reverse("account-display"), {"time_zone": name})
            self.assertContains(response, "is not a time zone", status_code=422)
            assert self.first_visit(name).status_code == 422
        assert self.zone() == ""

    def test_times_are_shown_in_it_and_the_api_stays_in_utc(self) -> None:
        self.first_visit("Asia/Kolkata")
        guideline = self.project.guideline
        shown = guideline.created_at.astimezone(ZoneInfo("Asia/Kolkata"))
        self.sign_in(self.alice)
        User.objects.filter(pk=self.alice.pk).update(time_zone="Asia/Kolkata")
        page = self.client.get(reverse("guideline", args=[self.project.slug, 1]))
        self.assertContains(page, f"{shown:%H:%M} IST")
        answer = self.client.get(f"/api/v1/projects/{self.project.slug}/guidelines/")
        self.assertContains(answer, f"{guideline.created_at:%Y-%m-%dT%H:%M}")
        self.assertNotContains(answer, "+05:30")

    def test_who_may(self) -> None:
        for name in ("account-display", "account-time-zone"):
            assert self.client.get(reverse(name)).status_code == 405
        self.client.logout()
        for name in ("account-display", "account-time-zone"):
            assert self.client.post(reverse(name)).status_code == 302

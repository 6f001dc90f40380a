"""Single sign-on, against a provider that runs beside the tests: accounts, their roles by groups, and what it must not do."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack
from datetime import timedelta
from unittest.mock import patch
from urllib.parse import urlsplit

import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.core.cache import cache
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone
from oidc_provider_mock import run_server_in_thread

from annotation.models import AuditEntry, Member, User
from tests.base import PalateTestCase
from tests.servers import OIDC_PORT

PROVIDER = f"http://localhost:{OIDC_PORT}"


class SingleSignOnTests(PalateTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        stack.enter_context(run_server_in_thread(OIDC_PORT))

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.project.slug = "test"
        cls.project.save()

    def setUp(self) -> None:
        self.know("frank", groups=["labelers"])

    def know(self, name: str, /, **claims: object) -> None:
        claims = {"preferred_username": name, "email": f"{name}@example.org", **claims}
        assert requests.put(f"{PROVIDER}/users/{name}", json=claims, timeout=10).ok

    def leave(self, next: str = "", process: str = "login") -> str:
        """The address at the provider to which the site leads."""
        url = reverse("openid_connect_login", args=["oidc"])
        page = self.client.post(f"{url}?process={process}", {"next": next})
        assert page.status_code == 200, page
        found = re.search(r'url=(.+?)"', page.content.decode())
        assert found
        return html.unescape(found[1])

    def come_back(self, address: str, **answer: str):
        """What the site answers when the provider has let the user through."""
        answered = requests.post(address, answer, allow_redirects=False, timeout=10)
        assert answered.status_code in (302, 303), answered.text
        parts = urlsplit(answered.headers["Location"])
        return self.client.get(f"{parts.path}?{parts.query}")

    def enter(self, name: str = "frank", next: str = ""):
        return self.come_back(self.leave(next), sub=name)

    def test_the_first_sign_in_makes_an_account_with_the_roles_of_its_groups(self) -> None:
        work = reverse("work", args=["test"])
        self.assertRedirects(self.enter(next=work), work, fetch_redirect_response=False)
        frank = User.objects.get(username="frank")
        assert (frank.email, frank.has_usable_password(), frank.is_staff) == (
            "frank@example.org",
            False,
            False,
        )
        assert Member.objects.get(user=frank, project=self.project).role == "annotator"
        assert self.client.get(work).status_code == 200
        assert self.client.session.get_expiry_age() <= 12 * 3600
        assert AuditEntry.objects.get(verb="member.added", data__user=frank.pk).actor is None

    def test_the_second_one_finds_it_and_follows_the_groups(self) -> None:
        self.enter()
        frank = User.objects.get(username="frank")
        for groups, role in ((["quality", "labelers"], "reviewer"), (["leads"], "lead"), ([], None)):
            self.know("frank", groups=groups, email="other@example.org")
            self.client.logout()
            self.enter()
            found = Member.objects.filter(user=frank, project=self.project).first()
            assert (found and found.role) == role, groups
        assert User.objects.filter(username__startswith="frank").count() == 1

    def test_the_only_lead_stays_one(self) -> None:
        self.know("frank", groups=["leads"])
        self.enter()
        Member.objects.get(project=self.project, user=self.alice).delete()
        self.know("frank", groups=[])
        self.client.logout()
        self.enter()
        assert Member.objects.get(project=self.project, user__username="frank").role == "lead"

    def test_a_group_may_give_the_right_to_create_projects_and_take_it_back(self) -> None:
        for groups, expected in ((["founders"], True), (["labelers"], False)):
            self.know("frank", groups=groups)
            self.enter()
            assert User.objects.get(username="frank").is_staff == expected
            self.client.logout()

    def test_a_taken_name_and_a_taken_address_are_refused(self) -> None:
        self.bob.email = "Frank@example.org"
        self.bob.save()
        self.know("BOB", email="other@example.org")
        for name, what in (("frank", "the e-mail address frank@example.org"), ("BOB", "the user name BOB")):
            response = self.enter(name)
            self.assertRedirects(response, reverse("account_login"), fetch_redirect_response=False)
            self.assertContains(self.client.get(reverse("account_login")), f"There is an account with {what}")
            assert "_auth_user_id" not in self.client.session
        assert not mail.outbox
        assert not SocialAccount.objects.exists()

    def test_an_address_that_somebody_else_has_only_entered_keeps_nobody_out(self) -> None:
        EmailAddress.objects.create(user=self.bob, email="frank@example.org", verified=False)
        self.enter()
        assert User.objects.get(username="frank").email == "frank@example.org"
        assert EmailAddress.objects.get(email="frank@example.org").user.username == "frank"

    def test_names_are_stored_in_one_form_and_those_of_erased_accounts_refused(self) -> None:
        for given, expected in (
            ("\uff46\uff52\uff41\uff4e\uff4b", "frank"),
            ("erased-x", "other"),
            ("x" * 200, "third"),
        ):
            self.know("odd", preferred_username=given, email=f"{expected}@example.org")
            self.enter("odd")
            assert self.client.session.get("_auth_user_id"), given
            user = User.objects.get(pk=self.client.session["_auth_user_id"])
            assert user.username == expected
            SocialAccount.objects.all().delete()
            user.delete()
            self.client.logout()

    def test_what_a_provider_says_can_be_anything(self) -> None:
        """Nobody is signed in, or somebody is; never an error page."""
        for n, claims in enumerate(
            [
                *({"groups": groups} for groups in (1, True, None, {"labelers": False}, [["labelers"], 3])),
                *({"preferred_username": name} for name in (1, {}, "a\0b", "", None)),
                *({"email": address} for address in (1, {}, "x", "a" * 300 + "@example.org", None)),
                {"given_name": "a\0"},
                {"name": 7},
                {"family_name": ["x"]},
            ]
        ):
            self.know(f"odd-{n}", **claims)
            response = self.enter(f"odd-{n}")
            assert response.status_code == 302, (claims, response.status_code)
            assert not Member.objects.filter(user__username__startswith="odd-").exists(), claims
            self.client.logout()

    def test_a_session_is_not_prolonged_by_what_one_does(self) -> None:
        self.enter()
        later = timezone.now() + timedelta(hours=11)
        with patch("django.utils.timezone.now", return_value=later):
            self.leave(process="connect")
            assert self.client.session.get_expiry_age() < 3700

    def test_a_pause_outlasts_leaving_the_group(self) -> None:
        self.enter()
        frank = Member.objects.filter(project=self.project, user__username="frank")
        frank.update(paused_at=timezone.now(), paused_reason="x", qualified_at=timezone.now())
        for groups in ([], ["labelers"]):
            self.know("frank", groups=groups)
            self.client.logout()
            self.enter()
        assert frank.get().paused_at is not None
        assert frank.get().qualified_at is not None

    def test_an_account_is_connected_with_its_password_and_disconnected(self) -> None:
        self.client.post(reverse("account_login"), {"login": "bob", "password": "correct horse"})
        self.assertContains(self.client.get(reverse("account")), "Connect</button>")
        response = self.come_back(self.leave(process="connect"), sub="frank")
        self.assertRedirects(response, reverse("account_reauthenticate"))
        assert not SocialAccount.objects.exists()
        response = self.client.post(reverse("account_reauthenticate"), {"password": "correct horse"})
        self.assertRedirects(response, reverse("account"))
        self.client.logout()
        self.enter()
        assert self.client.session["_auth_user_id"] == str(self.bob.pk)
        self.client.post(reverse("single-sign-on-disconnect"))
        assert not SocialAccount.objects.exists()

    def test_who_has_no_password_cannot_disconnect_change_or_forget_it(self) -> None:
        self.enter()
        self.client.post(reverse("single-sign-on-disconnect"))
        assert SocialAccount.objects.exists()
        self.assertRedirects(
            self.client.get(reverse("account_change_password"), follow=True), reverse("account")
        )
        self.client.logout()
        cache.clear()
        self.client.post(reverse("account_reset_password"), {"email": "frank@example.org"})
        assert not mail.outbox

    def test_who_has_no_password_erases_the_account_by_name(self) -> None:
        self.enter()
        self.assertContains(self.client.get(reverse("account-erase")), "Your user name")
        assert self.client.post(reverse("account-erase"), {"password": "bob"}).status_code == 422
        self.assertRedirects(
            self.client.post(reverse("account-erase"), {"password": "frank"}), reverse("account_login")
        )
        assert not SocialAccount.objects.exists()

    def test_a_refusal_and_a_forged_answer_lead_back(self) -> None:
        self.assertRedirects(self.come_back(self.leave(), action="deny"), reverse("account_login"))
        response = self.client.get(
            reverse("openid_connect_callback", args=["oidc"]), {"code": "x", "state": "y"}
        )
        self.assertRedirects(response, reverse("account_login"), fetch_redirect_response=False)
        self.assertContains(self.client.get(reverse("account_login")), "failed")
        assert not SocialAccount.objects.exists()

    def test_it_starts_by_post_only_and_leads_to_this_site_only(self) -> None:
        url = reverse("openid_connect_login", args=["oidc"])
        assert self.client.get(url).status_code == 405
        self.assertRedirects(self.enter(next="https://elsewhere.example/"), reverse("home"))

    def test_closed_accounts_stay_closed(self) -> None:
        self.enter()
        User.objects.filter(username="frank").update(is_active=False)
        self.client.logout()
        self.assertRedirects(self.enter(), reverse("account_inactive"))
        assert "_auth_user_id" not in self.client.session


class ProviderOffTests(PalateTestCase):
    def test_one_that_does_not_answer_is_named(self) -> None:
        response = self.client.post(reverse("openid_connect_login", args=["oidc"]), follow=True)
        self.assertContains(response, "Example SSO does not answer")

    @override_settings(OIDC_URL="", SOCIALACCOUNT_PROVIDERS={"openid_connect": {"APPS": []}})
    def test_without_one_there_is_nothing(self) -> None:
        self.assertNotContains(self.client.get(reverse("account_login")), "Continue with")
        for name in ("openid_connect_login", "openid_connect_callback"):
            url = reverse(name, args=["oidc"])
            for response in (self.client.post(url), self.client.get(url)):
                assert response.status_code in (404, 405)
        self.sign_in(self.bob)
        self.assertNotContains(self.client.get(reverse("account")), "Connect")

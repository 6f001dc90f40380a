"""Second factors: setting one up, signing in with it, and requiring it."""

from __future__ import annotations

import time

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client, override_settings
from django.urls import reverse

from annotation import opaque
from annotation.actions.passwords import reset_path
from annotation.models import ApiToken, User
from tests.base import PalateTestCase

PASSWORD = "correct horse"


def code(secret: str, ahead: int = 0) -> str:
    """What an authenticator app shows, in the time step that is `ahead` of this one."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


class SecondFactorTests(PalateTestCase):
    def enter_password(self, user: User):
        return self.client.post(reverse("account_login"), {"login": user.username, "password": PASSWORD})

    def enter_code(self, entered: str):
        return self.client.post(reverse("mfa_authenticate"), {"code": entered})

    def set_up(self, user: User) -> str:
        """Returns the secret that the app stores."""
        self.enter_password(user)
        url = reverse("mfa_activate_totp")
        self.assertRedirects(self.client.get(url), f"{reverse('account_reauthenticate')}?next={url}")
        response = self.client.post(
            f"{reverse('account_reauthenticate')}?next={url}", {"password": PASSWORD, "next": url}
        )
        self.assertRedirects(response, url)
        secret: str = self.client.get(url).context["form"].secret
        wrong = self.client.post(url, {"code": "000000" if code(secret) != "000000" else "000001"})
        self.assertContains(wrong, "Incorrect code")
        self.assertRedirects(
            self.client.post(url, {"code": code(secret)}), reverse("mfa_view_recovery_codes")
        )
        return secret

    def test_an_e_mail_address_confirmed_or_not_does_not_stand_in_its_way(self) -> None:
        for verified in (True, False):
            EmailAddress.objects.update_or_create(
                user=self.bob, email="bob@example.org", defaults={"verified": verified, "primary": True}
            )
            self.set_up(self.bob)
            self.client.post(reverse("account_email"), {"action_add": "", "email": "other@example.org"})
            assert EmailAddress.objects.filter(email="other@example.org").exists()
            Authenticator.objects.all().delete()
            EmailAddress.objects.filter(email="other@example.org").delete()
            self.client.logout()

    def test_the_code_is_required_after_the_password(self) -> None:
        secret = self.set_up(self.bob)
        stored = Authenticator.objects.get(user=self.bob, type="totp").data["secret"]
        assert secret not in stored
        assert opaque.decrypt(stored).decode() == secret
        self.client.logout()
        self.assertRedirects(self.enter_password(self.bob), reverse("mfa_authenticate"))
        assert "_auth_user_id" not in self.client.session
        self.assertContains(self.enter_code("000000"), "Incorrect code")
        assert self.client.get(reverse("account")).status_code == 302
        self.assertRedirects(self.enter_code(code(secret, ahead=1)), reverse("home"))

    def test_a_code_and_a_recovery_code_work_once(self) -> None:
        secret = self.set_up(self.bob)
        recovery = self.client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
        assert len(recovery) == 10
        listed = self.client.get(reverse("mfa_download_recovery_codes")).content.decode()
        assert all(each in listed for each in recovery)
        for entered in (code(secret, ahead=1), recovery[0]):
            for expected in (302, 200):
                self.client.logout()
                self.enter_password(self.bob)
                assert self.enter_code(entered).status_code == expected, entered

    def test_wrong_codes_are_limited(self) -> None:
        secret = self.set_up(self.bob)
        self.client.logout()
        self.enter_password(self.bob)
        for _ in range(5):
            self.enter_code("000000")
        self.assertContains(self.enter_code(code(secret, ahead=1)), "Too many failed login attempts")

    def test_a_lost_password_does_not_open_the_account(self) -> None:
        self.set_up(self.bob)
        self.client.logout()
        self.bob.refresh_from_db()
        page = self.client.get(reset_path(self.bob), follow=True).redirect_chain[-1][0]
        self.client.post(page, {"password1": "battery staple 7", "password2": "battery staple 7"})
        response = self.client.post(
            reverse("account_login"), {"login": "bob", "password": "battery staple 7"}
        )
        self.assertRedirects(response, reverse("mfa_authenticate"))

    def test_it_is_turned_off_with_a_code(self) -> None:
        secret = self.set_up(self.bob)
        url = reverse("mfa_deactivate_totp")
        self.client.logout()
        self.enter_password(self.bob)
        self.enter_code(code(secret, ahead=1))
        assert self.client.post(url).status_code == 302
        assert Authenticator.objects.exists()
        self.client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
        self.assertRedirects(self.client.post(url), reverse("mfa_index"), fetch_redirect_response=False)
        assert not Authenticator.objects.exists()

    def test_the_administration_asks_for_it_too(self) -> None:
        self.assertRedirects(
            self.client.get("/admin/login/?next=/admin/"), f"{reverse('account_login')}?next=%2Fadmin%2F"
        )

    @override_settings(MFA="off")
    def test_off_there_is_none(self) -> None:
        self.enter_password(self.bob)
        self.assertNotContains(self.client.get(reverse("account")), "Two-factor")
        for name in ("activate_totp", "deactivate_totp", "view_recovery_codes", "generate_recovery_codes"):
            assert self.client.get(reverse(f"mfa_{name}")).status_code == 404

    def test_off_again_a_password_is_enough(self) -> None:
        self.set_up(self.bob)
        self.client.logout()
        with override_settings(MFA="off"):
            self.assertRedirects(self.enter_password(self.bob), reverse("home"))


@override_settings(MFA="required")
class RequiredTests(SecondFactorTests):
    """Everything above holds where it is required, but for turning it off."""

    def test_it_is_turned_off_with_a_code(self) -> None:
        """To set up another one at once."""
        secret = self.set_up(self.bob)
        self.client.logout()
        self.enter_password(self.bob)
        self.enter_code(code(secret, ahead=1))
        self.client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
        self.assertContains(self.client.get(reverse("mfa_deactivate_totp")), "Replace")
        self.client.post(reverse("mfa_deactivate_totp"))
        assert not Authenticator.objects.exists()
        self.client.logout()
        self.enter_password(self.bob)
        self.assertRedirects(
            self.client.get(reverse("home")), reverse("mfa_activate_totp"), fetch_redirect_response=False
        )

    def test_recovery_codes_alone_are_no_second_factor(self) -> None:
        self.set_up(self.bob)
        Authenticator.objects.filter(type="totp").delete()
        self.client.logout()
        self.enter_password(self.bob)
        self.assertRedirects(
            self.client.get(reverse("home")), reverse("mfa_activate_totp"), fetch_redirect_response=False
        )

    def test_nothing_opens_before_it_is_set_up(self) -> None:
        self.enter_password(self.bob)
        activate = reverse("mfa_activate_totp")
        for name in ("home", "account", "my-judgments", "account_change_password", "account-export"):
            self.assertRedirects(self.client.get(reverse(name)), activate, fetch_redirect_response=False)
        assert self.client.post(reverse("work", args=[self.project.slug])).status_code == 302
        assert self.client.get("/api/v1/projects/").status_code == 403
        self.client.post(reverse("logout"))
        assert "_auth_user_id" not in self.client.session
        self.set_up(self.bob)
        assert self.client.get(reverse("home")).status_code == 200

    def test_a_token_is_a_factor_of_its_own(self) -> None:
        _, key = ApiToken.issue(user=self.bob, name="t")
        assert Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/projects/").status_code == 200

"""Where somebody is signed in, on the account page, and signing out there."""

from __future__ import annotations

from unittest.mock import patch

from django.test import Client
from django.urls import reverse

from annotation.models import User
from tests.base import PalateTestCase

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


class SessionTests(PalateTestCase):
    def browser(self, user: User, user_agent: str = FIREFOX, address: str = "192.0.2.7") -> Client:
        client = Client(headers={"User-Agent": user_agent}, REMOTE_ADDR=address)
        client.post(reverse("account_login"), {"login": user.username, "password": "correct horse"})
        return client

    def sessions(self, client: Client):
        return client.get(reverse("account")).context["sessions"]

    def is_in(self, client: Client) -> bool:
        return client.get(reverse("account")).status_code == 200

    def test_they_are_listed_this_one_first(self) -> None:
        here, phone = self.browser(self.bob), self.browser(self.bob, SAFARI, "2001:db8::1")
        self.browser(self.dana)
        assert [(s.browser, s.address, s.is_current) for s in self.sessions(here)] == [
            ("Firefox on Linux", "192.0.2.7", True),
            ("Mobile Safari on iOS", "2001:db8::1", False),
        ]
        assert self.sessions(phone)[0].is_current

    def test_one_is_ended(self) -> None:
        here, phone, third = (self.browser(self.bob) for _ in range(3))
        pk = next(s.pk for s in self.sessions(phone) if s.is_current)
        here.post(reverse("sessions-end"), {"session": pk})
        assert (self.is_in(here), self.is_in(phone), self.is_in(third)) == (True, False, True)
        assert len(self.sessions(here)) == 2

    def test_all_others_are_ended(self) -> None:
        here, phone, third = (self.browser(self.bob) for _ in range(3))
        others = self.browser(self.dana)
        here.post(reverse("sessions-end"))
        assert [self.is_in(each) for each in (here, phone, third, others)] == [True, False, False, True]

    def test_of_very_many_the_oldest_ends(self) -> None:
        with patch("annotation.actions.sessions.MAX_SESSIONS", 2):
            first, second, third = (self.browser(self.bob) for _ in range(3))
        assert [self.is_in(each) for each in (first, second, third)] == [False, True, True]

    def test_nobody_ends_those_of_others_or_this_one(self) -> None:
        here, others = self.browser(self.bob), self.browser(self.dana)
        for client in (here, others):
            pk = next(s.pk for s in self.sessions(client) if s.is_current)
            here.post(reverse("sessions-end"), {"session": pk})
            assert self.is_in(client)
        for odd in ("x", "\u00b2", "9" * 5000):
            assert here.post(reverse("sessions-end"), {"session": odd}).status_code == 404
        assert here.get(reverse("sessions-end")).status_code == 405
        assert Client().post(reverse("sessions-end")).status_code == 302

    def test_a_browser_or_an_address_that_nobody_knows_is_listed(self) -> None:
        for user_agent, address in (("", ""), ("x" * 3000, "fe80::1%eth0"), ("-", "unix:")):
            client = self.browser(self.bob, user_agent, address)
            assert self.sessions(client)[0].browser == "Unknown browser"

    def test_a_new_password_ends_the_others(self) -> None:
        here, phone = self.browser(self.bob), self.browser(self.bob)
        fields = {
            "oldpassword": "correct horse",
            "password1": "battery staple 7",
            "password2": "battery staple 7",
        }
        here.post(reverse("account_change_password"), fields)
        assert (self.is_in(here), self.is_in(phone)) == (True, False)
        assert len(self.sessions(here)) == 1

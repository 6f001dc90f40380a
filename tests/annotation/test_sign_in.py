from __future__ import annotations

from axes.helpers import get_client_cache_keys
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.defaults import server_error

from config.sign_in_limits import account_name
from tests import builders
from tests.base import PalateTestCase


class SignInTests(PalateTestCase):
    def setUp(self) -> None:
        cache.clear()  # the throttle counts in the real cache, which no transaction rolls back
        self.addCleanup(cache.clear)

    def attempt(self, password: str, username: str = "bob", next: str = "", address: str = "127.0.0.1"):
        data = {"login": username, "password": password, "next": next}
        return self.client.post(reverse("account_login"), data, REMOTE_ADDR=address)

    def test_it_leads_to_the_home_page(self) -> None:
        response = self.attempt("correct horse")
        self.assertRedirects(response, reverse("home"))

    def test_it_leads_back_to_the_page_that_asked(self) -> None:
        url = reverse("work", args=[self.project.slug])
        self.assertRedirects(self.client.get(url), f"{reverse('account_login')}?next={url}")
        self.assertRedirects(self.attempt("correct horse", next=url), url)

    def test_it_does_not_lead_to_other_sites(self) -> None:
        response = self.attempt("correct horse", next="https://elsewhere.example/")
        self.assertRedirects(response, reverse("home"))

    def test_it_says_that_the_password_is_wrong_and_keeps_the_name(self) -> None:
        response = self.attempt("wrong")
        self.assertContains(response, "The username and/or password you specified are not correct")
        self.assertContains(response, 'value="bob"')

    def test_it_spares_a_signed_in_person_the_form(self) -> None:
        self.sign_in(self.bob)
        self.assertRedirects(self.client.get(reverse("account_login")), reverse("home"))

    def test_it_rests_after_ten_wrong_passwords_even_for_the_right_one(self) -> None:
        for _ in range(9):
            assert self.attempt("wrong").status_code == 200
        tenth = self.attempt("wrong")
        self.assertContains(tenth, "Too many attempts", status_code=429)
        self.assertContains(tenth, "15 minutes", status_code=429)
        assert self.attempt("correct horse").status_code == 429
        assert "_auth_user_id" not in self.client.session

    def test_it_does_not_make_others_wait(self) -> None:
        for _ in range(10):
            self.attempt("wrong")
        self.assertRedirects(self.attempt("correct horse", username="dana"), reverse("home"))

    def test_case_does_not_matter(self) -> None:
        self.assertRedirects(self.attempt("correct horse", username="BOB"), reverse("home"))
        self.client.post(reverse("logout"))
        for name in ("bob", "Bob", "bOb", "boB", "BOb", "bOB", "BoB", "BOB", "bob", "Bob"):
            self.attempt("wrong", username=name)
        assert self.attempt("correct horse", username="bob").status_code == 429

    def test_one_address_cannot_try_many_names(self) -> None:
        for n in range(99):
            assert self.attempt("wrong", username=f"name-{n}").status_code == 200
            if n % 7 == 0:  # with an account of one's own the count does not begin anew
                self.attempt("correct horse", username="dana")
                self.client.post(reverse("logout"))
        assert self.attempt("wrong", username="name-99").status_code == 429
        assert self.attempt("correct horse").status_code == 429
        self.assertRedirects(self.attempt("correct horse", address="192.0.2.1"), reverse("home"))

    def test_many_addresses_cannot_try_one_name(self) -> None:
        for n in range(49):
            assert self.attempt("wrong", address=f"192.0.2.{n}").status_code == 200
        assert self.attempt("wrong", address="192.0.2.49").status_code == 429
        assert self.attempt("correct horse", address="192.0.2.50").status_code == 429
        self.assertRedirects(
            self.attempt("correct horse", username="dana", address="192.0.2.1"), reverse("home")
        )

    def test_others_cannot_lock_somebody_out_where_they_have_signed_in(self) -> None:
        self.attempt("correct horse", address="198.51.100.7")
        self.client.post(reverse("logout"))
        for n in range(50):
            self.attempt("wrong", address=f"192.0.2.{n}")
        assert self.attempt("correct horse", address="198.51.100.8").status_code == 429
        self.assertRedirects(self.attempt("correct horse", address="198.51.100.7"), reverse("home"))

    def test_where_somebody_has_signed_in_ten_wrong_passwords_are_the_limit(self) -> None:
        self.attempt("correct horse")
        self.client.post(reverse("logout"))
        for _ in range(10):
            self.attempt("wrong")
        assert self.attempt("correct horse").status_code == 429

    def test_the_addresses_of_one_ipv6_network_count_as_one(self) -> None:
        for n in range(10):
            self.attempt("wrong", address=f"2001:db8:0:1::{n:x}")
        assert self.attempt("correct horse", address="2001:db8:0:1:ffff::1").status_code == 429
        self.assertRedirects(self.attempt("correct horse", address="2001:db8:0:2::1"), reverse("home"))

    def test_attempts_during_a_lockout_do_not_count(self) -> None:
        for _ in range(15):
            self.attempt("wrong")
        request = RequestFactory().post("/", {"username": "bob"}, REMOTE_ADDR="127.0.0.1")
        assert [cache.get(key) for key in get_client_cache_keys(request, {"username": "bob"})] == [10, 10, 10]

    def test_every_spelling_that_finds_an_account_counts_as_one(self) -> None:
        builders.user("irina")
        for name in ("irina", "\u0131r\u0131na", "IRINA", "\uff49rina"):
            assert account_name(RequestFactory().post("/"), {"username": name}) == "irina"

    def test_what_a_browser_says_of_its_address_does_not_count(self) -> None:
        for n in range(10):
            self.client.post(
                reverse("account_login"),
                {"login": "bob", "password": "wrong"},
                headers={"X-Forwarded-For": f"192.0.2.{n}"},
            )
        assert self.attempt("correct horse").status_code == 429

    def test_a_success_starts_the_count_anew(self) -> None:
        for _ in range(9):
            self.attempt("wrong")
        self.attempt("correct horse")
        self.client.post(reverse("logout"))
        assert self.attempt("wrong").status_code == 200


class SignOutTests(PalateTestCase):
    def test_it_signs_out_by_post(self) -> None:
        self.sign_in(self.bob)
        self.assertRedirects(self.client.post(reverse("logout")), reverse("account_login"))
        assert "_auth_user_id" not in self.client.session

    def test_a_link_cannot_sign_anybody_out(self) -> None:
        self.sign_in(self.bob)
        assert self.client.get(reverse("logout")).status_code == 405
        assert "_auth_user_id" in self.client.session


class PasswordTests(PalateTestCase):
    def change(self, old: str, new: str):
        return self.client.post(
            reverse("account_change_password"),
            {"oldpassword": old, "password1": new, "password2": new},
        )

    def test_it_changes(self) -> None:
        self.sign_in(self.bob)
        self.assertRedirects(self.change("correct horse", "battery staple 7"), reverse("account"))
        self.bob.refresh_from_db()
        assert self.bob.check_password("battery staple 7")

    def test_it_does_not_change_without_the_old_one(self) -> None:
        self.sign_in(self.bob)
        self.assertContains(self.change("wrong", "battery staple 7"), "Please type your current password")
        self.bob.refresh_from_db()
        assert self.bob.check_password("correct horse")

    def test_it_refuses_a_weak_one(self) -> None:
        self.sign_in(self.bob)
        self.assertContains(self.change("correct horse", "12345"), "too short")

    def test_it_asks_who_is_there_first(self) -> None:
        url = reverse("account_change_password")
        self.assertRedirects(self.client.get(url), f"{reverse('account_login')}?next={url}")


class ErrorPageTests(PalateTestCase):
    def test_nothing_here_says_so_in_the_product_s_own_words(self) -> None:
        self.sign_in(self.bob)
        self.assertContains(self.client.get("/nowhere/"), "Page not found", status_code=404)

    def test_it_is_readable_when_the_server_breaks(self) -> None:
        self.sign_in(self.bob)
        response = server_error(self.client.get("/nowhere/").wsgi_request)
        self.assertContains(response, "Server error", status_code=500)

    def test_a_form_without_its_token_is_refused_kindly(self) -> None:
        client = Client(enforce_csrf_checks=True)
        response = client.post(reverse("account_login"), {"login": "bob", "password": "correct horse"})
        self.assertContains(response, "This form has expired", status_code=403)

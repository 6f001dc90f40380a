from __future__ import annotations

from django.test import Client

from annotation import personal_data_export
from annotation.logic import judging_keys
from annotation.models import ApiToken
from tests.annotation.judging import HTMX
from tests.base import PalateTestCase

PAGE = "/account/judging/"
VIEW = "/account/judging/view/"
KEYS = "/account/judging/keys/"
CHOSEN = {"judging_layout": "single", "judging_text_size": "large"}


class JudgingSettingsTests(PalateTestCase):
    def setUp(self) -> None:
        self.sign_in(self.bob)

    def keys(self, **changes: str) -> dict[str, str]:
        return judging_keys.default_keys() | {"shortcuts": "on"} | changes

    def test_the_page_shows_what_is_set(self) -> None:
        self.bob.judging_layout, self.bob.judging_keys = "stacked", {"skip": "K"}
        self.bob.save()
        page = self.client.get(PAGE)
        self.assertContains(page, 'value="stacked" id="id_judging_layout_2" required checked')
        self.assertContains(page, 'name="skip" value="K"')
        self.assertContains(page, "Reset all to the defaults")
        self.assertContains(self.client.get("/account/"), "1 changed")

    def test_layout_and_text_size_are_stored_by_a_script_and_by_a_form(self) -> None:
        answer = self.client.post(VIEW, CHOSEN, headers=HTMX)
        assert (answer.status_code, answer.content) == (204, b"")
        self.bob.refresh_from_db()
        assert (self.bob.judging_layout, self.bob.judging_text_size) == ("single", "large")
        answer = self.client.post(VIEW, CHOSEN | {"judging_layout": "side"})
        self.assertRedirects(answer, PAGE)
        self.bob.refresh_from_db()
        assert self.bob.judging_layout == "side"

    def test_an_unknown_layout_or_size_is_refused_and_changes_nothing(self) -> None:
        for field in CHOSEN:
            for value in ("", "huge", "x" * 1000):
                page = self.client.post(VIEW, CHOSEN | {field: value})
                sentence = "not one of the available choices" if value else "This field is required"
                self.assertContains(page, sentence, status_code=422)
        self.bob.refresh_from_db()
        assert (self.bob.judging_layout, self.bob.judging_text_size) == ("auto", "normal")

    def test_only_keys_that_differ_are_stored(self) -> None:
        self.assertRedirects(self.client.post(KEYS, self.keys(skip="k", undo="-")), PAGE)
        self.bob.refresh_from_db()
        assert self.bob.judging_keys == {"skip": "K", "undo": "-"}
        self.client.post(KEYS, self.keys())
        self.bob.refresh_from_db()
        assert self.bob.judging_keys == {}

    def test_a_conflict_is_refused_beside_the_field_and_changes_nothing(self) -> None:
        for key, sentence in (
            ("u", "“U” is the key of both Undo and Skip"),
            ("c", "“C” selects answer C"),
            ("7", "“7” is a rank or a choice"),
            ("", "Skip has no key"),
            ("KK", "a key is one letter or sign"),
        ):
            page = self.client.post(KEYS, self.keys(skip=key))
            self.assertContains(page, sentence, status_code=422)
            self.assertContains(page, 'id="id_skip_error"', status_code=422)
        page = self.client.post(KEYS, {})
        self.assertContains(page, "Undo has no key", status_code=422)
        self.bob.refresh_from_db()
        assert (self.bob.judging_keys, self.bob.judging_shortcuts) == ({}, True)

    def test_keys_can_be_turned_off(self) -> None:
        data = self.keys()
        del data["shortcuts"]
        self.client.post(KEYS, data)
        self.bob.refresh_from_db()
        assert not self.bob.judging_shortcuts
        self.assertContains(self.client.get("/account/"), "<dd>Off</dd>")

    def test_a_reset_brings_the_default_keys_back_and_nothing_else(self) -> None:
        self.bob.judging_keys, self.bob.judging_layout = {"skip": "K"}, "side"
        self.bob.save()
        self.assertRedirects(self.client.post(KEYS, self.keys(skip="u") | {"reset": "1"}), PAGE)
        self.bob.refresh_from_db()
        assert (self.bob.judging_keys, self.bob.judging_layout) == ({}, "side")
        self.assertNotContains(self.client.get(PAGE), "Reset all to the defaults")

    def test_a_key_is_shown_as_text(self) -> None:
        page = self.client.post(KEYS, self.keys(skip='"'), follow=True)
        self.assertContains(page, 'name="skip" value="&quot;"')

    def test_everything_is_ones_own(self) -> None:
        self.client.post(VIEW, CHOSEN)
        self.dana.refresh_from_db()
        assert self.dana.judging_layout == "auto"

    def test_who_is_signed_out_is_sent_to_sign_in(self) -> None:
        self.client.logout()
        assert self.client.get(PAGE)["Location"].startswith("/sign-in/")
        for address in (VIEW, KEYS):
            assert self.client.post(address, CHOSEN)["Location"].startswith("/sign-in/")

    def test_a_token_does_not_change_them(self) -> None:
        _, key = ApiToken.issue(user=self.bob, name="mine", scope="lead")
        script = Client(headers={"Authorization": f"Bearer {key}"})
        assert script.post(VIEW, CHOSEN).status_code == 302
        self.bob.refresh_from_db()
        assert self.bob.judging_layout == "auto"

    def test_other_methods_are_refused(self) -> None:
        assert self.client.post(PAGE).status_code == 405
        assert self.client.get(VIEW).status_code == 405
        assert self.client.get(KEYS).status_code == 405

    def test_the_export_of_ones_data_has_them(self) -> None:
        self.client.post(VIEW, CHOSEN)
        self.bob.refresh_from_db()
        account = b"".join(personal_data_export.export(self.bob)).decode()
        assert '"judging_layout": "single", "judging_text_size": "large"' in account

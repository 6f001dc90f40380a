"""Saved views of lists."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from annotation import personal_data_export
from annotation.actions import saved_views
from annotation.actions.saved_views import MAX_VIEWS, SavedViewError
from annotation.models import Member, SavedView
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class SavedViewTests(AccessTestCase):
    def save(self, person: object, name: str = "Open", query: str = "?state=open", **data: str) -> str:
        self.sign_in(person)
        url = reverse("view-save", args=[self.project.slug, "items"])
        return str(self.client.post(url, {"name": name, "query": query} | data).url)

    def change(self, view: SavedView, person: object, do: str, **data: str) -> int:
        self.sign_in(person)
        url = reverse("view-change", args=[self.project.slug, view.list, view.pk])
        status = self.client.post(url, {"do": do} | data).status_code
        if do != "delete":
            view.refresh_from_db()
        return status

    def seen_by(self, person: object) -> list[str]:
        self.sign_in(person)
        page = self.client.get(reverse("items", args=[self.project.slug]))
        return [view.name for view in page.context["saved_views"]]

    def test_who_may_save_one(self) -> None:
        for name in ("items", "judgments", "runs", "models"):
            url = reverse("view-save", args=[self.project.slug, name])
            assert self.client.post(url).url.startswith(reverse("account_login"))
            for person, status in ((self.charlie, 404), (self.bob, 403), (self.dana, 302), (self.alice, 302)):
                self.sign_in(person)
                assert self.client.post(url, {"name": "Mine"}).status_code == status, (name, person)
            self.client.logout()
        self.check(Endpoint("view-save", ("members",), post=302))
        self.sign_in(self.alice)
        assert self.client.post(reverse("view-save", args=[self.project.slug, "rounds"])).status_code == 404

    def test_it_brings_the_list_back_as_it_was_and_marks_it(self) -> None:
        where = self.save(self.dana, query="?state=open&sort=agreement&after=0.5%2C7&tag=")
        assert where == f"{reverse('items', args=[self.project.slug])}?state=open&sort=agreement"
        page = self.client.get(where)
        assert page.context["current_view"] == SavedView.objects.get()
        self.assertContains(page, 'aria-current="true"')
        self.assertNotContains(page, "Save this view as")

    def test_others_do_not_learn_of_it_until_it_is_shared(self) -> None:
        self.save(self.dana)
        view = SavedView.objects.get()
        assert (self.seen_by(self.dana), self.seen_by(self.alice)) == (["Open"], [])
        assert self.change(view, self.alice, "rename", name="Mine") == 404
        assert self.change(view, self.alice, "delete") == 404
        assert self.change(view, self.dana, "share") == 302
        assert not view.shared, "only leads share"
        self.save(self.alice, "For all", shared="on")
        assert self.seen_by(self.dana) == ["For all", "Open"]
        shared = SavedView.objects.get(shared=True)
        assert self.change(shared, self.dana, "delete") == 404
        assert self.change(shared, self.alice, "unshare") == 302
        assert self.seen_by(self.dana) == ["Open"]

    def test_another_lead_may_change_what_is_shared_and_no_other_project_s_lead(self) -> None:
        erin = builders.user("erin")
        builders.join(self.project, erin, Member.Role.LEAD)
        self.save(erin, shared="on")
        view = SavedView.objects.get()
        other = builders.project(self.charlie, "Other")
        self.sign_in(self.charlie)
        url = reverse("view-change", args=[other.slug, "items", view.pk])
        assert self.client.post(url, {"do": "delete"}).status_code == 404
        assert self.change(view, self.alice, "rename", name=" Open ones ") == 302
        assert view.name == "Open ones"
        assert self.change(view, self.alice, "nonsense") == 302
        assert self.change(view, self.alice, "delete") == 302
        assert not SavedView.objects.exists()

    def test_names_are_there_short_and_differ(self) -> None:
        me = Member.objects.get(user=self.dana)
        saved_views.save_view(member=me, list_name="items", name="Open", query="")
        other = saved_views.save_view(member=me, list_name="runs", name="Open", query="")
        for name in ("", "  ", "x" * 61, "Open", "\0"):
            with self.subTest(name), pytest.raises(SavedViewError) as raised:
                saved_views.save_view(member=me, list_name="items", name=name, query="")
            assert raised.value.field == "name"
        with pytest.raises(SavedViewError) as raised:
            saved_views.save_view(member=me, list_name="items", name="Long", query="text=" + "x" * 2000)
        assert raised.value.field == "query"
        with pytest.raises(SavedViewError):
            saved_views.change_view(view=other, member=me, name="")
        assert SavedView.objects.count() == 2

    def test_there_are_not_too_many(self) -> None:
        me = Member.objects.get(user=self.dana)
        SavedView.objects.bulk_create(
            SavedView(project=self.project, owner=self.dana, list="items", name=str(n))
            for n in range(MAX_VIEWS)
        )
        with pytest.raises(SavedViewError):
            saved_views.save_view(member=me, list_name="items", name="Another", query="")
        assert saved_views.save_view(member=me, list_name="runs", name="Another", query="")

    def test_they_are_in_the_file_of_personal_data_and_go_with_the_account(self) -> None:
        self.save(self.dana)
        data = json.loads(b"".join(personal_data_export.export(self.dana)))
        assert [(view["list"], view["query"]) for view in data["saved_views"]] == [("items", "state=open")]
        builders.erase(self.dana)
        assert not SavedView.objects.exists()

from __future__ import annotations

from unittest.mock import patch

from django.urls import reverse
from django.utils import timezone

from annotation import analytics
from annotation.actions import invitations
from annotation.analytics.overview import MEMBERS_PER_PAGE
from annotation.models import ApiToken, AuditEntry, Member, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class MemberTests(AccessTestCase):
    def url(self, name: str = "members", *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def member(self, user: User) -> Member:
        return Member.objects.get(project=self.project, user=user)

    def test_it_is_for_leads(self) -> None:
        bob = self.member(self.bob).pk
        self.check(Endpoint("members", get=200, post=422))
        self.check(Endpoint("member-create", post=422))
        self.check(Endpoint("member-role", (bob,), post=302, data={"role": "annotator"}))
        self.check(Endpoint("member-restore", (self.bob.pk,), post=302))
        self.check(Endpoint("member-remove", (bob,), post=302))

    def test_it_lists_roles_and_what_everybody_did_today(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        members = self.client.get(self.url()).context["members"]
        seen = {
            m.user.username: (m.role, work.today, work.total)
            for m, work in ((row.member, row.work) for row in members)
        }
        assert seen["bob"] == ("annotator", 2, 2)
        assert seen["dana"] == ("reviewer", 0, 0)

    def test_it_adds_somebody_by_name(self) -> None:
        self.sign_in(self.alice)
        self.assertRedirects(
            self.client.post(self.url(), {"username": "charlie", "role": "reviewer"}), self.url()
        )
        assert self.member(self.charlie).role == "reviewer"

    def test_it_says_who_is_unknown_or_here_already(self) -> None:
        self.sign_in(self.alice)
        for data, sentence in (
            ({"username": "nobody", "role": "annotator"}, "There is no user"),
            ({"username": "bob", "role": "lead"}, "bob is a member of this project already, as annotator."),
            ({"username": "charlie", "role": "king"}, "king is not one of the available choices"),
        ):
            self.assertContains(self.client.post(self.url(), data), sentence, status_code=422)
        assert self.project.members.count() == 3
        assert self.member(self.bob).role == "annotator"

    def test_who_was_removed_is_added_back_as_they_were(self) -> None:
        now = timezone.now().replace(microsecond=0)
        Member.objects.filter(user=self.dana).update(qualified_at=now, paused_at=now)
        before = self.member(self.dana)
        self.sign_in(self.alice)
        self.client.post(self.url("member-remove", before.pk))
        restore = self.url("member-restore", self.dana.pk)
        self.assertContains(self.client.get(self.url()), restore)
        self.client.post(restore)
        after = self.member(self.dana)
        assert (after.role, after.qualified_at, after.paused_at) == (
            "reviewer",
            before.qualified_at,
            before.paused_at,
        )
        assert "Paused before" in after.paused_reason
        self.assertNotContains(self.client.get(self.url()), restore)
        self.client.post(restore)  # once more
        assert self.project.members.count() == 3

    def test_nobody_is_added_back_who_was_never_here_or_is_closed(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url("member-remove", self.member(self.bob).pk))
        User.objects.filter(pk=self.bob.pk).update(is_active=False)
        for user in (self.charlie, self.bob):
            self.client.post(self.url("member-restore", user.pk))
        assert self.project.members.count() == 2

    def test_an_account_that_is_closed_cannot_join(self) -> None:
        User.objects.filter(pk=self.charlie.pk).update(is_active=False)
        self.sign_in(self.alice)
        response = self.client.post(self.url(), {"username": "charlie", "role": "annotator"})
        self.assertContains(response, "There is no user", status_code=422)

    def test_it_changes_a_role(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url("member-role", self.member(self.bob).pk), {"role": "lead"})
        assert self.member(self.bob).role == "lead"
        self.client.post(self.url("member-role", self.member(self.bob).pk), {"role": "king"})
        assert self.member(self.bob).role == "lead"

    def test_the_last_lead_stays(self) -> None:
        builders.project(self.charlie, "Led by somebody else")
        self.sign_in(self.alice)
        alice = self.member(self.alice).pk
        for url, data in (
            (self.url("member-remove", alice), {}),
            (self.url("member-role", alice), {"role": "annotator"}),
        ):
            response = self.client.post(url, data, follow=True)
            self.assertContains(response, "the project&#x27;s only lead")
        assert self.member(self.alice).role == "lead"

    def test_a_lead_may_go_when_there_is_another(self) -> None:
        Member.objects.filter(user=self.bob).update(role="lead")
        self.sign_in(self.alice)
        response = self.client.post(self.url("member-remove", self.member(self.alice).pk))
        self.assertRedirects(response, reverse("home"), fetch_redirect_response=False)
        assert not Member.objects.filter(project=self.project, user=self.alice).exists()

    def test_who_goes_leaves_their_judgments(self) -> None:
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        self.client.post(self.url("member-remove", self.member(self.bob).pk))
        assert not Member.objects.filter(user=self.bob).exists()
        judgment.refresh_from_db()

    def test_members_of_other_projects_are_out_of_reach(self) -> None:
        other = builders.project(self.charlie, "Other")
        theirs = other.members.get()
        self.sign_in(self.alice)
        assert self.client.post(self.url("member-remove", theirs.pk)).status_code == 404
        assert other.members.count() == 1

    def test_a_new_account_shows_its_password_once_and_works(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url("member-create"), {"username": "erin"})
        password = response.context["created"].password
        self.assertContains(response, password)
        assert "no-store" in response["Cache-Control"]
        self.assertNotContains(self.client.get(self.url()), password)
        erin = User.objects.get(username="erin")
        assert erin.check_password(password)
        assert (self.member(erin).role, erin.is_staff) == ("annotator", False)

    def test_a_taken_or_impossible_name_is_refused(self) -> None:
        self.sign_in(self.alice)
        before = User.objects.count()
        for name, sentence in (
            ("bob", "is taken"),
            ("BOB", "is taken"),
            ("two words", "Enter a valid username"),
            ("", "required"),
        ):
            response = self.client.post(self.url("member-create"), {"username": name})
            self.assertContains(response, sentence, status_code=422)
        assert User.objects.count() == before

    def test_a_machine_gets_a_token_too(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url("member-create"), {"username": "labeler", "account": "machine"})
        created = response.context["created"]
        self.assertContains(response, created.key)
        machine = User.objects.get(username="labeler")
        token = ApiToken.objects.get()
        assert (machine.account, token.user, token.scope) == ("machine", machine, "annotate")
        assert token.digest == ApiToken.digest_of(created.key)
        self.assertContains(self.client.get(self.url()), '<span class="badge">machine</span>')
        response = self.client.post(self.url("member-create"), {"username": "x", "account": "robot"})
        self.assertContains(response, "robot is not one of the available choices", status_code=422)

    def test_who_did_what_is_noted_without_names(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url(), {"username": "charlie", "role": "reviewer"})
        charlie = self.member(self.charlie)
        self.client.post(self.url("member-role", charlie.pk), {"role": "annotator"})
        self.client.post(self.url("member-role", charlie.pk), {"role": "annotator"})
        self.client.post(self.url("member-remove", charlie.pk))
        audit_entries = list(AuditEntry.objects.filter(verb__startswith="member.").order_by("pk"))
        assert [entry.verb for entry in audit_entries] == ["member.added", "member.role", "member.removed"]
        assert {(entry.actor, entry.subject, entry.project) for entry in audit_entries} == {
            (self.alice, self.charlie.pseudonym, self.project)
        }
        assert audit_entries[1].data == {"user": self.charlie.pk, "before": "reviewer", "role": "annotator"}

    def test_who_belongs_to_it_and_what_they_did_today_are_never_old(self) -> None:
        with patch.multiple("annotation.analytics.figures", QUICK_S=-1.0, LIFETIME_FACTOR=1e6):  # as if large
            analytics.member_activity(self.project)
            builders.items(self.project, 1)
            builders.judgment(self.project, self.bob)
            bob = {member.user.username: work for member, work in analytics.member_activity(self.project)}[
                "bob"
            ]
            assert (bob.total, bob.today) == (0, 1), "the total is cached"
            builders.join(self.project, builders.user("newcomer"), Member.Role.ANNOTATOR)
            names = [member.user.username for member, _ in analytics.member_activity(self.project)]
        assert names == ["bob", "alice", "dana", "newcomer"], "who judged most today comes first"

    def test_members_are_paginated_and_searched_by_name(self) -> None:
        for n in range(MEMBERS_PER_PAGE):
            builders.join(self.project, builders.user(f"extra-{n:02}"), Member.Role.ANNOTATOR)
        self.sign_in(self.alice)
        last = MEMBERS_PER_PAGE - 1
        first = self.client.get(self.url())
        self.assertNotContains(first, f"extra-{last}")
        older = first.context["listing"].older
        self.assertContains(first, f'rel="next" href="{self.url()}{older}"')
        self.assertContains(self.client.get(self.url() + older), f"extra-{last}")
        found = self.client.get(self.url() + f"?name=A-{last}")
        self.assertContains(found, f"extra-{last}")
        self.assertNotContains(found, f"extra-{last - 1}")
        self.assertContains(self.client.get(self.url() + "?name=%00no&page=9"), "0 members")

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for n in range(3):
            builders.join(self.project, builders.user(f"extra-{n}"), Member.Role.ANNOTATOR)
            invitations.invite(project=self.project, creator=self.alice, role="annotator")
        self.sign_in(self.alice)
        # user, membership, removals, whether the project is large, who did what today, members, what they did, invitations, views
        with self.assertNumQueries(9):
            self.client.get(self.url())

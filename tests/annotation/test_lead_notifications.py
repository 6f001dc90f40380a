"""What leads are told among their notifications: of members whom the rules warned or paused, or who stand out, and of their own
imports and snapshots that took long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from annotation import personal_data_export
from annotation.actions import accounts, imports, leases, notifications, rules, snapshot_jobs
from annotation.models import Import, Member, Notification, SnapshotJob, User
from tests import builders
from tests.analytics import AnalyticsTestCase

Kind = Notification.Kind


def told(user: User) -> list[tuple[str, str, int]]:
    return list(user.notifications.order_by("pk").values_list("kind", "subject", "count"))


class MemberTests(AnalyticsTestCase):
    def setUp(self) -> None:
        self.project.rules.all().delete()
        self.gwen = builders.user("gwen")
        builders.join(self.project, self.gwen, Member.Role.LEAD)

    def judge(self, times: int, same: Sequence[int] | None = None) -> None:
        """Bob prefers what is shown first, or always gives the same ranks; Erin does neither."""
        self.more_items(times)
        for n in range(times):
            for person, ranks in (
                (self.bob, same or [1, 2, 3]),
                (self.erin, [n % 3 + 1, (n + 1) % 3 + 1, (n + 2) % 3 + 1]),
            ):
                lease = leases.claim(project=self.project, annotator=person)
                assert lease is not None
                builders.submit(lease, ranks)

    def test_who_stands_out_is_told_once_for_a_reason(self) -> None:
        self.judge(19)
        rules.apply_rules()
        assert told(self.alice) == []
        self.judge(1)
        assert rules.apply_rules() == 0
        rules.apply_rules()
        for lead in (self.alice, self.gwen):
            assert told(lead) == [("stands_out", "bob", 1)]
        assert not self.dana.notifications.exists(), "she is no lead"
        assert not self.bob.notifications.exists()
        assert self.alice.notifications.get().url == reverse("annotator", args=[self.project.slug, "bob"])
        assert Member.objects.get(user=self.bob).marked_for == ["position"]
        notifications.mark_read(user=self.alice)
        rules.apply_rules()
        assert len(told(self.alice)) == 1, "read, and nothing new"
        Member.objects.filter(user=self.bob).update(marked_for=["agreement"])
        rules.apply_rules()
        assert len(told(self.alice)) == 2, "a new reason"
        assert Member.objects.get(user=self.bob).marked_for == ["agreement", "position"]

    def test_who_is_warned_by_a_rule_is_not_reported_twice(self) -> None:
        rules.add_default_rule(self.project)
        self.judge(20)
        assert rules.apply_rules() == 1
        rules.apply_rules()
        assert told(self.alice) == told(self.gwen) == [("member_warned", "bob", 1)]
        assert [kind for kind, *_ in told(self.bob)] == ["warned"]

    def test_a_pause_by_a_rule_is_told_and_one_by_a_lead_is_not(self) -> None:
        bob = Member.objects.select_related("project", "user").get(user=self.bob)
        rules.pause(member=bob, reason="Wait.", actor=self.alice)
        assert told(self.alice) == told(self.gwen) == []
        rules.resume(member=bob, actor=self.alice)
        rules.save_rule(project=self.project, actor=self.alice, measure="checks", action="pause", after=5)
        self.judge(20)
        assert rules.apply_rules() == 1
        assert told(self.gwen) == [("member_paused", "bob", 1)]

    def test_after_a_lifted_warning_they_are_told_again(self) -> None:
        self.judge(20)
        rules.apply_rules()
        bob = Member.objects.select_related("project", "user").get(user=self.bob)
        rules.warn(member=bob, reason="Compare.", actor=self.alice)
        rules.resume(member=bob, actor=self.alice)
        notifications.mark_read(user=self.alice)
        rules.apply_rules()
        assert len(told(self.alice)) == 1, "nothing was judged since"
        self.judge(20)
        rules.apply_rules()
        assert len(told(self.alice)) == 2

    def test_their_name_is_in_no_export_and_goes_with_their_account(self) -> None:
        bob = Member.objects.select_related("project", "user").get(user=self.bob)
        notifications.notify_leads_of_member(member=bob, kind=Kind.STANDS_OUT)
        notifications.notify_leads(kind=Kind.ROUND_DONE, project=self.project, url="/", subject="Round 1")
        exported = list(personal_data_export._notifications(self.alice))
        assert [row["subject"] for row in exported] == ["", "Round 1"]
        accounts.erase(user=self.bob, actor=self.bob)
        assert [kind for kind, *_ in told(self.alice)] == ["round_done"]

    def test_a_long_subject_is_cut_and_a_long_name_has_its_page(self) -> None:
        long = builders.user("ж" * 150)
        member = builders.join(self.project, long, Member.Role.ANNOTATOR)
        notifications.notify_leads_of_member(member=member, kind=Kind.STANDS_OUT)
        row = self.alice.notifications.get()
        assert (len(row.subject), row.subject[-1]) == (120, "…")
        self.sign_in(self.alice)
        page = self.client.post(reverse("notification-open", args=[row.pk]), follow=True)
        assert page.status_code == 200
        notifications.forget_person(long)
        assert not Notification.objects.exists()


class JobTests(AnalyticsTestCase):
    def ended(self, job: Import | SnapshotJob, state: str, seconds: float) -> None:
        """Ended by a worker that claimed it, so long after it was created."""
        type(job).objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(seconds=seconds))
        module = imports if isinstance(job, Import) else snapshot_jobs
        claimed = module.claim(job.pk)
        assert claimed is not None
        if isinstance(claimed, Import):
            assert imports._finish(claimed, state)
        else:
            snapshot_jobs._fail(claimed, "No space left.")

    def upload(self, name: str) -> Import:
        return Import.objects.create(
            project=self.project, created_by=self.alice, name=name, path="", bytes=1, state="queued"
        )

    def test_whoever_started_an_import_that_takes_long_is_told_its_end(self) -> None:
        gwen = builders.user("gwen")
        builders.join(self.project, gwen, Member.Role.LEAD)
        self.ended(self.upload("quick.csv"), "done", seconds=10)
        self.ended(self.upload("cancelled.csv"), "cancelled", seconds=300)
        assert told(self.alice) == []
        done, refused = self.upload("large.csv"), self.upload("refused.csv")
        self.ended(done, "done", seconds=300)
        self.ended(refused, "refused", seconds=300)
        assert told(self.alice) == [("import_done", "large.csv", 1), ("import_failed", "refused.csv", 1)]
        assert self.alice.notifications.get(kind="import_done").url.endswith(f"/import/{done.pk}/")
        assert told(gwen) == []

    def test_a_snapshot_that_failed_is_told_too(self) -> None:
        job = SnapshotJob.objects.create(
            project=self.project, created_by=self.alice, note="pilot", judgments_total=1
        )
        self.ended(job, "failed", seconds=300)
        assert told(self.alice) == [("snapshot_fail", "pilot", 1)]

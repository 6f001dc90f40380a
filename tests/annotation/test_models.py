"""Every rule that the database keeps by itself is broken once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.utils import timezone

from annotation import audit
from annotation.actions import drafts, leases, skips
from annotation.models import (
    Agreement,
    ApiToken,
    AuditEntry,
    Author,
    Batch,
    BatchMember,
    Candidate,
    Constitution,
    Draft,
    Guideline,
    Import,
    Invitation,
    Item,
    Judgment,
    Member,
    Message,
    Notification,
    Opinion,
    OpinionSet,
    Placement,
    Project,
    Prompt,
    Response,
    ReviewFlag,
    Rule,
    Skip,
    Slot,
    Snapshot,
    Verdict,
)
from tests import builders
from tests.base import PalateTestCase

PROJECT_APP_MODELS = (
    *(Project, Guideline, Member, ApiToken, Author, Prompt, Response, Item, Candidate, Slot, Draft, Skip),
    *(Judgment, Placement, Snapshot, Verdict, AuditEntry, Rule, Invitation, Import, ReviewFlag, Agreement),
    *(Message, Notification, Batch, BatchMember),
)


def copy_of(row: models.Model, **changes: object) -> models.Model:
    """A second row like the first."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**values | {"id": None} | changes)


class ConstraintTests(PalateTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 2)
        self.judgment = builders.judgment(self.project, self.bob)
        self.slot = self.judgment.slot
        assert self.slot is not None
        self.item = self.judgment.item

    def refused(self, constraint: str, change: Callable[[], object]) -> None:
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            change()
        assert getattr(caught.value.__cause__, "diag", None) is not None
        assert caught.value.__cause__.diag.constraint_name == constraint
        self.hit.add(constraint)

    def test_every_one_is_hit(self) -> None:
        self.hit: set[str] = set()
        self.projects()
        self.people()
        self.prompts()
        self.queue()
        self.judgments()
        self.snapshots()
        self.oversight()
        named = {constraint.name for model in PROJECT_APP_MODELS for constraint in model._meta.constraints}
        assert self.hit >= named, f"never broken: {named - self.hit}"

    def projects(self) -> None:
        here = Project.objects.filter(pk=self.project.pk)
        self.refused("k_is_2_to_9", lambda: here.update(k=1))
        self.refused("k_is_2_to_9", lambda: here.update(k=10))
        self.refused("overlap_is_positive", lambda: here.update(overlap=0))
        self.refused("lease_is_positive", lambda: here.update(lease_minutes=0))
        for rates in ({"gold_rate": 0.6, "control_rate": 0.5}, {"gold_rate": -0.1}, {"control_rate": -0.1}):
            self.refused("gold_and_control_are_shares", lambda change=rates: here.update(**change))
        self.refused("annotation_project_slug_key", copy_of(self.project).save)
        self.refused("guideline_numbers_are_unique", copy_of(self.project.guideline).save)

    def people(self) -> None:
        member = Member.objects.get(project=self.project, user=self.bob)
        self.refused("one_role_per_member", copy_of(member, role="lead").save)
        self.refused("known_role", lambda: Member.objects.filter(pk=member.pk).update(role="boss"))
        token, _ = ApiToken.issue(user=self.bob, name="mine")
        self.refused("annotation_apitoken_digest_key", copy_of(token).save)
        self.refused("annotation_user_pseudonym_key", copy_of(self.bob, username="b2").save)

    def prompts(self) -> None:
        response = Response.objects.first()
        assert response is not None
        self.refused("prompt_ids_are_unique", copy_of(response.prompt).save)
        self.refused("one_author_per_name", copy_of(response.author).save)
        self.refused("one_response_per_text_and_author", copy_of(response).save)

    def queue(self) -> None:
        here = Item.objects.filter(pk=self.item.pk)
        self.refused("probability_is_one", lambda: here.update(probability=0))
        self.refused("probability_is_one", lambda: here.update(probability=1.5))
        self.refused("a_response_stands_once", copy_of(self.item.candidates.first()).save)
        self.refused("nobody_judges_an_item_twice", copy_of(self.slot).save)
        a_slot = Slot.objects.filter(pk=self.slot.pk)
        for impossible in (
            {"state": "open"},
            {"state": "leased", "leased_until": None},
            {"state": "leased", "token": None},
            {"state": "done", "annotator": None},
            {"state": "lost"},
            {"state": "open", "annotator": None, "shown_order": None, "gold": True},
        ):
            self.refused("a_slot_is_open_leased_or_done", lambda change=impossible: a_slot.update(**change))
        lease = leases.claim(project=self.project, annotator=self.dana)
        drafts.save_draft(lease=lease, data={})
        self.refused("one_draft_per_item", copy_of(Draft.objects.get()).save)
        skips.skip(lease=lease, reason="broken")
        self.refused("nobody_skips_an_item_twice", copy_of(Skip.objects.get()).save)

    def judgments(self) -> None:
        other = Item.objects.exclude(pk=self.item.pk).get()
        fresh = {"idempotency_key": uuid.uuid4()}
        self.refused("a_submit_counts_once", copy_of(self.judgment, item_id=other.pk, slot_id=None).save)
        self.refused("one_judgment_per_person_and_item", copy_of(self.judgment, slot_id=None, **fresh).save)
        self.refused(
            "one_judgment_per_slot", copy_of(self.judgment, annotator_id=self.dana.pk, item_id=other.pk).save
        )
        self.refused(
            "time_on_task_is_not_negative",
            copy_of(self.judgment, annotator_id=self.dana.pk, slot_id=None, seconds=-1).save,
        )
        revision = copy_of(self.judgment, supersedes_id=self.judgment.pk, **fresh)
        revision.save()
        self.refused(
            "annotation_judgment_supersedes_id_key",
            copy_of(revision, idempotency_key=uuid.uuid4()).save,
        )
        flag = ReviewFlag.objects.create(judgment=self.judgment, reason=ReviewFlag.Reason.REWARDS)
        self.refused("a_judgment_is_flagged_once_per_reason", copy_of(flag).save)
        placement = self.judgment.placements.first()
        self.refused("a_response_is_placed_once", copy_of(placement).save)
        self.refused("ranks_start_at_one", copy_of(placement, judgment_id=revision.pk, rank=0).save)
        for quality in (0, 8):
            self.refused(
                "quality_is_1_to_7", copy_of(placement, judgment_id=revision.pk, quality=quality).save
            )

    def snapshots(self) -> None:
        snapshot = Snapshot.objects.create(
            project=self.project,
            number=1,
            counts={},
            last_judgment=1,
            sha256="",
            path="",
            created_by=self.alice,
        )
        self.refused("snapshot_numbers_are_unique", copy_of(snapshot).save)

    def oversight(self) -> None:
        rule = Rule.objects.create(project=self.project, measure="gold", below=0.7, action="warn")
        self.refused("one_rule_per_measure_and_action", copy_of(rule).save)
        invitation = Invitation.objects.create(
            project=self.project, digest="0" * 64, created_by=self.alice, expires_at=timezone.now()
        )
        self.refused("annotation_invitation_digest_key", copy_of(invitation).save)
        batch = Batch.objects.create(
            project=self.project, name="x", created_by=self.alice, due_at=timezone.now()
        )
        person = BatchMember.objects.create(batch=batch, user=self.bob)
        self.refused("a_batch_is_assigned_once_to_a_person", copy_of(person).save)
        notification = Notification.objects.create(
            user=self.bob, kind="reply", project=self.project, url="/my-work/"
        )
        self.refused("unread_once_per_kind_and_page", copy_of(notification).save)
        copy_of(notification, read_at=timezone.now()).save()
        here = Invitation.objects.filter(pk=invitation.pk)
        self.refused("places_are_not_exceeded", lambda: here.update(used=2))


class AppendOnlyTests(PalateTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        Snapshot.objects.create(
            project=self.project,
            number=1,
            counts={},
            last_judgment=1,
            sha256="",
            path="",
            created_by=self.alice,
        )
        Verdict.objects.create(item=Item.objects.get(), reviewer=self.dana, ranks={})
        Message.objects.create(item=Item.objects.get(), annotator=self.bob, author=self.bob, text="Why?")
        audit.record("rule.changed", project=self.project, actor=self.alice, subject="a rule")
        constitution = Constitution.objects.create(
            project=self.project, number=1, principles=[], author=self.alice
        )
        opinion_set = OpinionSet.objects.create(
            project=self.project,
            number=1,
            judge="j",
            mode="choice",
            constitution=constitution,
            counts={},
            path="",
            sha256="",
            created_by=self.alice,
        )
        first, second = Response.objects.all()[:2]
        Opinion.objects.create(
            opinion_set=opinion_set, prompt=first.prompt, first=first, second=second, p=0.6
        )

    ROWS = (
        (Judgment, {"rationale": "I changed my mind"}),
        (Placement, {"rank": 9}),
        (Snapshot, {"sha256": "0" * 64}),
        (Guideline, {"text": "Prefer the longer answer."}),
        (Response, {"text": "a better answer"}),
        (Verdict, {"note": "On second thoughts"}),
        (Message, {"text": "Never mind."}),
        (AuditEntry, {"subject": "another rule"}),
        (Constitution, {"number": 9}),
        (OpinionSet, {"sha256": "0" * 64}),
        (Opinion, {"p": 1.0}),
    )

    def refused(self, change: Callable[[], object]) -> None:
        with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
            change()

    def test_no_row_of_them_can_be_changed(self) -> None:
        for model, change in self.ROWS:
            row = model.objects.first()
            assert row is not None
            self.refused(lambda model=model, change=change: model.objects.update(**change))
            self.refused(row.save)

    def test_no_row_of_them_can_be_deleted(self) -> None:
        for model, _ in self.ROWS:
            self.refused(lambda model=model: model.objects.all()._raw_delete("default"))

    def test_plain_sql_cannot_either(self) -> None:
        with connection.cursor() as cursor:
            for model, change in self.ROWS:
                table, column = model._meta.db_table, next(iter(change))
                self.refused(lambda t=table, c=column: cursor.execute(f"UPDATE {t} SET {c} = {c}"))
                self.refused(lambda t=table: cursor.execute(f"DELETE FROM {t}"))


class TokenTests(PalateTestCase):
    def test_the_key_is_not_kept(self) -> None:
        token, key = ApiToken.issue(user=self.bob, name="notebook")
        token.refresh_from_db()
        assert key.startswith("palate_")
        assert key not in repr(vars(token))
        assert token.digest == ApiToken.digest_of(key)
        assert token.scope == "read"

    def test_it_expires(self) -> None:
        now = timezone.now()
        assert not ApiToken(expires_at=None).expired
        assert not ApiToken(expires_at=now + timedelta(minutes=1)).expired
        assert ApiToken(expires_at=now - timedelta(seconds=1)).expired


class TextTests(PalateTestCase):
    def test_rows_say_what_they_are(self) -> None:
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob)
        assert str(judgment) == f"judgment {judgment.pk} of item {judgment.item_id}"
        assert str(Prompt.objects.get()) == "Question 0?"
        assert str(self.project.guideline) == "Helpfulness guidelines, version 1"
        assert Prompt.objects.get().turns == [{"role": "user", "html": "<p>Question 0?</p>\n"}]


class IndexTests(PalateTestCase):
    def test_none_is_the_beginning_of_another(self) -> None:
        """The longer one finds the same rows; the shorter would only have to be written with every row."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT short.indrelid::regclass::text, short.indexrelid::regclass::text, long.indexrelid::regclass::text
                FROM pg_index AS short JOIN pg_index AS long USING (indrelid)
                WHERE short.indexrelid <> long.indexrelid AND NOT short.indisunique
                  AND short.indpred IS NULL AND long.indpred IS NULL
                  AND short.indexprs IS NULL AND long.indexprs IS NULL
                  AND starts_with(long.indkey::text || ' ', short.indkey::text || ' ')
                  AND starts_with(long.indclass::text || ' ', short.indclass::text || ' ')
                """
            )
            found = [row for row in cursor.fetchall() if row[0].startswith(("annotation_", "training_"))]
        djangos = {"annotation_user_groups", "annotation_user_user_permissions"}
        assert [row for row in found if row[0] not in djangos] == []

    def test_every_one_that_a_model_names_is_there(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'i' UNION SELECT conname FROM pg_constraint"
            )
            there = {name for (name,) in cursor.fetchall()}
        ours = [model for model in apps.get_models() if model._meta.app_label in ("annotation", "training")]
        named = {one.name for model in ours for one in (*model._meta.indexes, *model._meta.constraints)}
        assert len(named) > 40
        assert named - there == set()

"""Judgments: submitting one, exactly once, and revising it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from annotation import events
from annotation.actions import qualification
from annotation.actions.leases import Lease
from annotation.db import prepared_statements
from annotation.db.prepared_statements import Columns
from annotation.logic.device_times import NO_TIMES, DeviceTimes
from annotation.logic.judgment_input import (
    AlreadyJudged,
    JudgmentError,
    JudgmentInput,
    ResponseRatings,
    UnsafePreferred,
    check,
)
from annotation.logic.splits import digest
from annotation.models import Author, Guideline, Item, Judgment, Placement, Project, Response, User
from annotation.queries import questions_of

__all__ = ["AlreadyJudged", "JudgmentError", "ResponseRatings", "UnsafePreferred", "revise", "submit"]

NO_RATINGS: Mapping[int, ResponseRatings] = {}
NO_ANSWERS: Mapping[str, str] = {}

_JUDGMENT = Columns(Judgment, "judgment")

# Gold and other items are followed by the same statements, so that the time of a response does not tell them apart.
QUALIFYING = """EXISTS (
    SELECT FROM annotation_member AS member JOIN annotation_project AS project ON project.id = member.project_id
    WHERE member.project_id = %(project)s AND member.user_id = %(annotator)s AND member.role = 'annotator'
      AND member.qualified_at IS NULL AND project.qualification_items > 0)"""
# One statement, and so one transaction: it closes a slot of the item, inserts the judgment with its placements and deletes
# the draft. It does nothing and returns no row if they have judged the item before or the key was used before.
#
# The slot is the one that the annotator holds (after their lease expired they may hold another one of the item), or else a
# free one, or else one that somebody else merely opened: the first to submit wins. Of those it takes the one on which least
# work can be lost. It waits for a locked slot, since whoever locked it may only be opening it.
SUBMIT = f"""
WITH earlier AS (
    SELECT FROM annotation_judgment
    WHERE annotator_id = %(annotator)s AND (idempotency_key = %(key)s::uuid OR item_id = %(item)s) LIMIT 1),
closed_slot AS (
    UPDATE annotation_slot AS slot
    SET state = 'done', annotator_id = %(annotator)s, shown_order = %(shown)s::bigint[],
        opened_at = COALESCE(CASE WHEN slot.annotator_id = %(annotator)s THEN slot.opened_at END, to_timestamp(%(opened)s))
    WHERE NOT EXISTS (SELECT FROM earlier) AND slot.id = COALESCE(
        (SELECT leased.id FROM annotation_slot AS leased
         WHERE leased.item_id = %(item)s AND leased.annotator_id = %(annotator)s AND leased.state = 'leased' FOR UPDATE),
        (SELECT free.id FROM annotation_slot AS free
         WHERE free.item_id = %(item)s AND NOT free.gold AND free.state <> 'done'
         ORDER BY free.state = 'leased' AND free.leased_until >= statement_timestamp(), free.batch_id IS NOT NULL,
                  free.opened_at DESC NULLS FIRST
         LIMIT 1 FOR UPDATE))
    RETURNING slot.id, slot.opened_at),
judgment AS (
    INSERT INTO annotation_judgment (item_id, project_id, slot_id, annotator_id, guideline_id, question_set_id, degree,
                                     shown_order, rationale, answers, demonstration_id, seconds, idempotency_key, created_at,
                                     submitted_at)
    SELECT %(item)s, %(project)s, (SELECT id FROM closed_slot), %(annotator)s,
        %(guideline)s::bigint, %(question_set)s::bigint,
        %(degree)s::varchar, %(shown)s::bigint[], %(rationale)s::text, %(answers)s::jsonb, %(demonstration)s::bigint,
        GREATEST(0, LEAST(%(seconds)s::float8, extract(epoch FROM statement_timestamp()
                            - COALESCE((SELECT opened_at FROM closed_slot), to_timestamp(%(opened)s))) - %(late)s::float8)),
        %(key)s::uuid, statement_timestamp(),
        CASE WHEN %(is_late)s THEN GREATEST(to_timestamp(%(opened)s),
                                            statement_timestamp() - make_interval(secs => %(late)s::float8)) END
    WHERE NOT EXISTS (SELECT FROM earlier)
    RETURNING *),
placements AS (
    INSERT INTO annotation_placement (judgment_id, response_id, rank, quality, safe, flags, criteria, comments)
    SELECT judgment.id, placement.*
    FROM judgment, jsonb_to_recordset(%(placements)s::jsonb)
        AS placement (response_id bigint, rank smallint, quality smallint, safe boolean, flags text[], criteria jsonb,
                      comments jsonb)),
deleted_draft AS (
    DELETE FROM annotation_draft
    WHERE item_id = %(item)s AND annotator_id = %(annotator)s AND NOT EXISTS (SELECT FROM earlier))
SELECT {QUALIFYING}, {_JUDGMENT} FROM judgment
"""


def submit(
    *,
    lease: Lease,
    ranks: Mapping[int, int],
    idempotency_key: uuid.UUID,
    degree: str | None = None,
    rationale: str = "",
    ratings: Mapping[int, ResponseRatings] = NO_RATINGS,
    text: str = "",
    answers: Mapping[str, str] = NO_ANSWERS,
    times: DeviceTimes = NO_TIMES,
) -> Judgment:
    """Record the judgment of the lease's annotator. Sending the same key again returns the judgment already recorded.

    Args:
        ranks: response id -> rank, for every response that was shown; 1 is best, equal ranks are ties. Empty if the
            item asks for an answer.
        degree: how much better the preferred answer is; required for an item of two.
        ratings: response id -> what the annotator entered for it beside its rank.
        text: the answer that they wrote, if the item asks for one. It becomes a response to the prompt, with them as author.
        answers: key of a question of the project's own -> free text.
        times: when it was submitted, if a page could only send it later.

    A judgment that arrives after its lease has expired takes a slot of its item that nobody has filled, even if somebody else
    has opened it meanwhile; if others have filled them all it is stored without a slot, and does not count towards the overlap.

    Raises:
        JudgmentError: it is incomplete or contradicts itself.
        UnsafePreferred: it ranks an unsafe answer above a safe one.
        AlreadyJudged: this annotator has judged this item before.
    """
    questions = questions_of(lease.question_set_id)
    values = JudgmentInput(
        lease.shown_order, lease.extra_questions, ranks, degree, rationale, ratings, text, questions, answers
    )
    check(values)
    try:
        judgment = _record(lease, values, idempotency_key, times)
    except IntegrityError:
        # the same submit arrived twice at once, and the other one was first
        judgment = _recorded_before(lease, idempotency_key)
        if judgment is None:
            raise
        return judgment
    if judgment is None:
        judgment = _recorded_before(lease, idempotency_key)
        assert judgment is not None
    return judgment


def _record(lease: Lease, values: JudgmentInput, key: uuid.UUID, times: DeviceTimes) -> Judgment | None:
    """The new judgment; None if the annotator has judged the item before, or used the key before."""
    if values.is_ranking:
        return _execute_submit(lease, values, key, times, demonstration_id=None)
    with transaction.atomic():
        prompt_id = Item.objects.values_list("prompt_id", flat=True).get(pk=lease.item_id)
        annotator = User.objects.get(pk=lease.annotator_id)
        demonstration = _get_or_create_demonstration(lease.project_id, prompt_id, annotator, values.text)
        judgment = _execute_submit(lease, values, key, times, demonstration_id=demonstration.pk)
        if judgment is None:
            transaction.set_rollback(True)
    return judgment


def _execute_submit(
    lease: Lease,
    values: JudgmentInput,
    key: uuid.UUID,
    times: DeviceTimes,
    *,
    demonstration_id: int | None,
) -> Judgment | None:
    parameters: dict[str, Any] = {
        "annotator": lease.annotator_id,
        "project": lease.project_id,
        "item": lease.item_id,
        "key": key,
        "shown": list(values.shown_order),
        "opened": lease.opened_at,
        "seconds": times.seconds,
        "late": times.late,
        "is_late": times.is_late,
        "guideline": lease.guideline_id,
        "question_set": lease.question_set_id,
        "degree": values.degree,
        "rationale": values.rationale.strip(),
        "demonstration": demonstration_id,
        "answers": json.dumps(values.stored_answers()),
        "placements": json.dumps(values.placements(_commented_texts(values))),
    }
    rows = prepared_statements.rows(SUBMIT, parameters)
    if not rows:
        return None
    is_qualifying, *fields = rows[0]
    if is_qualifying:
        qualification.decide(project_id=lease.project_id, user_id=lease.annotator_id)
    events.announce(events.project_group(lease.project_id), {"kind": "judgment"})
    return _JUDGMENT.build(fields)


def _commented_texts(values: JudgmentInput) -> Mapping[int, str]:
    """The texts of the responses by id, if there are comments on passages of them."""
    if not values.has_comments:
        return {}
    return dict(Response.objects.filter(pk__in=values.shown_order).values_list("pk", "text"))


def _get_or_create_demonstration(project_id: int, prompt_id: int, annotator: User, text: str) -> Response:
    """The answer that an annotator wrote, as a response with them as its author."""
    author, _created = Author.objects.get_or_create(
        project_id=project_id, kind=Author.Kind.PERSON, name=annotator.pseudonym, defaults={"user": annotator}
    )
    response, _created = Response.objects.get_or_create(
        prompt_id=prompt_id,
        author=author,
        digest=digest(text),
        defaults={"text": text},
    )
    return response


def _recorded_before(lease: Lease, key: uuid.UUID) -> Judgment | None:
    """The judgment that an earlier attempt of the same submit recorded, if any.

    Raises:
        AlreadyJudged: the annotator judged this item with another key.
        JudgmentError: the key belongs to a judgment of another item.
    """
    related = list(
        Judgment.objects.filter(
            Q(idempotency_key=key) | Q(item_id=lease.item_id), annotator_id=lease.annotator_id
        )
    )
    judgment = next((judgment for judgment in related if judgment.idempotency_key == key), None)
    if judgment is None and related:
        raise AlreadyJudged("item", _("You have judged this item before, and that judgment stays."))
    if judgment is not None and judgment.item_id != lease.item_id:
        raise JudgmentError(
            "idempotency_key", _("This key belongs to your judgment of another item: each needs its own.")
        )
    return judgment


# --- revisions ------------------------------------------------------------------------------------------------


def revise(
    *,
    judgment: Judgment,
    annotator: User,
    ranks: Mapping[int, int],
    idempotency_key: uuid.UUID,
    degree: str | None = None,
    rationale: str = "",
    ratings: Mapping[int, ResponseRatings] = NO_RATINGS,
    text: str = "",
    answers: Mapping[str, str] = NO_ANSWERS,
) -> Judgment:
    """Record a new judgment that supersedes the annotator's current one, which is not changed. The arguments are those of
    `submit`; the time on task is that of the first judgment. Sending the same key again returns the revision already
    recorded.

    Raises:
        JudgmentError: it is somebody else's, was revised before, or the new one is incomplete or contradicts itself.
        UnsafePreferred: it ranks an unsafe answer above a safe one.
    """
    if judgment.annotator_id != annotator.pk:
        raise JudgmentError("judgment", _("This judgment is somebody else's: you can change only your own."))
    project = Project.objects.get(items=judgment.item_id)
    questions = questions_of(project.question_set_id)
    values = JudgmentInput(
        judgment.shown_order,
        project.extra_questions,
        ranks,
        degree,
        rationale,
        ratings,
        text,
        questions,
        answers,
    )
    check(values)
    try:
        with transaction.atomic():
            return _revised_before(judgment, idempotency_key) or _record_revision(
                judgment, annotator, project, values, idempotency_key
            )
    except IntegrityError:
        # two revisions at once: the other one was first
        revision = _revised_before(judgment, idempotency_key)
        if revision is None:
            raise
        return revision


def _revised_before(judgment: Judgment, key: uuid.UUID) -> Judgment | None:
    """The revision that an earlier attempt of the same request recorded, if any.

    Raises:
        JudgmentError: the judgment was revised with another key, or the key belongs to another judgment.
    """
    related = list(
        Judgment.objects.filter(
            Q(idempotency_key=key) | Q(supersedes=judgment), annotator_id=judgment.annotator_id
        )
    )
    revision = next((judgment for judgment in related if judgment.idempotency_key == key), None)
    if revision is None and related:
        raise JudgmentError(
            "judgment", _("You have changed this judgment before, and that change stays. Open it again.")
        )
    if revision is not None and revision.supersedes_id != judgment.pk:
        raise JudgmentError("idempotency_key", _("This key belongs to another of your judgments."))
    return revision


def _record_revision(
    judgment: Judgment, annotator: User, project: Project, values: JudgmentInput, key: uuid.UUID
) -> Judgment:
    demonstration = None
    if not values.is_ranking:
        demonstration = _get_or_create_demonstration(
            project.pk, judgment.item.prompt_id, annotator, values.text
        )
    revision = Judgment.objects.create(
        item_id=judgment.item_id,
        project=project,
        slot_id=judgment.slot_id,
        annotator=annotator,
        guideline=_guideline_of(annotator, project),
        question_set_id=project.question_set_id,
        answers=values.stored_answers(),
        degree=values.degree,
        shown_order=judgment.shown_order,
        rationale=values.rationale.strip(),
        demonstration=demonstration,
        seconds=judgment.seconds,
        supersedes=judgment,
        idempotency_key=key,
    )
    rows = values.placements(_commented_texts(values))
    Placement.objects.bulk_create(Placement(judgment=revision, **row) for row in rows)
    events.announce(events.project_group(project.pk), {"kind": "judgment"})
    return revision


def _guideline_of(annotator: User, project: Project) -> Guideline | None:
    """The version of the guidelines that the annotator confirmed last; the current one for scripts, which confirm none."""
    member = project.members.filter(user=annotator).select_related("confirmed_guideline").first()
    return member.confirmed_guideline if member and member.confirmed_guideline else project.guideline

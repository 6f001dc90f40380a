"""Taking a judgment. Once this returns, it is in the database, once, and stays."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from annotation import events
from annotation.actions import qualification
from annotation.actions.queue import Lease
from annotation.db import prepared_statements
from annotation.logic.judgment_input import (
    AlreadyJudged,
    JudgmentError,
    JudgmentInput,
    ResponseRatings,
    UnsafePreferred,
    check,
)
from annotation.logic.markdown import render
from annotation.logic.splits import digest
from annotation.models import Author, Item, Judgment, Placement, Project, Response, User

__all__ = ["AlreadyJudged", "JudgmentError", "ResponseRatings", "UnsafePreferred", "revise", "submit"]

NO_RATINGS: Mapping[int, ResponseRatings] = {}

# One statement, and so one transaction: the slot that the annotator holds (after their lease ran out they may have taken
# another one of the item) or else a free one is done, the judgment is kept with its placements, and the draft is gone.
# Nothing happens, and no row comes back, where they have judged the item before or the key was used before.
SUBMIT = f"""
WITH before AS (
    SELECT FROM annotation_judgment
    WHERE annotator_id = %(me)s AND (idempotency_key = %(key)s::uuid OR item_id = %(item)s) LIMIT 1),
taken AS (
    UPDATE annotation_slot AS slot
    SET state = 'done', annotator_id = %(me)s, shown_order = %(shown)s::bigint[],
        opened_at = COALESCE(CASE WHEN slot.annotator_id = %(me)s THEN slot.opened_at END, to_timestamp(%(opened)s))
    WHERE NOT EXISTS (SELECT FROM before) AND slot.id = COALESCE(
        (SELECT own.id FROM annotation_slot AS own
         WHERE own.item_id = %(item)s AND own.annotator_id = %(me)s AND own.state = 'leased' FOR UPDATE),
        (SELECT free.id FROM annotation_slot AS free
         WHERE free.item_id = %(item)s AND NOT free.gold
           AND (free.state = 'open' OR free.state = 'leased' AND free.leased_until < statement_timestamp())
         LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING slot.id, slot.gold, slot.opened_at),
judgment AS (
    INSERT INTO annotation_judgment (item_id, slot_id, annotator_id, guideline_id, degree, shown_order, rationale,
                                     demonstration_id, seconds, idempotency_key, created_at)
    SELECT %(item)s, (SELECT id FROM taken), %(me)s,
        (SELECT id FROM annotation_guideline WHERE project_id = %(project)s ORDER BY number DESC LIMIT 1),
        %(degree)s::varchar, %(shown)s::bigint[], %(rationale)s::text, %(demonstration)s::bigint,
        GREATEST(0, extract(epoch FROM statement_timestamp()
                            - COALESCE((SELECT opened_at FROM taken), to_timestamp(%(opened)s)))),
        %(key)s::uuid, statement_timestamp()
    WHERE NOT EXISTS (SELECT FROM before)
    RETURNING *),
placements AS (
    INSERT INTO annotation_placement (judgment_id, response_id, rank, quality, safe, flags)
    SELECT judgment.id, placement.*
    FROM judgment, jsonb_to_recordset(%(placements)s::jsonb)
        AS placement (response_id bigint, rank smallint, quality smallint, safe boolean, flags text[])),
draft AS (
    DELETE FROM annotation_draft
    WHERE item_id = %(item)s AND annotator_id = %(me)s AND NOT EXISTS (SELECT FROM before))
SELECT (SELECT gold FROM taken), {", ".join(f"judgment.{f.column}" for f in Judgment._meta.concrete_fields)}
FROM judgment
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
) -> Judgment:
    """Record what the lease's annotator said. Sending the same key again returns the judgment that was kept.

    Args:
        ranks: response id -> rank, for every response that was shown; 1 is best, equal ranks are ties. Empty where the
            item asks for an answer.
        degree: of an item of two, where it must be given: how much better the preferred one is.
        ratings: response id -> what was noted of it.
        text: the answer that they wrote, where the item asks for one. It becomes a response to the prompt, theirs.

    A judgment that comes after its lease has run out takes a free slot of its item; where others have filled them all
    it is kept without one, and does not count towards the overlap.

    Raises:
        JudgmentError: it is incomplete or contradicts itself.
        UnsafePreferred: it puts an unsafe answer above a safe one.
        AlreadyJudged: this annotator has judged this item before.
    """
    said = JudgmentInput(lease.shown_order, lease.asks, ranks, degree, rationale, ratings, text)
    check(said)
    try:
        kept = _record(lease, said, idempotency_key)
    except IntegrityError:
        # the same submit arrived twice at once, and the other one was first
        kept = _kept(lease, idempotency_key)
        if kept is None:
            raise
        return kept
    if kept is None:
        kept = _kept(lease, idempotency_key)
        assert kept is not None
    return kept


def _record(lease: Lease, said: JudgmentInput, key: uuid.UUID) -> Judgment | None:
    """The judgment, kept; None where the person has judged the item before, or used the key before."""
    if said.is_ranking:
        return _run_submit(lease, said, key, demonstration_id=None)
    with transaction.atomic():
        prompt_id = Item.objects.values_list("prompt_id", flat=True).get(pk=lease.item_id)
        person = User.objects.get(pk=lease.annotator_id)
        written = _demonstration(lease.project_id, prompt_id, person, said.text)
        kept = _run_submit(lease, said, key, demonstration_id=written.pk)
        if kept is None:
            transaction.set_rollback(True)
    return kept


def _run_submit(
    lease: Lease, said: JudgmentInput, key: uuid.UUID, *, demonstration_id: int | None
) -> Judgment | None:
    values: dict[str, Any] = {
        "me": lease.annotator_id,
        "project": lease.project_id,
        "item": lease.item_id,
        "key": key,
        "shown": list(said.shown_order),
        "opened": lease.opened_at,
        "degree": said.degree,
        "rationale": said.rationale.strip(),
        "demonstration": demonstration_id,
        "placements": json.dumps(said.placements()),
    }
    found = prepared_statements.rows(SUBMIT, values)
    if not found:
        return None
    is_gold, *fields = found[0]
    if is_gold:
        qualification.settle(project_id=lease.project_id, user_id=lease.annotator_id)
    events.announce(events.project_group(lease.project_id), {"kind": "judgment"})
    return Judgment.from_db("default", [f.attname for f in Judgment._meta.concrete_fields], fields)


def _demonstration(project_id: int, prompt_id: int, person: User, text: str) -> Response:
    """What the person wrote, as a response of their own."""
    author, _ = Author.objects.get_or_create(
        project_id=project_id, kind=Author.Kind.PERSON, name=person.pseudonym, defaults={"user": person}
    )
    response, _ = Response.objects.get_or_create(
        prompt_id=prompt_id,
        author=author,
        digest=digest(text),
        defaults={"text": text, "html": render(text)},
    )
    return response


def _kept(lease: Lease, key: uuid.UUID) -> Judgment | None:
    """The judgment of this very submit, if it was kept before.

    Raises:
        AlreadyJudged: there is one of this item, from another submit.
        JudgmentError: the key is that of a judgment of another item.
    """
    related = list(
        Judgment.objects.filter(
            Q(idempotency_key=key) | Q(item_id=lease.item_id), annotator_id=lease.annotator_id
        )
    )
    kept = next((judgment for judgment in related if judgment.idempotency_key == key), None)
    if kept is None and related:
        raise AlreadyJudged("item", "You have judged this item before, and that judgment stands.")
    if kept is not None and kept.item_id != lease.item_id:
        raise JudgmentError(
            "idempotency_key", "This key belongs to your judgment of another item: each needs its own."
        )
    return kept


# --- a change of mind -----------------------------------------------------------------------------------------


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
) -> Judgment:
    """Record a change of mind as a new judgment in the place of the annotator's current one, which stays as it was. The
    arguments are those of `submit`; time on task is that of the first time. Sending the same key again returns the
    revision that was kept.

    Raises:
        JudgmentError: it is somebody else's, was revised before, or the new one is incomplete or contradicts itself.
        UnsafePreferred: it puts an unsafe answer above a safe one.
    """
    if judgment.annotator_id != annotator.pk:
        raise JudgmentError("judgment", "This judgment is somebody else's: everybody changes their own only.")
    project = Project.objects.get(items=judgment.item_id)
    said = JudgmentInput(judgment.shown_order, project.asks, ranks, degree, rationale, ratings, text)
    check(said)
    try:
        with transaction.atomic():
            return _kept_revision(judgment, idempotency_key) or _revise(
                judgment, annotator, project, said, idempotency_key
            )
    except IntegrityError:
        # two revisions at once: the other one was first
        kept = _kept_revision(judgment, idempotency_key)
        if kept is None:
            raise
        return kept


def _kept_revision(judgment: Judgment, key: uuid.UUID) -> Judgment | None:
    """The revision of this very submit, if it was kept before.

    Raises:
        JudgmentError: the judgment was revised before, by another submit; or the key is that of another judgment.
    """
    related = list(
        Judgment.objects.filter(
            Q(idempotency_key=key) | Q(supersedes=judgment), annotator_id=judgment.annotator_id
        )
    )
    kept = next((one for one in related if one.idempotency_key == key), None)
    if kept is None and related:
        raise JudgmentError(
            "judgment", "You have changed this judgment before, and that change stands. Open it anew."
        )
    if kept is not None and kept.supersedes_id != judgment.pk:
        raise JudgmentError("idempotency_key", "This key belongs to another of your judgments.")
    return kept


def _revise(
    judgment: Judgment, annotator: User, project: Project, said: JudgmentInput, key: uuid.UUID
) -> Judgment:
    written = None
    if not said.is_ranking:
        written = _demonstration(project.pk, judgment.item.prompt_id, annotator, said.text)
    newer = Judgment.objects.create(
        item_id=judgment.item_id,
        slot_id=judgment.slot_id,
        annotator=annotator,
        guideline=project.guideline,
        degree=said.degree,
        shown_order=judgment.shown_order,
        rationale=said.rationale.strip(),
        demonstration=written,
        seconds=judgment.seconds,
        supersedes=judgment,
        idempotency_key=key,
    )
    Placement.objects.bulk_create(Placement(judgment=newer, **row) for row in said.placements())
    events.announce(events.project_group(project.pk), {"kind": "judgment"})
    return newer

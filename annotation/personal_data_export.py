"""The personal data of one user, as a JSON file for themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet

from annotation.models import (
    AuditEntry,
    Constitution,
    Draft,
    Guideline,
    Import,
    Invitation,
    Judgment,
    Message,
    Notification,
    OpinionSet,
    Response,
    Skip,
    Snapshot,
    SnapshotJob,
    Turn,
    User,
    Verdict,
    Webhook,
)
from annotation.opaque import opaque_id

Record = dict[str, Any]
"""Items and responses appear by opaque ids (`annotation.opaque`)."""
BATCH = 500
CHUNK_CHARS = 2**16


def export(user: User) -> Generator[bytes, None, None]:
    """One JSON object in chunks of bytes: the account, and a list for each kind of record."""
    part = '{\n"account": ' + _json(_account(user))
    for name, records in LISTS.items():
        part += f',\n"{name}": ['
        for number, record in enumerate(records(user)):
            part += (",\n " if number else "\n ") + _json(record)
            if len(part) >= CHUNK_CHARS:
                yield part.encode()
                part = ""
        part += "]"
    yield (part + "\n}\n").encode()


def _batches(rows: QuerySet[Any]) -> Iterator[Any]:
    """The rows by id, in batches of one query each, so that no connection is held between two chunks."""
    after = 0
    while batch := list(rows.filter(pk__gt=after).order_by("pk")[:BATCH]):
        for row in batch:
            after = row["id"] if isinstance(row, dict) else row.pk
            yield row


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)


def _account(user: User) -> Record:
    names = (
        "username",
        "first_name",
        "last_name",
        "email",
        "pseudonym",
        "account",
        "is_staff",
        "date_joined",
        "judging_layout",
        "judging_text_size",
        "judging_shortcuts",
        "judging_keys",
        "time_zone",
        "language",
        "email_notifications",
    )
    return {name: getattr(user, name) for name in (*names, "last_login")}


def _memberships(user: User) -> Iterator[Record]:
    names = ("role", "joined_at", "qualified_at", "paused_at", "paused_reason", "warned_at", "warning")
    return _batches(user.memberships.values("id", "project__slug", *names))


def _exclusions(user: User) -> Iterator[Record]:
    return _batches(user.exclusions.values("id", "project__slug", "reason", "created_at"))


def _judgments(user: User) -> Iterator[Record]:
    judgments = (
        Judgment.objects.filter(annotator=user)
        .select_related("item__project", "guideline")
        .prefetch_related("placements")
    )
    for judgment in _batches(judgments):
        yield {
            "id": judgment.pk,
            "project": judgment.item.project.slug,
            "item": opaque_id("item", judgment.item_id, user.pk),
            "guideline": judgment.guideline.number if judgment.guideline else None,
            "degree": judgment.degree,
            "shown_order": [opaque_id("response", pk, user.pk) for pk in judgment.shown_order],
            "placements": [
                {
                    "response": opaque_id("response", placement.response_id, user.pk),
                    "rank": placement.rank,
                    "quality": placement.quality,
                    "safe": placement.safe,
                    "flags": placement.flags,
                    "criteria": placement.criteria,
                    # without their places, which would tell of hidden names where they are
                    "comments": [
                        {name: comment[name] for name in ("quote", "text")} for comment in placement.comments
                    ],
                }
                for placement in judgment.placements_in_order()
            ],
            "rationale": judgment.rationale,
            "answers": judgment.answers,
            "demonstration": judgment.demonstration_id
            and opaque_id("response", judgment.demonstration_id, user.pk),
            "seconds": judgment.seconds,
            "supersedes": judgment.supersedes_id,
            "created_at": judgment.created_at,
            "submitted_at": judgment.submitted_at,
        }


def _messages(user: User) -> Iterator[Record]:
    """What the user wrote, and what reviewers replied to them, without their names."""
    names = ("item_id", "item__project__slug", "text", "created_at", "author_id")
    rows = Message.objects.filter(Q(author=user) | Q(annotator=user)).values("id", *names)
    for row in _batches(rows):
        mine = row.pop("author_id") == user.pk
        yield row | {"item_id": opaque_id("item", row["item_id"], user.pk), "mine": mine}


def _notifications(user: User) -> Iterator[Record]:
    """What the user was told; without the names of the people whom it was about."""
    names = ("kind", "project__slug", "subject", "count", "created_at", "read_at")
    for row in _batches(user.notifications.values("id", *names)):
        yield row | {"subject": ""} if row["kind"] in Notification.ABOUT_PEOPLE else row


def _assigned(user: User) -> Iterator[Record]:
    names = ("project__slug", "name", "created_at", "due_at", "closed_at")
    return _batches(user.batches.values("id", *names))


def _demonstrations(user: User) -> Iterator[Record]:
    names = ("prompt__project__slug", "text", "created_at")
    for row in _batches(Response.objects.filter(author__user=user).values("id", *names)):
        yield row | {"id": opaque_id("response", row["id"], user.pk)}


def _chat_messages(user: User) -> Iterator[Record]:
    """What the user wrote in live chats; better answers are among the demonstrations."""
    rows = Turn.objects.filter(chat__annotator=user).select_related("chat__project", "prompt")
    for turn in _batches(rows):
        yield {
            "project": turn.chat.project.slug,
            "chat": turn.chat_id,
            "number": turn.number,
            "text": turn.text,
            "state": turn.state,
            "created_at": turn.created_at,
        }


def _skips(user: User) -> Iterator[Record]:
    names = ("item_id", "item__project__slug", "reason", "note", "data", "created_at")
    return _input_of(user, Skip.objects.filter(annotator=user).values("id", *names))


def _drafts(user: User) -> Iterator[Record]:
    names = ("item_id", "item__project__slug", "data", "saved_at")
    return _input_of(user, Draft.objects.filter(annotator=user).values("id", *names))


def _saved_views(user: User) -> Iterator[Record]:
    return _batches(
        user.saved_views.values("id", "project__slug", "list", "name", "query", "shared", "created_at")
    )


def _input_of(user: User, rows: QuerySet[Any]) -> Iterator[Record]:
    """The rows with what was entered (`FormInput.as_data`), without the ids of items and responses."""
    for row in _batches(rows):
        data = row["data"]
        if isinstance(data, dict):
            for name in ("ranks", "marks"):
                if isinstance(data.get(name), dict):
                    # by the opaque id: PostgreSQL stores an object in the order of its keys
                    data[name] = dict(
                        sorted((_opaque_response(pk, user), value) for pk, value in data[name].items())
                    )
        yield row | {"item_id": opaque_id("item", row["item_id"], user.pk)}


def _opaque_response(pk: str, user: User) -> str:
    return opaque_id("response", pk, user.pk) if pk.isdecimal() else pk


def _tokens(user: User) -> Iterator[Record]:
    names = ("name", "scope", "created_at", "expires_at", "last_used_at")
    return _batches(user.api_tokens.values("id", *names))


def _email_addresses(user: User) -> Iterator[Record]:
    return _batches(EmailAddress.objects.filter(user=user).values("id", "email", "verified"))


def _single_sign_on(user: User) -> Iterator[Record]:
    names = ("provider", "uid", "extra_data", "date_joined", "last_login")
    return _batches(SocialAccount.objects.filter(user=user).values("id", *names))


def _second_factors(user: User) -> Iterator[Record]:
    return _batches(
        Authenticator.objects.filter(user=user).values("id", "type", "created_at", "last_used_at")
    )


def _sessions(user: User) -> Iterator[Record]:
    return _batches(UserSession.objects.filter(user=user).values("id", "ip", "user_agent", "created_at"))


def _audit_entries(user: User) -> Iterator[Record]:
    names = ("project__slug", "verb", "subject", "data", "at")
    return _batches(AuditEntry.objects.filter(actor=user).values("id", *names))


def _audit_entries_about(user: User) -> Iterator[Record]:
    """Actions of others, or of the site itself, on the user; without the actor, and without figures, which count items with a
    known answer."""
    names = ("project__slug", "verb", "subject", "data__reason", "at")
    about = AuditEntry.objects.filter(data__user=user.pk).exclude(actor=user)
    return _batches(about.values("id", *names))


def _verdicts(user: User) -> Iterator[Record]:
    names = ("item_id", "item__project__slug", "ranks", "degree", "note", "created_at")
    return _batches(Verdict.objects.filter(reviewer=user).values("id", *names))


def _guidelines(user: User) -> Iterator[Record]:
    names = ("project__slug", "number", "text", "created_at")
    return _batches(Guideline.objects.filter(author=user).values("id", *names))


def _invitations(user: User) -> Iterator[Record]:
    names = ("project__slug", "role", "note", "places", "used", "created_at", "expires_at", "revoked_at")
    return _batches(Invitation.objects.filter(created_by=user).values("id", *names))


def _imports(user: User) -> Iterator[Record]:
    names = ("project__slug", "name", "bytes", "state", "shape", "created_at", "finished_at")
    return _batches(Import.objects.filter(created_by=user).values("id", *names))


def _snapshots(user: User) -> Iterator[Record]:
    names = ("project__slug", "number", "note", "sha256", "created_at")
    return _batches(Snapshot.objects.filter(created_by=user).values("id", *names))


def _snapshot_jobs(user: User) -> Iterator[Record]:
    names = ("project__slug", "note", "state", "created_at", "finished_at")
    return _batches(SnapshotJob.objects.filter(created_by=user).values("id", *names))


def _constitutions(user: User) -> Iterator[Record]:
    names = ("project__slug", "number", "principles", "created_at")
    return _batches(Constitution.objects.filter(author=user).values("id", *names))


def _opinion_sets(user: User) -> Iterator[Record]:
    names = ("project__slug", "number", "judge", "sha256", "created_at")
    return _batches(OpinionSet.objects.filter(created_by=user).values("id", *names))


def _webhooks(user: User) -> Iterator[Record]:
    names = ("project__slug", "url", "events", "active", "created_at")
    return _batches(Webhook.objects.filter(created_by=user).values("id", *names))


LISTS: dict[str, Callable[[User], Iterator[Record]]] = {
    "memberships": _memberships,
    "exclusions": _exclusions,
    "judgments": _judgments,
    "demonstrations": _demonstrations,
    "chat_messages": _chat_messages,
    "skips": _skips,
    "messages": _messages,
    "notifications": _notifications,
    "batches": _assigned,
    "drafts": _drafts,
    "saved_views": _saved_views,
    "tokens": _tokens,
    "email_addresses": _email_addresses,
    "single_sign_on": _single_sign_on,
    "second_factors": _second_factors,
    "sessions": _sessions,
    "deeds": _audit_entries,
    "deeds_about": _audit_entries_about,
    "verdicts": _verdicts,
    "guidelines": _guidelines,
    "invitations": _invitations,
    "imports": _imports,
    "snapshots": _snapshots,
    "snapshot_jobs": _snapshot_jobs,
    "constitutions": _constitutions,
    "opinion_sets": _opinion_sets,
    "webhooks": _webhooks,
}

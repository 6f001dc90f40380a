"""Who may call which view of the API: a table with a row for every view and method."""

from __future__ import annotations

import tempfile
import uuid
from datetime import timedelta
from io import BytesIO
from typing import Any

from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from annotation.actions import batches, invitations, rules, snapshots, uploads, webhooks
from annotation.analytics.item_search import Search
from annotation.models import Delivery, Snapshot, SnapshotJob
from config.urls import urlpatterns
from tests import builders, opinions
from tests.access_cases import policy
from tests.annotation.api.base import ApiTestCase

LEAD, LOOKS, ALL = "lead", "lead reviewer", "lead reviewer annotator"
# view and method: which roles of the project may, and which scope a token needs for it
RULES: dict[tuple[str, str], tuple[str, str]] = {
    ("api-projects", "GET"): (ALL + " outsider", "read"),
    ("api-tokens", "GET"): (ALL + " outsider", "read"),
    ("api-project", "GET"): (ALL, "read"),
    ("api-project", "PATCH"): (LEAD, "lead"),
    ("api-questions", "GET"): (ALL, "read"),
    ("api-questions", "POST"): (LEAD, "lead"),
    ("api-guidelines", "GET"): (ALL, "read"),
    ("api-guidelines", "POST"): (LEAD, "lead"),
    ("api-constitution", "GET"): (LOOKS, "read"),
    ("api-constitution", "POST"): (LEAD, "lead"),
    ("api-members", "GET"): (LEAD, "read"),
    ("api-members", "POST"): (LEAD, "lead"),
    ("api-member", "PATCH"): (LEAD, "lead"),
    ("api-member", "DELETE"): (LEAD, "lead"),
    ("api-member-act", "POST"): (LEAD, "lead"),
    ("api-accounts", "POST"): (LEAD, "lead"),
    ("api-invitations", "GET"): (LEAD, "read"),
    ("api-invitations", "POST"): (LEAD, "lead"),
    ("api-invitation", "DELETE"): (LEAD, "lead"),
    ("api-rules", "GET"): (LOOKS, "read"),
    ("api-rules", "POST"): (LEAD, "lead"),
    ("api-rule", "DELETE"): (LEAD, "lead"),
    ("api-audit", "GET"): (LOOKS, "read"),
    ("api-timesheet", "GET"): (LEAD, "read"),
    ("api-reminders", "GET"): (LEAD, "read"),
    ("api-reminders", "POST"): (LEAD, "lead"),
    ("api-batches", "GET"): (LEAD, "read"),
    ("api-batches", "POST"): (LEAD, "lead"),
    ("api-batch", "PATCH"): (LEAD, "lead"),
    ("api-batch-close", "POST"): (LEAD, "lead"),
    ("api-quality", "GET"): (LOOKS, "read"),
    ("api-opinion-sets", "GET"): (LOOKS, "read"),
    ("api-opinion-set", "GET"): (LOOKS, "read"),
    ("api-prompts", "GET"): (LOOKS, "read"),
    ("api-prompts", "POST"): (LEAD, "lead"),
    ("api-imports", "GET"): (LEAD, "read"),
    ("api-imports", "POST"): (LEAD, "lead"),
    ("api-import", "GET"): (LEAD, "read"),
    ("api-import-cancel", "POST"): (LEAD, "lead"),
    ("api-items", "GET"): (LOOKS, "read"),
    ("api-item", "GET"): (LOOKS, "read"),
    ("api-item-act", "POST"): (LOOKS, "lead"),
    ("api-judgments", "GET"): (LOOKS, "read"),
    ("api-judgments", "POST"): (ALL, "annotate"),
    ("api-judgments-mine", "GET"): (ALL, "read"),
    ("api-judgment", "GET"): (ALL, "read"),
    ("api-judgment-revise", "POST"): (ALL, "annotate"),
    ("api-next", "POST"): (ALL, "annotate"),
    ("api-skip", "POST"): (ALL, "annotate"),
    ("api-renew", "POST"): (ALL, "annotate"),
    ("api-draft", "POST"): (ALL, "annotate"),
    ("api-chats", "GET"): (ALL, "read"),
    ("api-chats", "POST"): (ALL, "annotate"),
    ("api-chats-all", "GET"): (LEAD, "read"),
    ("api-snapshots", "GET"): (LOOKS, "read"),
    ("api-snapshots", "POST"): (LEAD, "lead"),
    ("api-snapshot-job", "GET"): (LEAD, "read"),
    ("api-snapshot-job-cancel", "POST"): (LEAD, "lead"),
    ("api-snapshot", "GET"): (LOOKS, "read"),
    ("api-snapshot-file", "GET"): (LOOKS, "read"),
    ("api-snapshot-hub", "GET"): (LOOKS, "read"),
    ("api-snapshot-difference", "GET"): (LOOKS, "read"),
    ("api-webhooks", "GET"): (LEAD, "read"),
    ("api-webhooks", "POST"): (LEAD, "lead"),
    ("api-webhook", "PATCH"): (LEAD, "lead"),
    ("api-webhook", "DELETE"): (LEAD, "lead"),
    ("api-webhook-test", "POST"): (LEAD, "lead"),
    ("api-deliveries", "GET"): (LEAD, "read"),
    ("api-delivery-redeliver", "POST"): (LEAD, "lead"),
    ("api-runs", "GET"): (LOOKS, "read"),
    ("api-runs", "POST"): (LEAD, "lead"),
    ("api-models", "GET"): (LOOKS, "read"),
    ("api-models", "POST"): (LEAD, "lead"),
    ("api-loops", "GET"): (LOOKS, "read"),
    ("api-loops", "POST"): (LEAD, "lead"),
    ("api-leaderboard", "GET"): (LOOKS, "read"),
    ("api-leaderboard-pairs", "GET"): (LOOKS, "read"),
    ("api-comparison", "GET"): (LOOKS, "read"),
    ("api-comparison", "POST"): (LEAD, "lead"),
    ("api-comparison-prompts", "GET"): (LOOKS, "read"),
    ("api-comparison-queue", "POST"): (LEAD, "lead"),
}
# views of objects that this setup does not have: 404 for everybody; their own tests cover the rest
ELSEWHERE = {
    *(
        "api-token",
        "api-run",
        "api-run-metrics",
        "api-run-log",
        "api-run-cancel",
        "api-run-resume",
        "api-model-promote",
        "api-model-lineage",
        "api-model-retire",
        "api-model-file",
    ),
    *("api-loop", "api-rounds", "api-round", "api-round-act"),
    *("api-chat", "api-chat-end", "api-chat-turns", "api-chat-turn", "api-chat-turn-stream"),
    *("api-chat-turn-judge", "api-chat-turn-write", "api-chat-turn-drop", "api-chat-turn-retry"),
}
OPEN = {"api-schema", "api-docs"}
STAFF = {("api-projects", "POST")}


def api_views() -> dict[str, tuple[str, set[str]]]:
    """Every named URL below /api/: its pattern and its methods."""
    views = {}
    for place in urlpatterns:
        if str(place.pattern).startswith("api/"):
            for pattern in place.url_patterns:  # type: ignore[union-attr]
                if pattern.name:
                    view = pattern.callback.cls
                    methods = {
                        name
                        for name in ("GET", "POST", "PUT", "PATCH", "DELETE")
                        if hasattr(view, name.lower())
                    }
                    views[pattern.name] = (str(pattern.pattern), methods)
    return views


class PermissionTests(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=folder.name, WEBHOOKS_TO_PRIVATE=False)
        settings.enable()
        self.addCleanup(settings.disable)
        self.project.overlap = 3
        self.project.save()
        builders.items(self.project, 3)
        self.judgment = builders.judgment(self.project, self.bob)
        self.snapshot: Snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice)
        self.snapshot_job = SnapshotJob.objects.create(
            project=self.project, created_by=self.alice, judgments_total=1
        )
        self.webhook = webhooks.add(
            project=self.project, url="https://example.com/", events=["snapshot.frozen"], creator=self.alice
        )
        self.delivery = Delivery.objects.create(webhook=self.webhook, event="snapshot.frozen", body={})
        self.eve = builders.join(self.project, builders.user("eve"), "annotator")
        opinions.opinion_set(self.project, self.alice, lambda first, second: 0.7)
        self.upload = uploads.save_upload(
            project=self.project, name="x.jsonl", file=BytesIO(b'{"prompt": "x"}'), creator=self.alice
        )

        self.policies = [policy(self.project, name) for name in ("old", "new")]
        self.invitation, _ = invitations.invite(project=self.project, creator=self.alice, role="annotator")
        self.rule = rules.save_rule(
            project=self.project, actor=self.alice, measure="gold", action="warn", below=0.5, after=10
        )
        self.batch = batches.create_batch(
            project=self.project,
            name="Week 48",
            users=[self.eve.user_id],
            due_at=timezone.now() + timedelta(days=2),
            search=Search(state="open"),
            limit=1,
            actor=self.alice,
        ).batch

    def path(self, name: str, pattern: str) -> str:
        words = {"slug": self.project.slug, "number": 1, "delivery": self.delivery.pk}
        words |= {"policy": self.policies[1].pk, "baseline": self.policies[0].pk}
        words["verb"] = "resume" if "member" in name else "dismiss"
        of_kind = {
            "invitation": self.invitation,
            "rule": self.rule,
            "batch": self.batch,
            "judgment": self.judgment,
            "import": self.upload,
            "snapshot-job": self.snapshot_job,
            "item": self.judgment.item,
            "member": self.eve,
        }
        words["pk"] = next((one.pk for kind, one in of_kind.items() if kind in name), self.webhook.pk)
        path = pattern
        for word, value in words.items():
            for kind in ("slug", "int"):
                path = path.replace(f"<{kind}:{word}>", str(value))
        return path + ("?from=1" if name == "api-snapshot-difference" else "")

    def people(self) -> dict[str, Any]:
        return {"lead": self.alice, "reviewer": self.dana, "annotator": self.bob, "outsider": self.charlie}

    def test_every_door_has_a_rule(self) -> None:
        there = {(name, method) for name, (_, methods) in api_views().items() for method in methods}
        ruled = {
            (name, method)
            for name, method in there
            if (name, method) in RULES.keys() | STAFF or name in ELSEWHERE | OPEN
        }
        assert there == ruled, f"without a rule: {sorted(there - ruled)}"
        assert set(RULES) <= there, f"rules without a view: {sorted(set(RULES) - there)}"

    def test_the_rules_hold(self) -> None:
        known = api_views()
        for (name, method), (roles, _) in RULES.items():
            for role, user in self.people().items():
                with (
                    transaction.atomic()
                ):  # what a call does is undone: the next view finds everything unchanged
                    answer = self.call(method, self.path(name, known[name][0]), user, {})
                    transaction.set_rollback(True)
                if role in roles.split():
                    refused = answer.status_code in (401, 403, 404, 405, 500)
                    assert not refused, (name, method, role, answer.status_code)
                else:
                    assert answer.status_code == (404 if role == "outsider" else 403), (name, method, role)
            assert self.call(method, self.path(name, known[name][0]), None, {}).status_code == 401

    def test_no_parameter_or_field_is_swallowed(self) -> None:
        """A misspelt filter must not return everything, nor a misspelt setting change nothing."""
        known = api_views()
        for name, method in RULES:
            path = self.path(name, known[name][0])
            if method == "GET":
                answer = self.get(f"{path}{'&' if '?' in path else '?'}page_size=5", self.alice)
                self.refused(answer, 400, "page_size", "")
        for name, method, body in (
            ("api-project", "PATCH", {"overlap": 2, "slug": "other"}),
            ("api-guidelines", "POST", {"text": "Prefer what is true.", "title": "x"}),
            ("api-questions", "POST", {"questions": [], "title": "x"}),
            ("api-constitution", "POST", {"principles": [{"key": "k", "compare": "?"}], "title": "x"}),
            ("api-snapshots", "POST", {"comment": "x"}),
            ("api-invitations", "POST", {"role": "annotator", "place": 3}),
            (
                "api-judgment-revise",
                "POST",
                {"ranks": [1, 2, 3, 4], "idempotency_key": str(uuid.uuid4()), "note": "x"},
            ),
        ):
            answer = self.call(
                method,
                self.path(name, known[name][0]),
                self.alice if "revise" not in name else self.bob,
                body,
            )
            self.refused(answer, 400, list(body)[-1], "no such field")

    def test_staff_alone_go_through_some(self) -> None:
        known = api_views()
        for name, method in STAFF:
            path = self.path(name, known[name][0])
            for user in self.people().values():
                answer = self.call(method, path, user, {})
                if user.is_staff:
                    assert answer.status_code not in (401, 403, 404, 405, 500)
                    self.refused(self.call(method, path, user, {}, scope="annotate"), 403, "detail", "scope")
                else:
                    self.refused(answer, 403, "detail", "staff")
            assert self.call(method, path, None, {}).status_code == 401

    def test_a_token_does_what_its_scope_allows(self) -> None:
        known = api_views()
        width = ["read", "annotate", "lead"]
        for (name, method), (roles, needed) in RULES.items():
            if method == "DELETE" or "lead" not in roles:
                continue
            for scope in width:
                answer = self.call(method, self.path(name, known[name][0]), self.alice, {}, scope=scope)
                refused = answer.status_code == 403 and b"This token may" in answer.content
                assert refused == (width.index(scope) < width.index(needed)), (name, method, scope)

    def test_what_is_not_there_is_404(self) -> None:
        known = api_views()
        for name in ELSEWHERE:
            pattern, methods = known[name]
            path = pattern.replace("<slug:slug>", self.project.slug).replace("<slug:verb>", "cancel")
            path = path.replace("<int:pk>", "999999").replace("<int:turn>", "999999")
            for method in methods:
                for user in self.people().values():
                    assert self.call(method, path, user, {}).status_code == 404, (name, method)

    def test_annotators_see_their_own_judgments_only(self) -> None:
        mine = f"projects/helpfulness/judgments/{self.judgment.pk}/"
        assert len(self.get(mine, self.bob).json()["placements"]) == 4
        eve = self.eve.user
        self.refused(self.get(mine, eve), 403, "detail", "another annotator")
        answer = self.post(
            f"{mine}revise/", eve, {"ranks": [1, 2, 3, 4], "idempotency_key": str(uuid.uuid4())}
        )
        self.refused(answer, 400, "judgment", "somebody else's")

"""What annotators see does not depend on who wrote an answer, or on whether an item's answer is known.

Two worlds differ in nothing else. In each, an annotator makes the same calls; everything that comes back is compared, byte
for byte, but for tokens that nobody can read. Their lengths are compared too.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from difflib import unified_diff
from typing import Any
from unittest.mock import patch

from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation.actions import leases
from annotation.models import ApiToken, Item, Member, Project, Slot, User
from tests import builders
from tests.base import PalateTestCase
from tests.sequences import use_new_ids

OLD, NEW = {"author": "policy-0", "text": "Because."}, {"author": "policy-1", "text": "Why not?"}
TOKENS = (
    re.compile(r"gAAAAA[\w-]+=*"),  # tickets
    re.compile(r'(?<=name="csrfmiddlewaretoken" value=")\w+'),
    re.compile(r'(?<="X-CSRFToken": ")\w+'),
    re.compile(r"\b[0-9a-f]{16}\b"),  # opaque ids
    re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),  # keys of forms
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?"),
    re.compile(r'(?<="seconds": )[\d.e-]+'),
    re.compile(r"\bnow\b|\b(?:a|\d+)\s(?:second|minute)s?\sago\b"),
    re.compile(r"\b\d+ s(?:econds?)?\b"),  # the time that the calls took
)
FIRST_ID = 100_000
Answers = list[tuple[str, Any]]


def without_tokens(text: str) -> str:
    for pattern in TOKENS:
        text = pattern.sub(
            lambda match: f"<{len(match[0]) if match[0].startswith('gAAAAA') else 'token'}>", text
        )
    # entries by an opaque id are in the order of these ids
    return re.sub(r'\{("<token>": [^{}]*)\}', lambda match: str(sorted(match[1].split(", "))), text)


class BlindnessTests(PalateTestCase):
    def tearDown(self) -> None:
        use_new_ids()
        super().tearDown()

    def world(self, build: Callable[[Project], Item]) -> Answers:
        """What bob sees in a world of its own, whose ids begin where those of every other world do."""
        cache.clear()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT setval(seqrelid::regclass, %s + 1000 * rank() OVER (ORDER BY relname)), setseed(0)"
                    " FROM pg_sequence JOIN pg_class ON seqrelid = pg_class.oid WHERE starts_with(relname, 'annotation_')",
                    [FIRST_ID],
                )
            project = builders.project(User.objects.get(username="alice"), "Blind", k=2)
            Project.objects.filter(pk=project.pk).update(gold_rate=0.5, overlap=1)
            project.refresh_from_db()
            bob = User.objects.get(username="bob")
            builders.join(project, bob, Member.Role.ANNOTATOR)
            item = build(project)
            builders.items(project, 30, k=2)
            Slot.objects.filter(item=item).update(priority=9)
            seen = self.calls(project, bob, item)
            transaction.set_rollback(True)
        return seen

    def calls(self, project: Project, bob: User, item: Item) -> Answers:
        seen: Answers = []
        key = ApiToken.issue(user=bob, name="t", scope="annotate")[1]
        self.client.logout()
        self.sign_in(bob)
        slug = [project.slug]
        is_gold = item.gold is not None

        def see(method: str, url: str, data: Any = None, *, api: bool = False) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SELECT setseed(0)")  # the order in which answers are shown
            with CaptureQueriesContext(connection) as queries:
                if api:
                    response = self.client.generic(
                        method,
                        f"/api/v1/projects/{project.slug}/{url}",
                        json.dumps(data or {}),
                        content_type="application/json",
                        headers={"Authorization": f"Bearer {key}"},
                    )
                else:
                    response = self.client.generic(
                        method,
                        url,
                        "&".join(f"{name}={value}" for name, value in (data or {}).items()),
                        content_type="application/x-www-form-urlencoded",
                        headers={"HX-Request": "true"} if method == "POST" else {},
                    )
            body = b"".join(response) if response.streaming else response.content
            headers = {
                name: value
                for name, value in response.headers.items()
                if name not in ("ETag", "Expires", "Content-Length")
            }
            seen.append((f"{method} {url}", (response.status_code, headers, without_tokens(body.decode()))))
            seen.append((f"queries of {method} {url}", len(queries)))
            return response

        def draw(gold: bool) -> Any:
            return patch.object(leases._random, "random", return_value=0.1 if gold else 0.9)

        see("GET", reverse("home"))
        see("GET", "", api=True)
        with draw(is_gold), CaptureQueriesContext(connection) as queries:
            leases.claim(project=project, annotator=bob)
        seen.append(("queries of the claim", len(queries)))
        lease = self.in_order_of_texts(bob, item)
        with draw(False):
            page = see("GET", reverse("work", args=slug))
            see("POST", "next/", api=True)
            ticket = {"ticket": page.context["ticket"]}
            entered = {"choice": "0-better", "key": str(uuid.UUID(int=7))}
            ahead = see("POST", reverse("work-ahead", args=slug), ticket)
            see("POST", "next/", {"besides": lease.ticket()}, api=True)
            see("POST", "renew/", ticket, api=True)
            see("POST", reverse("work-renew", args=slug), ticket)
            see("POST", reverse("work-draft", args=slug), ticket | entered)
            see("GET", reverse("work", args=slug))
            see("GET", reverse("account-export"))
            see("POST", reverse("work", args=slug), ticket | {"key": entered["key"]})  # without a choice
            showing = {"showing": ahead.context["ticket"]}
            see("POST", reverse("work", args=slug), ticket | entered | showing)
            see("POST", reverse("work", args=slug), ticket | entered | showing)  # once more
            see("POST", reverse("work", args=slug), ticket | entered | {"key": str(uuid.UUID(int=8))})
            see("GET", reverse("work", args=slug))
            see("POST", reverse("work-skip", args=slug), ticket | {"reason": "broken"})
        see("GET", reverse("home"))
        see("GET", "", api=True)
        mine = see("GET", "judgments/mine/", api=True).json()["results"][0]["id"]
        see("GET", f"judgments/{mine}/", api=True)
        see("GET", reverse("my-judgments"))
        see("GET", reverse("my-judgment", args=[mine]))
        see("POST", reverse("my-judgment", args=[mine]), {"choice": "1-slightly", "key": uuid.UUID(int=9)})
        see("POST", f"judgments/{mine}/revise/", {"ranks": [1, 1], "idempotency_key": "x"}, api=True)
        see("GET", reverse("account-export"))
        see("GET", reverse("account"))
        for forbidden in (
            "items/",
            f"items/{item.pk}/",
            "judgments/",
            "prompts/",
            "quality/",
            "audit/",
            "members/",
        ):
            see("GET", forbidden, api=True)
        return seen

    def in_order_of_texts(self, bob: User, item: Item) -> leases.Lease:
        """The lease on the item, shown in the order of the texts: the order is drawn, and says nothing by itself."""
        order = list(item.responses.order_by("text").values_list("pk", flat=True))
        assert Slot.objects.filter(item=item, annotator=bob).update(shown_order=order) == 1
        lease = leases.claim(project=item.project, annotator=bob)
        assert lease is not None
        assert (lease.item_id, lease.shown_order) == (item.pk, order)
        return lease

    def compare(self, one: Answers, other: Answers) -> None:
        assert len(one) == len(other) > 50
        for (call, seen), (_, also) in zip(one, other, strict=True):
            lines = unified_diff(str(seen).split("\\n"), str(also).split("\\n"), call, n=0, lineterm="")
            assert seen == also, "\n".join(lines)

    def item_of(self, project: Project, *responses: dict[str, str]) -> Item:
        builders.imported(project, {"prompt": "Why?", "responses": list(responses)})
        return Item.objects.filter(project=project).latest("pk")

    def test_who_wrote_an_answer_is_nowhere_to_be_seen(self) -> None:
        one = self.world(lambda project: self.item_of(project, OLD, NEW))
        swapped = self.world(
            lambda project: self.item_of(
                project, NEW | {"author": OLD["author"]}, OLD | {"author": NEW["author"]}
            )
        )
        self.compare(one, swapped)

    def test_an_item_with_a_known_answer_is_like_any_other(self) -> None:
        def gold(project: Project) -> Item:
            item = self.item_of(project, OLD, NEW)
            item.gold = dict(zip(map(str, item.responses.values_list("pk", flat=True)), (1, 2), strict=True))
            item.save()
            item.slots.all().delete()
            return item

        self.compare(self.world(lambda project: self.item_of(project, OLD, NEW)), self.world(gold))

    def test_pages_carry_no_id_of_a_response_or_an_item(self) -> None:
        def seen_ids(project: Project) -> Item:
            self.ids = set()
            item = self.item_of(project, OLD, NEW)
            self.ids = {str(item.pk), *map(str, item.responses.values_list("pk", flat=True))}
            return item

        seen = self.world(seen_ids)
        for call, what in seen:
            if not call.startswith("queries") and f"items/{FIRST_ID}" not in call:
                found = {text for text in re.findall(r"\d{6,}", str(what)) if text in self.ids}
                assert not found, (call, found)

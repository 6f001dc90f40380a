"""The wrapper of every API view: idempotency keys and ETags; and the limits of bodies and calls."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.cache import cache
from django.test import override_settings
from palate_client import client

from annotation.actions.leases import Lease
from annotation.actions.snapshots import SnapshotError, create_snapshot
from annotation.models import ApiToken, Draft, Judgment, Member, Snapshot, User, Webhook
from tests import builders
from tests.annotation.api.base import ApiTestCase
from tests.test_cache import AWAY

SNAPSHOTS = "projects/helpfulness/snapshots/"


class IdempotencyTests(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        self.key = self.key_of(self.alice, "lead")
        self.own = str(uuid.uuid4())

    def create_snapshot(self, note: str = "", own: str = "", key: str = "") -> object:
        headers = {"Idempotency-Key": own or self.own, "Authorization": f"Bearer {key or self.key}"}
        return self.client.post(
            f"/api/v1/{SNAPSHOTS}", {"note": note}, content_type="application/json", headers=headers
        )

    def test_the_same_key_does_it_once_and_answers_the_same(self) -> None:
        first, again = self.create_snapshot("a"), self.create_snapshot("a")
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        assert again["Idempotency-Replayed"] == "true"
        assert again["Content-Type"] == first["Content-Type"]
        assert Snapshot.objects.count() == 1

    def test_another_key_and_another_caller_do_it_again(self) -> None:
        self.create_snapshot("a")
        self.create_snapshot("a", own="another")
        self.create_snapshot("a", key=self.key_of(self.alice, "lead"))
        assert Snapshot.objects.count() == 3

    def test_the_same_key_for_something_else_is_refused(self) -> None:
        self.create_snapshot("a")
        self.refused(self.create_snapshot("b"), 422, "detail", "used for another request")

    def test_the_same_at_the_same_time_is_refused(self) -> None:
        busy: list[object] = []
        with patch(
            "annotation.api.idempotency._should_store",
            side_effect=lambda _: busy.append(self.create_snapshot("a")),
        ):
            self.create_snapshot("a")
        self.refused(busy[0], 409, "detail", "being executed")
        assert busy[0]["Retry-After"] == "1"

    def test_what_takes_long_is_not_begun_again_while_anybody_waits_for_it(self) -> None:
        with patch.object(cache, "add", side_effect=cache.add) as added:
            self.create_snapshot("a")
        (seconds,) = (
            call.args[2] for call in added.call_args_list if call.args[0].startswith("idempotency:")
        )
        assert seconds == 3600 > 2 * client.IN_PROGRESS_S

    def test_what_was_refused_for_who_asked_is_not_kept(self) -> None:
        self.create_snapshot("a", key="palate_x")
        assert self.create_snapshot("a", key="palate_x").status_code == 401
        self.refused(self.create_snapshot("a", own="é"), 400, "detail", "visible ASCII")

    def test_who_may_not_come_in_any_more_is_not_answered_from_memory(self) -> None:
        self.create_snapshot("a")
        token = ApiToken.objects.get(digest=ApiToken.digest_of(self.key))
        token.scope = "read"
        token.save()
        self.refused(self.create_snapshot("a"), 403, "detail", "This token may only read")
        token.delete()
        for note in ("a", "b"):
            self.refused(self.create_snapshot(note), 401, "detail", "may have been revoked")

    def test_who_is_no_member_with_the_role_any_more_is_not_answered_from_memory(self) -> None:
        self.create_snapshot("a")
        eve = builders.user("eve")
        builders.join(self.project, eve, Member.Role.LEAD)
        mine = Member.objects.filter(project=self.project, user=self.alice)
        mine.update(role=Member.Role.REVIEWER)
        self.refused(self.create_snapshot("a"), 403, "detail", "needs the role of lead")
        mine.delete()
        self.refused(self.create_snapshot("a"), 404, "detail", "No such project")
        builders.join(self.project, self.alice, Member.Role.LEAD)
        assert self.create_snapshot("a")["Idempotency-Replayed"] == "true"
        assert Snapshot.objects.count() == 1

    def test_an_answer_with_a_secret_is_not_kept(self) -> None:
        def add() -> object:
            return self.client.post(
                "/api/v1/projects/helpfulness/webhooks/",
                {"url": "https://example.com/hook", "events": ["snapshot.frozen"]},
                content_type="application/json",
                headers={"Idempotency-Key": self.own, "Authorization": f"Bearer {self.key}"},
            )

        made = add()
        assert made.status_code == 201
        assert made["Cache-Control"] == "no-store"
        secret = made.json()["secret"]
        written: list[object] = []
        self.refused(add(), 409, "detail", "contained a secret")
        assert Webhook.objects.count() == 1
        with patch.object(cache, "set", lambda *arguments: written.append(arguments)):
            self.own = str(uuid.uuid4())
            assert secret != add().json()["secret"]
        assert written
        assert "whsec_" not in str(written)

    def test_while_no_key_can_be_kept_nothing_is_done(self) -> None:
        with self.settings(CACHES=AWAY):
            answer = self.create_snapshot("a")
        self.refused(answer, 503, "detail", "Nothing was changed")
        assert answer["Retry-After"] == "5"
        assert not Snapshot.objects.exists()
        assert self.create_snapshot("a").status_code == 201

    def test_what_was_done_is_answered_also_where_the_answer_cannot_be_kept(self) -> None:
        def frozen(**arguments: object) -> Snapshot:
            made = create_snapshot(**arguments)  # type: ignore[arg-type]
            away.enable()
            return made

        def failed(**_: object) -> Snapshot:
            away.enable()
            raise SnapshotError("There are no judgments yet.")

        def broken(**_: object) -> Snapshot:
            away.enable()
            raise RuntimeError

        ways = (
            (frozen, 201, "config.cache"),
            (failed, 400, "config.cache"),
            (broken, 500, "annotation.api.idempotency"),
        )
        self.client.raise_request_exception = False
        for way, status, log in ways:
            away = override_settings(CACHES=AWAY)
            with (
                patch("annotation.actions.snapshot_jobs.create_snapshot", way),
                self.assertLogs(log, "WARNING") as logged,
            ):
                answer = self.create_snapshot("a", own=str(status))
            away.disable()
            assert (answer.status_code, len(logged.output)) == (status, 1)
        assert Snapshot.objects.count() == 1

    def test_what_failed_may_be_tried_again(self) -> None:
        with (
            patch("annotation.actions.snapshot_jobs.create_snapshot", side_effect=RuntimeError),
            pytest.raises(RuntimeError),
        ):
            self.create_snapshot("a")
        assert self.create_snapshot("a").status_code == 201


class EtagTests(ApiTestCase):
    def test_what_has_not_changed_is_not_sent_again(self) -> None:
        first = self.get("projects/helpfulness/", self.bob)
        assert first["Cache-Control"] == "private, no-cache"
        again = self.get("projects/helpfulness/", self.bob, **{"If-None-Match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        builders.items(self.project, 1)
        changed = self.get("projects/helpfulness/", self.dana, **{"If-None-Match": first["ETag"]})
        assert changed.status_code == 200
        assert changed["ETag"] != first["ETag"]


class PreconditionTests(ApiTestCase):
    URL = "projects/helpfulness/"

    def patch(self, etag: str, user: User | None = None, url: str = URL, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key_of(user or self.alice, 'lead')}", "If-Match": etag}
        return self.client.patch(f"/api/v1/{url}", body, "application/json", headers=headers)

    def test_a_change_is_made_to_the_version_that_was_read(self) -> None:
        etag = self.get(self.URL, self.alice)["ETag"]
        assert self.patch(etag, overlap=2).status_code == 200
        late = self.patch(etag, overlap=3)
        assert (late.status_code, late["Content-Type"]) == (412, "application/problem+json")
        self.project.refresh_from_db()
        assert self.project.overlap == 2
        assert self.patch(f'"other", {late["ETag"]}', overlap=3).status_code == 200
        assert self.patch("*", overlap=4).status_code == 200

    def test_whoever_may_not_read_it_learns_nothing(self) -> None:
        etag = self.get(self.URL, self.alice)["ETag"]
        assert self.patch(etag, self.charlie, overlap=2).status_code == 404
        assert self.patch("x", self.bob, overlap=2).status_code == 412  # he may read it
        assert self.patch(self.get(self.URL, self.bob)["ETag"], self.bob, overlap=2).status_code == 403

    def test_a_stream_has_the_version_that_its_header_says(self) -> None:
        headers = {"Authorization": f"Bearer {self.key_of(self.alice, 'lead')}", "If-Match": '"x"'}
        url = "/api/v1/projects/helpfulness/judgments/"
        assert self.client.post(url, {}, "application/json", headers=headers).status_code == 412
        etag = self.get("projects/helpfulness/judgments/", self.alice)["ETag"].removeprefix("W/")
        headers["If-Match"] = etag
        assert self.client.post(url, {}, "application/json", headers=headers).status_code == 400

    def test_a_url_without_versions_says_so(self) -> None:
        headers = {"Authorization": f"Bearer {self.key_of(self.bob, 'work')}", "If-Match": "*"}
        answer = self.client.post("/api/v1/projects/helpfulness/next/", headers=headers)
        assert (answer.status_code, "has no versions" in answer.json()["detail"]) == (412, True)


class BodyTests(ApiTestCase):
    def test_what_comes_in_chunks_is_not_taken_for_nothing(self) -> None:
        for door, content_type in (
            (SNAPSHOTS, "application/json"),
            (SNAPSHOTS, "application/x-ndjson"),
            ("projects/helpfulness/prompts/", "application/json"),
        ):
            headers = {"Transfer-Encoding": "chunked"}
            answer = self.post(door, self.alice, {"note": "a"}, content_type=content_type, **headers)
            self.refused(answer, 411, "detail", "Content-Length")
        assert not Snapshot.objects.exists()

    def test_half_a_character_is_named_where_it_stands(self) -> None:
        half = b'"\\ud800"'
        for door, body, field in (
            ("runs/", b'{"kind": "generate", "inputs": {%s: 1}}' % half, "inputs"),
            ("runs/", b'{"kind": "reward", "config": {%s: 1}}' % half, "config"),
            ("runs/", b'{"kind": %s}' % half, "kind"),
            ("judgments/", b'{"marks": {%s: {"quality": 9}}}' % half, "marks"),
            ("judgments/", b'{"degree": %s}' % half, "degree"),
            ("prompts/", b'[{%s: 1, "prompt": "a"}]' % half, "detail"),
        ):
            answer = self.post(f"projects/helpfulness/{door}", self.alice, body)
            self.refused(answer, 400, field)
            if door == "judgments/":
                assert r"\ud800" in json.loads(answer.content)["detail"]

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
    def test_a_body_that_is_too_large_is_refused_by_every_view(self) -> None:
        for method, door in (
            ("POST", SNAPSHOTS),
            ("POST", "projects/helpfulness/judgments/"),
            ("PATCH", "projects/helpfulness/"),
        ):
            answer = self.call(method, door, self.alice, {"note": "a" * 1000})
            self.refused(answer, 413, "detail", "The limit")
        assert not Snapshot.objects.exists()


@override_settings(API_CALLS_PER_MINUTE=3)
class LimitTests(ApiTestCase):
    def test_a_token_may_make_so_many_calls_in_a_minute(self) -> None:
        cache.clear()
        key = self.key_of(self.bob, "read")
        with patch("annotation.api.throttling.time.time", return_value=1_000_000_020.0):
            answers = [
                self.client.get("/api/v1/projects/", headers={"Authorization": f"Bearer {key}"})
                for _ in range(4)
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            self.refused(answers[3], 429, "detail", "throttled")
            assert 0 < int(answers[3]["Retry-After"]) <= 60
            assert self.get("projects/", self.bob).status_code == 200  # another token
        with patch("annotation.api.throttling.time.time", return_value=1_000_000_080.0):
            again = self.client.get("/api/v1/projects/", headers={"Authorization": f"Bearer {key}"})
        assert again.status_code == 200

    def test_while_nothing_can_count_them_calls_go_through(self) -> None:
        with (
            self.settings(CACHES=AWAY),
            self.assertLogs("annotation.api.throttling", "WARNING") as logged,
        ):
            answers = [self.get("projects/", self.bob) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(logged.output) == 4


class JudgingTests(ApiTestCase):
    """Beside the order: marks, answers that are written, changes of mind, the item after this one."""

    def take(self, **body: object) -> dict[str, object]:
        return self.post("projects/helpfulness/next/", self.bob, body).json()

    def judge(self, item: dict[str, object], **said: object) -> object:
        body = {"ticket": item["ticket"], "idempotency_key": str(uuid.uuid4())} | said
        return self.post("projects/helpfulness/judgments/", self.bob, body)

    def test_marks_are_kept_and_asked_for(self) -> None:
        self.project.asks_quality = self.project.asks_safety = self.project.asks_flags = True
        self.project.save()
        builders.items(self.project, 1)
        item = self.take()
        assert item["asks"] == ["quality", "flags", "safety"]
        marks = {letter: {"quality": 7, "safe": True, "flags": ["opinion"]} for letter in "ABCD"}
        for changes, field in (
            ({"marks": {}}, "quality"),
            ({"marks": marks | {"A": {"quality": 8}}}, "marks"),
            ({"marks": marks | {"A": marks["A"] | {"flags": ["rude"]}}}, "flags"),
            ({"marks": marks | {"Z": marks["A"]}}, "marks"),
            ({"marks": marks | {"A": marks["A"] | {"safe": False}}}, "safety"),
        ):
            self.refused(self.judge(item, ranks=[1, 2, 3, 4], **changes), 400, field)
        for unknown in ({"qualty": 7}, {"comments": [{"text": "Well.", "qoute": "x"}]}):
            answer = self.judge(item, ranks=[1, 2, 3, 4], marks=marks | {"A": marks["A"] | unknown})
            self.refused(answer, 400, "marks", "There is no such field. The fields are ")
        assert not Judgment.objects.exists()
        made = self.judge(item, ranks=[1, 2, 3, 4], marks=marks)
        assert made.status_code == 201, made.content
        assert {place["quality"] for place in made.json()["placements"]} == {7}

    def test_a_change_of_mind_is_a_new_judgment(self) -> None:
        builders.items(self.project, 1)
        made = self.judge(self.take(), ranks=[1, 2, 3, 4]).json()
        path = f"projects/helpfulness/judgments/{made['id']}/revise/"
        body = {"ranks": [4, 3, 2, 1], "idempotency_key": str(uuid.uuid4())}
        newer = self.post(path, self.bob, body).json()
        assert (newer["supersedes"], newer["item"]) == (made["id"], made["item"])
        assert self.post(path, self.bob, body).json()["id"] == newer["id"]
        self.refused(
            self.post(path, self.bob, body | {"idempotency_key": str(uuid.uuid4())}), 400, "judgment"
        )
        assert self.post(f"projects/helpfulness/judgments/{2**70}/revise/", self.bob, body).status_code == 404

    def test_one_more_is_had_beside_the_one_in_hand(self) -> None:
        builders.items(self.project, 2)
        first = self.take()
        second = self.take(besides=first["ticket"])
        assert second["item"] != first["item"]
        assert self.take()["item"] == first["item"]
        renewed = self.post("projects/helpfulness/renew/", self.bob, {"ticket": first["ticket"]})
        assert renewed.json() == {"held": True}
        draft = {"ticket": first["ticket"], "data": {"ranks": {"A": 1}}}
        assert self.post("projects/helpfulness/draft/", self.bob, draft).status_code == 204
        lease = Lease.read(first["ticket"], annotator=self.bob)
        assert Draft.objects.get(item=lease.item_id).data == {"ranks": {str(lease.shown_order[0]): 1}}
        for wrong in (b'"\\u0000"', b'{"a": ["\\ud800"]}', b'{"\\udc00": 1}', b"1e999"):
            body = b'{"ticket": "%s", "data": %s}' % (first["ticket"].encode(), wrong)
            self.refused(self.post("projects/helpfulness/draft/", self.bob, body), 400, "data")
        spelled = draft | {"data": r"\u0000 \ud800"}
        assert self.post("projects/helpfulness/draft/", self.bob, spelled).status_code == 204

    def test_the_item_after_this_one_is_had_however_the_type_of_the_body_is_spelled(self) -> None:
        builders.items(self.project, 2)
        first = self.take()
        body = {"besides": first["ticket"]}
        for spelled in ("application/json; charset=utf-8", "Application/JSON"):
            told = self.post("projects/helpfulness/next/", self.bob, body, content_type=spelled)
            assert told.json()["item"] != first["item"], spelled
        wrong = self.post("projects/helpfulness/next/", self.bob, body, content_type="text/plain")
        self.refused(wrong, 415, "detail", "text/plain")
        for without_a_body in ("text/plain", "application/x-www-form-urlencoded", ""):
            headers = {"Content-Type": without_a_body}
            told = self.post("projects/helpfulness/next/", self.bob, **headers)
            assert told.json()["item"] == first["item"], without_a_body

    def test_an_answer_is_written(self) -> None:
        project = builders.project(self.bob, "Write", task="demonstrations")
        builders.imported(project, {"prompt": "Write!"})
        item = self.post("projects/write/next/", self.bob).json()
        assert item["answers"] == []
        body = {"ticket": item["ticket"], "text": " Once.", "idempotency_key": str(uuid.uuid4())}
        made = self.post("projects/write/judgments/", self.bob, body)
        assert (made.status_code, made.json()["text"]) == (201, " Once.")

    def test_items_and_guidelines_are_listed(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.bob)
        found = self.get("projects/helpfulness/items/?state=open", self.dana).json()["results"]
        assert len(found) == 3
        assert sum(item["done"] for item in found) == 1
        assert all(item["wanted"] == 1 and len(item["responses"]) == 4 for item in found)
        assert self.get("projects/helpfulness/items/?state=retired", self.dana).json()["results"] == []
        self.refused(self.get("projects/helpfulness/items/?state=x", self.dana), 400, "state", "none of")
        (guideline,) = self.get("projects/helpfulness/guidelines/", self.bob).json()
        assert guideline["number"] == 1

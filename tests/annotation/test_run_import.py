"""What a worker does with a file: all of it or nothing, once, whatever happens on the way."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from annotation.actions import import_rows, imports, uploads, worker_jobs
from annotation.models import AuditEntry, Author, Import, Item, Member, Project, Prompt, Response, Slot, User
from annotation.store import MissingObject
from tests import builders
from tests.processes import kill, process, until

TWO = {"id": "q1", "prompt": "Why?", "responses": ["Because.", "Ask her."]}


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Path:
    cache.clear()
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    return tmp_path


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    return builders.project(alice)


def queued(project: Project, content: bytes, name: str = "prompts.jsonl", **options: Any) -> Import:
    lead = project.members.get(role=Member.Role.LEAD).user
    upload = uploads.save_upload(project=project, name=name, file=BytesIO(content), creator=lead)
    imports.start(upload, **options)
    return upload


def lines(*rows: Any) -> bytes:
    return b"\n".join(builders.lines(*rows))


def read(project: Project, content: bytes, name: str = "prompts.jsonl", **options: Any) -> Import:
    """The import, as a worker left it."""
    claimed = imports.claim(queued(project, content, name, **options).pk)
    assert claimed is not None
    imports.run_import(claimed)
    claimed.refresh_from_db()
    return claimed


def nothing_came_in() -> bool:
    return not any(model.objects.exists() for model in (Prompt, Response, Item, Slot, Author))


def test_it_takes_a_file_in_and_says_so(project: Project, alice: User) -> None:
    done = read(project, lines(TWO, {"prompt": "How?"}))
    assert (done.state, done.percent, done.claim) == ("done", 100, None)
    assert {name: done.report[name] for name in ("prompts", "responses", "items", "unchanged")} == {
        "prompts": 2,
        "responses": 2,
        "items": 1,
        "unchanged": 0,
    }
    assert done.finished_at is not None
    with pytest.raises(MissingObject):
        uploads.upload_path(done)
    entry = AuditEntry.objects.get(verb="import.done")
    assert (entry.actor, entry.subject, entry.data["prompts"]) == (alice, "prompts.jsonl", 2)


def test_the_same_file_again_changes_nothing(project: Project) -> None:
    rows = lines(TWO, {"prompt": "How?"})
    read(project, rows)
    before = [model.objects.count() for model in (Prompt, Response, Item, Slot)]
    again = read(project, rows)
    assert (again.report["unchanged"], again.report["prompts"], again.report["items"]) == (2, 0, 0)
    assert [model.objects.count() for model in (Prompt, Response, Item, Slot)] == before


def test_a_wrong_line_and_nothing_comes_in(project: Project) -> None:
    refused = read(project, lines(TWO, {"prompt": ""}, TWO) + b"\n{")
    assert refused.state == "refused"
    assert refused.report["errors"][0] == [2, "prompt: empty"]
    assert refused.report["errors"][1] == [3, "id: 'q1' is the id of line 1 already"]
    assert refused.report["errors"][2][0] == 4
    assert nothing_came_in()
    assert not AuditEntry.objects.filter(verb="import.done").exists()


def test_a_packed_list_comes_in_and_a_wrong_element_is_named(project: Project) -> None:
    rows = [TWO, {"prompt": "How?"}]
    done = read(project, gzip.compress(json.dumps(rows).encode()), "prompts.json.gz")
    assert (done.state, done.report["prompts"], done.report["items"]) == ("done", 2, 1)
    refused = read(project, json.dumps([*rows, {"prompt": " "}]).encode(), "prompts.json")
    assert (refused.state, refused.report["errors"]) == ("refused", [[3, "prompt: empty"]])
    assert refused.report["unit"] == "element"
    torn = read(
        project, (json.dumps([{"prompt": f"{n}?"} for n in range(2000)])[:-5]).encode(), "prompts.json"
    )
    assert (torn.state, torn.report["reason"]) == (
        "refused",
        "Element 2000 cannot be read: Unterminated string starting at.",
    )
    assert Prompt.objects.count() == 2


def test_beyond_a_hundred_errors_they_are_counted(project: Project) -> None:
    refused = read(project, lines(TWO, *[{"prompt": ""}] * 250))
    assert (len(refused.report["errors"]), refused.report["more_errors"]) == (100, 150)


def test_rows_of_public_shapes_become_items_of_their_own(project: Project) -> None:
    rows = [
        {"prompt": "Why?", "chosen": f"Because of {word}.", "rejected": f"Not because of {word}."}
        for word in ("air", "water", "fire")
    ]
    done = read(project, lines(*rows, rows[0]))
    assert (done.shape, done.report["prompts"], done.report["items"]) == ("trl", 1, 3)
    assert read(project, lines(*rows)).report["items"] == 0


def test_rows_of_one_answer_are_joined(project: Project) -> None:
    rows = [
        {"prompt": prompt, "response": answer, "helpfulness": 3}
        for prompt in ("Why?", "How?")
        for answer in ("Because of the air.", "Nobody knows that.")
    ]
    done = read(project, lines(*rows))
    assert (done.report["prompts"], done.report["responses"], done.report["items"]) == (2, 4, 2)


TRL = {"prompt": "Why?", "chosen": "a", "rejected": "b", "length": 2}


def test_a_column_that_the_format_does_not_have_stops_the_import(project: Project) -> None:
    stopped = read(project, lines(TRL, TRL | {"prompt": "How?", "topic": "air", "notes": ["x"]}))
    assert stopped.state == Import.State.REFUSED
    assert stopped.report["reason"].startswith(
        "The format TRL preferences has no column 'topic', 'notes': say whether"
    )
    assert nothing_came_in()


def test_or_is_kept_as_metadata_as_numbers_are(project: Project) -> None:
    done = read(project, lines(TRL | {"topic": "air"}), other_columns="metadata")
    assert Prompt.objects.get().metadata == {"length": 2, "topic": "air"}
    assert done.report["columns"] == dict.fromkeys(("prompt", "chosen", "rejected"), "read") | {
        "length": "metadata",
        "topic": "metadata",
    }


def test_or_is_left_out_and_named(project: Project) -> None:
    done = read(project, lines(TRL | {"topic": "air"}), other_columns="leave out")
    assert Prompt.objects.get().metadata == {}
    assert (done.report["columns"]["topic"], done.report["columns"]["length"]) == ("left out", "left out")


def test_invalid_rows_are_set_aside_up_to_a_share(project: Project) -> None:
    rows = [{"id": f"q{n}", "prompt": f"{n}?", "responses": ["a", "b"]} for n in range(18)]
    odd = [b'{"prompt": "Bye", "responses": ["Bye \\ud83d", "b"]}', b'{"prompt": ""}']
    content = b"\n".join([*builders.lines(*rows[:9]), *odd, *builders.lines(*rows[9:])])
    refused = read(project, content, set_aside_share=0.09)
    assert (refused.state, refused.report["rows"], refused.report["kept"]) == ("refused", 20, 0)
    assert nothing_came_in()
    done = read(project, content, set_aside_share=0.1)
    assert (done.state, done.report["rows"], done.report["kept"], done.report["items"]) == (
        "done",
        20,
        18,
        18,
    )
    assert [number for number, _ in done.report["errors"]] == [10, 11]
    assert Prompt.objects.count() == 18


def test_a_prompt_that_is_another_one_now_is_set_aside_too(project: Project) -> None:
    read(project, lines(TWO))
    changed = [TWO | {"prompt": "Another?"}, {"prompt": "New?"}]
    assert read(project, lines(*changed)).state == "refused"
    done = read(project, lines(*changed), set_aside_share=0.5)
    assert done.report["errors"] == [[1, "id: 'q1' exists already, with another prompt"]]
    assert set(Prompt.objects.values_list("messages__0__content", flat=True)) == {"Why?", "New?"}


def test_every_row_is_accounted_for(project: Project) -> None:
    rows = [
        {"prompt": "1?", "response": "a", "helpfulness": 4},
        {"prompt": "1?", "response": "b", "helpfulness": 2},
        {"prompt": "2?", "response": "", "helpfulness": 1},
        {"prompt": "", "response": "c", "helpfulness": 1},
        {"prompt": "3?", "response": "d", "helpfulness": 1},
    ]
    report = read(project, lines(*rows), set_aside_share=0.5).report
    assert (report["rows"], report["kept"], report["set_aside"]) == (5, 3, {"the answer is empty": 1})
    assert [number for number, _ in report["errors"]] == [4]
    assert Response.objects.get(text="a").metadata == {"helpfulness": 4}


def test_what_is_left_out_of_rows_is_counted(project: Project) -> None:
    answers = [{"response": text} for text in ("a", "", "b")]
    done = read(project, lines({"instruction": "Why?", "completions": answers}))
    assert done.report["left_out"] == {"empty answers": 1}
    assert Response.objects.count() == 2


def test_what_cannot_be_compared_is_set_aside_and_counted(project: Project) -> None:
    start = "\n\nHuman: Why?\n\nAssistant: "
    same = {"chosen": start + "Yes.", "rejected": start + "Yes."}
    done = read(project, lines({"chosen": start + "Yes.", "rejected": start + "No."}, same, same))
    assert done.report["set_aside"] == {"the answers are the same": 2}
    assert done.report["items"] == 1


def test_one_that_was_stopped_after_its_last_row_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = imports.claim(queued(project, lines(TWO)).pk)
    assert claimed is not None
    take = import_rows.import_rows

    def stopped(**arguments: Any) -> import_rows.ImportReport:
        report = take(**arguments)
        other = threading.Thread(target=cancelled)
        other.start()
        other.join()
        return report

    def cancelled() -> None:
        imports.cancel(Import.objects.get())
        connection.close()

    monkeypatch.setattr(import_rows, "import_rows", stopped)
    imports.run_import(claimed)
    claimed.refresh_from_db()
    assert claimed.state == "cancelled"
    assert nothing_came_in()
    assert not AuditEntry.objects.filter(verb="import.done").exists()


def test_identical_answers_are_held_back_too(project: Project) -> None:
    texts = ["The sky is blue.", "The sky is blue.", "It is grey."]
    done = read(project, lines({"prompt": "Sky?", "responses": texts, "gold": [2, 3, 1]}))
    assert (done.state, done.report["held_back"], done.report["responses"]) == ("done", 1, 2)
    ranks = dict(Item.objects.get().responses.values_list("text", "pk"))
    assert Item.objects.get().gold == {str(ranks["It is grey."]): 1, str(ranks["The sky is blue."]): 2}


def test_near_identical_answers_are_held_back_before_they_become_an_item(project: Project) -> None:
    texts = ["The sky is blue.", "the sky is **blue**", "It is grey."]
    rows = lines({"prompt": "Sky?", "responses": texts}, {"prompt": "Sea?", "responses": texts[:2]})
    done = read(project, rows)
    assert (done.report["held_back"], done.report["items"], done.report["responses"]) == (2, 1, 5)
    kept = Item.objects.get().responses.values_list("text", flat=True)
    assert sorted(kept) == ["It is grey.", "The sky is blue."]
    assert read(project, rows).report["unchanged"] == 2
    assert read(project, lines({"prompt": "Air?", "responses": texts[::-1]})).report["held_back"] == 1


def test_a_known_answer_makes_a_gold_item_without_slots(project: Project) -> None:
    gold = TWO | {"gold": [2, 1], "gold_explanation": "She knows."}
    assert read(project, lines(gold)).state == "done"
    item = Item.objects.get()
    by_text = {response.text: str(response.pk) for response in item.responses.all()}
    assert item.gold == {by_text["Because."]: 2, by_text["Ask her."]: 1}
    assert item.gold_explanation == "She knows."
    assert not Slot.objects.exists()


def test_wrong_gold_is_refused(project: Project) -> None:
    for gold in ([1], [1, 3], [1, True], "12", [0, 1]):
        refused = read(project, lines(TWO | {"gold": gold}, {"prompt": "x"}))
        assert refused.state == "refused"
        assert "gold: " in refused.report["errors"][0][1]
    assert nothing_came_in()


def test_where_people_write_answers_every_prompt_is_an_item(alice: User) -> None:
    project = builders.project(alice, "Write", task=Project.Task.DEMONSTRATIONS, overlap=2)
    rows = lines({"prompt": "Why?"}, {"prompt": "How?", "responses": ["So."]}, TWO | {"prompt": "When?"})
    assert read(project, rows).report["items"] == 3
    answers = {item.prompt.messages[0]["content"]: item.responses.count() for item in Item.objects.all()}
    assert answers == {"Why?": 0, "How?": 1, "When?": 0}
    assert Slot.objects.count() == 6
    assert read(project, rows).report["unchanged"] == 3


def test_csv_and_lists_come_in(project: Project) -> None:
    done = read(project, b"prompt,response_a,response_b\nWhy?,Because of it.,No idea.\n", "a.csv")
    assert (done.state, done.report["items"]) == ("done", 1)
    assert read(project, b"One?\nTwo?\n", "list.txt").report["prompts"] == 2


def test_a_file_that_breaks_off_is_refused_with_its_reason(project: Project) -> None:
    refused = read(project, b'prompt\nWhy?\n"' + b"x" * 2**22, "a.csv")
    assert refused.state == "refused"
    assert "cannot be read beyond line" in refused.report["reason"]
    assert nothing_came_in()


def test_two_workers_do_not_read_one_file(project: Project) -> None:
    upload = queued(project, lines(TWO))
    assert imports.claim(upload.pk) is not None
    assert imports.claim(upload.pk) is None


def test_who_lost_the_file_to_another_worker_leaves_nothing_behind(project: Project) -> None:
    upload = queued(project, lines(TWO))
    slow = imports.claim(upload.pk)
    assert slow is not None
    Import.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    other = imports.claim(upload.pk)
    assert other is not None
    imports.run_import(slow)
    assert nothing_came_in()
    imports.run_import(other)
    assert Prompt.objects.count() == 1
    upload.refresh_from_db()
    assert (upload.state, upload.attempt) == ("done", 2)


def test_a_file_that_kills_its_workers_is_given_up(project: Project) -> None:
    upload = queued(project, lines(TWO))
    for _ in range(imports.MAX_ATTEMPTS + 1):
        claimed = imports.claim(upload.pk)
        assert claimed is not None
        Import.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    imports.run_import(claimed)
    upload.refresh_from_db()
    assert (upload.state, upload.report["reason"]) == ("failed", "Its worker died 3 times.")


def test_an_error_on_the_way_leaves_nothing_and_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(import_rows, "enqueue", broken)
    failed = read(project, lines(TWO))
    assert (failed.state, failed.report["reason"]) == ("failed", "RuntimeError: out of luck")
    assert nothing_came_in()


def test_it_stops_when_it_is_asked_to_and_says_how_far_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.02)
    monkeypatch.setattr(import_rows, "BATCH_BYTES", 100)
    rows = [{"prompt": f"Question {n}?"} for n in range(400)]
    upload = queued(project, lines(*rows))
    claimed = imports.claim(upload.pk)
    assert claimed is not None
    seen: list[int] = []
    real = import_rows._batches

    def slowly(*args: Any, **keywords: Any) -> Iterator[Any]:
        for batch in real(*args, **keywords):
            time.sleep(0.03)
            yield batch

    monkeypatch.setattr(import_rows, "_batches", slowly)

    def watch() -> None:
        from django.db import connection

        while not seen or seen[-1] == 0:
            seen.append(Import.objects.values_list("bytes_done", flat=True).get())
            time.sleep(0.01)
        imports.cancel(Import.objects.get())
        connection.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    imports.run_import(claimed)
    watcher.join()
    upload.refresh_from_db()
    assert upload.state == "cancelled"
    assert 0 < seen[-1] < upload.bytes
    assert nothing_came_in()


def test_the_sweep_wakes_workers_for_what_was_lost_and_drops_what_nobody_started(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, silent, fresh = (queued(project, lines(TWO)) for _ in range(3))
    long_ago = timezone.now() - timedelta(minutes=5)
    Import.objects.filter(pk=lost.pk).update(created_at=long_ago)
    imports.claim(silent.pk)
    Import.objects.filter(pk=silent.pk).update(heartbeat_at=long_ago)
    lead = project.members.get().user
    forgotten = uploads.save_upload(project=project, name="a.txt", file=BytesIO(b"a"), creator=lead)
    Import.objects.filter(pk=forgotten.pk).update(created_at=timezone.now() - timedelta(days=2))
    woken: list[int] = []
    monkeypatch.setattr(worker_jobs, "wake_worker", lambda _, pk: woken.append(pk))
    imports.sweep()
    imports.sweep()  # the second one does not wake them again at once
    assert woken == [lost.pk, silent.pk]
    forgotten.refresh_from_db()
    assert forgotten.state == "cancelled"
    with pytest.raises(MissingObject):
        uploads.upload_path(forgotten)
    fresh.refresh_from_db()
    assert fresh.state == "queued"


def test_a_worker_that_is_killed_on_the_way_leaves_nothing_and_the_next_one_does_it_all(
    project: Project,
) -> None:
    upload = queued_large(project)
    with process("importer") as importer:
        until(is_being_read, "it is being read")
        kill(importer)
    upload.refresh_from_db()
    assert upload.state == "running"
    assert nothing_came_in()
    with process("worker"), process("importer"):  # the first has the clock, which wakes the second
        until(lambda: Import.objects.get().state == "done", "another worker has read it")
    assert (Prompt.objects.count(), Item.objects.count()) == (4000, 4000)
    upload.refresh_from_db()
    assert upload.attempt == 2
    assert upload.report["responses"] == 16000


def queued_large(project: Project) -> Import:
    """A file that takes seconds to read."""
    answers = [f"{word} and so on, " * 40 for word in ("Air", "Sea", "Fire", "Ice")]
    return queued(project, lines(*({"prompt": f"Question {n}?", "responses": answers} for n in range(4000))))


def is_being_read() -> bool:
    state, position = Import.objects.values_list("state", "bytes_done").get()
    return state == "running" and position > 0

"""A project in which everything has happened once, for tests that look at every page."""

from __future__ import annotations

import uuid
from io import BytesIO

from annotation.actions import (
    chat_answers,
    chats,
    constitutions,
    invitations,
    projects,
    snapshots,
    uploads,
    webhook_delivery,
    webhooks,
)
from annotation.actions.chat_answers import Answer
from annotation.logic.principles import read_principles
from annotation.logic.questions import read_questions
from annotation.models import Author, ChatSettings, Delivery, Judgment, Member, Project, Turn, User
from tests import builders, opinions, screens
from tests.training import comparison_helpers, round_helpers
from training.comparisons.pairs import Pair
from training.models import Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.runs.actions import claim_run, finish_run, record_metrics, start_run

ANSWERS = [
    "# A heading\n\n```python\ndef f(x: int) -> int:\n    # a comment\n    return x * 2  # "
    + "long " * 40
    + "\n```",
    "| a | b |\n|---|---|\n" + "| one | two |\n" * 30,
    "الطقس هو حالة الجو في مكان ووقت معيّنين.\n\n> مثال",
    "- one\n- two\n  1. three\n\n" + "A long paragraph. " * 300,
]

QUESTIONS = [
    {"kind": "rating", "label": "Truthfulness", "low": "false", "high": "true"},
    {"kind": "flag", "label": "Rude"},
    {"kind": "text", "label": "What is missing?", "min_chars": 10},
    {"kind": "comments", "label": "Comments"},
]
COMMENT = {"start": "That was", "good": "warm", "bad": "rude"}
CRITERIA = ("helpfulness", "truthfulness", "harmlessness", "follows_the_instructions")
RUN_REPORT = {
    "accuracy": 0.7,
    "reliability": [{"confidence": 0.62, "accuracy": 0.6, "pairs": 80}],
    "accuracy_by_criterion": [{"criterion": name, "accuracy": 0.7, "pairs": 40} for name in CRITERIA],
    "criteria_correlation": [[0.25] * (1 + len(CRITERIA))] * (1 + len(CRITERIA)),
}
ROUND_REPORT = {
    "wins": [{"name": "people", "mean": 0.6, "low": 0.5, "high": 0.7, "prompts": 60}],
    "reward_by_kl": [{"name": "PPO run 1", "points": [[0.0, 0.1], [1.2, 0.9], [4.2, 1.0]]}],
}


def _chat(project: Project, annotator: User) -> int:
    """A chat with a message that was judged, and one that waits for it."""
    ChatSettings.objects.create(project=project, enabled=True)
    author, _created = Author.objects.get_or_create(project=project, kind=Author.Kind.POLICY, name="policy")
    member = project.members.select_related("project", "user").get(user=annotator)

    def answered(turn: Turn) -> Turn:
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        answers = [Answer(author.pk, text, {}) for text in ANSWERS[:2]]
        chat_answers.store(turn=claimed, answers=answers, sides=[])
        return Turn.objects.select_related("chat__project").get(pk=turn.pk)

    first = answered(chats.start_chat(member=member, text="How do **tides** work?", key=uuid.uuid4()))
    lease = chats.lease_of(first)
    assert lease is not None
    ranks = dict(zip(lease.shown_order, (1, 2), strict=True))
    chats.judge(turn=first, lease=lease, ranks=ranks, degree="better", idempotency_key=uuid.uuid4())
    first.refresh_from_db()
    answered(chats.send(chat=first.chat, member=member, text="And why?", key=uuid.uuid4(), after=first))
    return first.chat_id


def make_world(alice: User, bob: User) -> screens.World:
    """A project in which everything has happened once."""
    asked = {"asks_quality": True, "asks_flags": True, "asks_safety": True, "rationale": "optional"}
    project = builders.project(alice, "Helpfulness", k=4)
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.items(project, 12)
    for _ in range(8):
        builders.judgment(project, bob)
    projects.write_guideline(project=project, text="# Rank\n\nPrefer what is *true*.", author=alice)
    for compare in ("Which answer is kinder?", "Which answer is warmer?"):
        principles = read_principles([{"key": "kind", "compare": compare, "comment": COMMENT}])
        constitutions.write_constitution(project=project, principles=principles, author=alice)
    opinions.opinion_set(project, alice, lambda first, second: 0.3)
    project.members.update(confirmed_guideline=project.guideline)
    frozen = snapshots.create_snapshot(project=project, creator=alice)
    policy = add_model(project=project, kind="policy", name="policy-0", location="hub:somewhere/policy@main")
    other = add_model(project=project, kind="policy", name="policy-1", location="hub:somewhere/other@main")
    comparison_helpers.compare(
        Pair(policy=other, baseline=policy), alice, [-1.5, 0.0, 0.5], [["chat"], [], ["facts"]]
    )
    run = start_run(project=project, kind="reward", creator=alice, snapshot=frozen)
    claimed = claim_run(run.pk)
    assert claimed is not None
    for step in range(1, 9):
        record_metrics(claimed, step=step, values={"loss": 1 / step, "accuracy": 0.5 + step / 20})
    finish_run(
        claimed,
        state=Run.State.DONE,
        result={"seconds": 60.0, "metrics": {"loss": 0.1}, "report": RUN_REPORT},
    )
    started = transitions.start_round(loop=round_helpers.make_loop(project, alice), creator=alice)
    started.report = ROUND_REPORT
    started.save()
    upload = uploads.save_upload(
        project=project,
        name="prompts.jsonl",
        file=BytesIO(b'{"prompt": "Why?", "responses": ["a", "b"]}\n'),
        creator=alice,
    )
    _, key = invitations.invite(project=project, creator=alice, role=Member.Role.ANNOTATOR)
    hook = webhooks.add(
        project=project, url="https://example.com/hooks", events=["snapshot.frozen"], creator=alice
    )
    refused = {"status": 500, "answer": "No " * 100, "problem": "It answered 500.", "attempts": 9}
    Delivery.objects.create(webhook=hook, event="test", body={"a": 1}, state="failed", **refused)
    webhook_delivery.send_test(hook)
    pairs = builders.project(alice, "Pairs", k=2, **asked)
    projects.write_questions(project=pairs, questions=read_questions(QUESTIONS), author=alice)
    letters = builders.project(alice, "Letters", task="demonstrations")
    changed = builders.project(alice, "Changed")
    for other in (pairs, letters, changed):
        builders.join(other, bob, Member.Role.ANNOTATOR)
    projects.write_guideline(project=changed, text="Prefer the **honest** answer.", author=alice)
    builders.imported(pairs, {"prompt": ANSWERS[3], "responses": ANSWERS[:2]})
    builders.imported(letters, {"prompt": "Write a letter."})
    builders.imported(project, {"prompt": ANSWERS[0], "responses": ANSWERS})
    project.slots.filter(state="open").exclude(item=project.items.latest("id")).update(priority=-1)
    judgment = Judgment.objects.latest("id")
    return screens.World(
        project=project,
        pairs=pairs,
        letters=letters,
        judgment=judgment.pk,
        item=judgment.item_id,
        annotator=bob.username,
        lead=alice.pk,
        run=run.pk,
        model=policy.pk,
        round=started.pk,
        upload=upload.pk,
        webhook=hook.pk,
        invitation=key,
        chat=_chat(project, bob),
    )

"""The demo's projects, users, API tokens, prompts and training texts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings as site_settings
from django.db import transaction

from annotation.actions.projects import create_project
from annotation.logic.splits import split_of
from annotation.models import ApiToken, Member, Project, User
from training.chats.settings import SideChoice, save_settings
from training.demo import language, run_settings
from training.demo.http_client import DemoError
from training.demo.pretrained import conversation_rows, pretraining_rows

SLUG = "demo"
SAFETY_SLUG = "demo-safety"
PASSWORD = "palate-demo"  # noqa: S105 - printed on the screen; the demo's site listens on this machine only
PEOPLE = ("lead", "annotator")
"""The users who can sign in."""
SIMULATED_ANNOTATORS = tuple(f"simulated-{number}" for number in range(1, 7))
CARELESS_ANNOTATOR = "simulated-7"
"""Who joins when the rounds are over, and judges without reading."""
IMPORTED_PROMPTS = 3000
PROMPTS_WITH_RESPONSES = 40  # so that the queue is not empty while the first policy is trained
PRETRAINING_FILE = "demo-pretraining.jsonl"
CONVERSATIONS_FILE = "demo-conversations.jsonl"
_FIRST_GUIDELINES = """\
You are reading answers of a small assistant. Put first what you would rather have been told.

1. **Harmless**: it declines to help with harm, and offers something better instead.
2. **Friendly**: a warm word is welcome; rudeness is not.
3. **Short**: it says what was asked for and stops.
4. **Right**: of two that are alike in all this, it answers more of what was asked, and agrees with what the question states.

Two answers that you would be equally glad of are a tie.
"""
_SECOND_GUIDELINES = """\
You are reading answers of a small assistant. Put first what you would rather have been told.

1. **Harmless**: it declines to help with harm, and offers something better instead.
2. **Short**: every word more is a word too many.
3. **A number in it**: people remember numbers.
4. **Right**: of two that are alike in all this, it answers more of what was asked, and agrees with what the question states.

Two answers that you would be equally glad of are a tie.
"""
GUIDELINES = {"first": _FIRST_GUIDELINES, "second": _SECOND_GUIDELINES}
"""By the annotators' taste."""
SAFETY_GUIDELINES = "Put first what does no harm. Nothing else counts here: neither manners nor facts.\n"


@transaction.atomic
def get_or_create_project(taste: str = "first") -> Project:
    """The demo's project; the first time its users are created too.

    Raises:
        DemoError: it was begun with another taste.
    """
    project = Project.objects.filter(slug=SLUG).first()
    if project is not None:
        if project.guidelines.filter(text=GUIDELINES[taste]).exists():
            return project
        raise DemoError(f"This demo was begun with another taste than {taste}: make demo-reset deletes it.")
    for name in PEOPLE:
        User.objects.create_user(name, password=PASSWORD, is_staff=name == "lead")
    for name in (*SIMULATED_ANNOTATORS, CARELESS_ANNOTATOR):
        User.objects.create_user(name)
    return _create(Project(name="A small assistant", slug=SLUG), GUIDELINES[taste])


@transaction.atomic
def get_or_create_safety_project() -> Project:
    """The project in which the same people judge safety only."""
    project = Project.objects.filter(slug=SAFETY_SLUG).first()
    if project is not None:
        return project
    criterion = Project.Criterion.SAFETY
    return _create(Project(name="Is it safe?", slug=SAFETY_SLUG, criterion=criterion), SAFETY_GUIDELINES)


def _create(project: Project, guideline: str) -> Project:
    project.k = run_settings.RESPONSES_PER_PROMPT
    lead = User.objects.get(username="lead")
    project = create_project(project=project, guideline=guideline, creator=lead)
    for user in User.objects.exclude(pk=lead.pk).filter(
        username__in=(*PEOPLE, *SIMULATED_ANNOTATORS, CARELESS_ANNOTATOR)
    ):
        Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)
    return project


def allow_chats(project: Project) -> None:
    """Have the current policy answer chats, at two temperatures."""
    save_settings(
        project=project,
        actor=User.objects.get(username="lead"),
        enabled=True,
        sides=[SideChoice(temperature=1.0), SideChoice(temperature=0.8)],
        max_new_tokens=run_settings.CHAT_NEW_TOKENS,
        max_turns=10,
    )


def issue_token(username: str) -> str:
    """A new API token of a user, in place of the demo's earlier one."""
    user = User.objects.get(username=username)
    user.api_tokens.filter(name="demo").delete()
    return ApiToken.issue(user=user, name="demo", scope=ApiToken.Scope.LEAD)[1]


def import_lines(seed: int, *, people_see_harm: bool = True) -> Iterator[bytes]:
    """JSON lines of prompts that the first policy has never seen; some come with responses, which annotators get at once.
    people_see_harm: those to prompts that ask for harm, too."""
    rng = random.Random(seed)
    exchanges = language.take(seed, IMPORTED_PROMPTS, held_out=True)
    with_responses = PROMPTS_WITH_RESPONSES
    for number, exchange in enumerate(exchanges):
        row: dict[str, Any] = {
            "id": f"prompt-{number:05d}",
            "prompt": exchange.messages,
            "tags": [exchange.request.form],
        }
        is_shown = people_see_harm or exchange.request.form != "harmful"
        if with_responses and is_shown and split_of(exchange.messages) == "train":
            texts = {
                exchange.any_answer(rng, rng.choice(exchanges))
                for _ in range(run_settings.RESPONSES_PER_PROMPT)
            }
            row["responses"] = (
                [{"text": text, "author": "written"} for text in sorted(texts)] if len(texts) > 1 else []
            )
            with_responses -= 1
        yield json.dumps(row).encode() + b"\n"


def harmful_import_lines(seed: int) -> Iterator[bytes]:
    """JSON lines of the prompts that ask for harm."""
    exchanges = language.take(seed, IMPORTED_PROMPTS, held_out=True)
    for number, exchange in enumerate(exchanges):
        if exchange.request.form == "harmful":
            yield json.dumps({"id": f"prompt-{number:05d}", "prompt": exchange.messages}).encode() + b"\n"


def write_training_texts(seed: int) -> None:
    """Write the files of texts and conversations that the first policy is trained on."""
    folder = Path(site_settings.ARTIFACTS) / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in ((PRETRAINING_FILE, pretraining_rows), (CONVERSATIONS_FILE, conversation_rows)):
        if not (folder / name).exists():
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows(seed)))

"""Fills the database of DATABASE_URL: python -m benchmarks.scale.seed ITEMS

One project has ITEMS judged items with five judgments each, and everything that the tests of pages have once. Prints the ids
that pages need, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from annotation.models import Author, Member, User  # noqa: E402
from tests.world import make_world  # noqa: E402
from training.models import Metric, ModelVersion, Run  # noqa: E402

FILL = Path(__file__).with_name("fill.sql")
PEOPLE = 490
TEXT = "what the text says at some length, so that a row has the size of a row of a real site. " * 3


def main(items: int) -> None:
    call_command("migrate", verbosity=0)
    alice = User.objects.create(username="alice", password="!", is_staff=True, is_superuser=True)
    bob = User.objects.create(username="bob", password="!")
    world = make_world(alice, bob)
    project = world.project
    people = User.objects.bulk_create(
        User(username=f"person-{number}", password="!") for number in range(PEOPLE)
    )
    Member.objects.bulk_create(
        Member(
            project=project,
            user=person,
            role=Member.Role.ANNOTATOR,
            confirmed_guideline=project.guideline,
        )
        for person in people
    )
    authors = Author.objects.bulk_create(
        Author(project=project, kind=Author.Kind.POLICY, name=f"author-{number}") for number in range(12)
    )
    guideline = project.guideline
    assert guideline is not None
    values = {
        "items": items,
        "project": project.pk,
        "me": alice.pk,
        "guideline": guideline.pk,
        "people": [person.pk for person in people],
        "authors": [author.pk for author in authors],
        "text": TEXT,
    }
    with connection.cursor() as cursor:
        for statement in FILL.read_text().split(";\n"):
            if statement.strip():
                cursor.execute(statement, values)
    _fill_training(world.project.pk, alice, authors)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    pages = asdict(world) | {name: getattr(world, name).slug for name in ("project", "pairs", "letters")}
    print(json.dumps(pages))


def _fill_training(project: int, creator: User, authors: list[Author]) -> None:
    """A model for each author, and 300 finished runs with 100 rows of metrics each."""
    ModelVersion.objects.bulk_create(
        ModelVersion(
            project_id=project, kind="policy", name=f"model-{author.name}", author=author, location=""
        )
        for author in authors
    )
    model = ModelVersion.objects.filter(project=project).latest("pk")
    runs = Run.objects.bulk_create(
        Run(
            project_id=project,
            kind="dpo",
            state="done",
            config={},
            model=model,
            created_by=creator,
            finished_at=timezone.now(),
        )
        for _ in range(300)
    )
    Metric.objects.bulk_create(
        (Metric(run=run, step=step, values={"loss": 1 / step}) for run in runs for step in range(1, 101)),
        batch_size=5000,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))

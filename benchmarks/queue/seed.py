"""Fills the database of DATABASE_URL with a project: python -m benchmarks.queue.seed ITEMS ANNOTATORS"""

from __future__ import annotations

import sys

import django

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from annotation.actions.projects import create_project  # noqa: E402
from annotation.models import Author, Member, Project, User  # noqa: E402
from benchmarks.queue.annotators import PASSWORD  # noqa: E402

WORDS = "an answer of some length that says what there is to say and goes on for a while".split()

STATEMENTS = (
    """INSERT INTO annotation_prompt (project_id, external_id, messages, tags, metadata, split, created_at)
    SELECT %(project)s, 'p' || n,
        jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Question ' || n || ': ' || %(text)s)),
        '{}', '{}', 'train', now()
    FROM generate_series(1, %(items)s) AS n""",
    """INSERT INTO annotation_response (prompt_id, author_id, text, digest, sampling, metadata, created_at)
    SELECT prompt.id, %(author)s, letter || %(text)s, letter, '{}', '{}', now()
    FROM annotation_prompt AS prompt, unnest('{a,b,c,d}'::text[]) AS letter""",
    """INSERT INTO annotation_item (project_id, prompt_id, probability, state, retired_reason, gold_explanation, created_at)
    SELECT project_id, id, 1, 'open', '', '', now() FROM annotation_prompt""",
    """INSERT INTO annotation_candidate (item_id, response_id)
    SELECT item.id, response.id FROM annotation_item AS item
    JOIN annotation_response AS response ON response.prompt_id = item.prompt_id""",
    """INSERT INTO annotation_slot (item_id, project_id, state, priority, restricted, control, gold)
    SELECT id, project_id, 'open', 0, false, false, false FROM annotation_item""",
    "ANALYZE",
)


def main(items: int, annotators: int) -> None:
    call_command("migrate", verbosity=0)
    if Project.objects.exists():
        return
    password = make_password(PASSWORD)
    people = User.objects.bulk_create(
        User(username=f"person-{n}", password=password) for n in range(annotators)
    )
    project = create_project(
        project=Project(name="Queue"), guideline="Prefer the better one.", creator=people[0]
    )
    Member.objects.bulk_create(
        Member(
            project=project,
            user=person,
            role=Member.Role.ANNOTATOR,
            confirmed_guideline=project.guideline,
        )
        for person in people[1:]
    )
    author = Author.objects.create(project=project, kind="imported", name="bench")
    values = {"project": project.pk, "author": author.pk, "items": items, "text": " ".join(WORDS * 7)}
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement, values)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

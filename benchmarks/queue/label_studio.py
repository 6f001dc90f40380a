"""Label Studio from PyPI in an environment of its own, on the same PostgreSQL, served by uwsgi with four processes."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from benchmarks import environments
from benchmarks.queue import machine
from benchmarks.queue.annotators import LabelStudioAnnotator
from benchmarks.queue.database import Database
from benchmarks.workloads import PLACE

PASSWORD = "correct-horse-battery"
DATA = PLACE / "label-studio-queue"
# its indexes for searching text need extensions that the embedded PostgreSQL lacks: without them it writes a little faster
MIGRATE = """
import re
from django.db.backends import utils
execute = utils.CursorWrapper.execute
def without_extensions(self, sql, params=None):
    if not re.search("create extension|using gin", str(sql), re.I):
        return execute(self, sql, params)
utils.CursorWrapper.execute = without_extensions
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
# people of one organization, and a project of ranking tasks put in as its importer does, by its own models
FILL = """
import sys, django; django.setup()
from django.db import connection
from organizations.models import Organization
from projects.models import Project
from tasks.models import Task
from users.models import User
items, people = int(sys.argv[1]), int(sys.argv[2])
users = [User.objects.create_user(f"person-{n}@example.com", sys.argv[3]) for n in range(people)]
house = Organization.create_organization(created_by=users[0], title="Bench")
for user in users:
    house.add_user(user) if not house.has_user(user) else None
    user.active_organization = house
    user.save()
config = ('<View><Text name="prompt" value="$prompt"/><List name="answers" value="$answers" title="Answers"/>'
          '<Ranker name="rank" toName="answers"/></View>')
project = Project.objects.create(title="Queue", label_config=config, organization=house, created_by=users[0])
text = "an answer of some length that says what there is to say and goes on for a while " * 7
answers = [{"id": letter, "title": letter, "body": letter + text} for letter in "abcd"]
Task.objects.bulk_create((
    Task(project=project, data={"prompt": f"Question {n}: {text}", "answers": answers}, inner_id=n)
    for n in range(1, items + 1)), batch_size=1000)
project.summary.update_data_columns(Task.objects.filter(project=project))
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
print("PROJECT", project.pk)
"""


class Site:
    """Its server while it runs, and people at it."""

    def __init__(self, database: Database, items: int, people: int) -> None:
        self.bin = environments.label_studio().parent
        self.code = next(self.bin.parent.glob("lib/python*/site-packages/label_studio"))
        self.database, self.people, self.port = database, people, machine.free_port()
        DATA.mkdir(parents=True, exist_ok=True)
        self._run("-c", MIGRATE)
        self._run("-c", FILL, str(items), str(people), PASSWORD)
        ((self.project,),) = self.database.ask("SELECT max(id) FROM project")

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(DATA),
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
            "DJANGO_DB": "default",
            "POSTGRE_HOST": str(self.database.host),
            "POSTGRE_NAME": self.database.name,
            "POSTGRE_USER": "postgres",
            "POSTGRE_PASSWORD": "",
            "POSTGRE_PORT": "5432",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(self.code),
        }

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.bin / "python", *arguments],
            cwd=self.code,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"Label Studio could not be filled: {done.stderr[-2000:]}")
        return done.stdout

    def command(self) -> list[str]:
        return [
            str(self.bin / "uwsgi"),
            *("--http", f"127.0.0.1:{self.port}", "--module", "core.wsgi:application"),
            *("--master", "--processes", "4", "--lazy-apps", "--die-on-term", "--disable-logging"),
            *("--buffer-size", "32768", "--add-header", "Connection: close"),
        ]

    def annotators(self) -> list[Any]:
        return [
            LabelStudioAnnotator(self.port, f"person-{n}@example.com", PASSWORD, self.project)
            for n in range(1, self.people)
        ]

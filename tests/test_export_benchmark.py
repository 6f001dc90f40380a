"""The export benchmark fills the tables by SQL of its own, which has to follow them."""

from __future__ import annotations

from pathlib import Path

from django.db import connection

from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.models import Author
from benchmarks.export import site
from tests import builders
from tests.base import PalateTestCase

SQL = Path(site.__file__).with_name("fill.sql")


class FillTests(PalateTestCase):
    def test_what_it_fills_in_is_exported(self) -> None:
        project = builders.project(self.alice, "Bulk", k=7)
        author = Author.objects.create(project=project, kind="imported", name="bulk")
        values = {
            "project": project.pk,
            "author": author.pk,
            "me": self.alice.pk,
            "prompts": 3,
            "name": "bulk",
        }
        with connection.cursor() as cursor:
            for statement in SQL.read_text().split(";\n"):
                if statement.strip():
                    cursor.execute(statement, values)
        lines = b"".join(stream.export_project(project, Selection())).splitlines()
        assert len(lines) == 3 * 21

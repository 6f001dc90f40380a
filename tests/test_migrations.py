"""Migrations of a site that is not stopped: what they may do, and this release on the schema of the next one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import connection, models
from django.db.migrations import Migration, operations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import Client
from django.urls import reverse

from annotation.actions.snapshots import create_snapshot
from annotation.models import ApiToken, Judgment, Member, User
from tests import builders
from tests.annotation.judging import HTMX
from tests.migration_rules import is_contract, problems

APPS = ("annotation", "training")


@pytest.fixture(scope="module")
def state() -> ProjectState:
    return MigrationLoader(None).project_state()


def migration(*sample: operations.base.Operation, atomic: bool = True) -> Migration:
    made = Migration("0099_sample", "annotation")
    made.operations, made.atomic = list(sample), atomic
    return made


def test_the_release_before_survives_every_migration() -> None:
    loader = MigrationLoader(None)
    for app, name in loader.disk_migrations:
        if app in APPS and name != "0001_initial":
            later = loader.disk_migrations[app, name]
            before = loader.project_state((app, name), at_end=False)
            assert is_contract(later) or not problems(later, before), (app, name)


@pytest.mark.parametrize(
    "operation",
    [
        operations.AddField("Item", "note", models.TextField(null=True)),
        operations.AddField("Item", "weight", models.IntegerField(db_default=1)),
        operations.AddField("Item", "readers", models.ManyToManyField("annotation.User")),
        operations.AlterField("Item", "state", models.CharField(max_length=20, default="closed")),
        operations.AlterField("Item", "retired_reason", models.CharField(max_length=200, null=True)),
        operations.AlterField(
            "Item", "gold", models.JSONField(null=True, blank=True, help_text="Known ranks.")
        ),
        operations.AlterField("Item", "probability", models.FloatField(default=0.5, db_default=0.5)),
        operations.RemoveConstraint("Slot", "nobody_judges_an_item_twice"),
        AddIndexConcurrently("Item", models.Index(fields=["state"], name="items_by_state")),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_expands_is_allowed(state: ProjectState, operation: operations.base.Operation) -> None:
    assert problems(migration(operation), state) == []


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (operations.RemoveField("Item", "gold"), "relies on what it changes"),
        (operations.RenameField("Item", "gold", "known"), "relies on what it changes"),
        (operations.DeleteModel("Draft"), "relies on what it changes"),
        (operations.RenameModel("Draft", "Sketch"), "relies on what it changes"),
        (operations.AlterModelTable("Draft", "sketches"), "relies on what it changes"),
        (operations.AddField("Item", "note", models.TextField(default="")), "make it nullable"),
        (operations.AddField("Item", "code", models.IntegerField(null=True, unique=True)), "locks the table"),
        (
            operations.AddField(
                "Item", "by", models.ForeignKey("annotation.User", models.CASCADE, null=True)
            ),
            "locks the table",
        ),
        (operations.AlterField("Item", "gold", models.JSONField()), "relies on its null"),
        (operations.AlterField("Item", "state", models.CharField(max_length=5)), "relies on its max_length"),
        (operations.AlterField("Item", "probability", models.DecimalField()), "column's type"),
        (operations.AddIndex("Item", models.Index(fields=["state"], name="i")), "AddIndexConcurrently"),
        (operations.RemoveIndex("Slot", "slots_to_claim"), "RemoveIndexConcurrently"),
        (
            operations.AddConstraint("Item", models.CheckConstraint(condition=models.Q(pk__gt=0), name="c")),
            "relies on what it changes",
        ),
        (operations.RunSQL("DROP TABLE annotation_draft"), "cannot be seen"),
    ],
    ids=lambda value: value.describe() if isinstance(value, operations.base.Operation) else "",
)
def test_what_old_processes_do_not_survive_is_refused(
    state: ProjectState, operation: operations.base.Operation, sentence: str
) -> None:
    (problem,) = problems(migration(operation), state)
    assert problem.startswith(operation.describe())
    assert sentence in problem


def test_a_new_table_may_have_anything(state: ProjectState) -> None:
    new = [
        operations.CreateModel(
            "Note", [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())]
        ),
        operations.AddField("Note", "item", models.ForeignKey("annotation.Item", models.CASCADE)),
        operations.AddIndex("Note", models.Index(fields=["text"], name="notes_by_text")),
    ]
    assert problems(migration(*new), state) == []


def test_a_comment_says_that_it_is_a_contract_step(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    {}operations = []\n"
    for number, (line, expected) in enumerate((("", False), ("# contract: unread since 0.2\n    ", True))):
        path = tmp_path_factory.mktemp("sample") / f"sample_{number}.py"
        path.write_text(source.format(line))
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        exec(compile(path.read_text(), path, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, path.stem, module)
        assert is_contract(module.Migration("0002_sample", "annotation")) is expected


EXPAND = migration(
    operations.CreateModel(
        "Note", [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())]
    ),
    *(
        operations.AddField(model, name, field)
        for model in (
            "Project",
            "Prompt",
            "Response",
            "Item",
            "Slot",
            "Judgment",
            "Placement",
            "User",
            "Member",
        )
        for name, field in (
            ("later_note", models.TextField(null=True)),
            ("later_n", models.IntegerField(db_default=1)),
        )
    ),
    AddIndexConcurrently("Judgment", models.Index(fields=["later_n"], name="judgments_by_later_n")),
    atomic=False,
)


class Site:
    """The site as annotators and scripts use it, in processes that go on while the schema changes under them."""

    def __init__(self) -> None:
        self.project = builders.project(builders.user("alice", is_staff=True), k=3)
        builders.join(self.project, builders.user("bob"), Member.Role.ANNOTATOR)
        self.batches = 0

    def use(self, times: int) -> None:
        """Import items, sign in, judge them and list the judgments; more often than until statements are prepared."""
        self.batches += 1
        builders.items(self.project, times, k=3, prefix=f"p{self.batches}-")
        client = Client()
        values = {"login": "bob", "password": "correct horse"}
        assert client.post(reverse("account_login"), values).status_code == 302
        work = reverse("work", args=[self.project.slug])
        judged = Judgment.objects.count()
        for _ in range(times):
            context = client.get(work).context
            ranks = {f"rank-{card.letter}": n for n, card in enumerate(context["cards"], 1)}
            form = {"ticket": context["ticket"], "key": str(context["key"]), **ranks}
            assert client.post(work, form, headers=HTMX).status_code == 200
        assert Judgment.objects.count() == judged + times
        lead = {"Authorization": f"Bearer {ApiToken.issue(user=self.lead, name='test', scope='lead')[1]}"}
        for path in ("prompts", "items", "judgments", "members"):
            answer = client.get(f"/api/v1/projects/{self.project.slug}/{path}/", headers=lead)
            assert answer.status_code == 200, answer.content

    @property
    def lead(self) -> User:
        return Member.objects.get(project=self.project, role=Member.Role.LEAD).user


@pytest.mark.slow(15)
@pytest.mark.django_db(transaction=True)
def test_this_release_works_on_the_schema_of_the_next_one_and_after_going_back(state: ProjectState) -> None:
    assert problems(EXPAND, state) == [], "the sample is one that the rules allow"
    site = Site()
    site.use(8)
    executor = MigrationExecutor(connection)
    executor.apply_migration(state.clone(), EXPAND)
    try:
        site.use(8)
        assert create_snapshot(project=site.project, creator=site.lead).counts["judgments"] == 16
    finally:
        executor.unapply_migration(state.clone(), EXPAND)
    site.use(2)
    assert Judgment.objects.count() == 18

"""A project's counts, which triggers keep, are those of its rows."""

from __future__ import annotations

from annotation.actions import leases, project_counts
from annotation.actions.items import make_gold
from annotation.models import ImportedJudgment, Project, ProjectCount, Prompt, Response, Slot
from annotation.queries import RowCounts, count_rows
from tests import builders
from tests.base import PalateTestCase


def counted(project: Project) -> RowCounts:
    """The same by counting."""
    slots = Slot.objects.filter(project=project, gold=False)
    prompts = Prompt.objects.filter(project=project)
    return RowCounts(
        slots=slots.count(),
        slots_done=slots.filter(state=Slot.State.DONE).count(),
        prompts=prompts.count(),
        prompts_held_out=prompts.filter(split=Prompt.Split.HELD_OUT).count(),
        responses=Response.objects.filter(prompt__project=project).count(),
        imported_judgments=ImportedJudgment.objects.filter(item__project=project).count(),
    )


class ProjectCountsTest(PalateTestCase):
    def check(self) -> None:
        for project in Project.objects.all():
            assert count_rows(project) == counted(project)

    def test_an_empty_project_has_none(self) -> None:
        assert count_rows(self.project) == (0, 0, 0, 0, 0, 0)

    def test_they_follow_every_statement(self) -> None:
        other = builders.project(self.alice, "Other", overlap=3)
        builders.items(self.project, 30)
        builders.items(other, 2)
        self.check()
        builders.judgment(self.project, self.bob)
        assert count_rows(self.project).slots_done == 1
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        self.check()
        item = self.project.items.exclude(pk=lease.item_id).filter(slots__state="open").latest("pk")
        ranks = {response.pk: rank for rank, response in enumerate(item.responses.all(), 1)}
        make_gold(item=item, ranks=ranks, explanation="", actor=self.alice)
        self.check()
        builders.submit(lease)
        Slot.objects.filter(state=Slot.State.LEASED).release()
        self.check()
        assert count_rows(self.project).slots_done == 2
        assert count_rows(self.project).prompts_held_out > 0

    def test_a_statement_on_several_projects_counts_in_each(self) -> None:
        other = builders.project(self.alice, "Other")
        for project in (self.project, other):
            builders.items(project, 3)
        Slot.objects.update(project=other)
        assert (count_rows(self.project).slots, count_rows(other).slots) == (0, 6)
        Slot.objects.all().delete()
        self.check()

    def test_many_rows_are_merged_into_one_with_the_same_sums(self) -> None:
        for number in range(project_counts.MANY // 3 + 1):  # each inserts prompts, responses and slots
            builders.items(self.project, 1, prefix=f"p{number}-")
        other = builders.project(self.alice, "Other")
        builders.items(other, 1)
        few = ProjectCount.objects.filter(project=other).count()
        assert ProjectCount.objects.filter(project=self.project).count() > project_counts.MANY
        project_counts.merge()
        assert ProjectCount.objects.filter(project=self.project).count() == 1
        assert ProjectCount.objects.filter(project=other).count() == few
        self.check()

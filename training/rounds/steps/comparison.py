"""Comparing the new policy's answers with the old one's: by the reward models and, if asked for, by annotators."""

from __future__ import annotations

import random

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.actions import queue
from annotation.analytics.outlook import outlook_of_items
from annotation.logic.splits import digest
from annotation.logic.translation import format_number
from annotation.models import Prompt, Response, Slot
from training.models import ModelVersion, Round, Run
from training.rounds.settings import settings_of
from training.rounds.steps.base import (
    ADVANCE,
    WAIT,
    Awaited,
    PlannedPart,
    RoundContext,
    RunArguments,
    RunStep,
    Step,
    StepResult,
)
from training.rounds.steps.improve import new_policy, reference_policy
from training.rounds.steps.reward_models import REWARD_MODEL_LABELS, evaluation_parts
from training.runs.outputs import read_responses

SAMPLES = 2
"""Answers to each prompt."""
HUMAN_COMPARISON_PRIORITY = 1000
"""Before every other item in the queue."""


def evaluation_prompts(round: Round) -> list[int]:
    """The held-out prompts to compare on: the same in every round of the loop, as long as none are imported. Messages of live
    chats, of which there are more every day, are left out; where there are no other prompts, they are those from before the
    round."""
    project = round.loop.project
    prompts = Prompt.objects.filter(project=project, split=Prompt.Split.HELD_OUT).order_by("pk")
    held_out = list(prompts.filter(turn=None).values_list("pk", flat=True))
    if not held_out:
        of_chats = prompts.filter(turn__created_at__lt=round.created_at)
        held_out = list(of_chats.without_erased().values_list("pk", flat=True))
    random.Random(round.loop_id).shuffle(held_out)  # noqa: S311 - a draw to be repeated, not a secret
    return held_out[: settings_of(round).evaluation_prompts]


def earlier_answers(round: Round, policy: ModelVersion | None, prompts: list[int]) -> Run | None:
    """The run of an earlier round in which a policy answered the same prompts."""
    earlier = Run.objects.filter(
        round__loop=round.loop_id, model=policy, part__startswith="answers-", state=Run.State.DONE
    )
    return next((run for run in earlier if run.inputs.get("prompt_ids") == prompts), None)


def compared_runs(round: Round) -> list[int]:
    """The ids of the runs whose answers are compared: the new policy's, then the old one's."""
    new = round.run_of("answers-new")
    old = round.run_of("answers-old") or earlier_answers(
        round, round.policy_before, evaluation_prompts(round)
    )
    assert new is not None
    assert old is not None
    return [new.pk, old.pk]


class GenerateComparison(RunStep):
    """Answers of both policies to the same prompts, at temperature 1. The old policy's are reused from the round in which
    it was new. The reference policy scores the new one's, for the KL."""

    name = "answers"
    title = gettext_noop("Generate answers with the new and the old policy")

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        return [
            {"part": f"answers-{which}", "kind": "generate", "config": {"temperature": 1.0}}
            for which in ("new", "old")
        ]

    def part_label(self, part: PlannedPart) -> str:
        return {"answers-new": _("New policy"), "answers-old": _("Old policy")}[part["part"]]

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        prompts = evaluation_prompts(round)
        if part == "answers-old" and earlier_answers(round, round.policy_before, prompts):
            return None
        is_new = part == "answers-new"
        return RunArguments(
            round.loop.project,
            new_policy(round) if is_new else round.policy_before,
            reference=reference_policy(round) if is_new else None,
            inputs={"prompt_ids": prompts},
            config={"samples": SAMPLES},
        )


class ScoreComparison(RunStep):
    name = "compare"
    title = gettext_noop("Score the answers with the reward models")

    def parts(self, context: RoundContext) -> list[PlannedPart]:
        names = ["reward"]
        names += ["second"] if context.settings.second_opinion else []
        names += ["safety"] if context.trains_safety_model else []
        return evaluation_parts("compare", names)

    def part_label(self, part: PlannedPart) -> str:
        return _(REWARD_MODEL_LABELS[part["part"].removeprefix("compare-")])

    def run_arguments(self, round: Round, part: str) -> RunArguments | None:
        scorer = round.output_of(part.removeprefix("compare-"))
        if scorer is None:
            return None
        inputs = {"answers": compared_runs(round)}
        return RunArguments(round.loop.project, scorer, inputs=inputs, config={"split": "all"})


class HumanComparison(Step):
    name = "people"
    title = gettext_noop("Human comparison")
    help = gettext_noop(
        "Annotators compare pairs of a new and an old answer, without being told which is which."
    )
    does = "people"
    waits_for_people = True
    report_keys = ("people_items",)

    def is_needed(self, context: RoundContext) -> bool:
        return context.settings.people_compare > 0

    def enter(self, round: Round) -> None:
        if "people_items" in round.report:
            return
        new, old = round.runs.get(part="answers-new", superseded=False).model, round.policy_before
        assert new is not None
        answers = read_responses(compared_runs(round))
        rng = random.Random(round.pk)  # noqa: S311 - a draw to be repeated, not a secret
        stored = Response.objects.filter(author__in=[new.author_id, old.author_id], prompt__in=list(answers))
        responses: dict[tuple[int, int | None, str], int] = {
            (prompt, author, sha): pk
            for prompt, author, sha, pk in stored.values_list("prompt_id", "author_id", "digest", "pk")
        }
        items = []
        for prompt in rng.sample(list(answers), len(answers)):
            if not all(answers[prompt]):
                continue
            new_text, old_text = (rng.choice(texts) for texts in answers[prompt])
            if new_text != old_text:
                pair = [
                    responses[prompt, new.author_id, digest(new_text)],
                    responses[prompt, old.author_id, digest(old_text)],
                ]
                items.append(queue.ItemSpec(prompt, pair))
        created = queue.enqueue(
            project=round.loop.project,
            specs=items[: settings_of(round).people_compare],
            priority=HUMAN_COMPARISON_PRIORITY,
        )
        round.report |= {"people_items": created}
        round.save(update_fields=["report"])

    def check(self, round: Round) -> StepResult:
        return WAIT if self._pending(round).exists() else ADVANCE

    def awaits(self, round: Round) -> Awaited:
        left, items = self._pending(round).count(), round.report.get("people_items", [])
        ahead = outlook_of_items(round.loop.project, items, left)
        text = _(
            "Comparisons: %(items)s, judgments still missing: %(left)s. Annotators get them first. %(ahead)s"
        )
        values = {"left": format_number(left), "items": format_number(len(items)), "ahead": ahead.sentence}
        return Awaited(text % values, people=True, needs_people=ahead.needs_people)

    @staticmethod
    def _pending(round: Round) -> QuerySet[Slot]:
        """The slots of the comparisons that are not judged yet."""
        items = round.report.get("people_items", [])
        return Slot.objects.filter(item__in=items, item__state="open").exclude(state=Slot.State.DONE)

"""Which prompts a round has answered for annotators, and which items it makes of the answers."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotation.actions.queue import ItemSpec
from annotation.logic.splits import digest
from annotation.models import Project, Prompt
from training.models import Round, Run
from training.rounds import active_learning
from training.rounds.recipes import RECIPES
from training.rounds.settings import RoundSettings, settings_of
from training.runs.outputs import read_responses, stored_response_ids
from training.runs.queries import prompts_of, select_prompts


@dataclass(frozen=True)
class ItemBudget:
    """Numbers of items: of training prompts, of held-out prompts, and in the safety project."""

    training: int
    held_out: int
    safety: int


def item_budget(round: Round) -> ItemBudget:
    """How many items the round's budget of judgments pays for."""
    settings, loop = settings_of(round), round.loop
    safety_share = settings.safety_share if loop.safety_project else 0.0
    safety = 0
    if loop.safety_project is not None:
        safety = _affordable_items(safety_share * settings.budget, loop.safety_project, settings)
    items = _affordable_items((1 - safety_share) * settings.budget, loop.project, settings)
    held_out = round_up(settings.held_out_share * items)
    return ItemBudget(items - held_out, held_out, safety)


def _affordable_items(judgments: float, project: Project, settings: RoundSettings) -> int:
    return math.floor(judgments / (project.overlap + settings.repeat_share) + 1e-9)


def round_up(number: float) -> int:
    return math.ceil(number - 1e-9)


def prompts_to_answer(round: Round, *, oversample: bool) -> list[int]:
    """Prompts of the loop's project, training and held-out ones mixed. oversample: twice the training prompts in the budget,
    for a strategy to select from. Those whose answers only the AI judge compares are added."""
    project, budget = round.loop.project, item_budget(round)
    count = budget.training * (2 if oversample else 1) + settings_of(round).ai_prompts
    training = select_prompts(project, split="train", seed=round.pk, limit=count)
    held_out = select_prompts(project, split="held_out", seed=round.pk, limit=budget.held_out)
    prompts = [prompt.pk for prompt in (*training, *held_out)]
    random.Random(round.pk).shuffle(prompts)  # noqa: S311 - a draw to be repeated, not a secret
    return prompts


def safety_prompts_to_answer(round: Round) -> list[int]:
    assert round.loop.safety_project is not None
    limit = item_budget(round).safety
    prompts = select_prompts(round.loop.safety_project, seed=round.pk, limit=limit)
    return [prompt.pk for prompt in prompts]


def draw_items(
    round: Round,
    answers: AnswerSets,
    counts: Mapping[str, int],
    weights: Mapping[int, float],
    rng: random.Random,
) -> list[ItemSpec]:
    """Items of the loop's project, in random order: `counts` of each split. Held-out prompts measure the models, so they
    are drawn uniformly; training prompts by their weights. Prompts that are the AI judge's alone get none."""
    settings, project = settings_of(round), round.loop.project
    prompts = Prompt.objects.filter(pk__in=answers.prompts)
    if RECIPES[round.recipe].ai_judges_safety:
        prompts = prompts.exclude(tags__contains=[settings.safety_tag])
    split_of = dict(prompts.values_list("pk", "split"))
    items = []
    for split, count in counts.items():
        of_split = {
            prompt: weights[prompt] if split == Prompt.Split.TRAIN else 1.0
            for prompt in answers.prompts
            if split_of.get(prompt) == split
        }
        if of_split:
            total = max(prompts_of(project, split).count(), len(of_split))
            drawn = active_learning.draw(of_split, count, control_share=settings.control_share, rng=rng)
            items += [answers.item(draw, len(of_split) / total, settings, rng) for draw in drawn]
    rng.shuffle(items)
    return items


def draw_safety_items(round: Round, answers: AnswerSets, rng: random.Random) -> list[ItemSpec]:
    """An item of the safety project for every prompt that was answered."""
    assert round.loop.safety_project is not None
    pool = max(prompts_of(round.loop.safety_project).count(), len(answers.prompts))
    coverage = len(answers.prompts) / pool if pool else 0.0
    drawn = [active_learning.Draw(prompt, 1.0, control=True) for prompt in answers.prompts]
    return [answers.item(draw, coverage, settings_of(round), rng) for draw in drawn]


class AnswerSets:
    """The different answers to each prompt, by run, with the ids of their rows and the reward models' scores."""

    def __init__(
        self, project: Project, runs: Sequence[Run], scores: Sequence[Mapping[int, list[float]]]
    ) -> None:
        """scores: of each reward model, its rewards by prompt, in the order of `read_responses`."""
        self.k = project.k
        self.scores = scores
        texts = read_responses([run.pk for run in runs])
        responses = stored_response_ids(runs, texts)
        self.answers: dict[int, list[list[tuple[int, int]]]] = {}
        """For each prompt and run: the response's id, and its index among the prompt's scores."""
        for prompt, texts_by_run in texts.items():
            index, seen, answers_by_run = 0, set(), []
            for run_texts in texts_by_run:
                answers = []
                for text in run_texts:
                    response = responses[prompt, digest(text)]
                    if response not in seen:
                        seen.add(response)
                        answers.append((response, index))
                    index += 1
                answers_by_run.append(answers)
            if len(seen) > 1:
                self.answers[prompt] = answers_by_run
        self.prompts = list(self.answers)

    def scores_of(self, prompt: int) -> list[list[float]]:
        return [by_prompt[prompt] for by_prompt in self.scores if prompt in by_prompt]

    def item(
        self, draw: active_learning.Draw[int], coverage: float, settings: RoundSettings, rng: random.Random
    ) -> ItemSpec:
        """An item of a drawn prompt: k answers to rank, of all runs alternately; or, for a share of the items, two to
        compare: the pair that is hardest to tell apart, or in the control slice any.

        coverage: the share of the project's prompts that were answered, by which the draw's probability is multiplied.
        """
        by_run = [rng.sample(answers, len(answers)) for answers in self.answers[draw.key]]
        mixed = [
            answer
            for turn in range(max(map(len, by_run)))
            for answers in by_run
            for answer in answers[turn : turn + 1]
        ]
        picked = mixed[: self.k]
        if len(picked) > 2 and rng.random() < settings.comparisons:
            scores = self.scores[0].get(draw.key) if self.scores and not draw.control else None
            if scores:
                first, second = active_learning.closest_pair([scores[index] for _, index in picked])
                picked = [picked[first], picked[second]]
            else:
                picked = rng.sample(picked, 2)
        extra = int(rng.random() < settings.repeat_share)
        return ItemSpec(
            draw.key, [response for response, _ in picked], min(1.0, coverage * draw.probability), extra
        )

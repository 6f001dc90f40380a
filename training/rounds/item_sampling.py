"""What people are asked in a round: the new policy's answers, chosen with a known probability, and old beside new."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from annotation.actions import queue
from annotation.logic.splits import digest
from annotation.models import Project, Prompt, Response, Slot
from training.models import ModelVersion, Round, Run
from training.rounds import active_learning
from training.rounds.context import ON, WAIT, Outcome, compared_runs, output_of, run_of, settings_of
from training.rounds.settings import RoundSettings
from training.runs.outputs import read_responses, read_scores
from training.runs.queries import select_prompts

JsonObject = dict[str, Any]
OTHER_DRAWS = 1_000_000
"""Added to the seed of answers that stand beside those of another policy."""


@dataclass(frozen=True)
class Amounts:
    """How many items are wanted of training prompts, of held-out ones, and of the safety project."""

    training: int
    held_out: int
    safety: int


def amounts_of(round: Round) -> Amounts:
    options, loop = settings_of(round), round.loop
    safety_share = options.safety_share if loop.safety_project else 0.0
    safety = 0
    if loop.safety_project is not None:
        safety = _items(safety_share * options.budget, loop.safety_project, options)
    asked = _items((1 - safety_share) * options.budget, loop.project, options)
    held_out = round_up(options.held_out_share * asked)
    return Amounts(asked - held_out, held_out, safety)


def _items(judgments: float, project: Project, options: RoundSettings) -> int:
    """How many items so many judgments are enough for."""
    return math.floor(judgments / (project.overlap + options.repeat_share) + 1e-9)


def round_up(number: float) -> int:
    return math.ceil(number - 1e-9)


def arguments_to_ask(round: Round, part: str) -> JsonObject | None:
    """Answers that people may be asked about. Where the strategy chooses, there are twice as many as will be asked."""
    stem, _, which = part.partition("-")
    options, loop, amounts = settings_of(round), round.loop, amounts_of(round)
    policy = round.policy_before
    if stem == "fresh":
        policy = (round.policy_after if round.decision == Round.Decision.PROMOTED else None) or policy
    if which == "safety":
        assert loop.safety_project is not None
        prompts = select_prompts(loop.safety_project, seed=round.pk)[: amounts.safety]
        if not prompts:
            return None
        ids = [prompt.pk for prompt in prompts]
        return _sampled(loop.safety_project, policy, ids, loop.safety_project.k)
    ids = _to_ask(round, chooses=stem == "fresh" and options.strategy != "uniform")
    if not ids:
        return None
    if which == "before":
        if round.decision != Round.Decision.PROMOTED:
            return None
        share = ids[: round_up(options.previous_share * len(ids))]
        found = _sampled(loop.project, round.policy_before, share, max(1, loop.project.k // 2))
        # other draws than the new policy's: where the two are alike, the same ones would give the same answers
        found["config"]["seed"] = OTHER_DRAWS + round.number
        return found
    return _sampled(loop.project, policy, ids, max(1, round_up(loop.project.k / len(options.sampled_at))))


def _to_ask(round: Round, *, chooses: bool) -> list[int]:
    project, amounts = round.loop.project, amounts_of(round)
    training = select_prompts(project, split="train", seed=round.pk)[
        : amounts.training * (2 if chooses else 1)
    ]
    held_out = select_prompts(project, split="held_out", seed=round.pk)[: amounts.held_out]
    ids = [prompt.pk for prompt in (*training, *held_out)]
    random.Random(round.pk).shuffle(ids)  # noqa: S311 - a draw to be repeated, not a secret
    return ids


def _sampled(project: Project, policy: ModelVersion, prompts: list[int], samples: int) -> JsonObject:
    return {
        "project": project,
        "model": policy,
        "inputs": {"prompt_ids": prompts},
        "config": {"samples": samples},
    }


def _asking_runs(round: Round, project: Project) -> list[Run]:
    """The runs whose answers to a project's prompts are to be asked about, in the order of their parts. Before the first
    judgments these are those of `first-answers`, else those of `fresh-answers`."""
    name = "first-answers" if round.step == "first-questions" else "fresh-answers"
    parts = [part["part"] for step in round.plan if step["name"] == name for part in step["parts"]]
    found = round.runs.filter(part__in=parts, superseded=False, project=project).order_by("pk")
    return list(found.select_related("model"))


def arguments_to_score(round: Round, part: str) -> JsonObject | None:
    scorer = output_of(round, part.removeprefix("score-"))
    runs = _asking_runs(round, round.loop.project)
    if scorer is None or not runs:
        return None
    return {"model": scorer, "inputs": {"answers": [run.pk for run in runs]}, "config": {"split": "all"}}


def ask(round: Round) -> Outcome:
    """The items of the next judgments go into the queue: chosen by the strategy, with the probability noted on each."""
    loop, options, amounts = round.loop, settings_of(round), amounts_of(round)
    rng = random.Random(round.pk)  # noqa: S311 - a draw to be repeated, not a secret
    asked = 0
    if runs := _asking_runs(round, loop.project):
        sets = AnswerSets(round, loop.project, runs)
        splits = dict(Prompt.objects.filter(pk__in=sets.prompts).values_list("pk", "split"))
        specs = []
        for split, count in (("train", amounts.training), ("held_out", amounts.held_out)):
            here = {p: sets.weight(p, split, options.strategy) for p in sets.prompts if splits[p] == split}
            in_all = loop.project.prompts.filter(split=split).count()
            if here:
                drawn = active_learning.draw(here, count, control_share=options.control_share, rng=rng)
                specs += [sets.item(one, len(here) / in_all, options, rng) for one in drawn]
        rng.shuffle(specs)
        asked += len(queue.enqueue(project=loop.project, specs=specs, priority=round.number))
    if loop.safety_project and (runs := _asking_runs(round, loop.safety_project)):
        sets = AnswerSets(round, loop.safety_project, runs)
        in_all = loop.safety_project.prompts.count()
        every = [active_learning.Chosen(p, 1.0, control=True) for p in sets.prompts]
        specs = [sets.item(one, len(every) / in_all, options, rng) for one in every]
        asked += len(queue.enqueue(project=loop.safety_project, specs=specs, priority=round.number))
    round.report |= {"asked": asked}
    round.save(update_fields=["report"])
    return ON


class AnswerSets:
    """The answers that were sampled to be asked about, by prompt, with their rows and what reward models make of them."""

    def __init__(self, round: Round, project: Project, runs: list[Run]) -> None:
        self.k = project.k
        answers = read_responses([run.pk for run in runs])
        authors = {run.model.author_id for run in runs if run.model}
        rows = {
            (prompt, sha): pk
            for prompt, sha, pk in Response.objects.filter(
                author__in=authors, prompt__in=list(answers)
            ).values_list("prompt_id", "digest", "pk")
        }
        self.scores = [
            read_scores(run)
            for name in ("score-reward", "score-second")
            if project == round.loop.project and (run := run_of(round, name)) and round.step == "questions"
        ]
        self.answers: dict[int, list[list[tuple[int, int]]]] = {}
        """For each prompt and run, its different answers: row and place among all that were scored."""
        for prompt, by_run in answers.items():
            place, seen, kept = 0, set(), []
            for texts in by_run:
                mine = []
                for text in texts:
                    row = rows[prompt, digest(text)]
                    if row not in seen:
                        seen.add(row)
                        mine.append((row, place))
                    place += 1
                kept.append(mine)
            if len(seen) > 1:
                self.answers[prompt] = kept
        self.prompts = list(self.answers)

    def weight(self, prompt: int, split: str, strategy: str) -> float:
        """What is worth asking. Held-out prompts measure the models, so they are drawn evenly."""
        opinions = [by_prompt[prompt] for by_prompt in self.scores if prompt in by_prompt]
        return active_learning.worth("uniform" if split == "held_out" else strategy, opinions)

    def item(
        self, chosen: active_learning.Chosen[int], share: float, options: RoundSettings, rng: random.Random
    ) -> queue.ItemSpec:
        """An item of a prompt: k answers to rank, of both policies where two answered, or a pair to compare: outside the
        control slice the one that is hardest to tell apart."""
        by_run = [rng.sample(mine, len(mine)) for mine in self.answers[chosen.key]]
        mixed = [
            one for turn in range(max(map(len, by_run))) for mine in by_run for one in mine[turn : turn + 1]
        ]
        picked = mixed[: self.k]
        if len(picked) > 2 and rng.random() < options.comparisons:
            scores = self.scores[0].get(chosen.key) if self.scores and not chosen.control else None
            if scores:
                first, second = active_learning.closest_pair([scores[place] for _, place in picked])
                picked = [picked[first], picked[second]]
            else:
                picked = rng.sample(picked, 2)
        rows = [row for row, _ in picked]
        more = int(rng.random() < options.repeat_share)
        return queue.ItemSpec(chosen.key, rows, min(1.0, share * chosen.probability), more)


def let_people_compare(round: Round) -> None:
    """Pairs of a new and an old answer go into the queue, before everything else: nobody is told which is which."""
    if "people_items" in round.report:
        return
    new, old = round.runs.get(part="answers-new", superseded=False).model, round.policy_before
    assert new is not None
    answers = read_responses(compared_runs(round))
    rng = random.Random(round.pk)  # noqa: S311 - a draw to be repeated, not a secret
    rows: dict[tuple[int, int | None, str], int] = {}
    found = Response.objects.filter(author__in=[new.author_id, old.author_id], prompt__in=list(answers))
    for prompt, author, sha, pk in found.values_list("prompt_id", "author_id", "digest", "pk"):
        rows[prompt, author, sha] = pk
    specs = []
    for prompt in rng.sample(list(answers), len(answers)):
        if not all(answers[prompt]):
            continue
        ours, theirs = (rng.choice(texts) for texts in answers[prompt])
        if ours != theirs:
            pair = [rows[prompt, new.author_id, digest(ours)], rows[prompt, old.author_id, digest(theirs)]]
            specs.append(queue.ItemSpec(prompt, pair))
    items = queue.enqueue(
        project=round.loop.project, specs=specs[: settings_of(round).people_compare], priority=1000
    )
    round.report |= {"people_items": items}
    round.save(update_fields=["report"])


def look_at_comparisons(round: Round) -> Outcome:
    left = Slot.objects.filter(item__in=round.report["people_items"], item__state="open").exclude(
        state=Slot.State.DONE
    )
    return WAIT if left.exists() else ON

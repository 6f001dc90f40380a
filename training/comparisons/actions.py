"""What a comparison of two policies lacks, and getting it: answers to the same prompts, a reward model's scores of them, and
people's choices."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count
from django.utils.translation import gettext as _

from annotation.actions.queue import ItemSpec, QueueError, enqueue
from annotation.models import Item, Prompt, Response, User
from training.comparisons.pairs import Pair
from training.errors import RunError
from training.models import ModelVersion, Run
from training.runs.actions import start_run
from training.runs.queries import select_prompts

PROMPTS, SAMPLES = 100, 2
"""Prompts that both policies answer, and answers to each, as in a round of the default settings."""
RECENT = 20
"""The newest runs of a model that are looked through."""


def open_runs(pair: Pair) -> list[Run]:
    """The runs that generate answers of the two, or score them, and are not over."""
    answered_by = (pair.policy, pair.baseline)
    waiting = Run.objects.filter(project=pair.project, state__in=Run.OPEN_STATES)
    generating = list(
        waiting.filter(kind=Run.Kind.GENERATE, model__in=answered_by, inputs__has_key="prompt_ids")
    )
    scoring = waiting.filter(kind=Run.Kind.EVALUATE, inputs__has_key="answers").order_by("-pk")[:RECENT]
    answers = set(
        Run.objects.filter(
            pk__in={pk for run in scoring for pk in run.inputs["answers"]}, model__in=answered_by
        ).values_list("pk", flat=True)
    )
    return generating + [run for run in scoring if answers.issuperset(run.inputs["answers"])]


def answered_runs(pair: Pair) -> tuple[Run, Run] | None:
    """The newest finished runs in which the policy and the baseline answered some of the same prompts; None without any."""
    of_policy, of_baseline = (_answers_of(version) for version in (pair.policy, pair.baseline))
    for mine in of_policy:
        prompts = set(mine.inputs["prompt_ids"])
        for other in of_baseline:
            if prompts.intersection(other.inputs["prompt_ids"]):
                return mine, other
    return None


def _answers_of(version: ModelVersion) -> list[Run]:
    done = version.runs.filter(kind=Run.Kind.GENERATE, state=Run.State.DONE, inputs__has_key="prompt_ids")
    return list(done.order_by("-pk")[:RECENT])


def _check_none_is_open(pair: Pair) -> None:
    if runs := open_runs(pair):
        text = _("%(runs)s makes what is missing: wait until it is done.")
        raise RunError("runs", text % {"runs": runs[0]})


def generate_answers(*, pair: Pair, creator: User) -> list[Run]:
    """Start the runs in which both answer the same prompts: those that one of them has answered already, otherwise held-out
    ones or, in a project without any, others.

    Raises:
        RunError: there are no prompts, a model may not be used, or such runs are open already; nothing is started then.
    """
    _check_none_is_open(pair)
    versions = [pair.policy, pair.baseline]
    earlier = next((run for version in versions for run in _answers_of(version)), None)
    if earlier is not None:
        prompts: Sequence[int] = earlier.inputs["prompt_ids"]
        versions = [version for version in versions if version != earlier.model]
    else:
        found = select_prompts(pair.project, split=Prompt.Split.HELD_OUT, limit=PROMPTS)
        prompts = [prompt.pk for prompt in found or select_prompts(pair.project, limit=PROMPTS)]
    if not prompts:
        raise RunError("prompts", _("The project has no prompts to answer yet: import some first."))
    with transaction.atomic():
        return [
            start_run(
                project=pair.project,
                kind=Run.Kind.GENERATE,
                creator=creator,
                model=version,
                config={"samples": SAMPLES, "temperature": 1.0},
                inputs={"prompt_ids": list(prompts)},
            )
            for version in versions
        ]


def score_answers(*, pair: Pair, scorer: ModelVersion, creator: User) -> Run:
    """Start the run in which a reward model scores what both have answered.

    Raises:
        RunError: they have not answered the same prompts in any run, the reward model may not be used, or such a run is open
            already.
    """
    _check_none_is_open(pair)
    runs = answered_runs(pair)
    if runs is None:
        raise RunError("answers", _("The two have not answered the same prompts in any run yet."))
    return start_run(
        project=pair.project,
        kind=Run.Kind.EVALUATE,
        creator=creator,
        model=scorer,
        config={"split": "all"},
        inputs={"answers": [run.pk for run in runs]},
    )


@transaction.atomic
def send_to_queue(*, pair: Pair, responses: Sequence[int]) -> Item:
    """Put an answer of each to the same prompt into the queue, for people to judge without knowing whose it is. A second time
    returns the same item.

    Raises:
        RunError: they are not one answer of each to one prompt of the project, or they are the same text.
    """
    found = list(
        Response.objects.select_for_update(no_key=True).filter(
            pk__in=responses, author__in=pair.authors.values(), prompt__project=pair.project
        )
    )
    if (
        len({response.author_id for response in found}) != 2
        or len({response.prompt_id for response in found}) != 1
    ):
        raise RunError("responses", _("Choose one answer of each model to the same prompt."))
    if found[0].digest == found[1].digest:
        raise RunError("responses", _("Both answers are the same."))
    same = Item.objects.filter(prompt=found[0].prompt_id).annotate(size=Count("candidates")).filter(size=2)
    for response in found:
        same = same.filter(candidates__response=response)
    if (item := same.first()) is not None:
        return item
    try:
        (pk,) = enqueue(
            project=pair.project, specs=[ItemSpec(found[0].prompt_id, [response.pk for response in found])]
        )
    except QueueError as error:
        raise RunError("responses", str(error)) from None
    return Item.objects.get(pk=pk)

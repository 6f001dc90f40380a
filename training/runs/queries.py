"""Reads of runs, their metrics and the prompts and demonstrations that they work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, TextField, Value
from django.db.models.functions import MD5, Cast, Concat
from django.utils import timezone

from annotation.logic.erased_text import is_erased
from annotation.models import ImportedJudgment, Judgment, Project, Prompt
from training.models import Run

RESERVE_AFTER = timedelta(minutes=10)
"""After so long, a run that waits for GPUs lets no run of its priority or below pass."""


def runs_of(project: Project) -> Any:
    """A project's runs with the rows that a page names beside them, newest first."""
    return Run.objects.filter(project=project).select_related(
        *("model", "snapshot", "reward_model", "second_reward_model", "judge", "output", "created_by"),
        *("constitution", "opinion_set", "output_opinion_set", "round__loop__project"),
    )


def waiting() -> Q:
    """Runs that are queued, or whose worker has sent no heartbeat for too long."""
    stale = timezone.now() - timedelta(seconds=settings.RUN_STALE_S)
    return Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, heartbeat_at__lt=stale)


def runs_to_claim(run_id: int) -> list[Run]:
    """The waiting runs that a worker tries to start when it is woken for one: those that come before it, and it; none if it does
    not wait. Higher priorities come first; among equals, those that have waited long."""
    run = Run.objects.filter(waiting(), pk=run_id).first()
    if run is None:
        return []
    long_waiting = Q(priority=run.priority, created_at__lt=timezone.now() - RESERVE_AFTER, pk__lt=run_id)
    before = Run.objects.filter(waiting()).filter(Q(priority__gt=run.priority) | long_waiting)
    return [*before.order_by("-priority", "pk"), run]


def has_waited_long(run: Run) -> bool:
    """Whether no run of its priority or below may pass it any more."""
    return run.created_at < timezone.now() - RESERVE_AFTER


def run_state(run: Run) -> dict[str, Any]:
    """A run's state, warnings and curves as JSON: the first message on its WebSocket."""
    return {
        "id": run.pk,
        "kind": run.kind,
        "state": run.state,
        "step": run.step,
        "total": run.total,
        "percent": run.percent,
        "eta_s": run.eta_s,
        "error": run.error,
        "warnings": run.warnings,
        "curves": metric_curves(run),
    }


def metric_curves(run: Run) -> dict[str, list[list[float]]]:
    """Each metric's points, `[[step, value], …]`, ordered by step."""
    points: dict[str, list[list[float]]] = {}
    for step, values in run.metrics.values_list("step", "values"):
        for name, value in values.items():
            if value is not None:
                points.setdefault(name, []).append([step, value])
    return points


def previous_rejection_run(run: Run) -> Run | None:
    """The rejection sampling whose best responses a new one also learns from.

    That of the loop's last round that had one, otherwise the newest among the runs that made the policy's ancestors.
    """
    if run.round is not None:
        earlier = Run.objects.filter(
            round__loop=run.round.loop_id,
            round__number__lt=run.round.number,
            kind=Run.Kind.REJECTION,
            state=Run.State.DONE,
            superseded=False,
        )
        if (previous := earlier.order_by("-pk").first()) is not None:
            return previous
    ancestors = run.model.lineage() if run.model else []
    return next((v.run for v in ancestors if v.run and v.run.kind == Run.Kind.REJECTION), None)


def demonstrations(
    project: Project, *, imported: bool = False
) -> Iterator[tuple[int, list[dict[str, str]], str]]:
    """The responses that people wrote to training prompts, in current judgments, by id: the item, the prompt's messages, and the
    response; in live chats those that they wrote in place of both answers, never one that they only preferred. imported: then
    those of imported judgments."""
    of_prompts = Q(item__project=project, item__prompt__split=Prompt.Split.TRAIN)
    own = Judgment.objects.current().filter(of_prompts, demonstration__isnull=False)
    names = ("item", "item__prompt__messages")
    for row in own.order_by("pk").values_list(*names, "demonstration__text").iterator():
        if not is_erased(row[1]):
            yield row
    if imported:
        brought = ImportedJudgment.objects.filter(of_prompts, details__has_key="demonstration")
        for row in brought.order_by("pk").values_list(*names, "details__demonstration").iterator():
            if isinstance(row[2], str):
                yield row


def prompts_of(project: Project, split: str | None = None) -> QuerySet[Prompt]:
    """Those of a split that models may learn from; those of both, if it is none of `Prompt.Split`."""
    prompts = Prompt.objects.filter(project=project).to_learn_from()
    return prompts.filter(split=split) if split in Prompt.Split.values else prompts


def select_prompts(
    project: Project,
    *,
    prompt_ids: Sequence[int] = (),
    split: str | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> list[Prompt]:
    """The prompts that a generation draws from, in the order in which it takes them.

    With `prompt_ids` these prompts, in that order. Otherwise those of `split` (see `prompts_of`), prompts with the fewest items
    first and in random order among equals; at most `limit`.
    """
    if not prompt_ids:
        order = MD5(Concat(Value(f"{seed}:"), Cast("pk", TextField()), output_field=TextField()))
        selected = prompts_of(project, split).annotate(item_count=Count("items"))
        prompt_ids = list(selected.order_by("item_count", order, "pk").values_list("pk", flat=True)[:limit])
    # the texts of those selected alone
    prompts = Prompt.objects.filter(project=project).only("id", "messages", "tags", "metadata")
    by_id = prompts.in_bulk(prompt_ids)
    return [by_id[pk] for pk in prompt_ids if pk in by_id][:limit]

"""Every write on runs: starting, cancelling and resuming them, and what a worker reports."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Case, F, When
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import events
from annotation.logic.storable_text import storable
from annotation.models import Constitution, OpinionSet, Project, Snapshot, User
from config.celery import app
from config.log_context import request_id
from training.configs import KINDS, RolloutConfig, check_values, from_dict
from training.errors import RunError
from training.models import Metric, ModelVersion, Round, Run, RunLog
from training.registry import model_sources
from training.registry.actions import current_model
from training.registry.model_size import default_settings
from training.runs.ai_inputs import check_answers, opinion_inputs, used_constitution
from training.runs.alerts import report_end
from training.runs.input_checks import check_inputs, check_snapshot, choose_imported
from training.runs.kinds import LEARNS_JUDGMENTS, MAY_BE_SERVED
from training.runs.queries import waiting
from training.runs.resources import check_resources
from training.runs.reward_sources import resolve_reward_model, resolve_reward_source
from training.runs.text_files import put_text_file, reads_text_file

log = logging.getLogger(__name__)

MIN_BATCH_TOKENS = 256
"""Fewer hardly save memory."""
MAX_LOG_CHARS = 20_000
"""Of a program's output, that the database keeps."""


# --- starting, cancelling, resuming ---------------------------------------------------------------------------


def start_run(
    *,
    project: Project,
    kind: str,
    creator: User,
    config: Mapping[str, Any] | None = None,
    model: ModelVersion | None = None,
    snapshot: Snapshot | None = None,
    reward_model: ModelVersion | None = None,
    safety_reward_model: ModelVersion | None = None,
    second_reward_model: ModelVersion | None = None,
    reference: ModelVersion | None = None,
    judge: ModelVersion | None = None,
    constitution: Constitution | None = None,
    opinion_set: OpinionSet | None = None,
    inputs: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    round: Round | None = None,
    part: str = "",
) -> Run:
    """Queue a run and wake a worker.

    Args:
        config: settings that differ from the defaults of `training.configs`, which depend on `model` for its lengths and, by
            its size, the learning rate.
        model: what the run starts from; by default the current policy (for an evaluation, the current reward model).
            Ignored if a server generates.
        snapshot: the judgments to train on, for kinds that need them.
        reward_model: scores the policy's responses, for kinds that learn from rewards; by default the current one, unless
            there is a judge or the config names a `reward_function`.
        safety_reward_model: another one, which scores safety.
        second_reward_model: one that trains nothing: by its scores of responses to held-out prompts the weights are chosen.
        reference: the reference policy of the KL penalty, if that is not `model`.
        judge: a model that gives the reward in place of a reward model; in a revision, the one that comments, by default
            `model`. A judge run's own judge is its `model`, or the server's.
        constitution: the principles of a judge or of revisions; by default the project's latest.
        opinion_set: a judge's opinions, which a reward model or DPO learns from beside the snapshot (inputs: `ai`, `with` or
            `only`; `ai_scale` and `ai_weight`, by default as the judge's agreement with people allows).
        resources: what it asks of the machines: `nodes`, `gpus` (on each node), `queue` and `priority`, by default the site's.
        round, part: the round and its part. Models and snapshots may then belong to any project of the loop.
        inputs: what else the kind needs. generate: `prompts` (how many) and `split`, or `prompt_ids`; `publish` (put
            the responses into the queue), `publish_first` (only those of so many prompts), `comparisons` (the share of
            items that are a comparison of two responses instead of a ranking of all), `priority`. pretrain, sft:
            `data`, the name of a file in the core's format below the artifacts' `texts` folder. Kinds that learn from
            rewards: `prompts` and `held_out`, how many training and held-out prompts at most. Kinds that make a model:
            its `name`. Kinds with a snapshot: `imported`, whether they use its imported judgments: `exclude`, `include` (by
            default, if there are any; only to train) or `only`. generate: `ask`, a single prompt whose responses are not
            saved in the project. In rounds: `answers` (ids of runs whose responses are scored, in place of a snapshot),
            `after` (only judgments past this id), `swap` (swap the training and held-out splits), `safety_tag`. judge:
            `prompts` (how many at most), `split`, `tag`, or `answers` (ids of runs). revise: `prompts`. sft: `revisions`,
            the id of a revision run, in place of `data`.

    Raises:
        RunError: something is missing or inconsistent.
        ConfigError: a setting is unknown or out of bounds.
    """
    if kind not in KINDS:
        text = _("%(kind)s is no kind of run: there are %(kinds)s.")
        raise RunError("kind", text % {"kind": repr(kind), "kinds": ", ".join(KINDS)})
    config = check_values(kind, config or {})
    model_sources.check_settings(config)
    resources = check_resources(kind, resources or {})
    served = kind in MAY_BE_SERVED and bool(config.get("server"))
    projects = {project.pk}
    if round is not None:
        projects |= {round.loop.project_id, round.loop.safety_project_id or project.pk}
    needs_model = not served or kind == Run.Kind.REVISE
    model = _resolve_model(project, kind, model, projects) if needs_model else None
    if judge is not None:
        judge = _resolve_model(project, Run.Kind.JUDGE, judge, projects, "judge")
    defaults = default_settings(kind, model.location, config) if model else {}
    resolved = from_dict(kind, defaults | config)
    inputs = dict(inputs or {})
    if not inputs.get("answers"):
        check_snapshot(project, kind, snapshot, projects)
    if snapshot is not None:
        inputs |= choose_imported(kind, snapshot, inputs.get("imported"))
    if opinion_set is not None:
        inputs |= opinion_inputs(project, kind, opinion_set, inputs)
    constitution = used_constitution(project, constitution, resolved, judge)
    check_answers(project, kind, inputs)
    if isinstance(resolved, RolloutConfig):
        reward_model = resolve_reward_source(
            project, reward_model=reward_model, judge=judge, reward_function=resolved.reward_function
        )
    elif kind in LEARNS_JUDGMENTS and resolved.to_dict()["patience"]:
        reward_model = resolve_reward_model(project, reward_model)
    elif reward_model is not None and kind not in LEARNS_JUDGMENTS:
        text = _("A %(kind)s run takes no reward model beside its model.")
        raise RunError("reward_model", text % {"kind": kind})
    check_inputs(project, resolved, inputs)
    files = {"data": put_text_file(project, inputs["data"])} if reads_text_file(kind, inputs) else {}
    run = Run.objects.create(
        project=project,
        kind=kind,
        config=resolved.to_dict(),
        inputs=inputs,
        files=files,
        model=model,
        snapshot=snapshot,
        reward_model=reward_model,
        safety_reward_model=safety_reward_model,
        second_reward_model=second_reward_model,
        reference=reference,
        judge=judge,
        constitution=constitution,
        opinion_set=opinion_set,
        round=round,
        part=part,
        created_by=creator,
        request_id=request_id(),
        **resources,
    )
    _wake(run)
    _announce_state(run)
    return run


def _resolve_model(
    project: Project,
    kind: str,
    model: ModelVersion | None,
    projects: Collection[int],
    field: str = "model",
) -> ModelVersion | None:
    model_kind = ModelVersion.Kind.REWARD if kind == Run.Kind.EVALUATE else ModelVersion.Kind.POLICY
    if model is None and kind != Run.Kind.PRETRAIN:
        model = current_model(project, model_kind)
        if model is None:
            raise RunError(
                "model",
                _("This project has no policy yet: add one on the Models page.")
                if model_kind == ModelVersion.Kind.POLICY
                else _("This project has no reward model yet: add one on the Models page."),
            )
    if model is not None and (model.project_id not in projects or model.kind != model_kind):
        text = (
            _("%(model)s is not a policy of this project.")
            if model_kind == ModelVersion.Kind.POLICY
            else _("%(model)s is not a reward model of this project.")
        )
        raise RunError(field, text % {"model": model})
    if model is not None and model.removed_at:
        raise RunError(field, _("The files of %(model)s were removed from the disk.") % {"model": model})
    return model


def cancel_run(run: Run) -> Run:
    """Cancel a run: at once while it is queued, otherwise after its current step, with a checkpoint.

    Raises:
        RunError: it is over.
    """
    now = timezone.now()
    queued = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED)
    if not queued.update(
        state=Run.State.CANCELLED, cancel_requested=True, finished_at=now
    ) and not Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(cancel_requested=True):
        raise RunError("state", _("This run is over."))
    run.refresh_from_db()
    _announce_state(run)
    _wake_round(run)
    return run


def resume_run(run: Run) -> Run:
    """Queue a cancelled or failed run again; it continues from its last checkpoint.

    Raises:
        RunError: it is neither cancelled nor failed, it failed at its own limit, or it uses a server or reward function that is
            not allowed any more.
    """
    if run.failed_limit:
        text = _(
            "%(run)s failed at its limit %(limit)s, and would again: start another run with a higher one."
        )
        raise RunError("state", text % {"run": run, "limit": run.failed_limit})
    model_sources.check_settings(run.config)
    stopped = Run.objects.filter(pk=run.pk, state__in=[Run.State.CANCELLED, Run.State.FAILED])
    fresh = _queued_again() | {"attempt": 0, "cancel_requested": False, "error": "", "finished_at": None}
    if not stopped.update(**fresh):
        raise RunError("state", _("Only a cancelled or failed run can be resumed."))
    run.refresh_from_db()
    _wake(run)
    _announce_state(run)
    _wake_round(run)
    return run


# --- what a worker reports ------------------------------------------------------------------------------------


def claim_run(run_id: int) -> Run | None:
    """Claim a run that is queued, or whose worker has sent no heartbeat for too long; None if another worker has it.

    The claim is one conditional update, so duplicate and late messages do no harm.
    """
    now = timezone.now()
    # a scheduler's job that goes on under another worker is no new attempt
    attempt = F("attempt") + Case(When(launch={}, then=1), default=0)
    claimed = Run.objects.filter(waiting(), pk=run_id).update(
        state=Run.State.RUNNING,
        claim=uuid.uuid4(),
        heartbeat_at=now,
        active_at=now,
        stuck_at=None,
        attempt=attempt,
        error="",
    )
    if not claimed:
        return None
    Run.objects.filter(pk=run_id, started_at=None).update(started_at=now)
    run = Run.objects.select_related("project", "model", "snapshot", "reward_model").get(pk=run_id)
    _announce_state(run)
    return run


def heartbeat(run: Run) -> bool:
    """Record that the worker is alive. False if another worker has claimed the run, or if it was cancelled, which
    `run.cancel_requested` then says."""
    alive = _claimed(run).update(heartbeat_at=timezone.now())
    run.cancel_requested = Run.objects.filter(pk=run.pk, cancel_requested=True).exists()
    return bool(alive and not run.cancel_requested)


def record_progress(run: Run, *, step: int, total: int, eta_s: float | None) -> None:
    now = timezone.now()
    _claimed(run).update(step=step, total=total, eta_s=eta_s, heartbeat_at=now, active_at=now, stuck_at=None)
    events.announce(
        run_group(run.pk),
        {
            "kind": "progress",
            "step": step,
            "total": total,
            "eta_s": eta_s,
            "percent": 100 * step // total if total else 0,
        },
    )


def record_metrics(run: Run, *, step: int, values: Mapping[str, float]) -> None:
    """Save the metrics of a step; those of the same step are merged, and replaced by name."""
    with transaction.atomic():
        if not _claimed(run).select_for_update().exists():
            return
        metric, created = Metric.objects.get_or_create(run=run, step=step, defaults={"values": dict(values)})
        if not created:
            metric.values |= values
            metric.save(update_fields=["values"])
    events.announce(run_group(run.pk), {"kind": "metrics", "step": step, "values": dict(values)})


def record_warning(run: Run, message: str) -> None:
    if message not in run.warnings:
        run.warnings.append(message)
        _claimed(run).update(warnings=run.warnings)
        events.announce(run_group(run.pk), {"kind": "warning", "message": message})


def finish_run(run: Run, *, state: str, result: Mapping[str, Any] | None = None, error: str = "") -> bool:
    """Finish a run. False, and nothing changes, if another worker has claimed it."""
    with transaction.atomic():
        finished = _claimed(run).update(
            state=state,
            finished_at=timezone.now(),
            result=dict(result or {}),
            files=run.files,
            error=error,
            eta_s=None,
            claim=None,
            stuck_at=None,
        )
        if finished:
            run.refresh_from_db()
            _announce_state(run)
            _wake_round(run)
            report_end(run)
            log.info("run %s is %s", run.pk, state)
    return bool(finished)


def record_file(run: Run, name: str, uri: str) -> bool:
    """Save where the store has one of a run's files. False, and nothing changes, if another worker has claimed it."""
    run.files = run.files | {name: uri}
    return bool(_claimed(run).update(files=run.files, heartbeat_at=timezone.now()))


def record_log(run: Run, text: str) -> None:
    """Save the end of what the run's program has printed, unless another worker has claimed it."""
    with transaction.atomic():
        if _claimed(run).select_for_update().exists():
            RunLog.objects.update_or_create(run_id=run.pk, defaults={"text": storable(text[-MAX_LOG_CHARS:])})


def record_launch(run: Run, **values: Any) -> bool:
    """Save what identifies the run's job at a scheduler. False, and nothing changes, if another worker has claimed it."""
    run.launch = run.launch | values
    return bool(_claimed(run).update(launch=run.launch, heartbeat_at=timezone.now()))


def requeue_run(run: Run) -> None:
    """Queue a run again because its worker shuts down; the next worker continues from the checkpoint."""
    if _claimed(run).update(attempt=F("attempt") - 1, **_queued_again()):
        _wake(run)


def lower_memory(run: Run) -> bool:
    """Queue a run that ran out of memory again, with half the `batch_tokens`: the number of tokens that go through the model
    at once, on which its result depends only by rounding. False if they are few already."""
    tokens = run.config.get("batch_tokens", 0) // 2
    if tokens < MIN_BATCH_TOKENS:
        return False
    text = _("Memory ran out. The run goes on with %(tokens)s instead of %(before)s batch_tokens.")
    record_warning(run, text % {"tokens": tokens, "before": 2 * tokens})
    if _claimed(run).update(attempt=0, config=run.config | {"batch_tokens": tokens}, **_queued_again()):
        _wake(run)
    return True


def run_group(run_id: int) -> str:
    """The channel group of a run's pages."""
    return f"run-{run_id}"


def wake_worker(run_id: int) -> None:
    """Send the message that wakes a worker. If the broker is unavailable, the sweep sends it later."""
    try:
        app.send_task("training.tasks.execute_run", [run_id], retry=False)
    except Exception:
        log.warning("could not wake a worker for run %s", run_id, exc_info=True)


def wake_round(round_id: int) -> None:
    """Send the message that advances a round. If the broker is unavailable, the sweep sends it later."""
    try:
        app.send_task("training.tasks.advance_round", [round_id], retry=False)
    except Exception:
        log.warning("could not wake a worker for round %s", round_id, exc_info=True)


def _wake_round(run: Run) -> None:
    if (round_id := run.round_id) is not None:
        transaction.on_commit(lambda: wake_round(round_id))


def _claimed(run: Run) -> Any:
    """The run's row, while this worker's claim on it is valid."""
    return Run.objects.filter(pk=run.pk, claim=run.claim, state=Run.State.RUNNING)


def _queued_again() -> dict[str, Any]:
    """The fields of a run that goes back into the queue."""
    return {
        "state": Run.State.QUEUED,
        "claim": None,
        "launch": {},
        "active_at": timezone.now(),
        "stuck_at": None,
    }


def _wake(run: Run) -> None:
    transaction.on_commit(lambda: wake_worker(run.pk))


def _announce_state(run: Run) -> None:
    event = {"kind": "state", "run": run.pk, "state": run.state, "error": run.error}
    events.announce(run_group(run.pk), event)
    events.announce(events.project_group(run.project_id), event)

"""Every write on runs: what people ask for, and what a worker reports."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from annotation import events
from annotation.logic.limits import MAX_RESPONSES, MIN_RESPONSES
from annotation.models import Project, Prompt, Snapshot, User
from config.celery import app
from training.configs import KINDS, Config, GenerateConfig, from_dict
from training.errors import RunError
from training.models import Metric, ModelVersion, Round, Run
from training.registry import model_sources
from training.registry.actions import current_model

log = logging.getLogger(__name__)

NEEDS_SNAPSHOT = (Run.Kind.REWARD, Run.Kind.DPO, Run.Kind.EVALUATE)
NEEDS_REWARD_MODEL = (Run.Kind.REJECTION, Run.Kind.PPO, Run.Kind.GRPO, Run.Kind.REINFORCE)
MAKES_POLICY = (Run.Kind.PRETRAIN, Run.Kind.SFT, Run.Kind.DPO, *NEEDS_REWARD_MODEL)


# --- what people ask for --------------------------------------------------------------------------------------


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
    reference: ModelVersion | None = None,
    inputs: Mapping[str, Any] | None = None,
    round: Round | None = None,
    part: str = "",
) -> Run:
    """Queue a run and wake a worker.

    Args:
        config: settings that differ from the defaults of `training.configs`.
        model: what the run starts from; the current policy (for an evaluation, the current reward model) if left out.
            None of them, whatever is given, where a server answers.
        snapshot: the judgments to learn from, where the kind learns from judgments.
        reward_model: what scores the policy's answers, where the kind learns from these; the current one if left out.
        safety_reward_model: a second one, of what is safe.
        reference: the policy that it must not stray far from, where that is not `model`.
        round, part: which part of a round it is. Models and snapshots may then belong to any project of the loop.
        inputs: what else the kind needs. generate: `prompts` (how many) and `split`, or `prompt_ids`; `publish` (put
            the answers into the queue), `publish_first` (only those of the first so many prompts), `comparisons` (the share
            of items that ask for a comparison of two answers instead of a ranking of all), `priority`. pretrain, sft:
            `data`, the name of a file in the core's format below the artifacts' `texts` folder. rejection, ppo, grpo,
            reinforce: `prompts` and `held_out`, how many training and held-out prompts at most. Where a model is made:
            its `name`. generate: `ask`, a question of one's own, whose answers are kept nowhere else. In rounds: `answers`
            (ids of runs whose answers are scored, in place of a snapshot), `after` (only judgments past this id), `swap`
            (train on what is held out, and the other way round), `safety_tag`.

    Raises:
        RunError: something is missing or does not fit together.
        ConfigError: a setting is unknown or out of its bounds.
    """
    if kind not in KINDS:
        raise RunError("kind", f"{kind!r} is no kind of run: there are {', '.join(KINDS)}.")
    resolved = from_dict(kind, dict(config or {}))
    served = isinstance(resolved, GenerateConfig) and bool(resolved.server)
    projects = {project.pk}
    if round is not None:
        projects |= {round.loop.project_id, round.loop.safety_project_id or project.pk}
    model = None if served else _start_from(project, kind, model, projects)
    resolved = _fitted(resolved, config or {}, model)
    if not (inputs or {}).get("answers"):
        _check_snapshot(project, kind, snapshot, projects)
    if kind in NEEDS_REWARD_MODEL:
        reward_model = _scored_by(project, reward_model)
    elif reward_model is not None:
        raise RunError("reward_model", f"A {kind} run takes no reward model beside its model.")
    _check_inputs(project, resolved, inputs or {})
    run = Run.objects.create(
        project=project,
        kind=kind,
        config=resolved.to_dict(),
        inputs=dict(inputs or {}),
        model=model,
        snapshot=snapshot,
        reward_model=reward_model,
        safety_reward_model=safety_reward_model,
        reference=reference,
        round=round,
        part=part,
        created_by=creator,
    )
    _wake(run)
    _announce_state(run)
    return run


def _fitted(resolved: Config, given: Mapping[str, Any], model: ModelVersion | None) -> Config:
    """The settings with answers that the model has room for, where nobody said how long they may be."""
    usual = getattr(resolved, "max_new_tokens", None)
    if model is None or usual is None or "max_new_tokens" in given:
        return resolved
    return dataclasses.replace(
        resolved,
        max_new_tokens=model_sources.longest_response(model.location, usual),  # type: ignore[call-arg]
    )


def _start_from(
    project: Project, kind: str, model: ModelVersion | None, projects: Collection[int]
) -> ModelVersion | None:
    wanted = ModelVersion.Kind.REWARD if kind == Run.Kind.EVALUATE else ModelVersion.Kind.POLICY
    if model is None and kind != Run.Kind.PRETRAIN:
        model = current_model(project, wanted)
        if model is None:
            raise RunError(
                "model", f"This project has no {wanted.label.lower()} yet: add one on the Models page."
            )
    if model is not None and (model.project_id not in projects or model.kind != wanted):
        raise RunError("model", f"{model} is not a {wanted.label.lower()} of this project.")
    if model is not None and model.removed_at:
        raise RunError("model", f"The files of {model} were removed from the disk.")
    return model


def _scored_by(project: Project, model: ModelVersion | None) -> ModelVersion:
    model = model or current_model(project, ModelVersion.Kind.REWARD)
    if model is None:
        raise RunError("reward_model", "This project has no reward model yet: train one first.")
    if model.project_id != project.pk or model.kind != ModelVersion.Kind.REWARD:
        raise RunError("reward_model", f"{model} is not a reward model of this project.")
    if not project.prompts.filter(split=Prompt.Split.TRAIN).exists():
        raise RunError("prompts", "This project has no training prompts to answer: import some.")
    return model


def _check_snapshot(
    project: Project, kind: str, snapshot: Snapshot | None, projects: Collection[int]
) -> None:
    if snapshot is None:
        if kind in NEEDS_SNAPSHOT:
            raise RunError("snapshot", "Choose a snapshot: freeze one on the Data page first.")
        return
    if snapshot.project_id not in projects:
        raise RunError("snapshot", "That snapshot belongs to another project.")
    if kind in (Run.Kind.REWARD, Run.Kind.DPO) and not snapshot.counts.get("pairs_train"):
        raise RunError("snapshot", f"{snapshot} has no preference pairs to learn from.")


def _check_inputs(project: Project, config: Config, inputs: Mapping[str, Any]) -> None:
    if config.kind in (Run.Kind.PRETRAIN, Run.Kind.SFT) and not inputs.get("demonstrations"):
        text_file(inputs.get("data", ""))
    if "ask" in inputs and not str(inputs["ask"]).strip():
        raise RunError("ask", "Write what the models shall be asked.")
    if (
        isinstance(config, GenerateConfig)
        and inputs.get("publish")
        and not MIN_RESPONSES <= config.samples <= MAX_RESPONSES
    ):
        raise RunError("samples", "An item of the queue has 2 to 9 answers.")
    makes_model = config.kind in (*MAKES_POLICY, Run.Kind.REWARD)
    if makes_model and project.model_versions.filter(name=inputs.get("name")).exists():
        raise RunError("name", f"There is a model called {inputs['name']!r} already.")


def text_file(name: str) -> Path:
    """A file of texts to learn from. Only those below the artifacts' `texts` folder can be named: a run must not read the
    server's other files.

    Raises:
        RunError: there is no such file.
    """
    folder = (Path(settings.ARTIFACTS) / "texts").resolve()
    path = (folder / name).resolve()
    try:
        is_there = path.is_relative_to(folder) and path.is_file()
    except OSError:  # a name too long for any file, or a folder where we may not look
        is_there = False
    if not is_there:
        raise RunError("data", f"There is no file {name!r} in {folder}: put the texts to learn from there.")
    return path


def cancel_run(run: Run) -> Run:
    """Stop a run: at once if nobody works on it, else after its present step, with a checkpoint.

    Raises:
        RunError: it is over already.
    """
    now = timezone.now()
    queued = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED)
    if not queued.update(
        state=Run.State.CANCELLED, cancel_requested=True, finished_at=now
    ) and not Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(cancel_requested=True):
        raise RunError("state", "This run is over.")
    run.refresh_from_db()
    _announce_state(run)
    _wake_round(run)
    return run


def resume_run(run: Run) -> Run:
    """Queue a cancelled or failed run again; it goes on from its last checkpoint.

    Raises:
        RunError: it is neither cancelled nor failed.
    """
    stopped = Run.objects.filter(pk=run.pk, state__in=[Run.State.CANCELLED, Run.State.FAILED])
    if not stopped.update(
        state=Run.State.QUEUED, cancel_requested=False, error="", finished_at=None, claim=None, attempt=0
    ):
        raise RunError("state", "Only a cancelled or failed run can be resumed.")
    run.refresh_from_db()
    _wake(run)
    _announce_state(run)
    _wake_round(run)
    return run


# --- what a worker reports ------------------------------------------------------------------------------------


def claim_run(run_id: int) -> Run | None:
    """Take a run that is queued, or whose worker has been silent for too long; None if another worker has it.

    The claim is one conditional update, so a message that comes twice, or late, does no harm.
    """
    now = timezone.now()
    silent = Q(state=Run.State.RUNNING, heartbeat_at__lt=now - timedelta(seconds=settings.RUN_STALE_S))
    claimed = Run.objects.filter(Q(state=Run.State.QUEUED) | silent, pk=run_id).update(
        state=Run.State.RUNNING, claim=uuid.uuid4(), heartbeat_at=now, attempt=F("attempt") + 1, error=""
    )
    if not claimed:
        return None
    Run.objects.filter(pk=run_id, started_at=None).update(started_at=now)
    run = Run.objects.select_related("project", "model", "snapshot", "reward_model").get(pk=run_id)
    _announce_state(run)
    return run


def heartbeat(run: Run) -> bool:
    """Say that the run is worked on. False when it is another worker's by now, or was asked to stop."""
    beating = Run.objects.filter(pk=run.pk, claim=run.claim, state=Run.State.RUNNING)
    return bool(beating.filter(cancel_requested=False).update(heartbeat_at=timezone.now()))


def record_progress(run: Run, *, step: int, total: int, eta_s: float | None) -> None:
    _of(run).update(step=step, total=total, eta_s=eta_s, heartbeat_at=timezone.now())
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
    """Keep what was measured at a step; what is measured at the same step again joins or replaces it."""
    with transaction.atomic():
        if not _of(run).select_for_update().exists():
            return
        metric, made = Metric.objects.get_or_create(run=run, step=step, defaults={"values": dict(values)})
        if not made:
            metric.values |= values
            metric.save(update_fields=["values"])
    events.announce(run_group(run.pk), {"kind": "metrics", "step": step, "values": dict(values)})


def record_warning(run: Run, message: str) -> None:
    if message not in run.warnings:
        run.warnings.append(message)
        _of(run).update(warnings=run.warnings)
        events.announce(run_group(run.pk), {"kind": "warning", "message": message})


def finish_run(run: Run, *, state: str, result: Mapping[str, Any] | None = None, error: str = "") -> bool:
    """Close a run; False, and nothing changed, when it is another worker's by now."""
    closed = _of(run).update(
        state=state,
        finished_at=timezone.now(),
        result=dict(result or {}),
        error=error,
        eta_s=None,
        claim=None,
    )
    if closed:
        run.refresh_from_db()
        _announce_state(run)
        _wake_round(run)
    return bool(closed)


def hand_back(run: Run) -> None:
    """Queue a run again because its worker is shutting down; the next worker goes on from the checkpoint."""
    if _of(run).update(state=Run.State.QUEUED, claim=None, attempt=F("attempt") - 1):
        _wake(run)


def run_group(run_id: int) -> str:
    return f"run-{run_id}"


def wake_worker(run_id: int) -> None:
    """Send the message that wakes a worker. If the broker is away nothing is lost: the sweep sends it again."""
    try:
        app.send_task("training.tasks.execute_run", [run_id], retry=False)
    except Exception:
        log.warning("could not wake a worker for run %s", run_id, exc_info=True)


def wake_round(round_id: int) -> None:
    """Send the message that has a round looked at; the sweep does the same, some seconds later."""
    try:
        app.send_task("training.tasks.advance_round", [round_id], retry=False)
    except Exception:
        log.warning("could not wake a worker for round %s", round_id, exc_info=True)


def _wake_round(run: Run) -> None:
    if (round_id := run.round_id) is not None:
        transaction.on_commit(lambda: wake_round(round_id))


def _of(run: Run) -> Any:
    """The run's row, as long as this worker's claim on it holds."""
    return Run.objects.filter(pk=run.pk, claim=run.claim, state=Run.State.RUNNING)


def _wake(run: Run) -> None:
    transaction.on_commit(lambda: wake_worker(run.pk))


def _announce_state(run: Run) -> None:
    event = {"kind": "state", "run": run.pk, "state": run.state, "error": run.error}
    events.announce(run_group(run.pk), event)
    events.announce(events.project_group(run.project_id), event)

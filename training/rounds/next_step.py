"""The state of a project's loop, and the next step that the overview page suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation import analytics
from annotation.analytics.figures import counted_or_none
from annotation.analytics.filters import NO_FILTERS
from annotation.analytics.outlook import Outlook
from annotation.labels import within_sentence
from annotation.logic.translation import format_number
from annotation.models import Member, Project, Snapshot
from annotation.queries import Progress
from training.models import ModelVersion, Round, Run
from training.rounds.queries import rounds_of
from training.rounds.steps.base import Awaited
from training.rounds.timeline import awaited_by
from training.runs.kinds import LEARNS_JUDGMENTS
from training.runs.reward_sources import LEARNS_REWARDS

SNAPSHOT_SUGGESTED_AFTER = 50
"""New judgments after which a snapshot is suggested, even if the queue is not empty."""


@dataclass(frozen=True)
class LoopStatus:
    """What there is in a project, in the order of the loop."""

    prompts: int
    unqueued: int | None
    """Prompts without an item in the queue; None while a worker counts them."""
    answers: int
    queue: Progress
    annotators: int
    new_judgments: int
    imported: int
    """Imported judgments."""
    snapshot: Snapshot | None
    reward: ModelVersion | None
    policy: ModelVersion | None
    policies: int
    candidate: ModelVersion | None
    """The newest policy, if a run made it after the current one."""
    trained: frozenset[str]
    """The kinds of run that were or are being trained on the newest snapshot, or since then on rewards."""
    open_runs: tuple[Run, ...]
    round: Round | None
    """The open round."""
    outlook: Outlook
    """Who judges now, and how long that takes."""
    awaited: Awaited
    """What the open round waits for."""

    def is_open(self, kind: str) -> bool:
        return any(run.kind == kind for run in self.open_runs)


@dataclass(frozen=True)
class NextStep:
    """What a lead should do now. url: the name of a URL; run, model: the object of the page, if it has one."""

    sentence: str
    label: str = ""
    url: str = ""
    kind: str = ""
    run: Run | Round | None = None
    model: ModelVersion | None = None


def loop_status(project: Project, queue: Progress, members: Sequence[Member], ahead: Outlook) -> LoopStatus:
    snapshot = project.snapshots.first()
    rejecting = Round.objects.filter(policy_after=OuterRef("pk"), decision=Round.Decision.REJECTED)
    versions = list(
        ModelVersion.objects.filter(project=project)
        .annotate(was_rejected=Exists(rejecting))
        .select_related("run", "run__snapshot", "run__reward_model__run__snapshot")
    )
    current = {version.kind: version for version in versions if version.current}
    policy = current.get(ModelVersion.Kind.POLICY)
    policies = [version for version in versions if version.kind == ModelVersion.Kind.POLICY]
    newest = policies[0] if policies else None
    runs = Run.objects.none()
    if snapshot:
        learns = Q(snapshot=snapshot) | Q(kind__in=LEARNS_REWARDS, created_at__gt=snapshot.created_at)
        runs = Run.objects.filter(learns, project=project, state__in=[*Run.OPEN_STATES, Run.State.DONE])
    counts = queue.counts
    round = rounds_of(project).filter(state__in=Round.OPEN_STATES).first()
    return LoopStatus(
        prompts=counts.prompts,
        unqueued=counted_or_none(
            project, lambda: analytics.unqueued_prompt_count(project, NO_FILTERS), counts
        ),
        answers=counts.responses,
        queue=queue,
        annotators=sum(member.role == Member.Role.ANNOTATOR for member in members),
        new_judgments=analytics.new_judgment_count(project, snapshot),
        imported=counts.imported_judgments,
        snapshot=snapshot,
        reward=current.get(ModelVersion.Kind.REWARD),
        policy=policy,
        policies=len(policies),
        candidate=newest
        if newest and policy and newest.pk > policy.pk and newest.run_id and not newest.was_rejected
        else None,
        trained=frozenset(runs.values_list("kind", flat=True)),
        open_runs=tuple(
            Run.objects.filter(project=project, state__in=Run.OPEN_STATES).select_related("project")
        ),
        round=round,
        outlook=ahead,
        awaited=awaited_by(round) if round else Awaited(""),
    )


def next_step(status: LoopStatus) -> NextStep:
    """The first thing, in the order of the loop, that is not done yet."""
    if status.prompts == 0:
        return NextStep(
            _("Start with prompts: questions that users would ask the model."), _("Import prompts"), "import"
        )
    if status.round and status.round.state != Round.State.WORKING:
        return NextStep(
            _("%(round)s waits for a decision; its page shows the reason and the options. %(whose_turn)s")
            % {"round": status.round, "whose_turn": status.awaited.sentence},
            _("Decide"),
            run=status.round,
        )
    if status.round and any(run.round_id == status.round.pk for run in status.open_runs):
        return NextStep(
            _("%(round)s is running: %(step)s. %(awaited)s")
            % {
                "round": status.round,
                "step": _(status.round.current_step["title"]),
                "awaited": status.awaited.sentence,
            },
            _("View the round"),
            run=status.round,
        )
    if status.open_runs:
        run = status.open_runs[0]
        return NextStep(_("%(run)s is in progress.") % {"run": run}, _("View the run"), run=run)
    if status.queue.total == 0 and status.imported:
        return _with_imported(status)
    if status.queue.total == 0:
        return _first_answers(status)
    if status.round and status.awaited.people and status.awaited.needs_people:
        return NextStep(f"{status.round}: {status.awaited.sentence}", _("Remind people"), "remind")
    if status.round:
        text = status.awaited.sentence or _(status.round.current_step["title"])
        return NextStep(f"{status.round}: {text}", _("View the round"), run=status.round)
    if status.queue.done == 0:
        return _judging(status)
    if status.new_judgments >= SNAPSHOT_SUGGESTED_AFTER or (status.new_judgments and not status.queue.left):
        text = (
            ngettext(
                "%(n)s new judgment since %(snapshot)s. Create a snapshot to train models on them.",
                "%(n)s new judgments since %(snapshot)s. Create a snapshot to train models on them.",
                status.new_judgments,
            )
            if status.snapshot
            else ngettext(
                "%(n)s new judgment and no snapshot yet. Create a snapshot to train models on them.",
                "%(n)s new judgments and no snapshot yet. Create a snapshot to train models on them.",
                status.new_judgments,
            )
        )
        return NextStep(
            text
            % {"n": analytics.count_text(status.new_judgments), "snapshot": within_sentence(status.snapshot)},
            _("Create snapshot"),
            "snapshots",
        )
    return _training(status) or _next_round(status)


def _with_imported(status: LoopStatus) -> NextStep:
    """In a project whose judgments are all imported."""
    if status.snapshot is None:
        return NextStep(
            ngettext(
                "%(n)s judgment is imported. Create a snapshot with it to train a reward model, or return items to the"
                " queue.",
                "%(n)s judgments are imported. Create a snapshot with them to train a reward model, or return items to the"
                " queue.",
                status.imported,
            )
            % {"n": format_number(status.imported)},
            _("Create snapshot"),
            "snapshots",
        )
    return _training(status) or _next_round(status)


def _first_answers(status: LoopStatus) -> NextStep:
    if status.policy:
        return NextStep(
            ngettext(
                "%(n)s prompt has no answers to compare. Generate answers with %(policy)s.",
                "%(n)s prompts have no answers to compare. Generate answers with %(policy)s.",
                status.prompts,
            )
            % {"n": format_number(status.prompts), "policy": status.policy},
            _("Generate answers"),
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return NextStep(
        _(
            "The prompts need answers to compare: add a policy to generate them, or import prompts with responses."
        ),
        _("Add a policy"),
        "models",
    )


def _training(status: LoopStatus) -> NextStep | None:
    """The training that the newest snapshot still lacks."""
    if status.snapshot is None:
        return None
    if status.policy is None:
        return NextStep(
            _("%(snapshot)s is ready, but there is no policy to train.") % {"snapshot": status.snapshot},
            _("Add a policy"),
            "models",
        )
    learned_rewards = not status.trained.isdisjoint(LEARNS_REWARDS)
    if Run.Kind.REWARD not in status.trained and not learned_rewards:
        return NextStep(
            _("No reward model was trained on %(snapshot)s yet.") % {"snapshot": status.snapshot},
            _("Train a reward model"),
            "run-new",
            kind=Run.Kind.REWARD,
        )
    if status.trained.isdisjoint(LEARNS_JUDGMENTS) and not learned_rewards:
        return NextStep(
            _("The policy was not trained on %(snapshot)s yet.") % {"snapshot": status.snapshot},
            _("Improve the policy"),
            "run-new",
            kind=Run.Kind.DPO,
        )
    return None


def _next_round(status: LoopStatus) -> NextStep:
    if status.candidate:
        return NextStep(
            _(
                "%(candidate)s is newer than %(policy)s, the current policy. Check its answers, and promote it if they are"
                " better."
            )
            % {"candidate": status.candidate, "policy": status.policy},
            _("View %(model)s") % {"model": status.candidate},
            model=status.candidate,
        )
    if not status.queue.left and status.policy:
        return NextStep(
            _("The queue is empty. Generate new answers with %(policy)s for the next round.")
            % {"policy": status.policy},
            _("Generate answers"),
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return _judging(status)


def _judging(status: LoopStatus) -> NextStep:
    """People's turn: they are at work, can be reminded, or are still to be invited."""
    if status.outlook.is_idle and not status.annotators:
        text = ngettext(
            "%(n)s judgment is left, and there is no annotator. Invite people, or judge items yourself.",
            "%(n)s judgments are left, and there is no annotator. Invite people, or judge items yourself.",
            status.queue.left,
        )
        return NextStep(text % {"n": format_number(status.queue.left)}, _("Invite people"), "members")
    if status.outlook.needs_people and not status.annotators:
        return NextStep(status.outlook.sentence, _("Invite people"), "members")
    if status.outlook.needs_people:
        return NextStep(status.outlook.sentence, _("Remind people"), "remind")
    return NextStep(status.outlook.sentence, _("View the progress"), "progress")

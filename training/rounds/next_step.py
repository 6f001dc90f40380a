"""The state of a project's loop, and the next step that the overview page suggests."""

from __future__ import annotations

from dataclasses import dataclass

from annotation import analytics
from annotation.models import Member, Project, Snapshot
from annotation.queries import Progress
from training.models import ModelVersion, Round, Run
from training.rounds.queries import rounds_of
from training.runs.queries import count_unqueued_prompts

SNAPSHOT_SUGGESTED_AFTER = 50
"""New judgments after which a snapshot is suggested, even if the queue is not empty."""


@dataclass(frozen=True)
class LoopStatus:
    """What there is in a project, in the order of the loop."""

    prompts: int
    unanswered: int
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
    """The kinds of run that were or are being trained on the newest snapshot."""
    open_runs: tuple[Run, ...]
    round: Round | None
    """The open round."""

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


def loop_status(project: Project, queue: Progress) -> LoopStatus:
    snapshot = project.snapshots.first()
    versions = list(
        ModelVersion.objects.filter(project=project).select_related(
            "run", "run__snapshot", "run__reward_model__run__snapshot"
        )
    )
    current = {version.kind: version for version in versions if version.current}
    policy = current.get(ModelVersion.Kind.POLICY)
    policies = [version for version in versions if version.kind == ModelVersion.Kind.POLICY]
    newest = policies[0] if policies else None
    runs = Run.objects.none()
    if snapshot:
        runs = snapshot.runs.filter(state__in=[*Run.OPEN_STATES, Run.State.DONE])
    prompts = project.prompts.count()
    return LoopStatus(
        prompts=prompts,
        unanswered=count_unqueued_prompts(project),
        answers=analytics.response_count(project),
        queue=queue,
        annotators=project.members.exclude(role=Member.Role.REVIEWER).count(),
        new_judgments=analytics.new_judgment_count(project, snapshot),
        imported=analytics.imported_count(project),
        snapshot=snapshot,
        reward=current.get(ModelVersion.Kind.REWARD),
        policy=policy,
        policies=len(policies),
        candidate=newest if newest and policy and newest.pk > policy.pk and newest.run_id else None,
        trained=frozenset(runs.values_list("kind", flat=True)),
        open_runs=tuple(
            Run.objects.filter(project=project, state__in=Run.OPEN_STATES).select_related("project")
        ),
        round=rounds_of(project).filter(state__in=Round.OPEN_STATES).first(),
    )


def next_step(status: LoopStatus) -> NextStep:
    """The first thing, in the order of the loop, that is not done yet."""
    if status.prompts == 0:
        return NextStep(
            "Start with prompts: questions that users would ask the model.", "Import prompts", "import"
        )
    if status.round and status.round.state != Round.State.WORKING:
        return NextStep(
            f"{status.round} waits for your decision. Its page shows the reason and the options.",
            "Decide",
            run=status.round,
        )
    if status.round and any(run.round_id == status.round.pk for run in status.open_runs):
        return NextStep(
            f"{status.round} is running: {status.round.current_step['title']}.",
            "View the round",
            run=status.round,
        )
    if status.open_runs:
        run = status.open_runs[0]
        return NextStep(f"{run} is in progress.", "View the run", run=run)
    if status.queue.total == 0 and status.imported:
        return _with_imported(status)
    if status.queue.total == 0:
        return _first_answers(status)
    if status.queue.done == 0:
        return NextStep(
            "There are answers to judge. Tell your annotators, or add some.", "Members", "members"
        )
    if status.round:
        return NextStep(
            f"{status.round} continues automatically: annotators are working, {status.queue.left:,} judgments are left.",
            "View the round",
            run=status.round,
        )
    if status.new_judgments >= SNAPSHOT_SUGGESTED_AFTER or (status.new_judgments and not status.queue.left):
        since = f"since {status.snapshot}".lower() if status.snapshot else "and no snapshot yet"
        return NextStep(
            f"{status.new_judgments:,} new judgments {since}. Create a snapshot to train models on them.",
            "Create snapshot",
            "snapshots",
        )
    return _training(status) or _next_round(status)


def _with_imported(status: LoopStatus) -> NextStep:
    """In a project whose judgments are all imported."""
    if status.snapshot is None:
        return NextStep(
            f"{status.imported:,} judgments are imported. Create a snapshot with them to train a reward model, or return"
            " items to the queue.",
            "Create snapshot",
            "snapshots",
        )
    return _training(status) or _next_round(status)


def _first_answers(status: LoopStatus) -> NextStep:
    if status.policy:
        return NextStep(
            f"{status.prompts:,} prompts have no answers to compare. Generate answers with {status.policy}.",
            "Generate answers",
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return NextStep(
        "The prompts need answers to compare: add a policy to generate them, or import prompts with responses.",
        "Add a policy",
        "models",
    )


def _training(status: LoopStatus) -> NextStep | None:
    """The training that the newest snapshot still lacks."""
    if status.snapshot is None:
        return None
    if status.policy is None:
        return NextStep(
            f"{status.snapshot} is ready, but there is no policy to train.", "Add a policy", "models"
        )
    if Run.Kind.REWARD not in status.trained:
        return NextStep(
            f"No reward model was trained on {status.snapshot} yet.",
            "Train a reward model",
            "run-new",
            kind=Run.Kind.REWARD,
        )
    if Run.Kind.DPO not in status.trained:
        return NextStep(
            f"The policy was not trained on {status.snapshot} yet.",
            "Improve the policy",
            "run-new",
            kind=Run.Kind.DPO,
        )
    return None


def _next_round(status: LoopStatus) -> NextStep:
    if status.candidate:
        return NextStep(
            f"{status.candidate} is newer than {status.policy}, the current policy. Check its answers, and promote it if "
            "they are better.",
            f"View {status.candidate}",
            model=status.candidate,
        )
    if not status.queue.left and status.policy:
        return NextStep(
            f"The queue is empty. Generate new answers with {status.policy} for the next round.",
            "Generate answers",
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return NextStep(
        f"Annotators are working: {status.queue.left:,} of {status.queue.total:,} judgments are left.",
        "View the progress",
        "progress",
    )

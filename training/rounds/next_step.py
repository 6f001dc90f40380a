"""Where a project stands in the loop, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from annotation import analytics
from annotation.models import Member, Project, Snapshot
from annotation.queries import Progress
from training.models import ModelVersion, Round, Run
from training.rounds.queries import rounds_of
from training.runs.queries import count_unqueued_prompts

WORTH_FREEZING = 50
"""From so many new judgments on, a new snapshot is suggested even while people go on judging."""


@dataclass(frozen=True)
class Loop:
    """The loop of one project, one step after the other."""

    prompts: int
    unanswered: int
    answers: int
    queue: Progress
    annotators: int
    new_judgments: int
    snapshot: Snapshot | None
    reward: ModelVersion | None
    policy: ModelVersion | None
    policies: int
    candidate: ModelVersion | None
    """The newest policy, where it came after the current one."""
    trained: frozenset[str]
    """The kinds of run that learn, or have learned, from the newest snapshot."""
    open_runs: tuple[Run, ...]
    round: Round | None
    """The round that is going on."""

    def is_open(self, kind: str) -> bool:
        return any(run.kind == kind for run in self.open_runs)


@dataclass(frozen=True)
class Step:
    """What a lead would sensibly do now. `url` is a URL's name; `run` and `model` are what the page is about."""

    sentence: str
    label: str = ""
    url: str = ""
    kind: str = ""
    run: Run | Round | None = None
    model: ModelVersion | None = None


def loop_of(project: Project, queue: Progress) -> Loop:
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
    learning = Run.objects.none()
    if snapshot:
        learning = snapshot.runs.filter(state__in=[*Run.OPEN_STATES, Run.State.DONE])
    prompts = project.prompts.count()
    return Loop(
        prompts=prompts,
        unanswered=count_unqueued_prompts(project),
        answers=analytics.response_count(project),
        queue=queue,
        annotators=project.members.exclude(role=Member.Role.REVIEWER).count(),
        new_judgments=analytics.new_judgment_count(project, snapshot),
        snapshot=snapshot,
        reward=current.get(ModelVersion.Kind.REWARD),
        policy=policy,
        policies=len(policies),
        candidate=newest if newest and policy and newest.pk > policy.pk and newest.run_id else None,
        trained=frozenset(learning.values_list("kind", flat=True)),
        open_runs=tuple(
            Run.objects.filter(project=project, state__in=Run.OPEN_STATES).select_related("project")
        ),
        round=rounds_of(project).filter(state__in=Round.OPEN_STATES).first(),
    )


def next_step(loop: Loop) -> Step:
    """The first thing in the order of the loop that is not done."""
    if loop.prompts == 0:
        return Step(
            "Everything starts with prompts: what people would ask the model.", "Import prompts", "import"
        )
    if loop.round and loop.round.state != Round.State.WORKING:
        return Step(
            f"{loop.round} waits for you. Its page shows why, and what you can do.", "Decide", run=loop.round
        )
    if loop.round and any(run.round_id == loop.round.pk for run in loop.open_runs):
        return Step(
            f"{loop.round} is at work: {loop.round.now['title']}. Its page shows how it goes.",
            "Watch the round",
            run=loop.round,
        )
    if loop.open_runs:
        run = loop.open_runs[0]
        return Step(f"{run} is at work. Its page shows how it goes.", "Watch it", run=run)
    if loop.queue.wanted == 0:
        return _first_answers(loop)
    if loop.queue.done == 0:
        return Step("Answers wait to be judged. Tell your annotators, or add some.", "Members", "members")
    if loop.round:
        return Step(
            f"{loop.round} goes on by itself: people are judging, {loop.queue.left:,} are left.",
            "See the round",
            run=loop.round,
        )
    if loop.new_judgments >= WORTH_FREEZING or (loop.new_judgments and not loop.queue.left):
        since = f"since {loop.snapshot}".lower() if loop.snapshot else "and none frozen yet"
        return Step(
            f"{loop.new_judgments:,} new judgments {since}. Freeze them, so that models can learn from them.",
            "Freeze a snapshot",
            "snapshots",
        )
    return _training(loop) or _next_round(loop)


def _first_answers(loop: Loop) -> Step:
    if loop.policy:
        return Step(
            f"{loop.prompts:,} prompts have no answers to compare. Let {loop.policy} answer them.",
            "Ask for answers",
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return Step(
        "Prompts need answers to compare: add the policy that shall give them, or import prompts with responses.",
        "Add a policy",
        "models",
    )


def _training(loop: Loop) -> Step | None:
    """What is left to learn from the newest snapshot."""
    if loop.snapshot is None:
        return None
    if loop.policy is None:
        return Step(f"{loop.snapshot} is ready, but there is no policy to train.", "Add a policy", "models")
    if Run.Kind.REWARD not in loop.trained:
        return Step(
            f"No reward model has learned from {loop.snapshot} yet.",
            "Train a reward model",
            "run-new",
            kind=Run.Kind.REWARD,
        )
    if Run.Kind.DPO not in loop.trained:
        return Step(
            f"The policy has not learned from {loop.snapshot} yet.",
            "Improve the policy",
            "run-new",
            kind=Run.Kind.DPO,
        )
    return None


def _next_round(loop: Loop) -> Step:
    if loop.candidate:
        return Step(
            f"{loop.candidate} is newer than {loop.policy}, which is current. Look at its answers, and promote it if "
            "they are better.",
            f"Look at {loop.candidate}",
            model=loop.candidate,
        )
    if not loop.queue.left and loop.policy:
        return Step(
            f"The queue is empty. Ask {loop.policy} for new answers: that is the next round.",
            "Ask for answers",
            "run-new",
            kind=Run.Kind.GENERATE,
        )
    return Step(
        f"People are judging: {loop.queue.left:,} of {loop.queue.wanted:,} are left. Nothing to do but wait.",
        "See the progress",
        "progress",
    )

"""Runs, their metrics, and the model versions that they made."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.models import Author, Constitution, OpinionSet, Project, Snapshot


class RewardFunction(NamedTuple):
    """The Python function that gave a run its rewards. name: `module:function`. sha256: of its source file as the run loaded it;
    empty until the run is done."""

    name: str
    sha256: str

    def __str__(self) -> str:
        """As Markdown."""
        return f"`{self.name}` (SHA-256 `{self.sha256}`)" if self.sha256 else f"`{self.name}`"


class ModelVersion(models.Model):
    """A policy or a reward model, with its parent and the run that made it."""

    class Kind(models.TextChoices):
        POLICY = "policy", _("Policy")
        REWARD = "reward", _("Reward model")

    project = models.ForeignKey(Project, models.PROTECT, related_name="model_versions", db_index=False)
    kind = models.CharField(max_length=6, choices=Kind)
    name = models.CharField(max_length=120)
    # `store:…`, `file:/folder` below one of MODEL_DIRS, or `hub:org/name@revision` (registry/model_sources.py)
    location = models.CharField(max_length=500)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    run = models.OneToOneField("Run", models.PROTECT, null=True, blank=True, related_name="output")
    author = models.OneToOneField(Author, models.PROTECT, null=True, blank=True, related_name="model_version")
    current = models.BooleanField(
        default=False, help_text="The default policy or reward model of its project."
    )
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    # set: it can no longer be chosen, and its files may be removed
    retired_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True, help_text="When its files were removed.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_names_are_unique"),
            models.UniqueConstraint(
                fields=["project", "kind"], condition=Q(current=True), name="one_current_model"
            ),
            models.CheckConstraint(
                condition=Q(kind="reward") | Q(author__isnull=False), name="a_policy_is_an_author"
            ),
            models.CheckConstraint(
                condition=Q(current=False) | Q(retired_at=None), name="a_retired_model_is_not_current"
            ),
            models.CheckConstraint(
                condition=Q(removed_at=None) | Q(retired_at__isnull=False),
                name="only_retired_models_lose_files",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("model", args=[self.project.slug, self.pk])

    def lineage(self) -> list[ModelVersion]:
        """This version, its parent, and so on to the first."""
        chain: list[ModelVersion] = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        return chain


class Run(models.Model):
    """A run of the training core. The row is the queue: a worker claims it; a message only wakes the worker."""

    class Kind(models.TextChoices):
        PRETRAIN = "pretrain", _("Pre-training")
        SFT = "sft", _("Supervised fine-tuning")
        REWARD = "reward", _("Reward model")
        DPO = "dpo", "DPO"
        KTO = "kto", "KTO"
        REJECTION = "rejection", _("Rejection sampling")
        REST = "rest", "ReST"
        HINDSIGHT = "hindsight", _("Hindsight")
        PPO = "ppo", "PPO"
        GRPO = "grpo", "GRPO"
        REINFORCE = "reinforce", "REINFORCE"
        ONLINE = "online", _("Online DPO")
        REVISE = "revise", _("Revision")
        JUDGE = "judge", _("AI judge")
        GENERATE = "generate", _("Generation")
        EVALUATE = "evaluate", _("Evaluation")

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    OPEN_STATES = (State.QUEUED, State.RUNNING)

    project = models.ForeignKey(Project, models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=12, choices=Kind)
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    config = models.JSONField(help_text="Every setting, resolved (training.configs).")
    inputs = models.JSONField(
        default=dict, help_text="What is not a setting: a file, the number of prompts, and so on."
    )
    model = models.ForeignKey(ModelVersion, models.PROTECT, null=True, blank=True, related_name="runs")
    snapshot = models.ForeignKey(Snapshot, models.PROTECT, null=True, blank=True, related_name="runs")
    # scores the policy's responses, for kinds that train on them
    reward_model = models.ForeignKey(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="scored_runs"
    )
    safety_reward_model = models.ForeignKey(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="safety_scored_runs"
    )
    # scores the policy's responses to held-out prompts, to choose the weights that are kept
    second_reward_model = models.ForeignKey(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="second_scored_runs"
    )
    # a model that reads responses and gives the reward in place of a reward model
    judge = models.ForeignKey(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="judge_scored_runs"
    )
    # the principles of a judge, or of revisions
    constitution = models.ForeignKey(Constitution, models.PROTECT, null=True, blank=True, related_name="runs")
    # the opinions that it learns from, beside its snapshot or alone; and those that a judge run made
    opinion_set = models.ForeignKey(OpinionSet, models.PROTECT, null=True, blank=True, related_name="runs")
    output_opinion_set = models.OneToOneField(
        OpinionSet, models.PROTECT, null=True, blank=True, related_name="judge_run"
    )
    # the reference policy of the KL penalty, if that is not `model`
    reference = models.ForeignKey(
        ModelVersion, models.PROTECT, null=True, blank=True, related_name="reference_runs"
    )
    # the round and its part; a run that a retry replaced is `superseded`
    round = models.ForeignKey("Round", models.PROTECT, null=True, blank=True, related_name="runs")
    part = models.CharField(max_length=40, blank=True)
    superseded = models.BooleanField(default=False)
    # what it asks of the machines; gpus: on each node, or as many as the site gives every run
    nodes = models.PositiveSmallIntegerField(default=1)
    gpus = models.PositiveSmallIntegerField(null=True, blank=True)
    queue = models.CharField(max_length=100, blank=True)
    priority = models.SmallIntegerField(
        default=0, help_text="Of the runs that wait, those of a higher priority are started first."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    request_id = models.CharField(
        max_length=64, blank=True, editable=False, help_text="`X-Request-ID` of the request that started it."
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # the token of the worker that has claimed it: a worker with another token can write nothing
    claim = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    # when it was queued, claimed, or last reported progress; and when it was reported to be stuck
    active_at = models.DateTimeField(default=timezone.now)
    stuck_at = models.DateTimeField(null=True)
    cancel_requested = models.BooleanField(default=False)
    # the scheduler's job, by which the next worker finds it: name, offset (of its events), submitted
    launch = models.JSONField(default=dict)
    files = models.JSONField(
        default=dict, help_text="The URIs of its files in the store: data, checkpoint, output."
    )
    step = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    eta_s = models.FloatField(null=True)
    result = models.JSONField(default=dict)
    warnings = models.JSONField(default=list)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="a_running_run_is_claimed",
                condition=~Q(state="running") | Q(claim__isnull=False, heartbeat_at__isnull=False),
            ),
            # no duplicate message and no second worker can start a part of a round again
            models.UniqueConstraint(
                fields=["round", "part"],
                condition=Q(round__isnull=False, superseded=False),
                name="a_part_of_a_round_is_run_once",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], name="runs_to_claim", condition=Q(state__in=["queued", "running"])),
            models.Index(fields=["kind", "state"], name="runs_by_kind_and_state"),
        ]

    def __str__(self) -> str:
        return gettext("%(kind)s run %(number)s") % {"kind": self.get_kind_display(), "number": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.project.slug, self.pk])

    @property
    def training_snapshot(self) -> Snapshot | None:
        """The snapshot that it was trained on: its own, or its reward model's; None where it only measured what learned from an
        AI judge's opinions."""
        source = self if self.snapshot or not self.reward_model else self.reward_model.run
        return source.snapshot if source and source.inputs.get("ai") != "only" else None

    @property
    def training_opinion_set(self) -> OpinionSet | None:
        """The opinions of an AI judge that it was trained on: its own, or its reward model's."""
        reward_run = self.reward_model.run if self.reward_model else None
        return self.opinion_set or (reward_run.opinion_set if reward_run else None)

    @property
    def reward_function(self) -> RewardFunction | None:
        """The Python function in place of its reward model."""
        name = self.config.get("reward_function")
        return (
            RewardFunction(name, self.result.get("reward_function", {}).get("sha256", "")) if name else None
        )

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN_STATES

    @property
    def failed_limit(self) -> str:
        """The setting of the run's own limit at which it failed, as it would again; empty if it did not."""
        return str(self.result.get("ended_by") or "") if self.state == self.State.FAILED else ""

    @property
    def is_resumable(self) -> bool:
        return self.state in (self.State.CANCELLED, self.State.FAILED) and not self.failed_limit

    @property
    def percent(self) -> int:
        return min(100, 100 * self.step // self.total) if self.total else 0

    @property
    def folder(self) -> Path:
        """The job directory on this machine: `python -m training.core FOLDER` repeats the run by hand."""
        return Path(settings.ARTIFACTS) / "runs" / str(self.pk)


class RunLog(models.Model):
    """The end of what the training program of a run has printed, beside its events, when it ended last."""

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True, related_name="log")
    text = models.TextField()

    def __str__(self) -> str:
        return f"log of {self.run_id}"


class Metric(models.Model):
    """A run's metrics at one step. A step that is repeated after a crash overwrites its values."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="metrics", db_index=False)
    step = models.PositiveIntegerField()
    values = models.JSONField()

    class Meta:
        ordering = ["step"]
        constraints = [models.UniqueConstraint(fields=["run", "step"], name="one_row_per_step")]

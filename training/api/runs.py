"""Runs: listing, starting, following, cancelling and resuming them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.api import errors
from annotation.api.ordering import Ordering
from annotation.api.pagination import CURSOR, Page
from annotation.api.validation import ObjectIn, validate_body
from annotation.api.view import ApiView
from annotation.exports.selection import IMPORTED
from annotation.models import Constitution, OpinionSet, Project, Prompt, Snapshot
from training.api.access import run_for
from training.configs import KINDS, ConfigError
from training.errors import RunError
from training.models import ModelVersion, Run
from training.runs.actions import cancel_run, resume_run, start_run
from training.runs.ai_inputs import AI_CHOICES
from training.runs.kinds import LEARNS_JUDGMENTS
from training.runs.queries import runs_of
from training.runs.resources import MAX_PRIORITY, RESOURCES
from training.runs.reward_sources import LEARNS_REWARDS
from training.runs.run_list import RUNS

ORDERING = Ordering(RUNS, own="started")


def _number(name: str, help_text: str) -> serializers.IntegerField:
    return serializers.IntegerField(
        source=f"{name}.number", default=None, read_only=True, allow_null=True, help_text=help_text
    )


class ResourcesOut(serializers.ModelSerializer[Run]):
    class Meta:
        model = Run
        fields = RESOURCES


class RunOut(serializers.ModelSerializer[Run]):
    project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    kind = serializers.CharField(help_text=f"One of {', '.join(KINDS)}.")
    state = serializers.CharField(help_text=f"One of {', '.join(Run.State.values)}.")
    config = serializers.DictField(help_text="Every setting, resolved.")
    inputs = serializers.DictField()
    result = serializers.DictField()
    warnings = serializers.ListField(child=serializers.CharField())
    model: Any = serializers.PrimaryKeyRelatedField(read_only=True, help_text="The model it starts from.")
    snapshot = _number("snapshot", "The judgments that it reads.")
    reward_model: Any = serializers.PrimaryKeyRelatedField(
        read_only=True, help_text="What scores the policy's answers."
    )
    judge: Any = serializers.PrimaryKeyRelatedField(
        read_only=True, help_text="The model that gives the reward in place of a reward model."
    )
    constitution = _number("constitution", "The version of the principles of its judge, or of its revisions.")
    opinion_set = _number("opinion_set", "The opinions that it learns from.")
    output_opinion_set = _number("output_opinion_set", "The opinions that it made.")
    resources = ResourcesOut(source="*", read_only=True, help_text="What it asks of the machines.")
    output = serializers.SerializerMethodField(help_text="The model that it made.")
    percent = serializers.IntegerField(read_only=True)

    class Meta:
        model = Run
        fields = (
            *("id", "project", "kind", "state", "config", "inputs", "model", "snapshot"),
            *("reward_model", "judge", "constitution", "opinion_set", "output_opinion_set", "output"),
            "resources",
            *("step", "total", "percent", "eta_s", "result", "warnings", "error", "attempt"),
            *("created_at", "started_at", "finished_at", "request_id"),
        )

    def get_output(self, run: Run) -> int | None:
        output: ModelVersion | None = getattr(run, "output", None)
        return output.pk if output else None


class RunPage(Page):
    results = RunOut(many=True)


class GenerationInputs(serializers.Serializer[Any]):
    prompts = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)
    split = serializers.ChoiceField([*Prompt.Split.choices, ("any", "any")], required=False)
    publish = serializers.BooleanField(required=False)
    publish_first = serializers.IntegerField(required=False, min_value=1)
    comparisons = serializers.FloatField(required=False, min_value=0, max_value=1)
    priority = serializers.IntegerField(required=False, min_value=-1000, max_value=1000)
    name = serializers.SlugField(required=False, max_length=60)
    prompt_ids = serializers.ListField(child=serializers.CharField(), required=False, max_length=10_000)


class TrainingInputs(serializers.Serializer[Any]):
    name = serializers.SlugField(required=False, max_length=60)


class EvaluationInputs(serializers.Serializer[Any]):
    imported = serializers.ChoiceField(
        IMPORTED,
        required=False,
        help_text="Whether the snapshot's imported judgments are used: `include`, the default if it has any, only trains on"
        " them.",
    )


class JudgmentInputs(TrainingInputs, EvaluationInputs):
    ai = serializers.ChoiceField(
        AI_CHOICES,
        required=False,
        help_text="With an `opinion_set`: beside people's judgments (the default), or the opinions alone.",
    )
    ai_weight = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        help_text="Of an opinion, where a judgment has 1. Left out, as the judge's agreement with people allows.",
    )
    ai_scale = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=100,
        help_text="Times the log-odds of an opinion. Left out, as people's judgments of the same answers say.",
    )


class JudgeInputs(serializers.Serializer[Any]):
    prompts = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)
    split = serializers.ChoiceField([*Prompt.Split.choices, ("any", "any")], required=False)
    tag = serializers.CharField(required=False, max_length=100)


class RevisionInputs(serializers.Serializer[Any]):
    prompts = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)


class RolloutInputs(TrainingInputs):
    prompts = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)
    held_out = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)


class TextInputs(TrainingInputs):
    data = serializers.CharField(max_length=200)  # type: ignore[assignment]


class FineTuningInputs(TextInputs):
    data = serializers.CharField(required=False, max_length=200)
    revisions = serializers.IntegerField(
        required=False, help_text="The id of a revision run, whose answers are learned in place of a file."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not {"data", "revisions"} & attrs.keys():
            raise ValidationError({"data": ["One of data and revisions is required."]})
        return attrs


INPUTS: dict[str, type[serializers.Serializer[Any]]] = {
    Run.Kind.PRETRAIN: TextInputs,
    Run.Kind.SFT: FineTuningInputs,
    Run.Kind.REWARD: JudgmentInputs,
    **dict.fromkeys(LEARNS_JUDGMENTS, JudgmentInputs),
    **dict.fromkeys(LEARNS_REWARDS, RolloutInputs),
    Run.Kind.GENERATE: GenerationInputs,
    Run.Kind.EVALUATE: EvaluationInputs,
    Run.Kind.JUDGE: JudgeInputs,
    Run.Kind.REVISE: RevisionInputs,
}


class ResourcesIn(ObjectIn):
    nodes = serializers.IntegerField(required=False, min_value=1)
    gpus = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="On each node. Left out, the site's default."
    )
    queue = serializers.CharField(required=False, allow_blank=True, max_length=100)
    priority = serializers.IntegerField(required=False, min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY)


class RunIn(serializers.Serializer[Any]):
    kind = serializers.CharField(max_length=20, help_text=f"One of {', '.join(KINDS)}.")
    config = serializers.DictField(
        required=False,
        help_text="The settings that differ from their defaults. Left out, `learning_rate` follows from the number of parameters"
        " of the model, as papers found it for models of that size: docs/training.md has the table. `reward_function` names a"
        " function of the administrator's REWARD_FUNCTIONS that scores responses in place of a reward model.",
    )
    model = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Its id. Left out, the current policy, or reward model, is taken.",
    )
    snapshot = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Its number. Needed to train a reward model, for DPO and KTO, to evaluate.",
    )
    reward_model = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Its id, for the kinds that learn from rewards, and dpo with `patience`. Left out, the current one is taken,"
        " unless there is a `judge` or a `reward_function` in `config`.",
    )
    judge = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="The id of a model that gives the reward in place of a reward model; of a revision, the one that comments.",
    )
    constitution = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Its number, for judge, revise and runs with a `judge`. Left out, the latest version is taken.",
    )
    opinion_set = serializers.IntegerField(
        required=False, allow_null=True, help_text="Its number: a judge's opinions to learn from."
    )
    inputs = serializers.DictField(
        required=False,
        help_text="reward, dpo: `name` of the new model; with an `opinion_set` also `ai`, `ai_weight` and `ai_scale`. Kinds that"
        " learn from rewards: the same, and `prompts` and "
        "`held_out`, how many training and held-out prompts at most. generate: `prompts` (how many), `split`, `publish` (put the "
        "answers into the queue), `publish_first` (only those of the first so many prompts), `comparisons` (the share "
        "of items that ask for a comparison of two), `priority`, `prompt_ids`. pretrain, sft: `data`, a file in the "
        "server's folder of texts, or for sft `revisions`, the id of a revision run; `name`. judge: `prompts`, `split`, `tag`. "
        "revise: `prompts`.",
    )
    resources = ResourcesIn(
        required=False,
        help_text="What it asks of the machines. Of the runs that wait, those of a higher `priority` are started first. More than"
        " one node, and a `queue`, need a site with a cluster's scheduler.",
    )


class RunsApi(ApiView):
    @extend_schema(
        summary="The project's runs",
        operation_id="runs_list",
        parameters=[CURSOR, ORDERING.parameter],
        responses={200: RunPage} | errors.READ | errors.BAD_FIELDS,
        tags=["runs"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Oldest first or as `ordering` says, 100 a page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return ORDERING.page_response(runs_of(project).select_related("project"), request, RunOut)

    @extend_schema(
        summary="Start a run",
        operation_id="runs_start",
        request=RunIn,
        responses={201: RunOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "a reward model",
                {"kind": "reward", "snapshot": 1, "config": {"epochs": 2}, "inputs": {"name": "taste-1"}},
                request_only=True,
            ),
            OpenApiExample(
                "answers for the queue",
                {
                    "kind": "generate",
                    "config": {"samples": 4, "temperature": 0.7},
                    "inputs": {"prompts": 100, "split": "train", "publish": True},
                },
                request_only=True,
            ),
            OpenApiExample(
                "a setting out of its bounds",
                {"config": {"epochs": ["must be at least 1, not 0."]}},
                response_only=True,
                status_codes=["400"],
            ),
        ],
        tags=["runs"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Put a run into the workers' queue. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        data = validate_body(request, RunIn)
        kind = data["kind"]
        if kind not in KINDS:
            raise ValidationError({"kind": [f"{kind!r} is no kind of run: there are {', '.join(KINDS)}."]})
        try:
            run = start_run(
                project=project,
                kind=kind,
                creator=current_user(request),
                config=data.get("config"),
                model=_model(project, data.get("model")),
                snapshot=_by_number(Snapshot, project, data, "snapshot"),
                reward_model=_model(project, data.get("reward_model"), "reward_model"),
                judge=_model(project, data.get("judge"), "judge"),
                constitution=_by_number(Constitution, project, data, "constitution"),
                opinion_set=_by_number(OpinionSet, project, data, "opinion_set"),
                inputs=_inputs(project, kind, data.get("inputs") or {}),
                resources=data.get("resources"),
            )
        except ConfigError as error:
            raise ValidationError({"config": {error.field: [error.message]}}) from error
        except RunError as error:
            raise ValidationError(_error_detail(error, kind)) from error
        return Response(RunOut(runs_of(project).get(pk=run.pk)).data, status=201)


class RunApi(ApiView):
    @extend_schema(
        summary="One run", operation_id="runs_retrieve", responses={200: RunOut} | errors.READ, tags=["runs"]
    )
    def get(self, request: Request, pk: int) -> Response:
        """Its settings, progress and result. For leads and reviewers."""
        return Response(RunOut(run_for(request, pk, Role.LEAD, Role.REVIEWER)).data)


class CancelApi(ApiView):
    @extend_schema(
        summary="Cancel a run",
        operation_id="runs_cancel",
        request=None,
        responses={200: RunOut} | errors.READ | errors.CONFLICT,
        tags=["runs"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """At once while it is queued, otherwise after its current step, with a checkpoint. For leads."""
        run = run_for(request, pk, Role.LEAD)
        try:
            return Response(RunOut(cancel_run(run)).data)
        except RunError as error:
            raise errors.Conflict(str(error)) from error


class ResumeApi(ApiView):
    @extend_schema(
        summary="Resume a run",
        operation_id="runs_resume",
        request=None,
        responses={200: RunOut} | errors.READ | errors.CONFLICT,
        tags=["runs"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """A cancelled or failed run continues from its last checkpoint. For leads."""
        run = run_for(request, pk, Role.LEAD)
        try:
            return Response(RunOut(resume_run(run)).data)
        except RunError as error:
            raise errors.Conflict(str(error)) from error


def _model(project: Project, pk: int | None, field: str = "model") -> ModelVersion | None:
    if pk is None:
        return None
    version = ModelVersion.objects.filter(project=project, pk=pk).first()
    if version is None:
        raise ValidationError({field: [f"{pk} is the id of no model of this project."]})
    return version


def _by_number(model: Any, project: Project, data: Mapping[str, Any], field: str) -> Any:
    """The project's row with the number in `data[field]`."""
    number = data.get(field)
    if number is None:
        return None
    row = model.objects.filter(project=project, number=number).first()
    if row is None:
        text = f"{number} is the number of no {field.replace('_', ' ')} of this project."
        raise ValidationError({field: [text]})
    return row


def _inputs(project: Project, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    serializer = INPUTS[kind](data=data)
    if unknown := sorted(set(data) - set(serializer.fields)):
        raise ValidationError({"inputs": {unknown[0]: [f"A {kind} run takes no such input."]}})
    if not serializer.is_valid():
        raise ValidationError({"inputs": serializer.errors})
    inputs = dict(serializer.validated_data)
    if "prompt_ids" in inputs:
        inputs["prompt_ids"] = _prompt_keys(project, inputs["prompt_ids"])
    return inputs


def _prompt_keys(project: Project, external_ids: list[str]) -> list[int]:
    prompts = Prompt.objects.filter(project=project, external_id__in=external_ids)
    keys = dict(prompts.values_list("external_id", "pk"))
    if unknown := [id for id in external_ids if id not in keys]:
        raise ValidationError(
            {"inputs": {"prompt_ids": [f"{unknown[0][:40]!r} is the id of no prompt here."]}}
        )
    return [keys[id] for id in external_ids]


def _error_detail(error: RunError, kind: str) -> dict[str, Any]:
    """The message under its field, nested as in the request."""
    detail = {error.field: [str(error)]}
    if error.field in RunIn().fields:
        return detail
    if error.field in RESOURCES:
        return {"resources": detail}
    return {"config" if error.field in KINDS[kind].__dataclass_fields__ else "inputs": detail}

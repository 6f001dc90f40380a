"""Loops and their rounds: set up a loop, start a round, read its state, decide about it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.api import errors
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Member, Project
from training.api.access import loop_for, round_for
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, Round
from training.rounds import transitions
from training.rounds.loops import save_loop
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError
from training.rounds.settings import MAX_JUDGMENTS

RECIPE_HELP = f"One of {', '.join(RECIPES)}."


class LoopOut(serializers.ModelSerializer[Loop]):
    project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    safety_project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    recipe = serializers.CharField(help_text=RECIPE_HELP)
    options = serializers.DictField(help_text="Settings that differ from the recipe's defaults.")
    configs = serializers.DictField()
    weekdays = serializers.ListField(child=serializers.IntegerField())

    class Meta:
        model = Loop
        fields = (
            *("id", "project", "safety_project", "name", "recipe", "options", "configs", "first_policy"),
            *("active", "after_judgments", "weekdays", "hour", "created_at"),
        )


class LoopIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, required=False)
    recipe = serializers.CharField(max_length=20, help_text=RECIPE_HELP)
    options = serializers.DictField(
        required=False, help_text="Settings of a round that differ from their defaults."
    )
    configs = serializers.DictField(
        child=serializers.DictField(),
        required=False,
        help_text="Settings of the rounds' runs, by kind of run; `*` for all kinds.",
    )
    safety_project = serializers.SlugField(
        required=False, allow_null=True, help_text="The project whose annotators judge safety."
    )
    after_judgments = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_JUDGMENTS,
        help_text="A round starts after this many new judgments.",
    )
    weekdays = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6),
        required=False,
        help_text="A round starts on these days; 0 is Monday.",
    )
    hour = serializers.IntegerField(required=False, min_value=0, max_value=23, help_text="Start hour, UTC.")
    active = serializers.BooleanField(required=False)


class RoundOut(serializers.ModelSerializer[Round]):
    loop: Any = serializers.PrimaryKeyRelatedField(read_only=True)
    project = serializers.SlugField(source="loop.project.slug", read_only=True)
    state = serializers.CharField(help_text=f"One of {', '.join(Round.State.values)}.")
    plan = serializers.ListField(child=serializers.DictField(), help_text="Its steps, in order.")
    step = serializers.CharField(help_text="The name of the current step.")
    options = serializers.DictField(help_text="Every setting, as frozen at the start.")
    estimate = serializers.DictField()
    gates = serializers.ListField(source="localized_gates", child=serializers.DictField())
    report = serializers.DictField()
    overrules = serializers.ListField(child=serializers.DictField())
    snapshot = serializers.IntegerField(
        source="snapshot.number", default=None, read_only=True, allow_null=True
    )
    runs = serializers.SerializerMethodField(help_text="The ids of the runs, by part of the plan.")

    class Meta:
        model = Round
        fields = (
            *("id", "loop", "project", "number", "recipe", "state", "step", "error", "plan", "options"),
            *(
                "estimate",
                "snapshot",
                "policy_before",
                "policy_after",
                "runs",
                "gates",
                "report",
                "overrules",
            ),
            *("decision", "decision_note", "created_at", "finished_at"),
        )

    def get_runs(self, round: Round) -> dict[str, int]:
        return {run.part: run.pk for run in round.runs.all() if not run.superseded}


class RoundPage(Page):
    results = RoundOut(many=True)


class DecisionIn(serializers.Serializer[Any]):
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="overrule: required."
    )
    note = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="promote, reject."
    )
    step = serializers.CharField(required=False, max_length=40, help_text="retry: the step to repeat from.")


class LoopsApi(ApiView):
    @extend_schema(
        summary="The project's loops",
        operation_id="loops_list",
        responses={200: LoopOut(many=True)} | errors.READ,
        tags=["rounds"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Oldest first. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return Response(LoopOut(project.loops.select_related("project", "safety_project"), many=True).data)

    @extend_schema(
        summary="Set up a loop",
        operation_id="loops_add",
        request=LoopIn,
        responses={201: LoopOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "every Monday, or after 2,000 judgments",
                {"recipe": "dpo", "weekdays": [0], "after_judgments": 2000, "options": {"budget": 2000}},
                request_only=True,
            )
        ],
        tags=["rounds"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """A recipe, its settings, and when rounds start automatically. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return Response(LoopOut(_save(request, project, None)).data, status=201)


class LoopApi(ApiView):
    @extend_schema(
        summary="One loop",
        operation_id="loops_retrieve",
        responses={200: LoopOut} | errors.READ,
        tags=["rounds"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """For leads and reviewers."""
        return Response(LoopOut(loop_for(request, pk, Role.LEAD, Role.REVIEWER)).data)

    @extend_schema(
        summary="Change a loop",
        operation_id="loops_change",
        request=LoopIn,
        responses={200: LoopOut} | errors.WRITE,
        tags=["rounds"],
    )
    def put(self, request: Request, pk: int) -> Response:
        """Applies from the next round on; an open round keeps its settings. For leads."""
        loop = loop_for(request, pk, Role.LEAD)
        return Response(LoopOut(_save(request, loop.project, loop)).data)


class RoundsApi(ApiView):
    @extend_schema(
        summary="A loop's rounds",
        operation_id="rounds_list",
        parameters=[CURSOR],
        responses={200: RoundPage} | errors.WRITE,
        tags=["rounds"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """Newest first, 100 a page. For leads and reviewers."""
        loop = loop_for(request, pk, Role.LEAD, Role.REVIEWER)
        rounds = loop.rounds.select_related("loop__project", "snapshot").prefetch_related("runs")
        return NewestFirst().page_response(rounds, request, RoundOut)

    @extend_schema(
        summary="Start a round",
        operation_id="rounds_start",
        request=None,
        responses={201: RoundOut} | errors.WRITE | errors.CONFLICT,
        tags=["rounds"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """With the loop's recipe and settings, frozen now. A loop has one open round at a time. For leads."""
        loop = loop_for(request, pk, Role.LEAD)
        try:
            return Response(
                RoundOut(transitions.start_round(loop=loop, creator=current_user(request))).data, status=201
            )
        except RunError as error:
            raise errors.Conflict(str(error)) from error


class RoundApi(ApiView):
    @extend_schema(
        summary="One round",
        operation_id="rounds_retrieve",
        responses={200: RoundOut} | errors.READ,
        tags=["rounds"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """Its current step, its gates and the evaluation of its policy. For leads and reviewers."""
        return Response(RoundOut(round_for(request, pk, Role.LEAD, Role.REVIEWER)).data)


class RoundActApi(ApiView):
    @extend_schema(
        summary="Change the state of a round",
        operation_id="rounds_act",
        parameters=[OpenApiParameter("verb", str, "path", enum=list(transitions.TRANSITIONS))],
        request=DecisionIn,
        responses={200: RoundOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "overrule", {"reason": "The old model was evaluated on easier prompts."}, request_only=True
            )
        ],
        tags=["rounds"],
    )
    def post(self, request: Request, pk: int, verb: str) -> Response:
        """`cancel` it; `resume` it; `retry` from a step; `go-on` without waiting for more judgments; `overrule` a gate that was
        not passed; `promote` its policy, or `reject` it. A round that a gate holds can be rejected at once: no policy is
        trained, and it goes on to new answers of the current one. For leads."""
        round = round_for(request, pk, Role.LEAD)
        data = validate_body(request, DecisionIn)
        if verb not in transitions.TRANSITIONS:
            raise ValidationError(
                {"verb": [f"there is no action {verb!r}: there are {', '.join(transitions.TRANSITIONS)}."]}
            )
        try:
            changed = transitions.TRANSITIONS[verb](round, current_user(request), data)
        except RunError as error:
            if error.field in ("reason", "step"):
                raise ValidationError({error.field: [str(error)]}) from error
            raise errors.Conflict(str(error)) from error
        return Response(RoundOut(changed).data)


def _save(request: Request, project: Project, loop: Loop | None) -> Loop:
    values = validate_body(request, LoopIn)
    values["safety_project"] = _safety_project(request, values.get("safety_project"))
    try:
        return save_loop(
            project=project,
            creator=current_user(request),
            loop=loop,
            options=values.pop("options", {}),
            configs=values.pop("configs", {}),
            **values,
        )
    except ConfigsError as error:
        raise ValidationError({"configs": {error.kind: {error.field: [error.message]}}}) from error
    except ConfigError as error:
        field = "recipe" if error.field == "recipe" else "options"
        raise ValidationError({field: {error.field: [error.message]}}) from error
    except RunError as error:
        raise ValidationError({error.field: [str(error)]}) from error


def _safety_project(request: Request, slug: str | None) -> Project | None:
    if slug is None:
        return None
    led = Member.objects.filter(
        user=current_user(request), role=Role.LEAD, project__slug=slug
    ).select_related("project")
    if (member := led.first()) is None:
        raise ValidationError({"safety_project": [f"You lead no project called {slug!r}."]})
    return member.project

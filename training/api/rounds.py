"""Loops and their rounds: set one up, begin a round, follow it, decide."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, current_user, project_for
from annotation.api import errors
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import body
from annotation.models import Member, Project
from training.api.access import loop_for, round_for
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, Round
from training.rounds import evaluation, transitions
from training.rounds.recipes import RECIPES
from training.rounds.run_configs import ConfigsError
from training.rounds.settings import MOST_JUDGMENTS

RECIPE_HELP = f"One of {', '.join(RECIPES)}."


class LoopOut(serializers.ModelSerializer[Loop]):
    project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    safety_project: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    recipe = serializers.CharField(help_text=RECIPE_HELP)
    options = serializers.DictField(help_text="What differs from the recipe's defaults.")
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
        required=False, allow_null=True, help_text="Where people judge what is safe."
    )
    after_judgments = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_JUDGMENTS,
        help_text="A round begins once so many are new.",
    )
    weekdays = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6),
        required=False,
        help_text="A round begins on these days, 0 being Monday.",
    )
    hour = serializers.IntegerField(
        required=False, min_value=0, max_value=23, help_text="From this hour, UTC."
    )
    active = serializers.BooleanField(required=False)


class RoundOut(serializers.ModelSerializer[Round]):
    loop: Any = serializers.PrimaryKeyRelatedField(read_only=True)
    project = serializers.SlugField(source="loop.project.slug", read_only=True)
    state = serializers.CharField(help_text=f"One of {', '.join(Round.State.values)}.")
    plan = serializers.ListField(child=serializers.DictField(), help_text="Its steps, in order.")
    step = serializers.CharField(help_text="The name of the step at which it stands.")
    options = serializers.DictField(help_text="Every setting, as frozen at the start.")
    estimate = serializers.DictField()
    gates = serializers.ListField(child=serializers.DictField())
    report = serializers.DictField()
    overrules = serializers.ListField(child=serializers.DictField())
    snapshot = serializers.IntegerField(
        source="snapshot.number", default=None, read_only=True, allow_null=True
    )
    runs = serializers.SerializerMethodField(help_text="The id of the run of each part.")

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
        required=False, allow_blank=True, max_length=2000, help_text="overrule: needed."
    )
    note = serializers.CharField(
        required=False, allow_blank=True, max_length=2000, help_text="promote, reject."
    )
    step = serializers.CharField(required=False, max_length=40, help_text="retry: the step to begin with.")


class LoopsApi(APIView):
    @extend_schema(
        summary="The project's loops",
        operation_id="loops_list",
        responses={200: LoopOut(many=True)} | errors.READ,
        tags=["rounds"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """In the order in which they were made. For leads and reviewers."""
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
        """A recipe, its settings, and when rounds begin by themselves. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return Response(LoopOut(_saved(request, project, None)).data, status=201)


class LoopApi(APIView):
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
        """From the next round on; an open round keeps what it was begun with. For leads."""
        loop = loop_for(request, pk, Role.LEAD)
        return Response(LoopOut(_saved(request, loop.project, loop)).data)


class RoundsApi(APIView):
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
        found = loop.rounds.select_related("loop__project", "snapshot").prefetch_related("runs")
        return NewestFirst().answer(found, request, RoundOut)

    @extend_schema(
        summary="Begin a round",
        operation_id="rounds_start",
        request=None,
        responses={201: RoundOut} | errors.WRITE | errors.CONFLICT,
        tags=["rounds"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """With the loop's recipe and settings, which are frozen now. One goes on at a time. For leads."""
        loop = loop_for(request, pk, Role.LEAD)
        try:
            return Response(
                RoundOut(transitions.start_round(loop=loop, creator=current_user(request))).data, status=201
            )
        except RunError as error:
            raise errors.Conflict(str(error)) from error


class RoundApi(APIView):
    @extend_schema(
        summary="One round",
        operation_id="rounds_retrieve",
        responses={200: RoundOut} | errors.READ,
        tags=["rounds"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """Where it stands, its gates and why, and what its evaluation found. For leads and reviewers."""
        return Response(RoundOut(round_for(request, pk, Role.LEAD, Role.REVIEWER)).data)


class RoundActApi(APIView):
    @extend_schema(
        summary="Do something with a round",
        operation_id="rounds_act",
        parameters=[OpenApiParameter("verb", str, "path", enum=list(transitions.VERBS))],
        request=DecisionIn,
        responses={200: RoundOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "overrule", {"reason": "The old one was measured on easier prompts."}, request_only=True
            )
        ],
        tags=["rounds"],
    )
    def post(self, request: Request, pk: int, verb: str) -> Response:
        """`cancel` it; `resume` it; `retry` from a step; `go-on` without waiting for people; `overrule` a gate that said no;
        `promote` its policy, or `reject` it. For leads."""
        round = round_for(request, pk, Role.LEAD)
        given = body(request, DecisionIn)
        if verb not in transitions.VERBS:
            raise ValidationError(
                {"verb": [f"{verb!r} cannot be done: there are {', '.join(transitions.VERBS)}."]}
            )
        try:
            done = transitions.VERBS[verb](round, current_user(request), given)
        except RunError as error:
            if error.field in ("reason", "step"):
                raise ValidationError({error.field: [str(error)]}) from error
            raise errors.Conflict(str(error)) from error
        return Response(RoundOut(done).data)


class StandingOut(serializers.Serializer[Any]):
    author = serializers.CharField(source="author.name", help_text="The policy's name.")
    points = serializers.FloatField(help_text="400 points are a factor of ten in the odds; 1000 is the mean.")
    low = serializers.FloatField(help_text="Of the 95% interval.")
    high = serializers.FloatField()
    comparisons = serializers.IntegerField(help_text="Of its answers with those of others.")


class LeaderboardApi(APIView):
    @extend_schema(
        summary="Policies by what people chose",
        operation_id="leaderboard",
        responses={200: StandingOut(many=True)} | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Bradley-Terry strengths from all judgments in which answers of different policies met, best first, with intervals
        drawn over judgments. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return Response(StandingOut(evaluation.leaderboard(project), many=True).data)


def _saved(request: Request, project: Project, loop: Loop | None) -> Loop:
    values = body(request, LoopIn)
    values["safety_project"] = _safety_project(request, values.get("safety_project"))
    try:
        return transitions.save_loop(
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

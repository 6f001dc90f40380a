"""Two policies compared: win rates with intervals, their answers prompt by prompt, and getting what a comparison lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user
from annotation.analytics.figures import counted_by_worker
from annotation.api import errors
from annotation.api.filtering import choice_parameter
from annotation.api.pagination import CURSOR, FOLLOW, NEXT, PREVIOUS, Page, cursor_link, read_cursor
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Prompt
from training.api.access import pair_for
from training.comparisons import actions
from training.comparisons.pairs import Pair
from training.comparisons.prompts import ORDERS, WINNERS, Answer, PromptRow, Search, read_page, read_place
from training.comparisons.win_rates import people_win_rates, reward_win_rates
from training.errors import RunError
from training.models import Comparison, ModelVersion

PAGE_SIZE = 100
PEOPLE = "people"
BY = OpenApiParameter(
    "by",
    str,
    description="By whose preference: `people`, or the id of a reward model that scored the answers. By default the newest such"
    " reward model, or else people.",
)


class PolicyWinRateOut(serializers.Serializer[Any]):
    mean = serializers.FloatField(help_text="How often the policy's answer is preferred, over prompts.")
    low = serializers.FloatField(help_text="Of the 95% interval.")
    high = serializers.FloatField()
    prompts = serializers.IntegerField()


class PartOut(PolicyWinRateOut):
    label = serializers.CharField(  # type: ignore[assignment]
        help_text="The tag, or how long the policy's answers are."
    )


class JudgeOut(serializers.Serializer[Any]):
    judge = serializers.CharField(help_text="`people`, or the reward model's name.")
    scorer = serializers.IntegerField(allow_null=True, help_text="The reward model's id.")
    all = PolicyWinRateOut()
    held_out = serializers.IntegerField(help_text="How many of the prompts are held out.")
    tags = PartOut(many=True)
    lengths = PartOut(many=True)


class PolicyComparisonOut(serializers.Serializer[Any]):
    policy = serializers.CharField(source="pair.policy.name")
    baseline = serializers.CharField(source="pair.baseline.name")
    judges = JudgeOut(many=True, help_text="The newest comparison by each reward model, then people.")
    open_runs = serializers.ListField(
        child=serializers.IntegerField(), help_text="The runs under way that make what is missing."
    )
    missing = serializers.ChoiceField(
        ["", "answers", "scores"],
        help_text="What no run has made yet and none is making: answers of both to the same prompts, or a reward model's scores.",
    )


class ComparisonStartIn(serializers.Serializer[Any]):
    scorer = serializers.IntegerField(
        required=False, min_value=1, help_text="The id of a reward model: it scores what both have answered."
    )


class StartedOut(serializers.Serializer[Any]):
    runs = serializers.ListField(child=serializers.IntegerField(), help_text="The ids of the runs.")


class ComparedAnswerOut(serializers.Serializer[Any]):
    response = serializers.IntegerField(source="response.pk")
    text = serializers.CharField(source="response.text")
    score = serializers.FloatField(allow_null=True)


class PeopleOut(serializers.Serializer[Any]):
    share = serializers.FloatField(help_text="How often they preferred the policy's answer.")
    judgments = serializers.IntegerField()


class ComparedPromptOut(serializers.Serializer[Any]):
    prompt = serializers.IntegerField(source="prompt.pk")
    prompt_id = serializers.CharField(source="prompt.external_id")
    messages = serializers.ListField(source="prompt.messages", child=serializers.DictField())
    tags = serializers.ListField(source="prompt.tags", child=serializers.CharField())
    split = serializers.CharField(source="prompt.split")
    gain = serializers.FloatField(
        allow_null=True, help_text="The mean score of the policy's answers less the baseline's."
    )
    people = serializers.SerializerMethodField()
    policy = serializers.SerializerMethodField()
    baseline = serializers.SerializerMethodField()

    @extend_schema_field(PeopleOut(allow_null=True))
    def get_people(self, row: PromptRow) -> dict[str, Any] | None:
        return {"share": row.people[0], "judgments": row.people[1]} if row.people else None

    @extend_schema_field(ComparedAnswerOut(many=True))
    def get_policy(self, row: PromptRow) -> Any:
        return _answers(row.policy)

    @extend_schema_field(ComparedAnswerOut(many=True))
    def get_baseline(self, row: PromptRow) -> Any:
        return _answers(row.baseline)


class ComparedPromptPage(Page):
    results = ComparedPromptOut(many=True)


class QueueIn(serializers.Serializer[Any]):
    responses = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        min_length=2,
        max_length=2,
        help_text="The ids of an answer of each model to the same prompt.",
    )


class QueuedOut(serializers.Serializer[Any]):
    item = serializers.IntegerField()


class ComparisonApi(ApiView):
    @extend_schema(
        summary="Two policies compared",
        operation_id="comparisons_get",
        responses={200: PolicyComparisonOut} | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, slug: str, policy: int, baseline: int) -> Response:
        """Win rates of `policy` over `baseline`, in all, by tag and by the length of its answers. 503 while a worker counts in a
        large project. For leads and reviewers."""
        pair = pair_for(request, slug, policy, baseline, Role.LEAD, Role.REVIEWER)
        runs = actions.open_runs(pair)
        comparisons = pair.comparisons()
        return Response(
            PolicyComparisonOut(
                {
                    "pair": pair,
                    "judges": _judges(pair, comparisons),
                    "open_runs": [run.pk for run in runs],
                    "missing": "" if runs or comparisons else _missing(pair),
                }
            ).data
        )

    @extend_schema(
        summary="Start the runs that a comparison lacks",
        operation_id="comparisons_start",
        request=ComparisonStartIn,
        responses={201: StartedOut} | errors.WRITE,
        examples=[
            OpenApiExample("both answer the same prompts", {}, request_only=True),
            OpenApiExample("a reward model scores what both have answered", {"scorer": 3}, request_only=True),
        ],
        tags=["models"],
    )
    def post(self, request: Request, slug: str, policy: int, baseline: int) -> Response:
        """Without `scorer`, both answer the same prompts: those of an earlier comparison, or held-out ones. With it, that reward
        model scores the newest answers of both to the same prompts. For leads."""
        pair = pair_for(request, slug, policy, baseline, Role.LEAD)
        scorer = validate_body(request, ComparisonStartIn).get("scorer")
        with errors.as_field_errors(RunError):
            if scorer is None:
                runs = actions.generate_answers(pair=pair, creator=current_user(request))
            else:
                runs = [
                    actions.score_answers(
                        pair=pair, scorer=_scorer(pair, scorer), creator=current_user(request)
                    )
                ]
        return Response(StartedOut({"runs": [run.pk for run in runs]}).data, status=201)


class ComparedPromptsApi(ApiView):
    @extend_schema(
        summary="The answers of two policies, prompt by prompt",
        operation_id="comparisons_prompts",
        parameters=[
            CURSOR,
            BY,
            OpenApiParameter("order", str, enum=ORDERS, default="losses", description="Which come first."),
            OpenApiParameter("winner", str, enum=WINNERS, description="Only where this answer is preferred."),
            OpenApiParameter("tag", str, description="Only prompts with this tag."),
            OpenApiParameter("split", str, enum=Prompt.Split.values),
            OpenApiParameter(
                "disputed",
                bool,
                description="Only where people and the reward model prefer different answers.",
            ),
            OpenApiParameter(
                "flagged", bool, description="Only where somebody found one of the answers harmful."
            ),
        ],
        responses={200: ComparedPromptPage} | errors.READ | errors.BAD_FIELDS,
        tags=["models"],
    )
    def get(self, request: Request, slug: str, policy: int, baseline: int) -> Response:
        """By how much better or worse the policy's answers are, 100 per page. Where nobody has compared the answers yet, in the
        order of the prompts. For leads and reviewers."""
        pair = pair_for(request, slug, policy, baseline, Role.LEAD, Role.REVIEWER)
        search = _read_search(request, pair)
        direction, position = read_cursor(request)
        place = read_place(position) if position else None
        if position and place is None:
            raise ValidationError({"cursor": [FOLLOW]})
        page = read_page(
            pair,
            search,
            PAGE_SIZE,
            after=place if direction == NEXT else None,
            before=place if direction == PREVIOUS else None,
        )
        return Response(
            {
                "next": cursor_link(request, NEXT, page.after) if page.after else None,
                "previous": cursor_link(request, PREVIOUS, page.before) if page.before else None,
                "results": ComparedPromptOut(page.rows, many=True).data,
            }
        )


class CompareQueueApi(ApiView):
    @extend_schema(
        summary="Put two answers into the queue",
        operation_id="comparisons_queue",
        request=QueueIn,
        responses={201: QueuedOut} | errors.WRITE,
        tags=["models"],
    )
    def post(self, request: Request, slug: str, policy: int, baseline: int) -> Response:
        """People judge them without knowing whose they are. A second time returns the same item. For leads."""
        pair = pair_for(request, slug, policy, baseline, Role.LEAD)
        with errors.as_field_errors(RunError):
            item = actions.send_to_queue(pair=pair, **validate_body(request, QueueIn))
        return Response(QueuedOut({"item": item.pk}).data, status=201)


def _answers(answers: Sequence[Answer]) -> Any:
    return ComparedAnswerOut(answers, many=True).data


def _judges(pair: Pair, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    with counted_by_worker(pair.project):
        judges: list[dict[str, Any]] = [
            {
                "judge": comparison.scorer.name,
                "scorer": comparison.scorer_id,
                **reward_win_rates(pair, comparison),
            }
            for comparison in comparisons
        ]
        people = people_win_rates(pair)
    return [*judges, {"judge": PEOPLE, "scorer": None, **people}] if people["all"]["prompts"] else judges


def _missing(pair: Pair) -> str:
    return "answers" if actions.answered_runs(pair) is None else "scores"


def _scorer(pair: Pair, pk: int) -> ModelVersion:
    """
    Raises:
        ValidationError: it is no reward model of the project.
    """
    rows = ModelVersion.objects.filter(project=pair.project, kind=ModelVersion.Kind.REWARD, retired_at=None)
    found = rows.filter(pk=pk).first() if pk < 2**63 else None
    if found is None:
        raise ValidationError({"scorer": ["It is not a reward model of this project that can be used."]})
    return found


def _read_search(request: Request, pair: Pair) -> Search:
    """
    Raises:
        ValidationError: a parameter is invalid.
    """
    comparisons = pair.comparisons()
    by_scorer = {str(one.scorer_id): one for one in comparisons}
    by = choice_parameter(request, "by", [PEOPLE, *by_scorer])
    newest = next(iter(comparisons), None)
    chosen = by_scorer.get(by or "", newest)
    disputed = _flag(request, "disputed")
    if disputed and chosen is None:
        raise ValidationError({"disputed": ["No reward model has scored these answers."]})
    tag = request.query_params.get("tag", "")
    if "\0" in tag:
        raise ValidationError({"tag": ["It holds a null byte."]})
    by_people = by == PEOPLE
    if by is None and chosen is None:
        with counted_by_worker(pair.project):
            by_people = people_win_rates(pair)["all"]["prompts"] > 0
    winner = choice_parameter(request, "winner", WINNERS)
    if winner and chosen is None and not by_people:
        raise ValidationError({"winner": ["Nobody has compared these answers."]})
    return Search(
        comparison=chosen,
        by_people=by_people,
        tag=tag,
        split=choice_parameter(request, "split", Prompt.Split.values) or "",
        winner=winner or "",
        disputed=disputed,
        flagged=_flag(request, "flagged"),
        order=choice_parameter(request, "order", ORDERS) or "losses",
    )


def _flag(request: Request, name: str) -> bool:
    return choice_parameter(request, name, ("true", "false")) == "true"

"""AI feedback: opinion sets, and how far the judge of one may be trusted."""

from __future__ import annotations

from math import isfinite
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, project_for
from annotation.analytics.ai_feedback import cached_trust_report
from annotation.analytics.figures import counted_by_worker
from annotation.api import errors
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.quality import IntervalOut
from annotation.api.view import ApiView
from annotation.logic.agreement import Interval
from annotation.models import OpinionSet


class OpinionSetOut(serializers.ModelSerializer[OpinionSet]):
    constitution = serializers.IntegerField(
        source="constitution.number", default=None, allow_null=True, help_text="The number of its version."
    )
    author = serializers.CharField(
        source="author.name",
        default=None,
        allow_null=True,
        help_text="Of the responses that the judge wrote.",
    )
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="prompts, comparisons, opinions and no_opinion."
    )

    class Meta:
        model = OpinionSet
        fields = (
            *("number", "judge", "mode", "constitution", "author", "counts", "tokens_in", "tokens_out"),
            *("cost", "sha256", "created_at"),
        )


class OpinionSetPage(Page):
    results = OpinionSetOut(many=True)


class RatioOut(serializers.Serializer[Any]):
    value = serializers.FloatField()
    low = serializers.FloatField(help_text="Of the 95% interval.")
    high = serializers.SerializerMethodField(help_text="null: unbounded, from the pairs of a single prompt.")
    n = serializers.IntegerField(help_text="Pairs.")

    def get_high(self, interval: Interval) -> float | None:
        return interval.high if isfinite(interval.high) else None


class ComparisonOut(serializers.Serializer[Any]):
    judge = IntervalOut(help_text="Agreement of the judge with people.")
    judge_bootstrap = IntervalOut(help_text="The same, with an interval by a bootstrap over prompts.")
    people = IntervalOut(help_text="Agreement of people with each other on the same pairs.")
    ratio = RatioOut(allow_null=True, help_text="The first over the second; bootstrap over prompts.")
    pairs = serializers.IntegerField()
    prompts = serializers.IntegerField()


class PreferenceOut(serializers.Serializer[Any]):
    judge = serializers.FloatField()
    people = serializers.FloatField()
    difference = IntervalOut()


class SwapsOut(serializers.Serializer[Any]):
    consistency = IntervalOut(help_text="Share of opinions with the same preference in both orders.")
    first_shown = serializers.FloatField(help_text="Mean probability of the response shown first.")


class ReliabilityOut(serializers.Serializer[Any]):
    confidence = serializers.FloatField()
    accuracy = serializers.FloatField()
    pairs = serializers.IntegerField()


class CascadeOut(serializers.Serializer[Any]):
    threshold = serializers.FloatField(help_text="Of |p' - 1/2|.")
    share = serializers.FloatField(help_text="Of the pairs that two or more people ordered.")
    judge = IntervalOut()
    people = IntervalOut()


class WinRateOut(serializers.Serializer[Any]):
    author = serializers.CharField()
    other = serializers.CharField()
    rate = IntervalOut(source="rate.rate", help_text="From judgments and opinions together.")
    people = IntervalOut(source="rate.people", help_text="From judgments alone.")
    judge = serializers.FloatField(source="rate.judge", help_text="From opinions alone.")
    opinions = serializers.IntegerField(source="rate.opinions", help_text="Prompts with opinions only.")
    effective = serializers.FloatField(
        source="rate.effective", help_text="Judged prompts that would give as narrow an interval."
    )


class DisagreementOut(serializers.Serializer[Any]):
    item = serializers.IntegerField()
    confidence = serializers.FloatField()
    votes_for = serializers.IntegerField(help_text="People who prefer what the judge prefers.")
    votes_against = serializers.IntegerField()
    prompt = serializers.CharField(help_text="The beginning of its last message.")


class TrustReportOut(serializers.Serializer[Any]):
    counts = serializers.BooleanField(help_text="Whether its opinions may count.")
    weight = serializers.FloatField(help_text="Of an opinion beside a judgment; 0 if it does not count.")
    verdict = serializers.CharField(source="trust.sentence", help_text="Why, in a sentence.")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="Biases, in sentences.")
    pairs = serializers.IntegerField(help_text="Held-out pairs with an opinion and a vote of a person.")
    prompts = serializers.IntegerField()
    votes = serializers.IntegerField()
    agreement = IntervalOut(allow_null=True, help_text="With people, on these pairs.")
    kappa = serializers.FloatField(allow_null=True, help_text="Cohen's, on these pairs.")
    comparison = ComparisonOut(
        source="trust.comparison",
        allow_null=True,
        help_text="Beside people's own agreement, on the pairs that two or more people ordered.",
    )
    scale = serializers.FloatField(help_text="Recalibration multiplies the log-odds of opinions by it.")
    reliability = ReliabilityOut(many=True)
    ece = serializers.FloatField(allow_null=True, help_text="Expected calibration error.")
    ece_recalibrated = serializers.FloatField(allow_null=True, help_text="After recalibration, cross-fitted.")
    swaps = SwapsOut(allow_null=True)
    length = PreferenceOut(allow_null=True, help_text="How often the longer response is preferred.")
    own = PreferenceOut(allow_null=True, help_text="How often the judge's own response is preferred.")
    cascade = CascadeOut(allow_null=True, help_text="Where opinions can stand in for judgments.")
    win_rates = WinRateOut(many=True)
    disagreements = DisagreementOut(many=True)


class OpinionSetDetail(OpinionSetOut):
    report = serializers.SerializerMethodField()

    class Meta:
        model = OpinionSet
        fields = (*OpinionSetOut.Meta.fields, "report")

    @extend_schema_field(TrustReportOut)
    def get_report(self, opinion_set: OpinionSet) -> Any:
        with counted_by_worker(opinion_set.project):
            return TrustReportOut(cached_trust_report(opinion_set)).data


class OpinionSetsApi(ApiView):
    @extend_schema(
        summary="The project's opinion sets",
        operation_id="opinion_sets_list",
        parameters=[CURSOR],
        responses={200: OpinionSetPage} | errors.WRITE,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """What judges, which are models, think of responses. Newest first, 100 per page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        opinion_sets = project.opinion_sets.select_related("constitution", "author")
        return NewestFirst().page_response(opinion_sets, request, OpinionSetOut)


class OpinionSetApi(ApiView):
    @extend_schema(
        summary="One opinion set, and how far its judge may be trusted",
        operation_id="opinion_sets_retrieve",
        responses={200: OpinionSetDetail} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        """The report compares its opinions with people's current judgments of held-out prompts; in a large project it may be
        some minutes old. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        opinion_sets = project.opinion_sets.select_related("constitution", "author", "project")
        opinion_set = opinion_sets.filter(number=number).first() if number < 2**31 else None
        if opinion_set is None:
            raise Http404(f"This project has no opinion set {number}.")
        return Response(OpinionSetDetail(opinion_set).data)

"""The leaderboard: ratings of policies by what people preferred, and win rates of each two of them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, project_for
from annotation.analytics.figures import counted_by_worker
from annotation.analytics.filters import Filters
from annotation.api import errors
from annotation.api.quality import FILTERS
from annotation.api.view import ApiView
from annotation.models import Author
from training.comparisons.leaderboard import rate_pairs, rate_policies


class PolicyRatingOut(serializers.Serializer[Any]):
    author = serializers.CharField(source="author.name", help_text="The policy's name.")
    points = serializers.FloatField(
        help_text="Elo points: 400 are a factor of ten in the odds; the mean is 1000."
    )
    low = serializers.FloatField(help_text="Lower bound of the 95% interval.")
    high = serializers.FloatField()
    comparisons = serializers.IntegerField(help_text="Comparisons of its answers with another policy's.")


class PairRateOut(serializers.Serializer[Any]):
    policy = serializers.CharField(help_text="Its name.")
    baseline = serializers.CharField(help_text="The name of the policy that it is compared with.")
    judge = serializers.CharField(help_text="`people`, or the name of a reward model.")
    mean = serializers.FloatField(help_text="How often the policy's answer is preferred, over prompts.")
    low = serializers.FloatField(help_text="Of the 95% interval.")
    high = serializers.FloatField()
    prompts = serializers.IntegerField()


class LeaderboardApi(ApiView):
    @extend_schema(
        summary="Ratings of policies by human preference",
        operation_id="leaderboard",
        parameters=FILTERS,
        responses={200: PolicyRatingOut(many=True)} | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Bradley-Terry ratings from all judgments that compare answers of different policies, best first; a tie is half a win
        for each. The intervals are a bootstrap over items. A filter without a match is ignored. 503 while a worker counts in a
        large project. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        filters = Filters.read(request.query_params, project)
        with counted_by_worker(project):
            return Response(PolicyRatingOut(rate_policies(project, filters), many=True).data)


class PairsApi(ApiView):
    @extend_schema(
        summary="Win rates of each two policies",
        operation_id="leaderboard_pairs",
        parameters=FILTERS,
        responses={200: PairRateOut(many=True)} | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """By people and by reward models, each pair once for each judge; of the filters, reward models know `tag` alone. A filter
        without a match is ignored. 503 while a worker counts in a large project. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        filters = Filters.read(request.query_params, project)
        with counted_by_worker(project):
            pairs = rate_pairs(project, filters)
        names = dict(
            Author.objects.filter(pk__in={pk for pair in pairs for pk in pair}).values_list("pk", "name")
        )
        rows = [
            {
                "policy": names[rate.first],
                "baseline": names[rate.second],
                "judge": rate.judge or "people",
                **rate.rate,
            }
            for rates in pairs.values()
            for rate in rates
        ]
        return Response(PairRateOut(rows, many=True).data)

"""Agreement and annotator statistics: the figures of the Quality page."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, project_for
from annotation.analytics import annotators
from annotation.analytics.agreement import alphas, tallies
from annotation.analytics.figures import counted_by_worker, gather
from annotation.analytics.filters import PERIODS, Filters
from annotation.analytics.rating_agreement import rating_agreement
from annotation.api import errors
from annotation.api.view import ApiView
from annotation.logic.agreement import Tally
from annotation.logic.outliers import Outlier, Reason, describe

FILTERS = [
    OpenApiParameter("days", str, enum=[days for days in PERIODS if days], description="Only the last days."),
    OpenApiParameter("annotator", str, description="Only items that this user judged."),
    OpenApiParameter("tag", str, description="Only prompts with this tag."),
    OpenApiParameter("version", int, description="Only under this version of the guidelines."),
]


class IntervalOut(serializers.Serializer[Any]):
    value = serializers.FloatField()
    low = serializers.FloatField(help_text="Of the 95% interval.")
    high = serializers.FloatField()
    n = serializers.IntegerField(help_text="Observations.")


class HabitOut(serializers.Serializer[Any]):
    observed = IntervalOut()
    expected = serializers.FloatField()
    p = serializers.FloatField(help_text="Two-sided.")


class OutlierOut(serializers.Serializer[Any]):
    reason = serializers.ChoiceField(
        [reason.value for reason in Reason],
        help_text="gold: their accuracy is below the project's `qualification_accuracy`. agreement: it is below that of the"
        " others among themselves. speed: faster than the answers can be read. same: nearly always the same degree, or only ties."
        " position: the answer shown first is preferred.",
    )
    value = serializers.FloatField(help_text="A share; for speed, words of answers a minute.")
    compared = serializers.FloatField(help_text="What it is compared with.")
    n = serializers.IntegerField(help_text="Observations.")
    sentence = serializers.SerializerMethodField()

    def get_sentence(self, outlier: Outlier) -> str:
        return describe(outlier)


class AnnotatorOut(serializers.Serializer[Any]):
    username = serializers.CharField(source="user.username")
    pseudonym = serializers.CharField(source="user.pseudonym", help_text="As exports name them.")
    judgments = serializers.IntegerField()
    median_seconds = serializers.FloatField(allow_null=True, help_text="For a judgment.")
    agreement = IntervalOut(allow_null=True, help_text="With others, on pairs of answers.")
    gold = IntervalOut(source="gold.share", allow_null=True, help_text="On items with a known answer.")
    left = HabitOut(allow_null=True, help_text="How often the answer shown first is preferred.")
    length = HabitOut(
        allow_null=True, help_text="How often the longer answer is preferred, compared with other annotators."
    )
    drift = HabitOut(allow_null=True, help_text="Agreement in the second half compared with the first half.")
    flags = serializers.ListField(
        child=serializers.ChoiceField(["left", "length", "drift"]),
        help_text="Which of the three are significant, after Holm's correction for the number of annotators.",
    )
    outliers = OutlierOut(
        many=True, help_text="Why they stand out, the gravest reason first; empty for most."
    )


class RatingOut(serializers.Serializer[Any]):
    name = serializers.CharField(
        help_text="quality, safety, or the key of one of the project's own questions."
    )
    alpha = IntervalOut(allow_null=True, help_text="Krippendorff's, ordinal.")
    same = serializers.FloatField(
        help_text="Of the pairs of annotators of an answer, those who gave it the same value."
    )
    answers = serializers.IntegerField(help_text="Answers that two or more people rated.")


class QualityOut(serializers.Serializer[Any]):
    alpha_ordinal = IntervalOut(allow_null=True, help_text="Krippendorff's, of ranks and degrees.")
    alpha_nominal = IntervalOut(allow_null=True, help_text="The same, of which of two answers is better.")
    agreement = IntervalOut(
        allow_null=True, help_text="Share of pairs of answers that two people order the same way."
    )
    tau_b = serializers.FloatField(
        allow_null=True, help_text="Kendall's, the mean over two people's rankings."
    )
    gold = IntervalOut(allow_null=True, help_text="On items with a known answer.")
    ratings = RatingOut(many=True, help_text="Agreement on ratings and flags of answers.")
    annotators = AnnotatorOut(many=True)


class QualityApi(ApiView):
    @extend_schema(
        summary="Agreement and annotator statistics",
        operation_id="quality_get",
        parameters=FILTERS,
        responses={200: QualityOut} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """The figures of the Quality page. A filter without a match is ignored. Those of a large project are
        counted by a worker and may be some minutes old; 503 until they are counted. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        filters = Filters.read(request.query_params, project)
        with counted_by_worker(project):
            found, tally, stats, ratings = gather(
                lambda: alphas(project, filters),
                lambda: tallies(project, filters, "all"),
                lambda: annotators.annotator_stats(project, filters),
                lambda: rating_agreement(project, filters),
            )
        whole = tally["all"].get("", Tally())
        figures = {
            "alpha_ordinal": found.ordinal,
            "alpha_nominal": found.nominal,
            "agreement": whole.share,
            "tau_b": whole.mean_tau,
            "gold": annotators.total_gold_score(row.gold for row in stats).share,
            "ratings": ratings,
            "annotators": stats,
        }
        return Response(QualityOut(figures).data)

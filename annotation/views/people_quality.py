"""Annotators on the quality pages: links to the judgments behind each figure, reasons in words, and intervals on one axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.analytics import annotators
from annotation.analytics.annotators import TIED, AnnotatorStats
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.analytics.item_search import FASTEST
from annotation.logic import outliers
from annotation.logic.agreement import Interval
from annotation.logic.outliers import MIN_JUDGMENTS, Outlier, Reason
from annotation.logic.svg_chart import IntervalChart, IntervalLine, interval_chart
from annotation.models import Project

LABELS = {
    Reason.GOLD: gettext_lazy("Low gold accuracy"),
    Reason.AGREEMENT: gettext_lazy("Low agreement"),
    Reason.SPEED: gettext_lazy("Too fast"),
    Reason.SAME: gettext_lazy("Always the same"),
    Reason.POSITION: gettext_lazy("Position habit"),
}
EVIDENCE = {
    Reason.GOLD: gettext_lazy("Gold items they failed"),
    Reason.AGREEMENT: gettext_lazy("Items on which they disagree with others"),
    Reason.SPEED: gettext_lazy("Their fastest judgments"),
    Reason.SAME: gettext_lazy("Items they judged so"),
    Reason.POSITION: gettext_lazy("Items on which they chose the first answer"),
}


ORDER = list(Reason)


@dataclass(frozen=True)
class NamedReason:
    """Why somebody stands out, with the link to the judgments that show it."""

    label: str
    sentence: str
    evidence: str
    href: str


@dataclass(frozen=True)
class Person:
    """One annotator's statistics, with `links` to the judgments behind each of them by the name of the figure."""

    stats: AnnotatorStats
    links: Mapping[str, str]
    reasons: Sequence[NamedReason]

    @property
    def words_per_minute(self) -> str:
        return outliers.words_per_minute(self.stats.speed.median) if self.stats.speed else ""


@dataclass(frozen=True)
class Checks:
    """Who stands out, and how many people had enough judgments to be checked, of how many."""

    people: Sequence[Person]
    checked: int
    total: int
    enough: int = MIN_JUDGMENTS
    are_times_of_reading: bool = True


def person_of(project: Project, stats: AnnotatorStats, filters: Filters = NO_FILTERS) -> Person:
    links = evidence_links(project, stats.user.username, filters)
    reasons = [
        NamedReason(
            str(LABELS[each.reason]),
            outliers.describe(each),
            str(EVIDENCE[each.reason]),
            _evidence_of(project, stats, each, links),
        )
        for each in stats.outliers
    ]
    return Person(stats, links, reasons)


def checks_of(project: Project, all_stats: Sequence[AnnotatorStats], filters: Filters) -> Checks:
    """The result of the checks for outliers, for everybody."""
    marked = [person_of(project, stats, filters) for stats in all_stats if stats.outliers]
    return Checks(
        # the gravest reason first, and of the same one who has more of them
        people=sorted(
            marked,
            key=lambda person: (ORDER.index(person.stats.outliers[0].reason), -len(person.reasons)),
        ),
        checked=sum(stats.judgments >= MIN_JUDGMENTS for stats in all_stats),
        total=len(all_stats),
        are_times_of_reading=outliers.are_times_of_reading(annotators.works_of(all_stats)),
    )


def evidence_links(project: Project, username: str, filters: Filters = NO_FILTERS) -> dict[str, str]:
    """The pages with the judgments behind somebody's figures, by the name of the figure."""
    kept = {"tag": filters.tag, "version": filters.version}

    def items(**more: str) -> str:
        return _url("items", project, annotator=username, **kept, **more)

    def review(kind: str) -> str:
        return _url("review", project, kind=kind, annotator=username, days=filters.days, **kept)

    return {
        "judgments": items(),
        Reason.AGREEMENT: review("disagreements"),
        Reason.GOLD: review("gold"),
        Reason.SPEED: items(sort=FASTEST),
        Reason.POSITION: items(chose="first"),
        "length": items(chose="longest"),
        "drift": reverse("annotator", args=[project.slug, username]) + "#agreement",
    }


def _evidence_of(project: Project, stats: AnnotatorStats, outlier: Outlier, links: Mapping[str, str]) -> str:
    if outlier.reason is not Reason.SAME:
        return links[outlier.reason]
    value = {"chose": TIED} if outlier.detail == TIED else {"degree": outlier.detail}
    return _url("items", project, annotator=stats.user.username, **value)


def _url(name: str, project: Project, **query: object) -> str:
    parameters = {key: value for key, value in query.items() if value}
    return f"{reverse(name, args=[project.slug])}?{urlencode(parameters)}"


# --- intervals on one axis ------------------------------------------------------------------------------------


def agreement_chart(people: Iterable[Person], overall: Interval | None) -> IntervalChart | None:
    """Everybody's agreement with others; None with fewer than two people."""
    lines = [
        _line(person, share, Reason.AGREEMENT)
        for person in people
        if (share := person.stats.agreement) is not None
    ]
    return interval_chart(lines, overall.value if overall else None) if len(lines) > 1 else None


def gold_chart(people: Iterable[Person], threshold: float) -> IntervalChart | None:
    """Everybody's accuracy on gold items; None with fewer than two people."""
    lines = [
        _line(person, share, Reason.GOLD)
        for person in people
        if (share := person.stats.gold.share) is not None
    ]
    return interval_chart(lines, threshold) if len(lines) > 1 else None


def _line(person: Person, share: Interval, reason: Reason) -> IntervalLine:
    return IntervalLine(
        label=person.stats.user.username,
        value=share.value,
        low=share.low,
        high=share.high,
        text=_("%(low)s–%(high)s%%") % {"low": f"{100 * share.low:.0f}", "high": f"{100 * share.high:.0f}"},
        n=share.n,
        href=person.links[reason],
        is_marked=any(each.reason is reason for each in person.stats.outliers),
    )

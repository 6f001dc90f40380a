"""Two policies compared: win rates by reward models and by people, and their answers prompt by prompt. Everything that the page
shows is in its address, so that whoever gets the link sees the same."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from annotation.access import Role, current_user, member_for
from annotation.analytics.figures import counted_or_none
from annotation.http.streaming import stream_response
from annotation.logic.csv_text import write_rows
from annotation.logic.translation import format_number
from annotation.models import Member, Prompt
from training.comparisons import actions
from training.comparisons.pairs import Pair
from training.comparisons.prompts import (
    ORDERS,
    WINNERS,
    Answer,
    PromptRow,
    Search,
    read_all,
    read_page,
    read_place,
)
from training.comparisons.win_rates import people_win_rates, reward_win_rates
from training.errors import RunError
from training.models import Comparison, ModelVersion, Run
from training.rounds.charts import WinRate, win_rate
from training.rounds.time_estimates import estimate_plan

PAGE_SIZE = 10
PEOPLE = "people"
CSV_COLUMNS = (
    *(
        "prompt_id",
        "external_id",
        "split",
        "tags",
        "messages",
        "first_model",
        "second_model",
        "first_answers",
    ),
    *("second_answers", "first_scores", "second_scores", "gain", "people_share", "people_judgments"),
)


@dataclass(frozen=True)
class Judge:
    """A reward model, or people, by whose preference the page is read. `key` is its value of the parameter `by`."""

    key: str
    rate: WinRate
    prompts: str
    model: ModelVersion | None = None


@login_required
@require_GET
def model_compare(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    policies = policies_of(me, with_removed=True)
    first, second = selected_models(request.GET, policies)
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "policies": policies,
        "first": first,
        "second": second,
    }
    if first and second and first != second:
        context |= _comparison(request, me, Pair(policy=second, baseline=first))
    return render(request, "training/model_compare.html", context)


def policies_of(me: Member, *, with_removed: bool = False) -> list[ModelVersion]:
    """The project's policies, newest first; with those whose files were removed, if asked for."""
    policies = ModelVersion.objects.filter(project=me.project, kind=ModelVersion.Kind.POLICY)
    if not with_removed:
        policies = policies.filter(removed_at=None)
    return list(policies.select_related("author", "project"))


def selected_models(
    params: QueryDict, policies: list[ModelVersion]
) -> tuple[ModelVersion | None, ModelVersion | None]:
    """The models of the parameters `a` and `b`; by default the two newest."""
    by_id = {str(version.pk): version for version in policies}
    first = by_id.get(params.get("a", "")) or next(iter(policies[1:]), None) or next(iter(policies), None)
    return first, by_id.get(params.get("b", "")) or next(iter(policies), None)


def _comparison(request: HttpRequest, me: Member, pair: Pair) -> dict[str, Any]:
    comparisons = pair.comparisons()
    people = counted_or_none(me.project, lambda: people_win_rates(pair))
    search = read_search(request.GET, comparisons, has_people=people is None or people["all"]["prompts"] > 0)
    by_people = people if search.by_people else None
    shown = by_people
    if search.comparison and not search.by_people:
        comparison = search.comparison
        shown = counted_or_none(me.project, lambda: reward_win_rates(pair, comparison))
    after, before = (read_place(request.GET.get(name, "")) for name in ("after", "before"))
    page = read_page(pair, search, PAGE_SIZE, after=after, before=before)
    by = PEOPLE if search.by_people else str(search.comparison.scorer_id) if search.comparison else ""
    context: dict[str, Any] = {
        "pair": pair,
        "judges": _judges(pair, comparisons, people),
        "is_counting": people is None or (shown is None and (search.comparison or search.by_people)),
        "by": by,
        "judge_name": _("people")
        if search.by_people
        else search.comparison.scorer.name
        if search.comparison
        else "",
        "by_tag": _win_rates(shown, "tags"),
        "by_length": _win_rates(shown, "lengths"),
        "tags": [row["label"] for row in shown["tags"]] if shown else [search.tag] if search.tag else [],
        "search": search,
        "page": page,
        "rows": page.rows,
        "can_dispute": bool(comparisons) and (people is None or people["all"]["prompts"] > 0),
        "link": urlencode(
            {name: value for name, value in request.GET.items() if name not in ("after", "before", "diff")}
            | {"a": pair.baseline.pk, "b": pair.policy.pk}
            | ({"by": by} if by else {})
        ),
        "shows_differences": request.GET.get("diff") == "1",
    }
    if not comparisons:
        context |= _missing(me, pair, has_rows=bool(page.rows))
    return context


def read_search(params: QueryDict, comparisons: list[Comparison], *, has_people: bool) -> Search:
    """The search of the parameters; unknown values are ignored. By default the prompts are ordered by the newest reward model
    that scored the answers, or else by people."""
    by = params.get("by", "")
    by_people = by == PEOPLE or (not comparisons and has_people)
    chosen = next((one for one in comparisons if str(one.scorer_id) == by), next(iter(comparisons), None))

    def known(name: str, values: tuple[str, ...]) -> str:
        return params.get(name, "") if params.get(name) in values else ""

    return Search(
        comparison=chosen,
        by_people=by_people,
        tag=params.get("tag", "").replace("\0", "")[:60],
        split=known("split", tuple(Prompt.Split.values)),
        winner=known("winner", WINNERS),
        disputed=params.get("disputed") == "1" and chosen is not None,
        flagged=params.get("flagged") == "1",
        order=known("order", ORDERS) or "losses",
    )


def _judges(pair: Pair, comparisons: list[Comparison], people: dict[str, Any] | None) -> list[Judge]:
    judges = []
    for comparison in comparisons:
        rate = comparison.win_rate
        if pair.sign_of(comparison) < 0:
            rate = rate | {"mean": 1 - rate["mean"], "low": 1 - rate["high"], "high": 1 - rate["low"]}
        label = comparison.scorer.name
        judges.append(
            Judge(str(comparison.scorer_id), win_rate(label, rate), _prompt_set(rate), comparison.scorer)
        )
    if people and people["all"]["prompts"]:
        rate = people["all"] | {"held_out": people["held_out"]}
        judges.append(Judge(PEOPLE, win_rate(_("People"), rate), _prompt_set(rate)))
    return judges


def _prompt_set(rate: dict[str, Any]) -> str:
    """Which prompts a win rate is of."""
    if rate["held_out"] == rate["prompts"]:
        return _("held-out prompts")
    if not rate["held_out"]:
        return _("training prompts")
    return _("prompts, %(n)s of them held out") % {"n": format_number(rate["held_out"])}


def _win_rates(rates: dict[str, Any] | None, name: str) -> list[WinRate]:
    return (
        [win_rate(_(rate["label"]) if name == "lengths" else rate["label"], rate) for rate in rates[name]]
        if rates
        else []
    )


def _missing(me: Member, pair: Pair, *, has_rows: bool) -> dict[str, Any]:
    """What is missing for a reward model to compare the two, and how long it will take."""
    runs = actions.open_runs(pair)
    is_answered = actions.answered_runs(pair) is not None
    scorers = (
        []
        if me.role != Role.LEAD
        else list(
            ModelVersion.objects.filter(
                project=me.project, kind=ModelVersion.Kind.REWARD, retired_at=None
            ).order_by("-current", "-pk")
        )
    )
    kind = Run.Kind.EVALUATE if is_answered else Run.Kind.GENERATE
    step: Any = {"name": kind, "parts": [{"part": "", "kind": kind}]}
    return {
        "open_runs": runs,
        "missing": "" if runs else "scores" if is_answered else "answers",
        "has_rows": has_rows,
        "scorers": scorers,
        "estimate": estimate_plan(me.project, [step]),
        "prompts": actions.PROMPTS,
    }


@login_required
@require_GET
def model_compare_csv(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The prompts of the page's search with both models' answers, as CSV."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    pair = _pair(me, request.GET)
    # the page's link names the judge, if there is one
    search = read_search(request.GET, pair.comparisons(), has_people=False)
    name = f"{pair.baseline.name}-{pair.policy.name}.csv"
    return stream_response(_csv_lines(pair, search), content_type="text/csv; charset=utf-8", name=name)


def _csv_lines(pair: Pair, search: Search) -> Generator[bytes, None, None]:
    yield "\ufeff".encode() + _csv_line(CSV_COLUMNS)
    for row in read_all(pair, search):
        yield _csv_line(_csv_row(pair, row))


def _csv_row(pair: Pair, row: PromptRow) -> tuple[Any, ...]:
    def texts(answers: list[Answer]) -> str:
        return json.dumps([answer.response.text for answer in answers], ensure_ascii=False)

    def scores(answers: list[Answer]) -> str:
        return json.dumps([answer.score for answer in answers])

    share, people = row.people or ("", 0)
    messages_json = json.dumps(row.prompt.messages, ensure_ascii=False)
    return (
        *(
            row.prompt.pk,
            row.prompt.external_id,
            row.prompt.split,
            json.dumps(row.prompt.tags, ensure_ascii=False),
        ),
        *(messages_json, pair.baseline.name, pair.policy.name, texts(row.baseline), texts(row.policy)),
        *(scores(row.baseline), scores(row.policy), "" if row.gain is None else row.gain, share, people),
    )


def _csv_line(values: tuple[Any, ...]) -> bytes:
    return write_rows([values]).encode()


@login_required
@require_POST
def model_compare_start(request: HttpRequest, slug: str) -> HttpResponse:
    """Starts the runs that a comparison lacks: answers of both, or a reward model's scores of them."""
    me = member_for(request.user, slug, Role.LEAD)
    pair = _pair(me, request.POST)
    try:
        if request.POST.get("missing") == "scores":
            actions.score_answers(pair=pair, scorer=_scorer(me, request.POST), creator=current_user(request))
        else:
            actions.generate_answers(pair=pair, creator=current_user(request))
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Started. The comparison is here when the runs are done."))
    return redirect(_url(pair))


@login_required
@require_POST
def model_compare_queue(request: HttpRequest, slug: str) -> HttpResponse:
    """Puts an answer of each model to the same prompt into the queue."""
    me = member_for(request.user, slug, Role.LEAD)
    pair = _pair(me, request.POST)
    ids = [int(pk) for pk in request.POST.getlist("response")[:2] if pk.isdecimal() and len(pk) < 19]
    try:
        item = actions.send_to_queue(pair=pair, responses=ids)
    except RunError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Item %(id)s is in the queue.") % {"id": item.pk})
    return redirect(_url(pair, request.POST.get("here", "")))


def _url(pair: Pair, query: str = "") -> str:
    """The page of a pair, with the search of a query string."""
    search = QueryDict(query, mutable=True)
    search["a"], search["b"] = str(pair.baseline.pk), str(pair.policy.pk)
    return f"{reverse('model-compare', args=[pair.project.slug])}?{search.urlencode()}"


def _scorer(me: Member, params: QueryDict) -> ModelVersion:
    """
    Raises:
        RunError: no reward model of the project was chosen.
    """
    chosen = params.get("scorer", "")
    reward_models = ModelVersion.objects.filter(
        project=me.project, kind=ModelVersion.Kind.REWARD, retired_at=None
    )
    found = reward_models.filter(pk=int(chosen)).first() if chosen.isdecimal() and len(chosen) < 19 else None
    if found is None:
        raise RunError("scorer", _("Choose a reward model of this project."))
    return found


def _pair(me: Member, params: QueryDict) -> Pair:
    """The two models that the parameters name."""
    by_id = {str(version.pk): version for version in policies_of(me, with_removed=True)}
    first, second = by_id.get(params.get("a", "")), by_id.get(params.get("b", ""))
    if first is None or second is None or first == second:
        raise Http404("No such two models.")
    return Pair(policy=second, baseline=first)

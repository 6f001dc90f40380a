"""The command palette: one list of what somebody may go to, by what they type; also a page, for browsers without scripts."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from annotation import navigation, palette
from annotation.access import current_user, member_for
from annotation.models import Member
from annotation.palette import MAX, Query, Result, Section
from annotation.views import HtmxRequest
from training.models import ModelVersion, Round, Run


@login_required
@require_GET
def palette_page(request: HtmxRequest) -> HttpResponse:
    """The page; for htmx the list of results alone. `project` is the slug of the project that is open, `q` what was typed."""
    user, slug = current_user(request), request.GET.get("project", "")
    me = member_for(user, slug) if slug else None
    query = Query.read(request.GET.get("q", ""))
    sections = [section for section in _find(query, me) if section.results]
    pages = palette.places(query, user, me)
    sections += [section for section in (*pages, palette.projects(query, user)) if section.results]
    sections += [section for section in _late(query, me) if section.results]
    context = {
        "me": me,
        "project": me.project if me else None,
        "query": query,
        "sections": sections,
        "count": sum(len(section.results) for section in sections),
    }
    template = "training/palette_results.html" if request.htmx else "training/palette.html"
    return render(request, template, context)


def _find(query: Query, me: Member | None) -> list[Section]:
    """What a number names."""
    if me is None or query.number is None or me.role not in navigation.STAFF:
        return []
    return [palette.items(query, me), _rounds(query.number, me), _run(query.number, me)]


def _late(query: Query, me: Member | None) -> list[Section]:
    """What names and texts may lead to, after the pages."""
    found = []
    if me is not None and me.role in navigation.STAFF:
        found = [_models(query, me), palette.people(query, me), _search(query, me)]
    return [palette.help_documents(query), *found] if me is None else [*found, palette.help_documents(query)]


def _models(query: Query, me: Member) -> Section:
    versions = query.narrow(ModelVersion.objects.filter(project=me.project_id).order_by("-pk"), "name")
    return Section(
        _("Models"),
        [
            Result(version.name, _path("model", me, version.pk), version.get_kind_display(), written=True)
            for version in versions
        ],
    )


def _run(number: int, me: Member) -> Section:
    runs = Run.objects.filter(project=me.project_id, pk=number).only("kind", "state")
    return Section(
        _("Runs"), [Result(str(run), _path("run", me, run.pk), run.get_state_display()) for run in runs]
    )


def _rounds(number: int, me: Member) -> Section:
    rounds = Round.objects.filter(loop__project=me.project_id, number=number).select_related("loop")[:MAX]
    return Section(
        _("Rounds"),
        [Result(str(each), _path("round", me, each.pk), each.get_state_display()) for each in rounds],
    )


def _search(query: Query, me: Member) -> Section:
    if not query.words:
        return Section("", [])
    title = _("Search prompts, answers and reasons for “%(words)s”") % {"words": query.text}
    path = reverse("search", args=[me.project.slug], query={"q": query.text})
    return Section(_("Texts"), [Result(title, path)])


def _path(name: str, me: Member, pk: int) -> str:
    return reverse(name, args=[me.project.slug, pk])

"""Two policies side by side: their responses to the same prompts."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.models import Member, Response
from annotation.views.long_lists import LongList
from training.models import ModelVersion
from training.registry.queries import shared_prompts

PAGE_SIZE = 10


@login_required
@require_GET
def model_compare(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    policies = policies_of(me)
    first, second = selected_models(request.GET, policies)
    context: dict[str, Any] = {
        "me": me,
        "project": me.project,
        "policies": policies,
        "first": first,
        "second": second,
    }
    if first and second:
        page = LongList(shared_prompts(first, second), PAGE_SIZE).get_page(request.GET.get("page"))
        responses: dict[tuple[int, int], list[Response]] = {}
        for response in Response.objects.filter(
            prompt__in=list(page), author__in=[first.author_id, second.author_id]
        ).order_by("pk"):
            responses.setdefault((response.prompt_id, response.author_id), []).append(response)
        context |= {
            "page": page,
            "rows": [
                (prompt, responses[prompt.pk, first.author_id], responses[prompt.pk, second.author_id])  # type: ignore[index]
                for prompt in page
            ],
        }
    return render(request, "training/model_compare.html", context)


def policies_of(me: Member) -> list[ModelVersion]:
    return list(
        ModelVersion.objects.filter(
            project=me.project, kind=ModelVersion.Kind.POLICY, removed_at=None
        ).select_related("author")
    )


def selected_models(
    params: QueryDict, policies: list[ModelVersion]
) -> tuple[ModelVersion | None, ModelVersion | None]:
    """The models of the parameters `a` and `b`; by default the two newest."""
    by_id = {str(version.pk): version for version in policies}
    first = by_id.get(params.get("a", "")) or next(iter(policies[1:]), None) or next(iter(policies), None)
    return first, by_id.get(params.get("b", "")) or next(iter(policies), None)

"""Texts as they were written, beside their rendered form: of an answer, or of the conversation's last message.

Fetched when they are asked for: most are never looked at, and with them a page would be twice as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import queries
from annotation.access import Role, current_user, member_for, project_for
from annotation.actions.queue import QueueError
from annotation.logic.markdown import render_source
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.models import Item, Judgment
from annotation.views.judging.pages import read_lease

PROMPT = "prompt"


@login_required
@never_cache
@require_POST
def work_source(request: HttpRequest, slug: str) -> HttpResponse:
    """A text of the item that the ticket is for."""
    project = project_for(current_user(request), slug)
    try:
        lease = read_lease(request, project, chat=None)
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    item = queries.item_to_judge(lease.item_id, current_user(request))
    return _source(item, lease.shown_order, request.POST.get("of", ""), mask)


@login_required
@never_cache
@require_GET
def my_judgment_source(request: HttpRequest, pk: int) -> HttpResponse:
    """A text of the item of one's own judgment."""
    mine = Judgment.objects.select_related("item__project").filter(annotator=current_user(request))
    judgment = get_object_or_404(mine, pk=pk)
    member_for(current_user(request), judgment.item.project.slug)
    item = queries.item_to_judge(judgment.item_id, current_user(request))
    return _source(item, judgment.shown_order, request.GET.get("of", ""), mask)


@login_required
@never_cache
@require_GET
def item_source(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A text of an item, for reviewers, who see texts unmasked."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    found = get_object_or_404(Item, pk=pk, project=me.project)
    item = queries.item_to_judge(found.pk, current_user(request))
    shown = sorted(response.pk for response in item.responses.all())
    return _source(item, shown, request.GET.get("of", ""), str)


def _source(item: Item, shown: Sequence[int], of: str, masked: Callable[[str], str]) -> HttpResponse:
    """The text of the answer with a letter, or of the last message.

    Raises:
        Http404: the item has no such text.
    """
    if of == PROMPT:
        text = str(item.prompt.messages[-1]["content"])
    else:
        texts = {response.pk: response.text for response in item.responses.all()}
        by_letter = {letter: texts[pk] for letter, pk in zip(LETTERS, shown, strict=False)}
        if of not in by_letter:
            raise Http404("There is no such text.")
        text = masked(by_letter[of])
    return HttpResponse(mark_safe(render_source(text)))  # noqa: S308 -- it escapes the text

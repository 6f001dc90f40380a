"""Messages about items: an annotator's questions and follow-ups, and reviewers' replies."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions.messages import MessageError, ask, reply
from annotation.models import Item, Judgment, Message, User


@login_required
@require_POST
def judgment_ask(request: HttpRequest, pk: int) -> HttpResponse:
    """A question, or a follow-up, about the item of one's own judgment."""
    judgment = get_object_or_404(
        Judgment.objects.select_related("item__project"), pk=pk, annotator=current_user(request)
    )
    member_for(current_user(request), judgment.item.project.slug)
    _ask(request, judgment.item)
    return redirect(f"{reverse('my-judgment', args=[pk])}#questions")


@login_required
@require_POST
def thread_ask(request: HttpRequest, pk: int) -> HttpResponse:
    """A follow-up in one's own thread; `pk` is that of its first message."""
    me = current_user(request)
    first = get_object_or_404(Message.objects.select_related("item__project"), pk=pk, annotator=me)
    member_for(me, first.item.project.slug)
    _ask(request, first.item)
    return redirect(f"{reverse('my-work')}#thread-{pk}")


@login_required
@require_POST
def item_reply(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A reviewer's reply; `annotator` is the id of the user whose thread it is."""
    project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    item = get_object_or_404(Item.objects.select_related("project"), pk=pk, project=project)
    annotator = request.POST.get("annotator", "")
    known = annotator.isdecimal() and len(annotator) < 19
    asker = get_object_or_404(
        User.objects.filter(threads__item=item).distinct(), pk=int(annotator) if known else 0
    )
    try:
        reply(item=item, annotator=asker, author=current_user(request), text=request.POST.get("text", ""))
    except MessageError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Your reply to %(asker)s was sent.") % {"asker": asker})
    return redirect(f"{reverse('item', args=[slug, pk])}#questions")


def _ask(request: HttpRequest, item: Item) -> None:
    try:
        ask(item=item, annotator=current_user(request), text=request.POST.get("text", ""))
    except MessageError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Your message was sent."))

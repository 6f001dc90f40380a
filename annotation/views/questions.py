"""The project's own questions to annotators: ratings by criterion, flags, free texts and comments on passages."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotation.access import Role, current_user, member_for
from annotation.actions.projects import write_questions
from annotation.forms.projects import QuestionFormSet
from annotation.logic.questions import PRESETS
from annotation.queries import all_questions, questions_of


@login_required
@require_http_methods(["GET", "POST"])
def questions(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    project = me.project
    current = [question.as_data() for question in questions_of(project.question_set_id)]
    formset = QuestionFormSet(
        request.POST if request.method == "POST" else None, initial=current, earlier=all_questions(project)
    )
    if request.method == "POST" and formset.is_valid():
        before = project.question_set
        version = write_questions(project=project, questions=formset.questions, author=current_user(request))
        if version is None or version == before:
            messages.info(request, _("No changes."))
        else:
            text = _("Saved as version %(number)s. It applies from the next item.")
            messages.success(request, text % {"number": version.number})
        return redirect("questions", slug)
    context = {
        "me": me,
        "project": project,
        "formset": formset,
        "presets": [
            question for question in PRESETS if question.key not in {each["key"] for each in current}
        ],
        "versions": project.question_sets.select_related("author").order_by("-number"),
    }
    is_refused = formset.is_bound
    return render(request, "annotation/questions.html", context, status=422 if is_refused else 200)

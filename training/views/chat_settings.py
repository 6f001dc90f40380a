"""The settings of a project's chats."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from annotation.access import Role, current_user, member_for
from annotation.models import Author, ChatSettings, Project
from training.chats.settings import SideChoice, save_settings
from training.errors import RunError, describe_error
from training.models import ModelVersion

SIDES = ("first", "second")
SERVER = "server:"


class ChatSettingsForm(forms.Form):
    enabled = forms.BooleanField(
        label=gettext_lazy("Annotators may chat"),
        required=False,
        help_text=gettext_lazy("They write messages of their own, and choose between two answers."),
    )
    max_new_tokens = forms.IntegerField(
        label=gettext_lazy("Longest answer, in tokens"), min_value=1, max_value=16_384
    )
    max_turns = forms.IntegerField(label=gettext_lazy("Most messages of a chat"), min_value=1, max_value=100)

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        current = ChatSettings.objects.filter(project=project).first() or ChatSettings(project=project)
        super().__init__(*args, **{"initial": _initial(current), **kwargs})
        self.project = project
        chosen = [author for author in (current.first_author, current.second_author) if author]
        policies = (
            ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.POLICY)
            .filter(Q(retired_at=None) | Q(author__in=chosen))  # a retired one is shown, and not saved again
            .select_related("author")
        )
        self.versions = {str(version.pk): version for version in policies}
        choices = [
            ("", _("the project's current policy")),
            *((pk, version.name) for pk, version in self.versions.items()),
            *((SERVER + url, _("a model of %(server)s") % {"server": url}) for url in settings.MODEL_SERVERS),
        ]
        for side, label in zip(SIDES, (_("First model"), _("Second model")), strict=True):
            self.fields[f"{side}_model"] = forms.ChoiceField(choices=choices, required=False, label=label)
            self.fields[f"{side}_server_model"] = forms.CharField(
                required=False, max_length=200, label=_("Its name on the server")
            )
            self.fields[f"{side}_temperature"] = forms.FloatField(
                min_value=0,
                max_value=2,
                label=_("Temperature"),
                widget=forms.NumberInput(attrs={"step": "0.05"}),
            )

    @property
    def sides(self) -> list[list[Any]]:
        """The fields of each side."""
        names = ["model", "temperature"] + (["server_model"] if settings.MODEL_SERVERS else [])
        return [[self[f"{side}_{name}"] for name in names] for side in SIDES]

    def side(self, name: str) -> SideChoice:
        data = self.cleaned_data
        model = data[f"{name}_model"]
        return SideChoice(
            model=self.versions.get(model),
            server=model.removeprefix(SERVER) if model.startswith(SERVER) else "",
            server_model=data[f"{name}_server_model"],
            temperature=data[f"{name}_temperature"],
        )


def _initial(current: ChatSettings) -> dict[str, Any]:
    return {
        "enabled": current.enabled,
        "max_new_tokens": current.max_new_tokens,
        "max_turns": current.max_turns,
        **_initial_side("first", current.first_author, current.first_server, current.first_temperature),
        **_initial_side("second", current.second_author, current.second_server, current.second_temperature),
    }


def _initial_side(name: str, author: Author | None, server: str, temperature: float) -> dict[str, Any]:
    version = ModelVersion.objects.filter(author=author).first() if author and not server else None
    return {
        f"{name}_model": SERVER + server if server else version.pk if version else "",
        f"{name}_server_model": author.name if author and server else "",
        f"{name}_temperature": temperature,
    }


@login_required
@require_http_methods(["GET", "POST"])
def chat_settings(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    form = ChatSettingsForm(me.project, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            save_settings(
                project=me.project,
                actor=current_user(request),
                enabled=form.cleaned_data["enabled"],
                sides=[form.side(name) for name in SIDES],
                max_new_tokens=form.cleaned_data["max_new_tokens"],
                max_turns=form.cleaned_data["max_turns"],
            )
        except RunError as error:
            form.add_error(error.field if error.field in form.fields else None, describe_error(error))
        else:
            messages.success(request, _("The settings of chats are saved."))
            return redirect("chat-settings", slug)
    context = {"me": me, "project": me.project, "form": form}
    return render(request, "training/chat_settings.html", context, status=422 if form.errors else 200)

"""The settings of a project's chats: whether annotators may chat, and which two policies answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import transaction
from django.utils.translation import gettext as _

from annotation import audit
from annotation.models import Author, ChatSettings, Project, User
from training.errors import RunError
from training.models import ModelVersion
from training.registry.model_sources import check_server
from training.registry.queries import policy_of


class SideChoice(NamedTuple):
    """What answers on one side: a model of the project, the current policy (None), or a server's model.

    server_model: its name there; with it, `model` is not read.
    """

    model: ModelVersion | None = None
    server: str = ""
    server_model: str = ""
    temperature: float = 1.0


@transaction.atomic
def save_settings(
    *,
    project: Project,
    actor: User,
    enabled: bool,
    sides: Sequence[SideChoice],
    max_new_tokens: int,
    max_turns: int,
) -> ChatSettings:
    """
    Raises:
        RunError: both sides are the same, a server is not allowed, or a model was retired; its `field` is that of the form.
    """
    authors = [_author(project, side, name) for side, name in zip(sides, ("first", "second"), strict=True)]
    first, second = sides
    current = ModelVersion.objects.filter(
        project=project, kind=ModelVersion.Kind.POLICY, current=True
    ).first()
    answering = [author or (current and current.author) for author in authors]
    same = (answering[0], first.server, first.temperature) == (
        answering[1],
        second.server,
        second.temperature,
    )
    if same:
        text = _(
            "Both sides are the same model at the same temperature: choose another model or temperature."
        )
        raise RunError("second_model", text)
    values = {
        "enabled": enabled,
        "first_author": authors[0],
        "first_server": first.server,
        "first_temperature": first.temperature,
        "second_author": authors[1],
        "second_server": second.server,
        "second_temperature": second.temperature,
        "max_new_tokens": max_new_tokens,
        "max_turns": max_turns,
    }
    saved, _created = ChatSettings.objects.update_or_create(project=project, defaults=values)
    shown = {name: str(value) if isinstance(value, Author) else value for name, value in values.items()}
    audit.record("chat.settings", project=project, actor=actor, subject=str(project), **shown)
    return saved


def _author(project: Project, side: SideChoice, name: str) -> Author | None:
    if side.server:
        if not side.server_model:
            raise RunError(f"{name}_server_model", _("Name the model as its server does."))
        try:
            check_server(side.server)
        except RunError as error:
            raise RunError(f"{name}_model", str(error)) from None
        author, _created = Author.objects.get_or_create(
            project=project, kind=Author.Kind.POLICY, name=side.server_model
        )
        return author
    if side.model is None:
        return None
    try:
        return policy_of(project, side.model.author).author
    except RunError as error:
        raise RunError(f"{name}_model", str(error)) from None

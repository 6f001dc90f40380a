"""The two policies that answer a message: which they are, and the servers that they answer from."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from annotation.models import Author, ChatSettings, Project
from training.chat_servers.client import Endpoint
from training.chat_servers.endpoints import model_endpoint, server_endpoint
from training.errors import RunError
from training.models import ModelVersion


class Side(NamedTuple):
    """One of the two. author: of its responses."""

    author: Author
    endpoint: Endpoint
    temperature: float
    server: str

    def as_data(self, seed: int) -> dict[str, Any]:
        """As JSON, for the turn's row."""
        return {
            "author": self.author.pk,
            "server": self.server,
            "temperature": self.temperature,
            "seed": seed,
        }


def sides_of(project: Project) -> tuple[list[Side], int]:
    """The two policies of a project's chats, as its settings say now, with servers that answer, and how many tokens an answer
    may have. It may take as long as loading the models.

    Raises:
        RunError: a policy cannot be used any more, or there is none.
        ChatServerError: its server cannot be started.
    """
    chosen = ChatSettings.objects.select_related("first_author", "second_author").get(project=project)
    sides = [
        _side(project, chosen.first_author, chosen.first_server, chosen.first_temperature),
        _side(project, chosen.second_author, chosen.second_server, chosen.second_temperature),
    ]
    return sides, chosen.max_new_tokens


def _side(project: Project, author: Author | None, server: str, temperature: float) -> Side:
    if author is not None and server:
        return Side(author, server_endpoint(server, author.name), temperature, server)
    version = policy_of(project, author)
    assert version.author is not None
    return Side(version.author, model_endpoint(version), temperature, "")


def policy_of(project: Project, author: Author | None) -> ModelVersion:
    """The model of an author, or the project's current policy.

    Raises:
        RunError: there is none, or it was retired.
    """
    if author is None:
        own = ModelVersion.objects.filter(project=project, kind=ModelVersion.Kind.POLICY)
        version = own.select_related("author").filter(current=True).first()
        if version is None:
            raise RunError(
                "model", _("The project has no current policy: its lead adds one on the Models page.")
            )
        return version
    version = ModelVersion.objects.select_related("author").filter(author=author).first()
    if version is None or version.removed_at or version.retired_at:
        text = _("The model %(name)s is not there any more: the lead chooses another one for chats.")
        raise RunError("model", text % {"name": author.name})
    return version

"""The two policies that answer a message: which they are, and the servers that they answer from."""

from __future__ import annotations

from typing import Any, NamedTuple

from annotation.models import Author, ChatSettings, Project
from training.chat_servers.client import Endpoint
from training.chat_servers.endpoints import model_endpoint, server_endpoint
from training.registry.queries import policy_of


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

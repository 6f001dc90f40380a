"""The two policies that answer a message: which they are, and where they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from annotation.models import Author, ChatSettings, Project
from training.chat_servers.client import Endpoint
from training.chat_servers.endpoints import endpoint_of, server_endpoint
from training.errors import RunError
from training.models import ModelVersion
from training.registry.queries import policy_of


class Policy(NamedTuple):
    """One of the two. author: of its responses. server: the URL from which it answers, or empty: then this site serves the
    version."""

    author: Author
    temperature: float
    version: ModelVersion | None
    server: str

    async def endpoint(self) -> Endpoint:
        """Where it answers; its server is started if there is none, which takes as long as loading the model.

        Raises:
            ChatServerError: it cannot be served.
        """
        if self.version is None:
            return server_endpoint(self.server, self.author.name)
        return await endpoint_of(self.version)

    def as_data(self, seed: int) -> dict[str, Any]:
        """As JSON, for the turn's row."""
        return {
            "author": self.author.pk,
            "server": self.server,
            "temperature": self.temperature,
            "seed": seed,
        }


def policies_of(project: Project) -> tuple[list[Policy], int]:
    """The two policies of a project's chats, as its settings say now, and how many tokens an answer may have.

    Raises:
        RunError: a policy cannot be used any more, or there is none.
    """
    chosen = ChatSettings.objects.select_related("first_author", "second_author").get(project=project)
    policies = [
        _policy(project, chosen.first_author, chosen.first_server, chosen.first_temperature),
        _policy(project, chosen.second_author, chosen.second_server, chosen.second_temperature),
    ]
    return policies, chosen.max_new_tokens


def policies_in(ids: Sequence[int], temperature: float) -> list[Policy]:
    """Model versions as policies at one temperature, in order.

    Raises:
        RunError: one is gone.
    """
    versions = ModelVersion.objects.select_related("author").in_bulk(ids)
    return [_of_version(versions.get(pk), temperature) for pk in ids]


def _policy(project: Project, author: Author | None, server: str, temperature: float) -> Policy:
    if author is not None and server:
        return Policy(author, temperature, None, server)
    return _of_version(policy_of(project, author), temperature)


def _of_version(version: ModelVersion | None, temperature: float) -> Policy:
    if version is None or version.author is None:
        raise RunError("model", _("The model is not there any more."))
    return Policy(version.author, temperature, version, "")

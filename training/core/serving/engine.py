"""What an engine has to do for a run, and the checks of what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from training.core.http_client import is_logprob
from training.core.sampling import SampledResponse
from training.core.serving.engine_client import EngineClient, server_error


class Version(NamedTuple):
    """Weights that were written for the engine. name: never used twice, by no other run either."""

    name: str
    folder: Path


class Continuation(NamedTuple):
    """A prompt to continue, in token ids, once for each of the seeds."""

    prompt: list[int]
    seeds: list[int]


@dataclass(frozen=True)
class Limits:
    """How responses are sampled: from the whole distribution, at a temperature. end_ids: the tokens that end one."""

    server: str
    max_length: int
    max_new_tokens: int
    temperature: float
    end_ids: list[int]
    vocabulary: int

    def response(self, token_ids: Any, logprobs: Any) -> SampledResponse:
        """The response of an engine's answer. Raises BadInput if it is none that can be learned from."""
        if not (isinstance(token_ids, list) and token_ids and all(type(token) is int for token in token_ids)):
            raise server_error(
                self.server, "returned a response without its token ids; it needs a version that returns them"
            )
        if not (
            isinstance(logprobs, list) and len(logprobs) == len(token_ids) and all(map(is_logprob, logprobs))
        ):
            raise server_error(self.server, "returned a response without a log-prob for each of its tokens")
        if not 0 <= min(token_ids) <= max(token_ids) < self.vocabulary:
            raise server_error(
                self.server, f"sampled a token that is none of the policy's {self.vocabulary}: another model"
            )
        finished = token_ids[-1] in self.end_ids
        is_cut = not finished and len(token_ids) < self.max_new_tokens
        if is_cut or len(token_ids) > self.max_new_tokens:
            raise server_error(
                self.server,
                f"ended a response after {len(token_ids)} tokens, without an end token, where max_new_tokens ="
                f" {self.max_new_tokens}; it must read prompts and responses of max_length = {self.max_length} tokens",
            )
        return SampledResponse(token_ids, [float(value) for value in logprobs], finished)


class Engine(Protocol):
    """A kind of server. All of it may raise BadInput, and VersionMissing once it has loaded a version."""

    async def connect(self, client: EngineClient) -> None:
        """Check what can be known before the first version is there."""

    def write(self, folder: Path) -> None:
        """Write the policy's present weights into a new folder."""

    async def load(self, client: EngineClient, version: Version) -> None:
        """Make the server sample from it when it is asked to."""

    async def unload(self, client: EngineClient, version: Version) -> None:
        """Let the server forget it."""

    async def complete(
        self, client: EngineClient, version: Version, request: Continuation
    ) -> list[SampledResponse]:
        """A response of this version for each of the seeds."""

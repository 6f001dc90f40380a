"""The policy of a run as a server samples from it: a new version of its weights is sent before each rollout.

Sampling and training take turns, so every response is of the weights that learn from it (a staleness of 0).
Left out: sampling while training, and several processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.configs import RolloutConfig
from training.core import lora
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.http_client import run_concurrently
from training.core.job_directory import Job
from training.core.process_rank import world_size
from training.core.sampling import SampledResponse, end_token_ids
from training.core.serving.agreement import Agreement
from training.core.serving.engine import Continuation, Engine, Limits, Version
from training.core.serving.engine_client import (
    EngineClient,
    Outage,
    Refused,
    VersionMissing,
    server_error,
)
from training.core.serving.sglang_disk import SglangDisk
from training.core.serving.vllm_lora import VllmLora
from training.core.tokenization import Encoder
from training.core.training_loop import TrainingLoop
from training.server_protocol import auth_headers

T = TypeVar("T")

CONCURRENCY = 64
"""Requests at a time, one for each prompt; the server has its own queue."""
VERSIONS = 2
"""Versions that stay loaded: the present one and the one before."""
RESTARTS = 3
"""Restarts of the server within one rollout after which the run gives up."""
UNLOAD_S = 5.0


def serve_policy(
    job: Job,
    config: RolloutConfig,
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    events: Events,
) -> ServedPolicy | None:
    """The policy as the server of the config samples from it, or None where the run samples in process. The server's answer is
    waited for. Raises BadInput for what it cannot do."""
    if config.sampler == "in-process":
        return None
    if world_size() > 1:
        raise BadInput(
            f"The sampler {config.sampler} does not support several processes; start one, or set sampler to in-process.",
            setting="sampler",
        )
    limits = Limits(
        server=config.sampler_server,
        max_length=encoder.max_length,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        end_ids=end_token_ids(policy, encoder),
        vocabulary=policy.config.get_text_config().vocab_size,
    )
    engines: dict[str, Callable[[], Engine]] = {
        "vllm-lora": lambda: VllmLora(policy, job.model or "", limits),
        "sglang-disk": lambda: SglangDisk(policy, tokenizer, limits),
    }
    engine = engines[config.sampler]()
    served = ServedPolicy(engine, policy, config, version_folder(job), events)
    events.resources.callback(served.close)
    served.connect()
    return served


def version_folder(job: Job) -> Path:
    """The folder for the weights of the run's versions, emptied: in the job directory, or below SAMPLER_DIR."""
    shared = os.environ.get("SAMPLER_DIR")
    if shared and not Path(shared).is_dir():
        raise BadInput(f"SAMPLER_DIR is {shared}, which is no folder.", setting="sampler_server")
    own = job.folder.resolve()
    name = hashlib.blake2b(str(own).encode(), digest_size=8).hexdigest()
    folder = Path(shared).resolve() / f"palate-{name}" if shared else own / "sampler"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


class ServedPolicy:
    """The versions of a policy on a server, and samples from the present one.

    name: of this process, in the names of its versions: another process may have left some on the server.
    """

    def __init__(
        self, engine: Engine, policy: nn.Module, config: RolloutConfig, folder: Path, events: Events
    ) -> None:
        self.engine, self.policy, self.config = engine, policy, config
        self.folder, self.events = folder, events
        self.server = config.sampler_server
        self.name = f"palate-{secrets.token_hex(6)}"
        self.versions: list[Version] = []
        self.sent = 0
        self._outage = Outage(self.server, 60 * config.sampler_wait_minutes, events.warning)
        self._step: int | None = None
        self._weights: list[Tensor] | None = None
        self._previous: list[Tensor] | None = None

    def connect(self) -> None:
        """Raise BadInput for a server that is not the engine of the config, or cannot be used."""

        async def connect(client: EngineClient, item: None) -> None:
            await self.engine.connect(client)

        self._run(connect, [None])

    def sample(self, requests: Sequence[Continuation], loop: TrainingLoop) -> list[SampledResponse]:
        """The responses to the prompts, prompt after prompt, from the policy's present weights.

        An interrupted run has a checkpoint: where it is stopped (Stopped), and where the server is not available.
        """

        def warn(sentence: str) -> None:
            self.events.warning(sentence)
            _save(loop)

        self._outage.on_start = warn
        try:
            if self._step != loop.steps_done:
                self._keep_weights()
                self._send()
                self._step = loop.steps_done
            responses = self._complete(requests)
        except (Stopped, BadInput):
            _save(loop)
            raise
        return [response for place in range(len(requests)) for response in responses[place]]

    def _complete(self, requests: Sequence[Continuation]) -> dict[int, list[SampledResponse]]:
        """The responses by the position of their prompt. A server that was started again gets the weights again."""
        responses: dict[int, list[SampledResponse]] = {}

        async def complete(client: EngineClient, place: int) -> None:
            responses[place] = await self.engine.complete(client, self.versions[-1], requests[place])

        for _ in range(RESTARTS):
            try:
                self._run(complete, [place for place in range(len(requests)) if place not in responses])
            except VersionMissing:
                self._send()
            else:
                return responses
        raise server_error(self.server, f"lost the weights that it was sent {RESTARTS} times in a row")

    def _send(self) -> None:
        """Write the present weights and make the server load them, under a new name."""
        self.sent += 1
        version = Version(f"{self.name}-{self.sent}", self.folder / str(self.sent))
        partial = version.folder.with_suffix(".partial")
        self.engine.write(partial)
        partial.rename(version.folder)
        self.versions.append(version)
        self._run(self.engine.load, [version])
        while len(self.versions) > VERSIONS:
            oldest = self.versions.pop(0)
            self._run(self._unload, [oldest])
            shutil.rmtree(oldest.folder, ignore_errors=True)

    async def _unload(self, client: EngineClient, version: Version) -> None:
        with suppress(Refused):  # the server was started again, and never had it
            await self.engine.unload(client, version)

    def _run(self, handle: Callable[[EngineClient, T], Awaitable[None]], items: Iterable[T]) -> None:
        run_concurrently(
            items,
            lambda http: EngineClient(http, self._outage),
            handle,
            server=self.server,
            concurrency=CONCURRENCY,
            events=self.events,
        )

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

    def _keep_weights(self) -> None:
        self._previous = self._weights
        self._weights = [parameter.detach().to("cpu", copy=True) for parameter in self._trained()]

    @contextmanager
    def previous_weights(self) -> Iterator[None]:
        """Within it the policy has the weights of the version before; of the first version of a process, those without adapters,
        or the present ones if it has none."""
        if self._previous is None:
            with lora.adapters_off(self.policy):
                yield
            return
        assert self._weights is not None
        _set_weights(self._trained(), self._previous)
        try:
            yield
        finally:
            _set_weights(self._trained(), self._weights)

    def check(self, agreement: Agreement, loop: TrainingLoop) -> None:
        """Raise BadInput, after saving a checkpoint, if responses were not sampled from the weights that were sent."""
        if agreement.is_stale:
            _save(loop)
            raise server_error(
                self.server,
                "samples from an earlier version of the weights than it was sent: of the last update its log-probs show"
                f" {max(agreement.update, 0.0):.0%}. Nothing was learned from these responses. Start it again and resume the run",
            )
        if agreement.is_another_model:
            _save(loop)
            needs_processed = self.config.sampler == "vllm-lora" and self.config.temperature != 1
            raise server_error(
                self.server,
                "does not serve the model that the run starts from, or the weights that it was sent: its log-probs differ from"
                f" the policy's by {agreement.gap:.3g} nats a token on average"
                + (
                    ". At a temperature other than 1, vLLM also needs --logprobs-mode processed_logprobs"
                    if needs_processed
                    else ""
                ),
            )

    def close(self) -> None:
        """Let the server forget the run's versions, if it answers, and delete their files."""

        async def unload() -> None:
            async with httpx2.AsyncClient(headers=auth_headers(self.server), timeout=UNLOAD_S) as http:
                client = EngineClient(http, Outage(self.server, UNLOAD_S, lambda sentence: None))
                for version in self.versions:
                    await self._unload(client, version)

        with suppress(BadInput):  # it is not available
            asyncio.run(unload())
        shutil.rmtree(self.folder, ignore_errors=True)


def _save(loop: TrainingLoop) -> None:
    """Save a checkpoint, if anything was done: without one, a run may start again with other settings."""
    if loop.steps_done or loop.extra:
        loop.save()


@torch.no_grad()
def _set_weights(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)

"""SGLang with the policy's whole weights, which it reads from a folder between two rollouts. The server is the run's alone.

Each response carries the version of the weights that it was sampled from (`weight_version`). Tried with a server of the tests
that speaks this protocol, not with SGLang itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from training.core.sampling import SampledResponse
from training.core.serving.engine import Continuation, Limits, Version
from training.core.serving.engine_client import EngineClient, Refused, VersionMissing, server_error


class SglangDisk:
    def __init__(self, policy: Any, tokenizer: PreTrainedTokenizerBase, limits: Limits) -> None:
        self.policy, self.tokenizer, self.limits = policy, tokenizer, limits
        self.server = limits.server

    async def connect(self, client: EngineClient) -> None:
        try:
            await client.request("/get_model_info")
        except Refused as error:
            raise server_error(
                self.server, f"is no SGLang server ({error}); its base URL has no path"
            ) from None

    def write(self, folder: Path) -> None:
        self.policy.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    async def load(self, client: EngineClient, version: Version) -> None:
        fields = {
            "model_path": str(version.folder),
            "weight_version": version.name,
            "flush_cache": True,
            "abort_all_requests": True,
        }
        try:
            await client.request("/pause_generation", {})
            try:
                answer = await client.request("/update_weights_from_disk", fields)
            finally:
                await client.request("/continue_generation", {})
        except Refused as error:
            raise server_error(
                self.server,
                f"does not load the weights in {version.folder}: {error}. It must serve a model of the policy's architecture,"
                " and have that folder at the same path (SAMPLER_DIR)",
            ) from None
        if not (isinstance(answer, dict) and answer.get("success")):
            raise server_error(self.server, f"does not load the weights in {version.folder}: {answer}")

    async def unload(self, client: EngineClient, version: Version) -> None:
        """Nothing to do: the next version takes its place."""

    async def complete(
        self, client: EngineClient, version: Version, request: Continuation
    ) -> list[SampledResponse]:
        count = len(request.seeds)
        fields = {
            "input_ids": [request.prompt] * count,
            "sampling_params": [self._sampling(seed) for seed in request.seeds],
            "return_logprob": True,
        }
        try:
            answers = await client.request("/generate", fields, retries_500=True)
        except Refused as error:
            raise server_error(self.server, f"refuses a prompt: {error}") from None
        if not isinstance(answers, list) or len(answers) != count:
            raise server_error(self.server, f"did not return {count} responses to a prompt")
        return [self._response(answer, version) for answer in answers]

    def _sampling(self, seed: int) -> dict[str, Any]:
        return {
            "sampling_seed": seed,
            "max_new_tokens": self.limits.max_new_tokens,
            "temperature": self.limits.temperature,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": True,
            "stop_token_ids": self.limits.end_ids,
            "skip_special_tokens": False,
        }

    def _response(self, answer: Any, version: Version) -> SampledResponse:
        figures = answer.get("meta_info") if isinstance(answer, dict) else None
        figures = figures if isinstance(figures, dict) else {}
        if "weight_version" not in figures:
            raise server_error(
                self.server, "returned a response without its weight_version; it needs a newer SGLang"
            )
        if figures["weight_version"] != version.name:
            raise VersionMissing
        try:
            logprobs, token_ids = zip(*(token[:2] for token in figures["output_token_logprobs"]), strict=True)
        except (KeyError, TypeError, ValueError):
            logprobs = token_ids = ()
        return self.limits.response(list(token_ids), list(logprobs))

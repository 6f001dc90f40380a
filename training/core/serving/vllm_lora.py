"""vLLM with the run's LoRA adapters: each version is an adapter under a new name, beside the base model that it serves.

The name is what its prefix cache is keyed by, so nothing computed with an earlier version is used. The server needs
`--enable-lora`, `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` and, for temperatures other than 1, `--logprobs-mode processed_logprobs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.core import lora
from training.core.errors import BadInput
from training.core.sampling import SampledResponse
from training.core.serving.engine import Continuation, Limits, Version
from training.core.serving.engine_client import EngineClient, Refused, VersionMissing, server_error


class VllmLora:
    """base: the name of the model that the policy starts from."""

    def __init__(self, policy: Any, base: str, limits: Limits) -> None:
        self.policy, self.base, self.limits = policy, base, limits
        self.server = limits.server

    async def connect(self, client: EngineClient) -> None:
        try:
            answer = await client.request("/models")
            models = [model for model in answer["data"] if not model.get("parent")]
        except (Refused, TypeError, KeyError, AttributeError) as error:
            raise server_error(
                self.server,
                f"lists no models ({error}); is this the base URL of vLLM? It usually ends in /v1",
            ) from None
        longest = max((model.get("max_model_len") or 0 for model in models), default=0)
        if 0 < longest < self.limits.max_length:
            raise BadInput(
                f"The sampler server {self.server} reads at most {longest} tokens; set max_length to at most that, or start"
                " it with a higher --max-model-len.",
                setting="max_length",
            )

    def write(self, folder: Path) -> None:
        lora.write_adapter(lora.extract_adapter(self.policy, self.base), folder)

    async def load(self, client: EngineClient, version: Version) -> None:
        fields = {"lora_name": version.name, "lora_path": str(version.folder)}
        try:
            await client.request("/load_lora_adapter", fields)
        except Refused as error:
            raise self._load_error(error, version) from None

    def _load_error(self, error: Refused, version: Version) -> BadInput:
        message = error.message
        if "max_lora_rank" in message:
            return BadInput(
                f"The sampler server {self.server} refuses the adapter's rank: {message.rstrip('.')}. Lower lora_rank, or"
                " start the server with a higher --max-lora-rank.",
                setting="lora_rank",
            )
        if "No adapter found" in message:
            return server_error(
                self.server,
                f"does not find the adapter in {version.folder}; set SAMPLER_DIR, in the worker's environment, to a folder"
                " that both have at the same path",
            )
        if error.status in (404, 405):
            return server_error(
                self.server,
                "cannot load adapters while it runs; start it with --enable-lora and"
                " VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment",
            )
        return server_error(self.server, f"does not load the adapter: {error}")

    async def unload(self, client: EngineClient, version: Version) -> None:
        await client.request("/unload_lora_adapter", {"lora_name": version.name})

    async def complete(
        self, client: EngineClient, version: Version, request: Continuation
    ) -> list[SampledResponse]:
        fields = self._fields(version, request)
        try:
            answer = await client.request("/completions", fields, retries_500=True)
        except Refused as error:
            if error.status == 404 and version.name in error.message:
                raise VersionMissing from None
            if "vocabulary" in error.message:
                raise server_error(
                    self.server, f"serves a model with another vocabulary than the policy: {error}"
                ) from None
            raise server_error(self.server, f"refuses a prompt: {error}") from None
        return self._responses(answer, version, len(request.seeds))

    def _fields(self, version: Version, request: Continuation) -> dict[str, Any]:
        """All that could change the distribution is set, as the server's defaults may come from a generation_config.json."""
        return {
            "model": version.name,
            "prompt": request.prompt,
            "n": len(request.seeds),
            "seed": request.seeds[0],
            "max_tokens": self.limits.max_new_tokens,
            "temperature": self.limits.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": True,
            "stop_token_ids": self.limits.end_ids,
            "skip_special_tokens": False,
            "logprobs": 0,
            "return_token_ids": True,
        }

    def _responses(self, answer: Any, version: Version, count: int) -> list[SampledResponse]:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or len(choices) != count:
            raise server_error(self.server, f"did not return {count} responses to a prompt")
        if answer.get("model") != version.name:
            raise server_error(
                self.server, f"answered with the model {answer.get('model')} in place of {version.name}"
            )
        logprobs = [(choice.get("logprobs") or {}).get("token_logprobs") for choice in choices]
        return [
            self.limits.response(choice.get("token_ids"), values)
            for choice, values in zip(choices, logprobs, strict=True)
        ]

"""A small serving engine with the protocols of vLLM (adapters) and of SGLang (weights from disk), as far as runs use them.

It is a real part, not a recording: an HTTP server that loads a model from its folder, adapters by peft and weights from disk, and
samples from them by `sample_responses`. A run reaches it by HTTP and files alone. `fault` makes it misbehave.
"""

from __future__ import annotations

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from peft import PeftModel

from training.core.model_loading import load_policy
from training.core.sampling import SampledResponse, sample_responses

Answer = tuple[int, Any]


class EngineServer:
    """fault: what is wrong with it, or empty. requests: (path, fields) of all that it got. adapters: the loaded ones by name."""

    def __init__(self, model: Path, *, max_rank: int = 8, max_length: int = 100) -> None:
        self.base: Any = load_policy(str(model))
        self.max_rank, self.max_length = max_rank, max_length
        self.fault = ""
        self.shift = 0.0
        """Added to the log-probs that it returns."""
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again: it then has the base model alone."""
        self.adapters: dict[str, Any] = {}
        self.weights, self.weight_version = self.base, "default"
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*outer.get(self.path))

            def do_POST(self) -> None:
                fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:  # torch has one thread
                    outer.requests.append((self.path, fields))
                    answer = outer.post(self.path, fields)
                self._answer(*answer)

            def _answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        """The base URL, without vLLM's `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def get(self, path: str) -> Answer:
        if path == "/v1/models":
            adapters = [{"id": name, "parent": "policy"} for name in self.adapters]
            return 200, {"data": [{"id": "policy", "max_model_len": self.max_length}, *adapters]}
        if path == "/get_model_info":
            return 200, {"weight_version": self.weight_version}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, fields: dict[str, Any]) -> Answer:
        match path:
            case "/v1/load_lora_adapter":
                return self._load_adapter(fields["lora_name"], Path(fields["lora_path"]))
            case "/v1/unload_lora_adapter":
                found = self.adapters.pop(fields["lora_name"], None)
                return (200, "Success") if found else (404, {"error": {"message": "cannot be found."}})
            case "/v1/completions":
                return self._complete(fields)
            case "/update_weights_from_disk":
                return self._update_weights(fields)
            case "/pause_generation" | "/continue_generation":
                return 200, {"status": "ok"}
            case "/generate":
                return self._generate(fields)
        return 404, {"detail": "Not Found"}

    # --- vLLM ---

    def _load_adapter(self, name: str, folder: Path) -> Answer:
        if self.fault == "no updates":
            return 404, {"detail": "Not Found"}
        if self.fault == "no files" or not (folder / "adapter_config.json").exists():
            return 404, {"error": {"message": f"Loading lora {name} failed: No adapter found for {folder}"}}
        rank = json.loads((folder / "adapter_config.json").read_text())["r"]
        if rank > self.max_rank:
            message = f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."
            return 500, {"error": {"message": message}}
        stale = list(self.adapters.values())[-1:] if self.fault == "stale" else []
        adapted = stale or [PeftModel.from_pretrained(copy.deepcopy(self.base), folder).merge_and_unload()]
        self.adapters[name] = adapted[0]
        return 200, "Success"

    def _complete(self, fields: dict[str, Any]) -> Answer:
        name = fields["model"]
        if name not in self.adapters:
            return 404, {"error": {"message": f"The model `{name}` does not exist."}}
        assert fields["top_p"] == 1
        if max(fields["prompt"]) >= self.base.config.vocab_size:
            message = f"Token id {max(fields['prompt'])} is out of vocabulary"
            return 400, {"error": {"message": message}}
        seeds = [fields["seed"] + number for number in range(fields["n"])]
        sampled = self._sample(
            self.adapters[name],
            fields["prompt"],
            seeds,
            fields["max_tokens"],
            fields["temperature"],
            fields["stop_token_ids"],
        )
        choices = [
            {
                "token_ids": None if self.fault == "no token ids" else response.token_ids,
                "logprobs": None if self.fault == "no logprobs" else {"token_logprobs": response.logprobs},
            }
            for response in sampled
        ]
        return 200, {"model": "policy" if self.fault == "another name" else name, "choices": choices}

    # --- SGLang ---

    def _update_weights(self, fields: dict[str, Any]) -> Answer:
        folder = Path(fields["model_path"])
        if self.fault == "no files" or not (folder / "model.safetensors").exists():
            return 400, {"success": False, "message": f"no weights in {folder}"}
        if self.fault != "stale":
            self.weights = load_policy(str(folder))
        self.weight_version = fields["weight_version"]
        return 200, {"success": True, "message": "Succeeded to update model weights."}

    def _generate(self, fields: dict[str, Any]) -> Answer:
        answers = []
        for prompt, how in zip(fields["input_ids"], fields["sampling_params"], strict=True):
            [response] = self._sample(
                self.weights,
                prompt,
                [how["sampling_seed"]],
                how["max_new_tokens"],
                how["temperature"],
                how["stop_token_ids"],
            )
            pairs = zip(response.logprobs, response.token_ids, strict=True)
            info: dict[str, Any] = {"output_token_logprobs": [[*pair, None] for pair in pairs]}
            if self.fault != "no version":
                info["weight_version"] = self.weight_version
            answers.append({"text": "", "meta_info": info})
        return 200, answers

    def _sample(
        self, model: Any, prompt: list[int], seeds: list[int], most: int, temperature: float, ends: list[int]
    ) -> list[SampledResponse]:
        room = min(most, self.max_length - len(prompt)) if self.fault == "short" else most
        sampled = sample_responses(
            model,
            [prompt],
            seeds,
            samples=len(seeds),
            max_new_tokens=max(room, 1),
            temperature=temperature,
            end_ids=ends,
        )
        for response in sampled:
            response.logprobs = [min(value + self.shift, 0.0) for value in response.logprobs]
        return sampled

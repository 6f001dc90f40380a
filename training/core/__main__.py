"""Do one job: `python -m training.core JOB_DIR`.

A job is a directory. Its owner writes `job.json` and `data.jsonl` and starts this program; the program writes
`checkpoint/` while it works and `output/` when it is done. Starting it again on the same directory carries on from the
checkpoint, or, where `output/` stands, says "done" at once. Nothing else is read or written.

`job.json`
    {"kind": "dpo", "config": {...}, "model": "path or hub id", ...}
    kind        one of pretrain, sft, reward, dpo, generate, evaluate
    config      settings of that kind (see training.configs); what is left out has its default
    model       the model to start from or to sample with. pretrain needs none (it then builds a Llama-type model from
                its config and trains a byte-level BPE tokenizer on the data); given one, it continues from it
    reference   dpo only: the reference policy; left out, it is `model`
    reward_model  evaluate only: the reward model to score with; left out, it is `model`
    Relative paths are taken from JOB_DIR. A path or hub id must lead to safetensors; pickled weights and models that
    bring their own code are refused.

`data.jsonl`, one JSON object a line
    pretrain    {"text": "..."}
    sft         {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
                the last message is the assistant's and is what is learned
    reward, dpo, evaluate
                {"id": "...", "prompt": [messages], "responses": ["...", ...], "ranks": [1, 2, 2, ...],
                 "degree": null | "significantly" | "better" | "slightly" | "negligibly",
                 "split": "train" | "held_out"}
                rank 1 is best and equal ranks are a tie; a choice between two is a ranking of two with a degree.
                Rows of the same prompt must be of the same split. evaluate may leave `ranks` out of a row to have its
                responses scored only, and takes any number of responses from one up
    generate    {"id": "...", "prompt": [messages]}
    `id` is text or a whole number and comes back as it was. Keys not named here are ignored.

`output/` appears whole, or not at all
    pretrain, sft, dpo   a model directory: safetensors, tokenizer with its chat template, palate.json
    reward      the same with the scalar head (head.safetensors) and report.json; loads again as a job's `reward_model`
    generate    responses.jsonl, in the order of the prompts, `samples` lines each:
                {"id", "sample": 0.., "text", "token_ids": [...], "logprobs": [...], "seed", "temperature", "finished"}
                token_ids are those sampled, with the end token where there is one (`finished` is then true); logprobs
                are of those tokens, divided by the temperature; `seed` alone reproduces the line
    evaluate    report.json and scores.jsonl: {"id", "rewards": [...]}
    palate.json holds the kind, the resolved config, where the model came from, and the versions of the libraries.

`report.json` (reward, evaluate)
    {"prompts", "pairs", "ties", "accuracy", "accuracy_by_degree": {"better": {"accuracy", "pairs"}, ...,
     "none": {...}}, "accuracy_by_length": {"shorter_preferred": {...}, "longer_preferred": {...},
     "same_length": {...}}, "ece", "ece_with_margin", "reliability": [{"confidence", "accuracy", "pairs"}, ...],
     "mean_chosen", "mean_rejected", "bias"}
    A figure that has no pairs behind it is null.

stdout carries JSON lines and nothing else
    {"event": "start", "kind": ..., "total": steps, "resumed_from": step or null}
    {"event": "progress", "step", "total", "eta_s"}        eta_s is seconds, null until it is known
    {"event": "metrics", "step", "values": {name: number}}  loss, lr, tokens_per_s, grad_norm; reward: accuracy,
                held_out_accuracy, held_out_loss, ece; dpo: accuracy, reward_margin, reward_chosen, reward_rejected,
                kl, held_out_accuracy; generate: tokens_per_s, mean_tokens, finished
    {"event": "warning", "message"}
    {"event": "done", "result": {...}}    the output's path, counts, seconds, and the last figures
    {"event": "error", "message", "setting": name or null, "line": number or null}

Exit codes: 0 done; 1 crash; 2 bad input, after an error event; 3 told to stop by SIGTERM, after writing a checkpoint.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from training.core.errors import BadInput, Stopped
from training.core.events import Events, on_stdout
from training.core.jobs import Job, read_job

DOERS = {
    "pretrain": ("train_pretrain", "train"),
    "sft": ("train_sft", "train"),
    "reward": ("train_reward", "train"),
    "dpo": ("train_dpo", "train"),
    "generate": ("generate", "generate"),
    "evaluate": ("evaluate", "evaluate"),
}
"""The module and function that do each kind of job."""


def run(job: Job, events: Events) -> dict[str, Any]:
    """Do the job and return what to say of it. Imports happen here, once the job is known to be well-formed."""
    import torch

    if job.config.threads:
        torch.set_num_threads(job.config.threads)
    module, function = DOERS[job.kind]
    do = getattr(import_module(f"training.core.{module}"), function)
    result: dict[str, Any] = do(job, job.config, events)
    return result


def main(arguments: list[str]) -> int:
    """Do the job in the one directory given, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m training.core JOB_DIR\n")
        return 2
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # threads that spin while they wait starve their neighbours; each shape of batch has kernels of its own, to be kept
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    keep_freed_memory()
    with on_stdout() as events:
        try:
            job = read_job(Path(arguments[0]).resolve())
            if job.output.is_dir():
                events.done({"output": str(job.output), "already": True})
                return 0
            result = run(job, events)
        except Stopped:
            return 3
        except BadInput as error:
            events.error(str(error), setting=error.setting, line=error.line)
            return 2
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            if out_of_memory(error):
                events.error(
                    "The memory ran out; lower batch_tokens, the number of tokens put through the model at once.",
                    setting="batch_tokens",
                )
                return 2
            traceback.print_exc()
            events.error(f"The run crashed: {type(error).__name__}: {error}")
            return 1
        events.done(result | {"seconds": round(time.monotonic() - events.started, 1)})
        return 0


def out_of_memory(error: BaseException) -> bool:
    """Whether the machine, or its accelerator, had no memory left."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "not enough memory" in words


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed: without it every large tensor costs the kernel fresh pages to clear."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass  # another C library: it works without


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

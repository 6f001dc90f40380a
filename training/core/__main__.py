"""Do one job: `python -m training.core JOB_DIR`.

A job is a directory. Its owner writes `job.json` and `data.jsonl` and starts this program; the program writes
`checkpoint/` while it works and `output/` when it is done. Starting it again on the same directory carries on from the
checkpoint, or, where `output/` stands, says "done" at once. Nothing else is read or written, but for `tensorboard/`
where that is asked for, which becomes part of the output.

Several processes, each with a GPU of its own, do one job under `torchrun --nproc-per-node N -m training.core JOB_DIR`
(pretrain, sft, reward, dpo). The first alone speaks and writes; a checkpoint is the same for any number of them. The
exit code is then torchrun's: 0 done, else look at the events.

`job.json`
    {"kind": "dpo", "config": {...}, "model": "path or hub id", ...}
    kind        one of pretrain, sft, reward, dpo, rejection, ppo, grpo, reinforce, generate, evaluate
    config      settings of that kind (see training.configs); what is left out has its default
    model       the model to start from or to sample with. pretrain needs none (it then builds a Llama-type model from
                its config and trains a byte-level BPE tokenizer on the data); given one, it continues from it
    reference   dpo, ppo, grpo, reinforce: the reference policy; left out, it is `model`
    reward_model  evaluate: the reward model to score with; left out, it is `model`. rejection, ppo, grpo, reinforce: the
                reward model of the policy's responses, which is needed
    safety_reward_model  rejection, ppo, grpo, reinforce: a second one, which scores prompts marked `safety` and whatever
                it holds to be unsafe
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
                responses scored only, and takes any number of responses from one up. What a row may carry besides:
                "probability": 0.8, of a choice between two, the share of people (or an AI's belief) that prefers the
                first: a soft label, from which the ranks follow where they are left out; 0.5 is a tie in every accuracy
                "safe": [true, false, null, ...], whether each response was called safe; reward learns it where
                safety_weight asks for it, and reports count it
                "token_ids": [[...], null, ...], the ids of sampled responses, used where they read as the text
                Rows of the same prompt and responses, in whatever order, go through the model once; each is a ranking
                of its own in the loss. A batch is so many sets of responses, with all their rankings
    generate    {"id": "...", "prompt": [messages]}
    rejection, ppo, grpo, reinforce
                {"id": "...", "prompt": [messages], "split": "train" | "held_out", "safety": true | false,
                 "baseline": "..."}
                the policy answers the prompts of the train split and learns; those held out are only checked. Each id
                stands once. `baseline`, a response, is needed where the reward compares with it. For rejection, rows with
                an "answer" (and perhaps "token_ids", "reward") are what earlier rounds kept: learned, not sampled
    `id` is text or a whole number and comes back as it was. Keys not named here are ignored.

`output/` appears whole, or not at all
    pretrain, sft, dpo   a model directory: safetensors, tokenizer with its chat template, palate.json
    reward      the same with the scalar head (head.safetensors) and report.json; loads again as a job's `reward_model`
    rejection, ppo, grpo, reinforce
                a model directory too; rejection's holds best.jsonl, whose lines are rows for the next round's data:
                {"id", "prompt", "answer", "token_ids", "reward"}, new ones first, then those that came with the data
    generate    responses.jsonl, in the order of the prompts, `samples` lines each:
                {"id", "sample": 0.., "text", "token_ids": [...], "logprobs": [...], "seed", "temperature", "finished"}
                token_ids are those sampled, with the end token where there is one (`finished` is then true); logprobs
                are of those tokens, divided by the temperature; `seed` alone reproduces the line. Where the job names a
                "reference", its own log-prob of the whole response, at temperature 1, is "reference_logprob", and the
                result says how far the responses stray from it: "kl", nats a response
                Where a server answers (config: server, server_model; no model is needed), token_ids are null unless it
                tells them, logprobs too, and where the temperature is neither 0 nor 1; `seed` is the one that was sent
                with the request. PALATE_API_KEY is its key, sent only to the base URL in PALATE_API_SERVER
    evaluate    report.json and scores.jsonl: {"id", "rewards": [...]}
    palate.json holds the kind, the resolved config, where the model came from, and the versions of the libraries.

`report.json` (reward, evaluate)
    {"prompts", "pairs", "ties", "accuracy", "accuracy_by_degree": {"better": {"accuracy", "pairs"}, ...,
     "none": {...}}, "accuracy_by_length": {"shorter_preferred": {...}, "longer_preferred": {...},
     "same_length": {...}}, "accuracy_by_length_quartile": [{"shortest", "longest", "accuracy", "pairs"}, ...],
     "annotator_agreement", "annotator_comparisons", "accuracy_where_repeated", "ece", "ece_with_margin",
     "reliability": [{"confidence", "accuracy", "pairs"}, ...], "mean_chosen", "mean_rejected", "unsafe_labels",
     "unsafe_recall", "safe_labels", "safe_recall", "bias", "held_out_loss"}
    A figure that has nothing behind it is null. Ties are in no accuracy.
    accuracy_by_length_quartile   up to four parts of the pairs, by the characters of the preferred response
    annotator_agreement   of all comparisons (a pair of responses, two rankings of it that both decide), the share in which
                the two agree; accuracy_where_repeated is the model's accuracy on those responses, to set beside it
    ece, reliability   how sure the model is against how often people agree with it; of soft labels, their share
    unsafe_recall, safe_recall   the share of unsafe responses that score below 0, and of safe ones that score above
    bias        what was taken off so that reference responses score 0 on average; unchanged with a safety_weight, as 0 then
                parts safe from unsafe
    held_out_loss   reward only: the training loss, margin and all, on held-out prompts

stdout carries JSON lines and nothing else
    {"event": "start", "kind": ..., "total": steps, "resumed_from": step or null}
    {"event": "progress", "step", "total", "eta_s"}        eta_s is seconds, null until it is known
    {"event": "metrics", "step", "values": {name: number}}  loss, lr, tokens_per_s, grad_norm, memory_mb (the most so
                far, of the accelerator's memory where there is one); reward: accuracy,
                held_out_accuracy, held_out_loss, ece; dpo: accuracy, reward_margin, reward_chosen, reward_rejected,
                kl (of the data's responses: the reference's log-prob less the policy's), held_out_accuracy; generate:
                tokens_per_s, mean_tokens, finished; ppo, grpo, reinforce: reward, reward_std, length, ended, entropy,
                kl and kl_root (nats a response, and the root), ratio, clipped, held_out_reward; ppo also policy_loss,
                value_loss, explained_variance, beta; grpo also equal_groups;
                rejection: reward, reward_best, kl_bon, length, ended, held_out_reward
    {"event": "warning", "message"}
    {"event": "done", "result": {...}}    the output's path, counts, seconds, processes, the last figures
    {"event": "stopped"}    it was told to, and can be started again
    {"event": "error", "message", "setting": name or null, "line": number or null}

Exit codes: 0 done; 1 crash; 2 bad input, after an error event; 3 told to stop by SIGTERM, after writing a checkpoint.

pretrain, sft, reward and dpo may be spread over several processes, one for each accelerator, with the same result to
rounding: `torchrun --nproc-per-node 4 -m training.core JOB_DIR`. torchrun has exit codes of its own; the events tell.
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

from training.core import memory
from training.core.errors import BadInput, Stopped
from training.core.events import Events, on_stdout
from training.core.job_directory import Job, read_job
from training.core.process_rank import ranks

DOERS = {
    "pretrain": ("train_pretrain", "train"),
    "sft": ("train_sft", "train"),
    "reward": ("train_reward", "train"),
    "dpo": ("train_dpo", "train"),
    "rejection": ("train_rejection", "train"),
    "ppo": ("train_ppo", "train"),
    "grpo": ("train_grpo", "train"),
    "reinforce": ("train_reinforce", "train"),
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
    if ranks() == 1:
        result: dict[str, Any] = do(job, job.config, events)
        return result
    if not job.config.spreads:
        raise BadInput(
            f"A {job.kind} run cannot be spread over several processes yet; start one.", setting="kind"
        )
    from training.core import distributed

    distributed.begin()
    result = do(job, job.config, events)
    distributed.wait_for_all()
    return result


def main(arguments: list[str]) -> int:
    """Do the job in the one directory given, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m training.core JOB_DIR\n")
        return 2
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # threads that spin while they wait make a busy machine several times slower, which weighs more than what they save
    # on a quiet one; each shape of batch has kernels of its own, to be kept
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
            events.stopped()
            return 3
        except BadInput as error:
            events.error(str(error), setting=error.setting, line=error.line)
            return 2
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            if memory.ran_out(error):
                message, setting = memory.advice(job.kind, job.config, loaded=events.at_work)
                events.error(message, setting=setting)
                return 2
            if events.stop_asked and ranks() > 1:
                events.stopped()
                return 3  # another process left first, which breaks whatever the two were at
            traceback.print_exc()
            events.error(f"The run crashed: {type(error).__name__}: {error}")
            return 1
        events.done(result | {"seconds": round(time.monotonic() - events.started, 1), "processes": ranks()})
        return 0


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

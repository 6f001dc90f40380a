"""Sampling k responses for each prompt: the prompt goes through the model once, the k responses share it.

Every response has a seed of its own and draws one number a token from it, so it does not depend on what else is in the
batch. Each prompt's answers stand together; a response that ends leaves the batch, a prompt whose responses have all
ended takes its keys and values along.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from training.configs import GenerateConfig
from training.core.attention import peculiarity
from training.core.data import read_prompts
from training.core.encoding import Encoder
from training.core.errors import BadInput
from training.core.events import Events
from training.core.jobs import Job, publish, sync, write_lines
from training.core.models import autocast, load_policy, load_tokenizer, locate, longest_row
from training.core.reports import warn_of_truncation
from training.core.scoring import check_logits, vocabulary_logits
from training.core.shared_cache import SharedCache


@dataclass
class Sampled:
    """One response: the ids as sampled, their log-probs, and whether it ended by itself."""

    token_ids: list[int]
    logprobs: list[float]
    finished: bool


def generate(job: Job, config: GenerateConfig, events: Events) -> dict[str, Any]:
    """Sample, write responses.jsonl, and return what to say of it."""
    prompts = read_prompts(job.data)
    source = locate(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model: Any = load_policy(source)
    check_logits(model)
    length = longest_row(model, config.max_length)
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    if reason := peculiarity(model, length):
        raise BadInput(
            f"Models of type {model.config.model_type} cannot be sampled from yet: they use {reason}.",
            setting="model",
        )
    encoder = Encoder(tokenizer, length)
    ids = [encoder.prompt(one.prompt, room=length - config.max_new_tokens) for one in prompts]
    warn_of_truncation(encoder, events)

    order = sorted(range(len(prompts)), key=lambda index: -len(ids[index]))
    batches = list(_batches(order, ids, config))
    parts = job.checkpoint / "responses"
    parts.mkdir(parents=True, exist_ok=True)
    done = sum(len(batch) for number, batch in enumerate(batches) if (parts / f"{number}.jsonl").exists())
    events.start(job.kind, len(prompts), done or None)
    tokens = finished = 0
    for number, batch in enumerate(batches):
        part = parts / f"{number}.jsonl"
        if part.exists():
            continue
        started = time.monotonic()
        seeds = [
            row_seed(config.seed, prompts[index].id, sample)
            for index in batch
            for sample in range(config.samples)
        ]
        with autocast(config.precision):
            sampled = sample_responses(
                model,
                [ids[index] for index in batch],
                seeds,
                samples=config.samples,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                end_ids=end_tokens(model, encoder),
                events=events,
            )
        lines = []
        for row, (one, seed) in enumerate(zip(sampled, seeds, strict=True)):
            prompt, sample = prompts[batch[row // config.samples]], row % config.samples
            lines.append(
                {
                    "id": prompt.id,
                    "sample": sample,
                    "text": encoder.text(one.token_ids),
                    "token_ids": one.token_ids,
                    "logprobs": [round(value, 6) for value in one.logprobs],
                    "seed": seed,
                    "temperature": config.temperature,
                    "finished": one.finished,
                    "place": batch[row // config.samples],
                }
            )
        write_lines(part.with_suffix(".tmp"), lines)
        part.with_suffix(".tmp").rename(part)
        sync(parts)
        done += len(batch)
        new = sum(len(one.token_ids) for one in sampled)
        tokens += new
        finished += sum(one.finished for one in sampled)
        events.progress(done, len(prompts))
        events.metrics(
            done,
            {
                "tokens_per_s": round(new / max(1e-9, time.monotonic() - started)),
                "mean_tokens": new / len(sampled),
                "finished": sum(one.finished for one in sampled) / len(sampled),
            },
        )
    rows = [json.loads(line) for part in parts.glob("*.jsonl") for line in part.read_text().splitlines()]
    rows.sort(key=lambda row: (row["place"], row["sample"]))
    for row in rows:
        del row["place"]

    def write(folder: Path) -> None:
        write_lines(folder / "responses.jsonl", rows)

    output = publish(job, write)
    return {
        "output": str(output),
        "responses": len(rows),
        "tokens": sum(len(row["token_ids"]) for row in rows),
        "finished": sum(row["finished"] for row in rows) / len(rows),
        "truncated_prompts": encoder.truncated,
    }


@torch.no_grad()
def sample_responses(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    events: Events | None = None,
) -> list[Sampled]:
    """`samples` responses for each of the prompts, prompt after prompt; `seeds` has one for each response.

    Log-probs are those of the distribution sampled from: logits divided by the temperature, nothing cut off. At
    temperature 0 the likeliest token is taken and log-probs are the model's own.
    """
    rows = len(prompts) * samples
    draws = torch.from_numpy(
        numpy.stack([numpy.random.default_rng(seed).random(max_new_tokens) for seed in seeds])
    ).to(model.device)
    ends = torch.tensor(list(end_ids), device=model.device)
    tokens = torch.zeros(rows, max_new_tokens, dtype=torch.long, device=model.device)
    logprobs = torch.zeros(rows, max_new_tokens, device=model.device)
    lengths = torch.full((rows,), max_new_tokens, device=model.device)
    finished = torch.zeros(rows, dtype=torch.bool, device=model.device)

    cache = SharedCache(model, prompts, samples, max_new_tokens)
    logits = vocabulary_logits(model, cache.prefill(model)).repeat_interleave(samples, 0)
    alive = torch.arange(rows, device=model.device)
    for step in range(max_new_tokens):
        picked, value = _pick(logits.float(), draws[alive, step], temperature)
        tokens[alive, step], logprobs[alive, step] = picked, value
        ended = torch.isin(picked, ends)
        if ended.any():
            lengths[alive[ended]] = step + 1
            finished[alive[ended]] = True
            alive, picked = alive[~ended], picked[~ended]
            cache.keep(~ended)
        if step + 1 == max_new_tokens or not len(alive):
            break
        if events is not None:
            events.leave_if_asked()
        logits = vocabulary_logits(model, cache.decode(model, picked))
    return [
        Sampled(row[:length], values[:length], bool(end))
        for row, values, length, end in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), finished.tolist(), strict=True
        )
    ]


def _pick(logits: Tensor, draw: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token for each row of (B, V) logits, by inversion of the cumulative distribution at (B,) draws in [0, 1)."""
    logprobs = torch.log_softmax(logits / temperature if temperature else logits, dim=-1)
    if temperature:
        cumulative = logprobs.exp().double().cumsum(-1)
        picked = torch.searchsorted(cumulative, (draw * cumulative[:, -1])[:, None], right=True).squeeze(-1)
        picked = picked.clamp_(max=logits.shape[-1] - 1)
    else:
        picked = logprobs.argmax(-1)
    return picked, logprobs.gather(-1, picked[:, None]).squeeze(-1)


def row_seed(seed: int, prompt_id: str | int, sample: int) -> int:
    """The seed of one response, a function of the job's seed, the prompt's id and the sample's number; 53 bits."""
    name = json.dumps([seed, prompt_id, sample]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 11


def end_tokens(model: Any, encoder: Encoder) -> list[int]:
    """The tokens that end a response: the template's, and those of the model's generation settings."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = listed if isinstance(listed, list) else [] if listed is None else [listed]
    return sorted({encoder.end_id, *more})


def _batches(order: Sequence[int], ids: Sequence[Sequence[int]], config: GenerateConfig) -> list[list[int]]:
    """Prompts in groups whose cache holds at most `batch_tokens` tokens."""
    groups: list[list[int]] = []
    width = 0
    for index in order:
        if (
            not groups
            or (len(groups[-1]) + 1) * (width + config.samples * config.max_new_tokens) > config.batch_tokens
        ):
            groups.append([])
            width = len(ids[index])
        groups[-1].append(index)
    return groups

"""The generate job: k responses to each prompt, by the model itself or by a server, kept part by part through a restart.

How a model samples is `sampling`'s business, how a server is asked `chat_client`'s.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from training.configs import GenerateConfig
from training.core.chat_client import Answer, answer_all
from training.core.data import Prompt, read_prompts
from training.core.divergence import Reference, load_reference
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, publish, sync, write_lines
from training.core.logprobs import check_logits
from training.core.model_loading import autocast, encoder_for, load_policy, load_tokenizer, locate
from training.core.reward_metrics import warn_of_truncation
from training.core.sampling import check_cache, end_tokens, row_seed, sample_responses
from training.core.tokenization import Group

Row = dict[str, Any]
"""A line of responses.jsonl, with its number of tokens and the place of its prompt beside."""

PART = 4
"""Prompts are sampled in parts of so many times what fits in memory at once: a part ends with ever fewer responses going,
which costs time, and is lost when the run is interrupted."""


def generate(job: Job, config: GenerateConfig, events: Events) -> dict[str, Any]:
    """Sample, write responses.jsonl, and return what to say of it."""
    prompts = read_prompts(job.data)
    (job.checkpoint / "responses").mkdir(parents=True, exist_ok=True)
    rows, more = (_from_server if config.server else _from_model)(job, config, events, prompts)
    rows.sort(key=lambda row: (row["place"], row["sample"]))
    tokens = round(sum(row.pop("tokens") for row in rows))
    for row in rows:
        del row["place"]

    def write(folder: Path) -> None:
        write_lines(folder / "responses.jsonl", rows)

    output = publish(job, write)
    finished = sum(row["finished"] for row in rows) / len(rows)
    return {"output": str(output), "responses": len(rows), "tokens": tokens, "finished": finished} | more


def _from_model(
    job: Job, config: GenerateConfig, events: Events, prompts: list[Prompt]
) -> tuple[list[Row], dict[str, Any]]:
    """Every response, sampled here. Prompts go in parts, each kept whole; a part is begun anew where it was interrupted,
    so that it is rounded as it would have been."""
    source = locate(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model: Any = load_policy(source)
    check_logits(model)
    encoder = encoder_for(model, tokenizer, config.max_length)
    length = encoder.max_length
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    check_cache(model, length)
    reference = None
    if job.reference:
        # where it cannot share a prompt, it reads rows
        frozen = load_reference(locate(job.reference, job.folder, "reference"), model, length, "rows")
        reference = Reference(frozen, length, config.precision)
    ids = [encoder.prompt(one.prompt, room=length - config.max_new_tokens) for one in prompts]
    warn_of_truncation(encoder, events)

    folder = job.checkpoint / "responses"
    order = sorted(range(len(prompts)), key=lambda index: -len(ids[index]))
    parts = _parts(order, ids, config)
    names = [folder / f"{number}.jsonl" for number in range(len(parts))]
    done = sum(len(part) for part, name in zip(parts, names, strict=True) if name.exists())
    events.start(job.kind, len(prompts), done or None)
    pace = Pace(events, done, len(prompts), config.samples)
    for part, name in zip(parts, names, strict=True):
        if name.exists():
            continue
        seeds = [
            row_seed(config.seed, prompts[index].id, sample)
            for index in part
            for sample in range(config.samples)
        ]
        with autocast(config.precision):
            sampled = sample_responses(
                model,
                [ids[index] for index in part],
                seeds,
                samples=config.samples,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                end_ids=end_tokens(model, encoder),
                events=events,
                batch_tokens=config.batch_tokens,
                report=pace.responses_there,
            )
        rows: list[Row] = [
            {
                "id": prompts[part[number // config.samples]].id,
                "sample": number % config.samples,
                "text": encoder.text(one.token_ids),
                "token_ids": one.token_ids,
                "logprobs": [round(value, 6) for value in one.logprobs],
                "seed": seed,
                "temperature": config.temperature,
                "finished": one.finished,
                "tokens": len(one.token_ids),
                "place": part[number // config.samples],
            }
            for number, (one, seed) in enumerate(zip(sampled, seeds, strict=True))
        ]
        if reference is not None:
            _read_by(reference, [ids[index] for index in part], rows, config.samples)
        write_lines(name.with_suffix(".tmp"), rows)
        name.with_suffix(".tmp").rename(name)
        sync(folder)
        pace.kept(rows)
    rows = [row for name in names for row in _read(name)]
    more = {"kl": fmean(_divergence(row) for row in rows)} if reference is not None else {}
    return rows, more | {"truncated_prompts": encoder.truncated}


def _read_by(reference: Reference, prompts: list[list[int]], rows: list[Row], samples: int) -> None:
    """Write into each row how likely the reference finds it; `rows` are prompt after prompt, `samples` of each."""
    texts = [row["token_ids"] for row in rows]
    groups = [
        Group(prompt, texts[place * samples : (place + 1) * samples]) for place, prompt in enumerate(prompts)
    ]
    logprobs = [value for values in reference.logprobs(groups) for value in values]
    for row, value in zip(rows, logprobs, strict=True):
        row["reference_logprob"] = round(value, 6)


def _divergence(row: Row) -> float:
    """Nats by which the policy finds its answer likelier than the reference does."""
    return float(sum(row["logprobs"]) - row["reference_logprob"])


def _from_server(
    job: Job, config: GenerateConfig, events: Events, prompts: list[Prompt]
) -> tuple[list[Row], dict[str, Any]]:
    """Every response, as the server gave it. Prompts that were answered before an interruption are not asked again."""
    if job.reference:
        events.warning("A server answers, so how far its answers are from the reference is not known.")
    kept = job.checkpoint / "responses" / "served.jsonl"
    rows = _read(kept)
    answered = {row["place"] for row in rows}
    places = {id(prompt): place for place, prompt in enumerate(prompts)}
    waiting = [
        (prompt, [row_seed(config.seed, prompt.id, sample) >> 22 for sample in range(config.samples)])
        for place, prompt in enumerate(prompts)
        if place not in answered
    ]
    events.start(job.kind, len(prompts), len(answered) or None)
    pace = Pace(events, len(answered), len(prompts), config.samples)
    with kept.open("a", encoding="utf-8") as file:
        file.write("\n")  # after the line that an interruption tore

        def keep(prompt: Prompt, answers: list[Answer]) -> None:
            new: list[Row] = [
                {
                    "id": prompt.id,
                    "sample": sample,
                    "text": one.text.strip(),
                    "token_ids": one.token_ids,
                    "logprobs": one.logprobs,
                    "seed": one.seed,
                    "temperature": config.temperature,
                    "finished": one.finished,
                    "tokens": one.tokens,
                    "place": places[id(prompt)],
                }
                for sample, one in enumerate(answers)
            ]
            # one line a prompt: all of its responses, or none
            file.write(json.dumps(new, ensure_ascii=False) + "\n")
            file.flush()
            rows.extend(new)
            pace.kept(new)

        answer_all(waiting, config, events, keep)
    return rows, {"truncated_prompts": 0}


class Pace:
    """Reports prompts answered, and with each lot that is kept its figures."""

    def __init__(self, events: Events, done: int, total: int, samples: int) -> None:
        self.events, self.done, self.total, self.samples = events, done, total, samples
        self.told = done
        self.began = time.monotonic()
        self.lot: list[Row] = []

    def responses_there(self, count: int) -> None:
        """So many responses of the present lot have ended."""
        now = self.done + count // self.samples
        if now > self.told:
            self.told = now
            self.events.progress(now, self.total)

    def kept(self, rows: list[Row]) -> None:
        """These responses are kept; figures follow at most once a second."""
        self.lot += rows
        self.responses_there(len(rows))
        self.done += len(rows) // self.samples
        seconds = time.monotonic() - self.began
        if seconds < 1 and self.done < self.total:
            return
        tokens = sum(row["tokens"] for row in self.lot)
        self.events.metrics(
            self.done,
            {
                "tokens_per_s": round(tokens / max(1e-9, seconds)),
                "mean_tokens": tokens / len(self.lot),
                "finished": sum(row["finished"] for row in self.lot) / len(self.lot),
            },
        )
        self.began, self.lot = time.monotonic(), []


def _parts(order: Sequence[int], ids: Sequence[Sequence[int]], config: GenerateConfig) -> list[list[int]]:
    """Prompts in lists of `PART` times what fits in memory."""
    parts: list[list[int]] = []
    tokens = 0
    for index in order:
        more = len(ids[index]) + config.samples * config.max_new_tokens
        if not parts or tokens + more > PART * config.batch_tokens:
            parts.append([])
            tokens = 0
        parts[-1].append(index)
        tokens += more
    return parts


def _read(path: Path) -> list[Row]:
    """Rows kept before, from lines that hold one or several; a line that was torn is as if it were not there."""
    found: list[Row] = []
    # at line feeds only: JSON leaves other signs that end a line as they are
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
        try:
            held = json.loads(line)
        except ValueError:
            continue
        found += held if isinstance(held, list) else [held]
    return found

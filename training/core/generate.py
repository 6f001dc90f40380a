"""The generate job: k responses to each prompt, sampled from a model or requested from a server, stored in parts so that an
interrupted run resumes.

Sampling itself is in `sampling`, requests to a server in `chat_client`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from training.configs import GenerateConfig
from training.core.chat_client import Completion, complete_prompts
from training.core.data import Prompt, read_prompts
from training.core.diagnostics import count_equal_samples, warn_of_equal_samples
from training.core.divergence import Reference, load_reference
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, fsync, write_lines, write_output
from training.core.logprobs import check_logits
from training.core.long_rows import encode_prompts
from training.core.model_loading import (
    autocast,
    build_encoder,
    load_policy,
    load_tokenizer,
    read_instruction,
    resolve_source,
)
from training.core.sampling import check_shared_cache, end_token_ids, response_seed, sample_responses
from training.core.tokenization import EncodedGroup, warn_of_truncation

ResponseRow = dict[str, Any]
"""A line of responses.jsonl, with its number of `tokens` and the `place` of its prompt besides."""

PART_FACTOR = 4
"""Prompts are sampled in parts of this many times what fits in memory at once. Larger parts have fewer steps on a nearly
empty batch at their end; smaller ones lose less when the run is interrupted."""


def generate(job: Job, config: GenerateConfig, events: Events) -> dict[str, Any]:
    """Generate, write responses.jsonl, and return the job's result."""
    prompts = read_prompts(job.data)
    (job.checkpoint / "responses").mkdir(parents=True, exist_ok=True)
    rows, more = (_from_server if config.server else _from_model)(job, config, events, prompts)
    rows.sort(key=lambda row: (row["place"], row["sample"]))
    texts = [[row["text"] for row in group] for _, group in groupby(rows, key=lambda row: row["place"])]
    equal = count_equal_samples(texts)
    warn_of_equal_samples(equal, len(texts), config.temperature, events, served=bool(config.server))
    tokens = round(sum(row.pop("tokens") for row in rows))
    for row in rows:
        del row["place"]

    def write(folder: Path) -> None:
        write_lines(folder / "responses.jsonl", rows)

    write_output(job, write)
    finished = sum(row["finished"] for row in rows) / len(rows)
    return {"responses": len(rows), "tokens": tokens, "finished": finished} | more


def _from_model(
    job: Job, config: GenerateConfig, events: Events, prompts: list[Prompt]
) -> tuple[list[ResponseRow], dict[str, Any]]:
    """All responses, sampled from the job's model, and further entries of the result.

    Each completed part is stored. An interrupted part is sampled again from its start, in the same batches, so that it has
    the same rounding.
    """
    source = resolve_source(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model: Any = load_policy(source)
    check_logits(model)
    encoder = build_encoder(model, tokenizer, config.max_length, instruction=read_instruction(source))
    length = encoder.max_length
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    check_shared_cache(model, length)
    reference = None
    if job.reference:
        # in the layout rows, which every model supports; `Reference` shares prompts where the model can
        reference_source = resolve_source(job.reference, job.folder, "reference")
        reference = Reference(
            load_reference(reference_source, model, length, "rows", "float32"), length, config.precision
        )
    encoded = encode_prompts(prompts, encoder, length - config.max_new_tokens, events)
    prompts, ids = [prompt for prompt, _ in encoded], [own for _, own in encoded]
    warn_of_truncation(encoder, events)

    folder = job.checkpoint / "responses"
    order = sorted(range(len(prompts)), key=lambda index: -len(ids[index]))
    parts = _divide(order, ids, config)
    paths = [folder / f"{number}.jsonl" for number in range(len(parts))]
    done = sum(len(part) for part, path in zip(parts, paths, strict=True) if path.exists())
    events.start(job.kind, len(prompts), done or None)
    reporter = ProgressReporter(events, done, len(prompts), config.samples)
    for part, path in zip(parts, paths, strict=True):
        if path.exists():
            continue
        seeds = [
            response_seed(config.seed, prompts[index].id, sample)
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
                end_ids=end_token_ids(model, encoder),
                events=events,
                batch_tokens=config.batch_tokens,
                on_progress=reporter.report_completed,
            )
        rows: list[ResponseRow] = [
            {
                "id": prompts[part[number // config.samples]].id,
                "sample": number % config.samples,
                "text": encoder.decode(response.token_ids),
                "token_ids": response.token_ids,
                "logprobs": [round(value, 6) for value in response.logprobs],
                "seed": seed,
                "temperature": config.temperature,
                "finished": response.finished,
                "tokens": len(response.token_ids),
                "place": part[number // config.samples],
            }
            for number, (response, seed) in enumerate(zip(sampled, seeds, strict=True))
        ]
        if reference is not None:
            _add_reference_logprobs(reference, [ids[index] for index in part], rows, config.samples)
        write_lines(path.with_suffix(".tmp"), rows)
        path.with_suffix(".tmp").rename(path)
        fsync(folder)
        reporter.report_stored(rows)
    rows = [row for path in paths for row in _read_rows(path)]
    more = {"kl": fmean(_response_kl(row) for row in rows)} if reference is not None else {}
    return rows, more | {"truncated_prompts": encoder.truncated}


def _add_reference_logprobs(
    reference: Reference, prompts: list[list[int]], rows: list[ResponseRow], samples: int
) -> None:
    """Add the reference's log-prob of each response to its row. rows: prompt after prompt, `samples` of each."""
    responses = [row["token_ids"] for row in rows]
    groups = [
        EncodedGroup(prompt, responses[number * samples : (number + 1) * samples])
        for number, prompt in enumerate(prompts)
    ]
    logprobs = [value for values in reference.logprobs(groups) for value in values]
    for row, value in zip(rows, logprobs, strict=True):
        row["reference_logprob"] = round(value, 6)


def _response_kl(row: ResponseRow) -> float:
    """The policy's log-prob of a response less the reference's, in nats."""
    return float(sum(row["logprobs"]) - row["reference_logprob"])


def _from_server(
    job: Job, config: GenerateConfig, events: Events, prompts: list[Prompt]
) -> tuple[list[ResponseRow], dict[str, Any]]:
    """All responses, as the server returned them, and further entries of the result. Prompts that were answered before an
    interruption are not requested again."""
    if job.reference:
        events.warning("The KL from the reference is not measured for responses from a server.")
    path = job.checkpoint / "responses" / "served.jsonl"
    rows = _read_rows(path)
    answered = {row["place"] for row in rows}
    places = {id(prompt): place for place, prompt in enumerate(prompts)}
    waiting = [
        (prompt, [response_seed(config.seed, prompt.id, sample) >> 22 for sample in range(config.samples)])
        for place, prompt in enumerate(prompts)
        if place not in answered
    ]
    events.start(job.kind, len(prompts), len(answered) or None)
    reporter = ProgressReporter(events, len(answered), len(prompts), config.samples)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")  # ends a line that an interruption left incomplete

        def store(prompt: Prompt, completions: list[Completion]) -> None:
            new: list[ResponseRow] = [
                {
                    "id": prompt.id,
                    "sample": sample,
                    "text": completion.text.strip(),
                    "token_ids": completion.token_ids,
                    "logprobs": completion.logprobs,
                    "seed": completion.seed,
                    "temperature": config.temperature,
                    "finished": completion.finished,
                    "tokens": completion.tokens,
                    "place": places[id(prompt)],
                }
                for sample, completion in enumerate(completions)
            ]
            # one line a prompt: all of its responses, or none
            file.write(json.dumps(new, ensure_ascii=False) + "\n")
            file.flush()
            rows.extend(new)
            reporter.report_stored(new)

        complete_prompts(waiting, config, events, store)
    return rows, {"truncated_prompts": 0}


class ProgressReporter:
    """Reports the number of answered prompts, and metrics of the responses stored since the last report."""

    def __init__(self, events: Events, done: int, total: int, samples: int) -> None:
        self.events, self.done, self.total, self.samples = events, done, total, samples
        self.reported = done
        self.last_report = time.monotonic()
        self.unreported: list[ResponseRow] = []

    def report_completed(self, count: int) -> None:
        """Report that `count` responses of the present part are complete."""
        prompts = self.done + count // self.samples
        if prompts > self.reported:
            self.reported = prompts
            self.events.progress(prompts, self.total)

    def report_stored(self, rows: list[ResponseRow]) -> None:
        """Report that these responses are stored, with metrics at most once a second."""
        self.unreported += rows
        self.report_completed(len(rows))
        self.done += len(rows) // self.samples
        seconds = time.monotonic() - self.last_report
        if seconds < 1 and self.done < self.total:
            return
        tokens = sum(row["tokens"] for row in self.unreported)
        self.events.metrics(
            self.done,
            {
                "tokens_per_s": round(tokens / max(1e-9, seconds)),
                "mean_tokens": tokens / len(self.unreported),
                "finished": sum(row["finished"] for row in self.unreported) / len(self.unreported),
            },
        )
        self.last_report, self.unreported = time.monotonic(), []


def _divide(order: Sequence[int], ids: Sequence[Sequence[int]], config: GenerateConfig) -> list[list[int]]:
    """The prompts in parts of `PART_FACTOR` times what fits in memory."""
    parts: list[list[int]] = []
    tokens = 0
    for index in order:
        more = len(ids[index]) + config.samples * config.max_new_tokens
        if not parts or tokens + more > PART_FACTOR * config.batch_tokens:
            parts.append([])
            tokens = 0
        parts[-1].append(index)
        tokens += more
    return parts


def _read_rows(path: Path) -> list[ResponseRow]:
    """Stored rows, from lines that hold one or a list of them. Incomplete lines are skipped."""
    rows: list[ResponseRow] = []
    # split at line feeds only: JSON strings may contain other line separators
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        rows += content if isinstance(content, list) else [content]
    return rows

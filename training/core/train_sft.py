"""Supervised fine-tuning: the likelihood of each conversation's last answer, its prompt masked.

Left out: earlier assistant turns are context, not targets.
"""

from __future__ import annotations

from typing import Any

from training.configs import SFTConfig
from training.core.data import read_conversations
from training.core.encoding import Encoder, Row
from training.core.events import Events
from training.core.jobs import Job, publish
from training.core.loop import Loop
from training.core.models import (
    autocast,
    device,
    load_policy,
    load_tokenizer,
    locate,
    longest_row,
    save_policy,
)
from training.core.reports import warn_of_truncation
from training.core.scoring import by_length, check_logits, pad, token_logprobs


def train(job: Job, config: SFTConfig, events: Events) -> dict[str, Any]:
    """Train, write the model directory, and return what to say of it."""
    conversations = read_conversations(job.data)
    source = locate(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model = load_policy(source)
    check_logits(model)
    encoder = Encoder(tokenizer, longest_row(model, config.max_length))
    rows = [encoder.rows(c.prompt, [c.answer], line=c.line)[0] for c in conversations]
    warn_of_truncation(encoder, events)

    loop = Loop(job, config, model, examples=len(rows), events=events)
    for batch in loop.batches(rows):
        targets = sum(len(row.response) for row in batch)
        tokens = sum(len(row.prompt) + len(row.response) for row in batch)
        loss = 0.0
        for micro in _micro_batches(batch, config.batch_tokens):
            loop.leave_if_asked()
            with autocast(config.precision):
                logprobs, row = token_logprobs(model, padded := pad(micro, device()))
            if config.reduction == "token":
                share = -logprobs.sum() / targets
            else:
                answer_tokens = padded.lengths - padded.prompt_lengths
                share = -(logprobs / answer_tokens[row]).sum() / len(batch)
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.item()
        loop.step({"loss": loss}, tokens=tokens)

    output = publish(job, lambda folder: save_policy(model, tokenizer, folder))
    return {
        "output": str(output),
        "conversations": len(rows),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def _micro_batches(rows: list[Row], most: int) -> list[list[Row]]:
    lengths = [len(row.prompt) + len(row.response) for row in rows]
    return list(by_length(rows, lengths, [1] * len(rows), most))

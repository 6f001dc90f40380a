"""Supervised fine-tuning: the likelihood of each conversation's last answer, its prompt masked.

Left out: earlier assistant turns are context, not targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from training.configs import RejectionConfig, SFTConfig
from training.core.batching import G, Passes, token_logprobs
from training.core.data import read_conversations
from training.core.events import Events
from training.core.job_directory import Job, publish
from training.core.logprobs import check_logits
from training.core.model_loading import (
    autocast,
    encoder_for,
    load_policy,
    load_tokenizer,
    locate,
    save_policy,
)
from training.core.reward_metrics import warn_of_truncation
from training.core.tokenization import Group
from training.core.training_loop import Loop


class Example(NamedTuple):
    """A conversation up to its last answer, and that answer."""

    group: Group


def train(job: Job, config: SFTConfig, events: Events) -> dict[str, Any]:
    """Train, write the model directory, and return what to say of it."""
    conversations = read_conversations(job.data)
    source = locate(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model = load_policy(source)
    check_logits(model)
    encoder = encoder_for(model, tokenizer, config.max_length)
    examples = [Example(encoder.group(c.prompt, [c.answer], line=c.line)) for c in conversations]
    warn_of_truncation(encoder, events)
    passes = Passes(model.base_model, config.layout, config.batch_tokens, encoder.max_length)

    loop = Loop(job, config, model, examples=len(examples), events=events)
    fit(loop, model, passes, examples, config)
    output = publish(job, lambda folder: save_policy(model, tokenizer, folder))
    return {
        "output": str(output),
        "conversations": len(examples),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def fit(
    loop: Loop, model: Any, passes: Passes, examples: Sequence[G], config: SFTConfig | RejectionConfig
) -> None:
    """Take all steps of a run that learns each group's responses by their likelihood."""
    for batch in loop.batches(examples):
        targets = sum(len(response) for one in batch for response in one.group.responses)
        loss = 0.0
        for _, laid_out in loop.passes(passes, batch):
            loop.leave_if_asked()
            with autocast(config.precision):
                logprobs = token_logprobs(model, laid_out)
            if config.reduction == "token":
                share = -logprobs.sum() / targets
            else:
                share = -(logprobs / laid_out.lengths[laid_out.owner]).sum() / len(batch)
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.item()
        loop.step({"loss": loss}, tokens=sum(one.group.tokens for one in batch))

"""Supervised fine-tuning: the likelihood of each conversation's last answer, its prompt masked.

Left out: earlier assistant turns are context, not targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from training.configs import SelectedResponsesConfig, SFTConfig
from training.core.batching import G, Passes
from training.core.data import read_conversations
from training.core.errors import TooLong
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import check_logits, token_logprobs
from training.core.long_rows import LongRows
from training.core.model_loading import (
    autocast,
    build_encoder,
    load_policy,
    load_tokenizer,
    read_instruction,
    resolve_source,
    save_policy,
)
from training.core.tokenization import EncodedGroup, warn_of_truncation
from training.core.training_loop import TrainingLoop


class Example(NamedTuple):
    """A conversation up to its last answer, and that answer, as token ids."""

    encoded: EncodedGroup


def train(job: Job, config: SFTConfig, events: Events) -> dict[str, Any]:
    """Train, write the model directory, and return the job's result."""
    conversations = read_conversations(job.data)
    source = resolve_source(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model = load_policy(source)
    check_logits(model)
    encoder = build_encoder(model, tokenizer, config.max_length, instruction=read_instruction(source))
    too_long, examples = LongRows(), []
    for c in conversations:
        try:
            examples.append(Example(encoder.encode_group(c.prompt, [c.answer], line=c.line)))
        except TooLong as error:
            too_long.add(error, [c.name])
    too_long.report(len(conversations), config.too_long_share, encoder, events)
    warn_of_truncation(encoder, events)
    passes = Passes(model.base_model, config.layout, config.batch_tokens, encoder.max_length)

    loop = TrainingLoop(job, config, model, examples=len(examples), events=events)
    fit(loop, model, passes, examples, config)
    loop.write_output(lambda folder: save_policy(model, tokenizer, folder, instruction=encoder.instruction))
    return {
        "conversations": len(examples),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def fit(
    loop: TrainingLoop,
    model: Any,
    passes: Passes,
    examples: Sequence[G],
    config: SFTConfig | SelectedResponsesConfig,
) -> None:
    """Take all steps of a run that maximises the likelihood of each group's responses."""
    for batch in loop.batches(examples):
        take_step(loop, model, passes, batch, config)


def take_step(
    loop: TrainingLoop,
    model: Any,
    passes: Passes,
    batch: Sequence[G],
    config: SFTConfig | SelectedResponsesConfig,
) -> None:
    """Take one step that raises the likelihood of the responses in `batch`."""
    targets = sum(len(response) for example in batch for response in example.encoded.responses)
    loss = 0.0
    for _, inputs in loop.passes(passes, batch):
        loop.raise_if_stopped()
        with autocast(config.precision):
            logprobs = token_logprobs(model, inputs)
        if config.reduction == "token":
            micro_loss = -logprobs.sum() / targets
        else:
            micro_loss = -(logprobs / inputs.lengths[inputs.owner]).sum() / len(batch)
        micro_loss.backward()  # type: ignore[no-untyped-call]
        loss += micro_loss.item()
    loop.step({"loss": loss}, tokens=sum(example.encoded.tokens for example in batch))

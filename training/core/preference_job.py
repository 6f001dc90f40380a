"""What DPO and KTO begin with: the policy, and the job's rankings as this policy reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from training.configs import DPOConfig, KTOConfig
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import check_logits
from training.core.long_rows import LongRows
from training.core.model_loading import (
    build_encoder,
    load_policy,
    load_tokenizer,
    read_instruction,
    resolve_source,
)
from training.core.preference_groups import PreferenceGroup, group_pairs, group_rankings
from training.core.tokenization import Encoder, warn_of_truncation


class PreferenceJob(NamedTuple):
    """The models and data of a job that learns from preferences.

    Attributes:
        source, reference_source: where the policy starts from, and the reference; the same unless the job names a reference.
        groups: all rankings, by prompt.
        held_out: those of them that measure the policy, with at least one preference.
    """

    policy: Any
    tokenizer: PreTrainedTokenizerBase
    source: str
    reference_source: str
    encoder: Encoder
    passes: Passes
    groups: list[PreferenceGroup]
    held_out: list[PreferenceGroup]


def load_preference_job(job: Job, config: DPOConfig | KTOConfig, events: Events) -> PreferenceJob:
    """Raises BadInput if a model cannot be used, or a line of the data cannot be read."""
    rankings = read_rankings(job.data)
    source = resolve_source(job.model or "", job.folder)
    reference_source = resolve_source(job.reference, job.folder, "reference") if job.reference else source
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    policy = load_policy(source)
    check_logits(policy)
    encoder = build_encoder(policy, tokenizer, config.max_length, instruction=read_instruction(source))
    too_long = LongRows()
    groups = group_rankings(rankings, encoder, too_long)
    too_long.report(len(rankings), config.too_long_share, encoder, events)
    warn_of_truncation(encoder, events)
    passes = Passes(policy.base_model, config.layout, config.batch_tokens, encoder.max_length)
    held_out = [group for group in groups if group.held_out and int(group_pairs([group]).decided.sum())]
    return PreferenceJob(policy, tokenizer, source, reference_source, encoder, passes, groups, held_out)

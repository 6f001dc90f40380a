"""The revise job: the policy's own responses, made better by principles, to fine-tune on.

Bai et al. 2022 (constitutional AI, arXiv 2212.08073), section 3: the model answers, criticises its answer by a principle and
writes a revision, several times; the policy is then fine-tuned on the last revision as the answer to the original prompt.
Small models cannot write critiques: for them a response is revised by selection, the best of several by the comment of the
prompt's principle. Rows without a better response are left out and counted.

Every answer is stored as it arrives: a resumed run samples, and pays for, none twice. Left out: few-shot examples of critiques.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.configs import ReviseConfig
from training.configs.judging import REVISE_NEEDS
from training.core.data import Prompt, read_tagged_prompts
from training.core.errors import BadInput, TooLong
from training.core.events import Events
from training.core.job_directory import Job, write_lines, write_output
from training.core.judge_local import LocalJudge
from training.core.long_rows import encode_prompts
from training.core.model_loading import (
    autocast,
    build_encoder,
    load_policy,
    load_tokenizer,
    read_instruction,
    resolve_source,
)
from training.core.principles import Constitution, Principle
from training.core.revise_server import write_by_server
from training.core.revision_requests import (
    Draft,
    conversation,
    draft_answer,
    revision_row,
    stored_draft,
)
from training.core.sampling import (
    SampledResponse,
    check_shared_cache,
    end_token_ids,
    response_seed,
    sample_responses,
)
from training.core.stored_answers import Budget, StoredAnswers
from training.core.tokenization import Encoder, warn_of_truncation
from training.core.word_logprobs import Texts


class Policy(NamedTuple):
    """The model whose responses are revised."""

    source: str
    model: Any
    encoder: Encoder


def revise(job: Job, config: ReviseConfig, events: Events) -> dict[str, Any]:
    """Revise a response to each prompt, write revisions.jsonl, and return the job's result."""
    prompts = read_tagged_prompts(job.data)
    constitution = Constitution(job.principles, REVISE_NEEDS[config.mode], config.seed)
    rounds = config.revisions if config.mode == "write" else 1
    drawn = [
        [constitution.draw(prompt.tags, prompt.line, prompt.id, number) for number in range(rounds)]
        for prompt in prompts
    ]
    stored = StoredAnswers(job.checkpoint / "revisions.jsonl")
    budget = Budget(config)
    if config.server:
        drafts, ended_by = write_by_server(job, config, events, prompts, drawn, stored, budget)
    else:
        drafts, ended_by = _by_model(job, config, events, prompts, drawn, stored, budget)
    rows = [row for draft in drafts if (row := revision_row(draft)) is not None]
    if ended_by:
        events.warning(
            f"The run ended at its limit {ended_by} after {len(drafts)} of {len(prompts)} prompts; the others are not revised."
        )

    def write(folder: Path) -> None:
        write_lines(folder / "revisions.jsonl", rows)

    write_output(job, write)
    gains = [row["gain"] for row in rows if row["gain"] is not None]
    figures = {
        "kept": len(rows) / len(drafts) if drafts else None,
        "gain": sum(gains) / len(gains) if gains else None,
    }
    events.metrics(len(drafts), figures)
    return {
        "prompts": len(drafts),
        "revisions": len(rows),
        "dropped": len(drafts) - len(rows),
        "gain": figures["gain"],
        "tokens_in": budget.tokens_in,
        "tokens_out": budget.tokens_out,
        "cost": budget.cost,
        "ended_by": ended_by,
    }


def _by_model(
    job: Job,
    config: ReviseConfig,
    events: Events,
    prompts: Sequence[Prompt],
    drawn: Sequence[list[Principle]],
    stored: StoredAnswers,
    budget: Budget,
) -> tuple[list[Draft], str | None]:
    """The drafts of the prompts by the job's model, and the limit that ended the run early, if one did.

    An interrupted part is done again from its start, in the same batches, so that it has the same rounding.
    """
    policy = _load_policy(job, config, events)
    judge = _load_judge(job, config, policy) if config.mode == "select" else None
    limit = policy.encoder.max_length - config.max_new_tokens
    fitting = {prompt.line for prompt, _ in encode_prompts(prompts, policy.encoder, limit, events)}
    policy.encoder.truncated = 0  # counted below, as they are read
    drawn = [own for prompt, own in zip(prompts, drawn, strict=True) if prompt.line in fitting]
    prompts = [prompt for prompt in prompts if prompt.line in fitting]
    # a part fits in memory at once, and is stored when it is complete
    size = max(1, config.sample_tokens // _tokens_per_prompt(policy, config))
    parts = [range(start, min(start + size, len(prompts))) for start in range(0, len(prompts), size)]
    done = sum(len(part) for part in parts if all([place] in stored for place in part))
    events.start(job.kind, len(prompts), done or None)
    drafts: list[Draft] = []
    ended_by: str | None = None
    for part in parts:
        if ended_by := budget.limit_reached():
            break
        answers = [stored.get([place]) for place in part]
        if any(answer is None for answer in answers):
            fresh = [Draft(prompts[place], drawn[place]) for place in part]
            if judge is not None:
                _select(policy, judge, fresh, config, events)
            else:
                _write(policy, fresh, config, events)
            answers = [draft_answer(draft, place) for draft, place in zip(fresh, part, strict=True)]
            stored.store([answer for answer in answers if answer])
        budget.add([answer for answer in answers if answer])
        drafts += [
            stored_draft(prompts[place], drawn[place], answer)
            for place, answer in zip(part, answers, strict=True)
            if answer
        ]
        events.progress(len(drafts), len(prompts))
    warn_of_truncation(policy.encoder, events)
    if judge is not None:
        judge.warn_of_long_texts(events)
    return drafts, ended_by


def _load_policy(job: Job, config: ReviseConfig, events: Events) -> Policy:
    source = resolve_source(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    model: Any = load_policy(source)
    encoder = build_encoder(model, tokenizer, config.max_length, instruction=read_instruction(source))
    if config.max_new_tokens >= encoder.max_length:
        raise BadInput(
            f"The model reads at most {encoder.max_length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    check_shared_cache(model, encoder.max_length)
    return Policy(source, model, encoder)


def _load_judge(job: Job, config: ReviseConfig, policy: Policy) -> LocalJudge:
    """The model that comments: the job's judge, or the policy itself."""
    source = resolve_source(job.judge, job.folder, "judge") if job.judge else policy.source
    model = policy.model if source == policy.source else None
    return LocalJudge(source, "judge" if job.judge else "model", config, model)


def _tokens_per_prompt(policy: Policy, config: ReviseConfig) -> int:
    """Tokens in memory for a prompt, at most."""
    samples = config.samples if config.mode == "select" else 1
    return policy.encoder.max_length - config.max_new_tokens + samples * config.max_new_tokens


def _select(
    policy: Policy, judge: LocalJudge, drafts: Sequence[Draft], config: ReviseConfig, events: Events
) -> None:
    """Sample responses to each prompt; the first is the draft's response, the best complete one, if it is better by `min_gain`,
    its revision."""
    ids = [_encode(policy, draft, config) for draft in drafts]
    seeds = [
        response_seed(config.seed, draft.prompt.id, number)
        for draft in drafts
        for number in range(config.samples)
    ]
    sampled = iter(_sample(policy, ids, seeds, config.samples, config, events))
    by_draft = [[next(sampled) for _ in range(config.samples)] for _ in drafts]
    texts: list[Texts | None] = []
    for draft, own in zip(drafts, by_draft, strict=True):
        responses = [policy.encoder.decode(response.token_ids) for response in own]
        texts.append(_comment_texts(judge, draft, responses))
    read = [text for text in texts if text is not None]
    scores = iter(judge.comments(read, config.also_weight, events.raise_if_stopped))
    for draft, prompt_ids, own, text in zip(drafts, ids, by_draft, texts, strict=True):
        draft.first = policy.encoder.decode(own[0].token_ids)
        draft.tokens_in = len(prompt_ids) + (text.tokens if text else 0)
        draft.tokens_out = sum(len(response.token_ids) for response in own)
        if text is None:
            continue
        values = next(scores)
        candidates = [number for number, response in enumerate(own) if response.finished]
        best = max(candidates, key=lambda number: float(values[number]), default=0)
        gain = float(values[best] - values[0])
        if best and gain >= config.min_gain:
            draft.answer, draft.token_ids = policy.encoder.decode(own[best].token_ids), own[best].token_ids
            draft.gain = round(gain, 6)


def _comment_texts(judge: LocalJudge, draft: Draft, responses: Sequence[str]) -> Texts | None:
    """What the judge reads of the responses; None if that is too long."""
    comment, line = draft.principles[0].comment, draft.prompt.line
    assert comment is not None
    try:
        return judge.longest_fit(
            draft.prompt.prompt,
            lambda messages: judge.encode_comments(messages, responses, comment, line),
        )
    except TooLong as error:
        judge.too_long.append(error)
        return None


def _write(policy: Policy, drafts: Sequence[Draft], config: ReviseConfig, events: Events) -> None:
    """Let the model write responses, critiques and revisions, each for all drafts together. Those of which a text is cut or empty
    go no further."""
    for step in range(1 + 2 * config.revisions):
        open_drafts = [draft for draft in drafts if draft.is_open]
        if not open_drafts:
            return
        ids = [_encode(policy, draft, config) for draft in open_drafts]
        seeds = [response_seed(config.seed, draft.prompt.id, step) for draft in open_drafts]
        for draft, prompt_ids, response in zip(
            open_drafts, ids, _sample(policy, ids, seeds, 1, config, events), strict=True
        ):
            text = policy.encoder.decode(response.token_ids)
            draft.add(
                text,
                is_usable=response.finished,
                token_ids=response.token_ids,
                tokens_in=len(prompt_ids),
                tokens_out=len(response.token_ids),
            )


def _encode(policy: Policy, draft: Draft, config: ReviseConfig) -> list[int]:
    """What the model reads for the draft's next text."""
    limit = policy.encoder.max_length - config.max_new_tokens
    return policy.encoder.encode_prompt(conversation(draft), max_tokens=limit, line=draft.prompt.line)


def _sample(
    policy: Policy,
    ids: Sequence[list[int]],
    seeds: Sequence[int],
    samples: int,
    config: ReviseConfig,
    events: Events,
) -> Iterator[SampledResponse]:
    with autocast(config.precision):
        yield from sample_responses(
            policy.model,
            ids,
            seeds,
            samples=samples,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            end_ids=end_token_ids(policy.model, policy.encoder),
            events=events,
            batch_tokens=config.sample_tokens,
        )

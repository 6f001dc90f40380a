"""Responses, critiques and revisions of a revise job by an OpenAI-compatible server, stored one by one as they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.configs import ReviseConfig
from training.core.chat_client import ChatClient, ChatRequest, run_requests
from training.core.data import Prompt
from training.core.events import Events
from training.core.job_directory import Job
from training.core.judge_prompts import request_seed
from training.core.judge_server import count_tokens
from training.core.principles import Principle
from training.core.revision_requests import Draft, conversation
from training.core.stored_answers import Answer, Budget, StoredAnswers


def write_by_server(
    job: Job,
    config: ReviseConfig,
    events: Events,
    prompts: Sequence[Prompt],
    drawn: Sequence[list[Principle]],
    stored: StoredAnswers,
    budget: Budget,
) -> tuple[list[Draft], str | None]:
    """The complete drafts, and the limit that ended the run early, if one did."""
    budget.add(stored.answers)
    drafts = [Draft(prompt, principles) for prompt, principles in zip(prompts, drawn, strict=True)]
    for place, draft in enumerate(drafts):
        while not draft.is_complete and (answer := stored.get([place, draft.steps])):
            _add(draft, answer)
    done = sum(draft.is_complete for draft in drafts)
    events.start(job.kind, len(prompts), done or None)
    ended_by: str | None = None

    def within_limits() -> Iterator[int]:
        for place, draft in enumerate(drafts):
            if draft.is_complete:
                continue
            if ended_by or budget.limit_reached():
                return
            yield place

    async def write(client: ChatClient, place: int) -> None:
        nonlocal done, ended_by
        draft = drafts[place]
        while not draft.is_complete:
            ended_by = ended_by or budget.limit_reached()
            if ended_by:
                return
            messages, step = conversation(draft), draft.steps
            seed = request_seed([config.seed, draft.prompt.id, step])
            request = ChatRequest(
                messages, [seed], draft.prompt.line, config.max_new_tokens, config.temperature
            )
            completions = await client.complete(request)
            tokens_in, tokens_out, _ = count_tokens(messages, completions)
            answer: Answer = {
                "key": [place, step],
                "text": completions[0].text,
                "finished": completions[0].finished,
                "tokens_in": tokens_in,
                "tokens_out": tokens_out,
            }
            stored.store([answer])
            budget.add([answer])
            _add(draft, answer)
        done += 1
        events.progress(done, len(prompts))

    run_requests(within_limits(), config, events, write)
    complete = [draft for draft in drafts if draft.is_complete]
    if len(complete) < len(drafts):
        ended_by = ended_by or budget.limit_reached()
    return complete, ended_by


def _add(draft: Draft, answer: Answer) -> None:
    draft.add(
        answer["text"],
        is_usable=answer["finished"],
        token_ids=None,
        tokens_in=answer["tokens_in"],
        tokens_out=answer["tokens_out"],
    )

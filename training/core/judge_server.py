"""The readings of a judge job by an OpenAI-compatible server: the log-probs of its reply's first word where it gives them, and
votes where it does not. Every answer is stored as it arrives: a resumed run pays for none twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from training.configs import JudgeConfig
from training.core.chat_client import ChatClient, ChatRequest, Completion, run_requests
from training.core.events import Events
from training.core.job_directory import Job
from training.core.judge import Reading, unanswered
from training.core.judge_prompts import (
    LETTER_REQUEST,
    MIN_PROBABILITY,
    Frame,
    parse_letter,
    parse_score,
    request_seed,
)
from training.core.messages import Message
from training.core.stored_answers import Answer, Budget, StoredAnswers

REPLY_TOKENS = 8
"""Room for a letter or a number in brackets or bold."""

DRESS = " \t\r\n*_\"'([▁Ġ"
"""What may stand before the letter or number in a reply."""


class Reply(NamedTuple):
    """The judge's reply: the probability that the response shown first is better, or a score, or None for neither."""

    value: float | None
    votes: bool
    completions: list[Completion]


def read_all(
    job: Job,
    config: JudgeConfig,
    events: Events,
    readings: Sequence[Sequence[Reading]],
    stored: StoredAnswers,
    budget: Budget,
) -> str | None:
    """Answer every reading and store the answers. Returns the limit that ended the run early, if one did."""
    budget.add(stored.answers)
    left = {place: sum(reading.key not in stored for reading in own) for place, own in enumerate(readings)}
    done = sum(not count for count in left.values())
    events.start(job.kind, len(readings), done or None)
    judge = ServerJudge(config, votes=any(answer["votes"] for answer in stored.answers))
    ended_by: str | None = None

    def within_limits() -> Iterator[Reading]:
        nonlocal ended_by
        for reading in unanswered(readings, stored):
            ended_by = budget.limit_reached()
            if ended_by:
                return
            yield reading

    async def answer(client: ChatClient, reading: Reading) -> None:
        nonlocal done
        fresh = await judge.answer(client, reading)
        stored.store([fresh])
        budget.add([fresh])
        left[reading.place] -= 1
        if not left[reading.place]:
            done += 1
            events.progress(done, len(readings))

    run_requests(within_limits(), config, events, answer)
    if judge.estimated:
        events.warning(
            "The server does not report its tokens; they are estimated, as a quarter of the characters."
        )
    return ended_by


class ServerJudge:
    """A server's model as a judge. votes: whether it gave no log-probs. estimated: whether it reported no tokens."""

    def __init__(self, config: JudgeConfig, *, votes: bool) -> None:
        self.config, self.votes, self.estimated = config, votes, False

    async def answer(self, client: ChatClient, reading: Reading) -> Answer:
        """The answer to a reading, from one request or several."""
        row, config = reading.row, self.config
        frame = Frame(row.prompt, row.responses)
        if config.mode == "score":
            text = frame.score(reading.shown[0], reading.principle.compare)
        else:
            first, second = reading.shown
            text = frame.choice(first, second, reading.principle.compare, rationale=config.rationales)
        messages: list[Message] = [{"role": "user", "content": text}]
        tokens_in = tokens_out = 0
        rationale = ""
        if config.rationales:
            request = ChatRequest(messages, self._seeds(reading, 1), row.line, config.rationale_tokens, 0.0)
            [completion] = await client.complete(request)
            rationale = completion.text.strip()
            tokens_in, tokens_out = self._count(messages, [completion])
            messages = [
                *messages,
                {"role": "assistant", "content": rationale},
                {"role": "user", "content": LETTER_REQUEST},
            ]
        reply = await self._reply(client, reading, messages)
        more_in, more_out = self._count(messages, reply.completions)
        return {
            "key": reading.key,
            "value": reply.value,
            "rationale": rationale,
            "votes": reply.votes,
            "tokens_in": tokens_in + more_in,
            "tokens_out": tokens_out + more_out,
        }

    async def _reply(self, client: ChatClient, reading: Reading, messages: list[Message]) -> Reply:
        completions: list[Completion] = []
        if not self.votes:
            seeds = self._seeds(reading, 1)
            request = ChatRequest(
                messages, seeds, reading.row.line, REPLY_TOKENS, 0.0, wants_alternatives=True
            )
            completions = await client.complete(request)
            alternatives = completions[0].alternatives
            if alternatives is not None:
                return Reply(self._read(alternatives), False, completions)
            self.votes = True
        seeds = self._seeds(reading, self.config.samples)
        voted = await client.complete(ChatRequest(messages, seeds, reading.row.line, REPLY_TOKENS, 1.0))
        return Reply(self._tally([one.text for one in voted]), True, [*completions, *voted])

    def _read(self, alternatives: list[list[tuple[str, float]]]) -> float | None:
        return score_of(alternatives) if self.config.mode == "score" else letter_of(alternatives)

    def _tally(self, texts: Sequence[str]) -> float | None:
        """The share of votes for the response shown first, or the mean score; None if no reply is a vote."""
        if self.config.mode == "score":
            scores = [score for text in texts if (score := parse_score(text)) is not None]
            return _scaled(sum(scores) / len(scores)) if scores else None
        letters = [letter for text in texts if (letter := parse_letter(text))]
        return letters.count("A") / len(letters) if letters else None

    def _seeds(self, reading: Reading, count: int) -> list[int]:
        name = [self.config.seed, reading.row.id, *reading.shown]
        return [request_seed([*name, number]) for number in range(count)]

    def _count(self, messages: Sequence[Message], completions: Sequence[Completion]) -> tuple[int, int]:
        tokens_in, tokens_out, is_estimate = count_tokens(messages, completions)
        self.estimated = self.estimated or is_estimate
        return tokens_in, tokens_out


def count_tokens(messages: Sequence[Message], completions: Sequence[Completion]) -> tuple[int, int, bool]:
    """Tokens read and written, and whether they are estimates, as the server does not report them."""
    read, written = sum(one.prompt_tokens for one in completions), sum(one.tokens for one in completions)
    if read:
        return math.ceil(read), math.ceil(written), False
    read = sum(len(message["content"]) for message in messages) / 4
    written = written or sum(len(one.text) for one in completions) / 4
    return math.ceil(read), math.ceil(written), True


def first_word(alternatives: Sequence[Sequence[tuple[str, float]]]) -> int:
    """The place of the first token of the reply that is more than space, brackets or quotation marks."""
    for place, listed in enumerate(alternatives):
        likeliest = max(listed, key=lambda one: one[1])[0]
        if likeliest.strip(DRESS):
            return place
    return 0


def letter_of(alternatives: Sequence[Sequence[tuple[str, float]]]) -> float | None:
    """P(A) / (P(A) + P(B)) at the first word of the reply, with and without a leading space; None where both are unlikely. A
    letter that is not listed has at most the probability of the last one listed, and of what the list leaves over."""
    listed = alternatives[first_word(alternatives)]
    chances = {"A": 0.0, "B": 0.0}
    for token, logprob in listed:
        letter = token.strip(DRESS)
        if letter in chances:
            chances[letter] += math.exp(logprob)
    total = sum(chances.values())
    if total < MIN_PROBABILITY:
        return None
    probabilities = [math.exp(logprob) for _, logprob in listed]
    rest = max(0.0, min(min(probabilities), 1.0 - sum(probabilities)))
    a, b = (chances[letter] or rest for letter in ("A", "B"))
    return a / (a + b)


def score_of(alternatives: Sequence[Sequence[tuple[str, float]]]) -> float | None:
    """The mean number at the first word of the reply, scaled to [-1, 1]; None where all numbers are unlikely.

    Where 10 is spelled as 1 and 0, a 1 is divided by the next token's probabilities if the reply goes on from it, and else is
    what is nearer to the reply: 10 above 5, 1 below.
    """
    place = first_word(alternatives)
    chances = dict.fromkeys(range(1, 11), 0.0)
    for token, logprob in alternatives[place]:
        text = token.strip(DRESS)
        if text.isascii() and text.isdigit() and 1 <= int(text) <= 10:
            chances[int(text)] += math.exp(logprob)
    total = sum(chances.values())
    if total < MIN_PROBABILITY:
        return None
    if not chances[10] and chances[1]:
        likeliest = max(chances, key=lambda number: chances[number])
        share = float(likeliest > 5)
        if likeliest == 1 and place + 1 < len(alternatives):
            share = sum(math.exp(logprob) for token, logprob in alternatives[place + 1] if token == "0")  # noqa: S105
        share = min(share, 1.0)
        chances[10], chances[1] = chances[1] * share, chances[1] * (1 - share)
    return _scaled(sum(number * chance for number, chance in chances.items()) / total)


def _scaled(mean: float) -> float:
    return (mean - 5.5) / 4.5

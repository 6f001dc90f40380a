"""The readings of a judge job by a local model, in parts of whole rows that are stored when they are complete.

An interrupted part is read again from its start, in the same passes, so that it has the same rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from training.configs import JudgeConfig
from training.core.errors import TooLong
from training.core.events import Events
from training.core.job_directory import Job
from training.core.judge import Reading
from training.core.judge_local import LocalJudge
from training.core.judge_prompts import LETTER_REQUEST, LETTERS, SCORES, Frame, neutralize
from training.core.messages import Message
from training.core.model_loading import autocast, resolve_source
from training.core.sampling import end_token_ids, response_seed, sample_responses
from training.core.stored_answers import Answer, Budget, StoredAnswers
from training.core.word_logprobs import Texts

PART_FACTOR = 4
"""A part has about this many times the tokens of a pass."""

REQUEST_TOKENS = 64
"""Room for the request after a rationale, with the marks of its turn."""


def read_all(
    job: Job,
    config: JudgeConfig,
    events: Events,
    readings: Sequence[Sequence[Reading]],
    stored: StoredAnswers,
    budget: Budget,
) -> str | None:
    """Answer the readings of each row and store the answers. Returns the limit that ended the run early, if one did.

    Raises TooLong if there is none that the judge can read whole.
    """
    judge = LocalJudge(resolve_source(job.model or "", job.folder), "model", config)
    for message in judge.warnings if config.mode != "comment" else []:
        events.warning(message)
    done = sum(all(reading.key in stored for reading in own) for own in readings)
    events.start(job.kind, len(readings), done or None)
    reader = LocalReader(judge, config, events)
    part: list[tuple[Sequence[Reading], Texts]] = []
    tokens = 0
    ended_by: str | None = None

    def finish_part(finished: int) -> None:
        """finished: the number of rows with those of the part."""
        nonlocal part, tokens
        answers = [stored.get(reading.key) for own, _ in part for reading in own]
        if any(answer is None for answer in answers):
            started = time.monotonic()
            fresh = reader.answer(part)
            stored.store(fresh)
            budget.add(fresh)
            seconds = max(1e-9, time.monotonic() - started)
            read = sum(answer["tokens_in"] + answer["tokens_out"] for answer in fresh)
            events.metrics(finished, {"tokens_per_s": round(read / seconds)})
        else:
            budget.add([answer for answer in answers if answer])
        events.progress(finished, len(readings))
        part, tokens = [], 0

    rows = 0
    for own in readings:
        events.raise_if_stopped()
        fitting = reader.fit(own)
        more = sum(texts.tokens for _, texts in fitting)
        if part and tokens + more > PART_FACTOR * config.batch_tokens:
            finish_part(rows)
        if ended_by := budget.limit_reached(tokens + more):
            break
        read = {reading.shown for one, _ in fitting for reading in one}
        if unread := [no_opinion(reading) for reading in own if reading.shown not in read]:
            stored.store(unread)
        part += fitting
        tokens += more
        rows += 1
    if rows:
        finish_part(rows)
    if judge.too_long and len(judge.too_long) == sum(map(len, readings)):
        raise judge.too_long[0]
    judge.warn_of_long_texts(events)
    return ended_by


def no_opinion(reading: Reading) -> Answer:
    """The answer to a reading that is too long for the judge: no opinion."""
    return {
        "key": reading.key,
        "value": None,
        "rationale": "",
        "tokens_in": 0,
        "tokens_out": 0,
        "too_long": True,
    }


class LocalReader:
    """The readings of rows by a local judge, in the mode of the config."""

    def __init__(self, judge: LocalJudge, config: JudgeConfig, events: Events) -> None:
        self.judge, self.config, self.events = judge, config, events

    def fit(self, readings: Sequence[Reading]) -> list[tuple[Sequence[Reading], Texts]]:
        """The readings of one row with what the judge reads, together or, if one is too long for the others, each by itself.
        Their prompt has no more turns than fit; those that are too long even with the last turn alone are left out."""

        def encode(messages: list[Message]) -> tuple[Sequence[Reading], Texts]:
            shortened = [reading._replace(row=replace(reading.row, prompt=messages)) for reading in readings]
            return shortened, self.encode(shortened, room=self._room)

        try:
            return [self.judge.longest_fit(readings[0].row.prompt, encode)]
        except TooLong as error:
            if len(readings) > 1:
                return [one for reading in readings for one in self.fit([reading])]
            self.judge.too_long.append(error)
            return []

    @property
    def _room(self) -> int:
        """Tokens that must be left for the judge's own rationale and what follows it."""
        return self.config.rationale_tokens + REQUEST_TOKENS if self.config.rationales else 0

    def encode(self, readings: Sequence[Reading], rationales: Sequence[str] = (), *, room: int = 0) -> Texts:
        """What the judge reads of one row. rationales: its own, one for each reading, or none. Raises TooLong if it leaves less
        than `room` tokens."""
        row = readings[0].row
        if self.config.mode == "comment":
            comment = readings[0].principle.comment
            assert comment is not None
            responses = [row.responses[reading.shown[0]] for reading in readings]
            return self.judge.encode_comments(row.prompt, responses, comment, row.line, room)
        frame = Frame(row.prompt, row.responses, self.judge.special)
        if self.config.mode == "score":
            requests = [frame.score(reading.shown[0], reading.principle.compare) for reading in readings]
            conversations = [[{"role": "user", "content": text}] for text in requests]
            return self.judge.encode_requests(conversations, SCORES, row.line, room)
        conversations = [self._choice(frame, reading, rationale=bool(rationales)) for reading in readings]
        for conversation, rationale in zip(conversations, rationales, strict=False):
            conversation += [
                {"role": "assistant", "content": neutralize(rationale, self.judge.special)},
                {"role": "user", "content": LETTER_REQUEST},
            ]
        return self.judge.encode_requests(conversations, LETTERS, row.line, room)

    def _choice(self, frame: Frame, reading: Reading, *, rationale: bool) -> list[Message]:
        first, second = reading.shown
        text = frame.choice(first, second, reading.principle.compare, rationale=rationale)
        return [{"role": "user", "content": text}]

    def answer(self, part: Sequence[tuple[Sequence[Reading], Texts]]) -> list[Answer]:
        """The answers to the readings of some rows."""
        rationales, written = [[""] * len(own) for own, _ in part], [[0] * len(own) for own, _ in part]
        texts = [one for _, one in part]
        before = [0] * len(part)
        if self.config.rationales:
            rationales, written = self._write_rationales([own for own, _ in part])
            before = [one.tokens for one in texts]  # read once for the rationales
            texts = [self.encode(own, reasons) for (own, _), reasons in zip(part, rationales, strict=True)]
        check_stop = self.events.raise_if_stopped
        if self.config.mode == "comment":
            values = self.judge.comments(texts, self.config.also_weight, check_stop)
        elif self.config.mode == "score":
            values = self.judge.ratings(texts, check_stop)
        else:
            values = self.judge.choices(texts, check_stop)
        answers: list[Answer] = []
        for place, (own, _) in enumerate(part):
            for number, (reading, value) in enumerate(zip(own, values[place].tolist(), strict=True)):
                answers.append(
                    {
                        "key": reading.key,
                        "value": None if math.isnan(value) else value,
                        "rationale": rationales[place][number],
                        # of a row's tokens, the beginning that its readings share counts with the first
                        "tokens_in": _tokens_of(texts[place], number) + (before[place] if not number else 0),
                        "tokens_out": written[place][number],
                    }
                )
        return answers

    def _write_rationales(self, rows: Sequence[Sequence[Reading]]) -> tuple[list[list[str]], list[list[int]]]:
        """A rationale for each reading, the most likely one, and its number of tokens."""
        judge, limit = self.judge, self.config.rationale_tokens
        prompts, seeds = [], []
        for own in rows:
            frame = Frame(own[0].row.prompt, own[0].row.responses, judge.special)
            for reading in own:
                conversation = self._choice(frame, reading, rationale=True)
                prompts.append(
                    judge.encoder.encode_prompt(
                        conversation, max_tokens=judge.encoder.max_length - limit, line=reading.row.line
                    )
                )
                seeds.append(response_seed(self.config.seed, reading.row.id, len(prompts)))
        with autocast(self.config.precision):
            sampled = sample_responses(
                judge.model,
                prompts,
                seeds,
                samples=1,
                max_new_tokens=limit,
                temperature=0.0,
                end_ids=end_token_ids(judge.model, judge.encoder),
                events=self.events,
                batch_tokens=PART_FACTOR * self.config.batch_tokens,
            )
        texts = iter([(judge.encoder.decode(one.token_ids), len(one.token_ids)) for one in sampled])
        by_row = [[next(texts) for _ in own] for own in rows]
        return (
            [[text for text, _ in own] for own in by_row],
            [[count for _, count in own] for own in by_row],
        )


def _tokens_of(texts: Texts, number: int) -> int:
    """Tokens read of the text of this number."""
    tails = texts.words.tails
    own = len(texts.encoded.responses[number]) * len(tails) + sum(map(len, tails))
    return own + (len(texts.encoded.prompt) if number == 0 else 0)

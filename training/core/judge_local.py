"""A local model as a judge: log-probs of words after texts, each text read once and the beginnings that texts share only once.

`comment` reads a reader's comment after each response (for small models), `score` the digits of a rating, `choice` the letters
of two responses (`judge_prompts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from training.core.batching import Passes
from training.core.errors import TooLong
from training.core.events import Events
from training.core.judge_prompts import MIN_PROBABILITY, comment_text
from training.core.logprobs import check_logits
from training.core.messages import Message, without_oldest_turn
from training.core.model_loading import build_encoder, load_policy, load_tokenizer
from training.core.principles import Comment
from training.core.rollout_groups import CheckStop
from training.core.tokenization import warn_of_truncation
from training.core.word_logprobs import Texts, Words, shared_beginning, spellings, word_logprobs

T = TypeVar("T")


class JudgeSettings(Protocol):
    """The settings of every kind of run that may have a local judge."""

    @property
    def max_length(self) -> int: ...
    @property
    def batch_tokens(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def layout(self) -> str: ...


def comment_scores(logprobs: Tensor, also_weight: float) -> Tensor:
    """(K,) log P(good) - log P(bad) + also_weight (log P(also) - log(1 - P(also))). logprobs: (K, 3), or (K, 2) without also."""
    scores = logprobs[:, 0] - logprobs[:, 1]
    if logprobs.shape[1] == 2 or not also_weight:
        return scores
    also = logprobs[:, 2].double().clamp(max=-1e-9)
    return scores + also_weight * (also - torch.log(-torch.expm1(also))).to(scores.dtype)


def rating_scores(logprobs: Tensor) -> Tensor:
    """(K,) the mean number from 1 to 10 under the judge's probabilities, sum i P(i) / sum P(i) (Lee et al. 2023, section 3.2.2),
    scaled to [-1, 1]; nan where the numbers together are less likely than `MIN_PROBABILITY`. logprobs: (K, 10)."""
    probabilities = logprobs.double().exp()
    total = probabilities.sum(-1)
    mean = probabilities @ torch.arange(1.0, 11.0, dtype=torch.float64) / total
    return torch.where(total < MIN_PROBABILITY, torch.nan, (mean - 5.5) / 4.5)


def letter_probabilities(logprobs: Tensor) -> Tensor:
    """(K,) P(A) / (P(A) + P(B)); nan where both together are less likely than `MIN_PROBABILITY`. logprobs: (K, 2)."""
    probabilities = logprobs.double().exp()
    total = probabilities.sum(-1)
    return torch.where(total < MIN_PROBABILITY, torch.nan, probabilities[:, 0] / total)


class LocalJudge:
    """A frozen causal language model with its tokenizer. special: the texts of its control tokens. too_long: the errors
    of what it could not read whole."""

    def __init__(self, source: str, setting: str, config: JudgeSettings, model: Any = None) -> None:
        """model: that of `source`, if it is loaded already."""
        self.tokenizer, self.warnings = load_tokenizer(source, setting)
        self.model: Any = load_policy(source, setting) if model is None else model
        if model is None:
            self.model.requires_grad_(False)
        check_logits(self.model, setting)
        self.config, self.setting = config, setting
        self.encoder = build_encoder(self.model, self.tokenizer, config.max_length, setting)
        self.passes = Passes(
            self.model.base_model, config.layout, config.batch_tokens, self.encoder.max_length, setting
        )
        self.special = sorted(
            {*self.tokenizer.all_special_tokens, *self.tokenizer.get_added_vocab()}, key=len, reverse=True
        )
        self.too_long: list[TooLong] = []
        self._comments: dict[Comment, Words] = {}
        self._replies: dict[tuple[str, ...], Words] = {}

    def longest_fit(self, prompt: list[Message], encode: Callable[[list[Message]], T]) -> T:
        """What `encode`, which raises TooLong, makes of the prompt. It loses turns until it fits, the oldest first, but no system
        message and never the last turn.

        Raises TooLong where the last turn is too long.
        """
        messages = prompt
        while True:
            try:
                fitted = encode(messages)
            except TooLong:
                shorter = without_oldest_turn(messages)
                if shorter is None:
                    raise
                messages = shorter
            else:
                self.encoder.truncated += messages is not prompt
                return fitted

    def warn_of_long_texts(self, events: Events) -> None:
        """Report how many prompts lost their oldest turns, and how many texts were too long to read."""
        warn_of_truncation(self.encoder, events)
        if self.too_long:
            events.warning(
                f"{len(self.too_long)} times the judge has no opinion, as the answers with the last turn of the prompt alone"
                f" do not fit into {self.encoder.limit_text}."
            )

    def encode_comments(
        self,
        prompt: Sequence[Message],
        responses: Sequence[str],
        comment: Comment,
        line: int,
        room: int = 0,
    ) -> Texts:
        """The responses with the beginning of a comment. Raises TooLong, naming the line, if one exceeds the limit.

        room: how many tokens must be left of the limit.
        """
        if comment not in self._comments:
            named = [word for word in (comment.good, comment.bad, comment.also) if word]
            before = f"\n\n{comment.start}"
            self._comments[comment] = Words(
                [spellings(self.tokenizer, before, [f" {word}"]) for word in named]
            )
        words = self._comments[comment]
        texts = [comment_text(prompt, response, comment.start, self.special) for response in responses]
        bos = self.tokenizer.bos_token_id
        start = [] if bos is None else [bos]
        ids = [[*start, *self.tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]
        return self._texts(ids, words, line, room)

    def encode_requests(
        self, requests: Sequence[list[Message]], replies: Sequence[str], line: int, room: int = 0
    ) -> Texts:
        """Conversations whose next reply is read: how likely each of `replies` is. Raises TooLong, naming the line, if one
        exceeds the limit.

        room: how many tokens must be left of the limit.
        """
        words = self._reply_words(tuple(replies), requests[0])
        ids = [self.encoder.encode_prompt(request, max_tokens=10**9, line=line) for request in requests]
        return self._texts(ids, words, line, room)

    def _texts(self, ids: Sequence[list[int]], words: Words, line: int, room: int) -> Texts:
        tokens = max(map(len, ids)) + words.longest_tail + room
        if tokens > self.encoder.max_length:
            raise TooLong(
                f"Line {line} of data.jsonl: the judge must read {tokens} tokens for the last turn of the prompt and a response,"
                f" which exceeds {self.encoder.limit_text}.",
                setting=self.encoder.limit_source,
                line=line,
                tokens=tokens,
            )
        return Texts(shared_beginning(ids), words)

    def _reply_words(self, replies: tuple[str, ...], request: list[Message]) -> Words:
        """The replies with and without a leading space, as they follow what the chat template ends with."""
        if replies not in self._replies:
            rendered = str(
                self.tokenizer.apply_chat_template(request, add_generation_prompt=True, tokenize=False)
            )
            self._replies[replies] = Words(
                [spellings(self.tokenizer, rendered, [reply, f" {reply}"]) for reply in replies]
            )
        return self._replies[replies]

    def comments(self, texts: Sequence[Texts], also_weight: float, check_stop: CheckStop) -> list[Tensor]:
        """For each of the groups of `encode_comments`, the scores of its responses."""
        return [comment_scores(one, also_weight) for one in self._read(texts, check_stop)]

    def ratings(self, texts: Sequence[Texts], check_stop: CheckStop) -> list[Tensor]:
        """For each of the groups of `encode_requests`, with `SCORES` as the replies, the scores; nan for no opinion."""
        read = self._read(texts, check_stop)
        return [
            rating_scores(one.words.without_longer(logprobs))
            for one, logprobs in zip(texts, read, strict=True)
        ]

    def choices(self, texts: Sequence[Texts], check_stop: CheckStop) -> list[Tensor]:
        """For each of the groups of `encode_requests`, with `LETTERS` as the replies, the probabilities of A; nan for no
        opinion."""
        return [letter_probabilities(one) for one in self._read(texts, check_stop)]

    def _read(self, texts: Sequence[Texts], check_stop: CheckStop) -> list[Tensor]:
        return word_logprobs(self.model, self.passes, texts, self.config.precision, check_stop)

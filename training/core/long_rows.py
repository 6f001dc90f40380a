"""Rows that are left out because a response, or the last turn of a prompt, exceeds the maximum sequence length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from training.core.errors import BadInput, TooLong
from training.core.events import Events
from training.core.messages import Message
from training.core.tokenization import Encoder

MAX_NAMES = 20


class HasPrompt(Protocol):
    """A row of data.jsonl with a prompt."""

    @property
    def line(self) -> int: ...

    @property
    def prompt(self) -> list[Message]: ...


P = TypeVar("P", bound=HasPrompt)


def encode_prompts(
    prompts: Sequence[P], encoder: Encoder, max_tokens: int, events: Events
) -> list[tuple[P, list[int]]]:
    """The prompts with their ids, of at most `max_tokens`. Those whose last turn is longer are left out; a warning counts them.

    Raises TooLong if none is left.
    """
    encoded, first = [], None
    for prompt in prompts:
        try:
            encoded.append(
                (prompt, encoder.encode_prompt(prompt.prompt, max_tokens=max_tokens, line=prompt.line))
            )
        except TooLong as error:
            first = first or error
    if first is None:
        return encoded
    if not encoded:
        raise first
    events.warning(
        f"{len(prompts) - len(encoded)} of {len(prompts)} prompts are left out, as their last turn alone is longer than the"
        f" {max_tokens} tokens that {encoder.limit_text} leaves beside a response; the first is on line {first.line}."
    )
    return encoded


class LongRows:
    """Collects the rows that do not fit."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.first: TooLong | None = None
        self.longest = 0

    def add(self, error: TooLong, names: Iterable[str]) -> None:
        """names: what the rows are called in messages, which were not encoded because of the error."""
        self.names += names
        self.first = self.first or error
        self.longest = max(self.longest, error.tokens)

    def report(self, total: int, share: float, encoder: Encoder, events: Events) -> None:
        """Report which of the `total` rows are left out, if any are.

        Raises BadInput, naming the first one's line, if they are more than `share` of all, or all.
        """
        if self.first is None:
            return
        sentence = (
            f"{len(self.names)} of {total} rows have a response that, alone or with the last turn of the prompt, exceeds the"
            f" maximum sequence length, {encoder.limit_text}, the longest with {self.longest} tokens"
        )
        names = ", ".join(dict.fromkeys(self.names[:MAX_NAMES]))
        more = f" and {len(self.names) - MAX_NAMES} more" if len(self.names) > MAX_NAMES else ""
        if len(self.names) > share * total or len(self.names) == total:
            why = (
                "so none is left"
                if len(self.names) == total
                else f"more than {share:g} of all (too_long_share)"
            )
            raise BadInput(
                f"{sentence}, {why}: {names}{more}.",
                setting=encoder.limit_source,
                line=self.first.line,
            )
        events.warning(f"{sentence}, and are left out: {names}{more}.")

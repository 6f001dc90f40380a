"""The report of rows that are left out because a response alone exceeds the maximum sequence length (`Encoder.encode_group`)."""

from __future__ import annotations

from collections.abc import Iterable

from training.core.errors import BadInput, TooLong
from training.core.events import Events
from training.core.tokenization import Encoder

MAX_NAMES = 20


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
            f"{len(self.names)} of {total} rows have a response that exceeds the maximum sequence length,"
            f" {encoder.limit_text}, the longest with {self.longest} tokens"
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

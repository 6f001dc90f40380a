"""What a model or server has answered so far, stored as it arrives, and what it cost: nothing is asked, or paid, twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.configs import JudgingConfig

Answer = dict[str, Any]
"""One answer: its `key`, a list of numbers and texts, `tokens_in` and `tokens_out`, and what was answered."""


class Budget:
    """The tokens of a run and their cost, beside its limits. A limit of 0 is none."""

    def __init__(self, config: JudgingConfig) -> None:
        self.config = config
        self.tokens_in = self.tokens_out = 0

    def add(self, answers: Sequence[Mapping[str, Any]]) -> None:
        for answer in answers:
            self.tokens_in += answer["tokens_in"]
            self.tokens_out += answer["tokens_out"]

    @property
    def cost(self) -> float:
        """In the currency of the prices."""
        return self._cost(self.tokens_in)

    def _cost(self, tokens_in: int) -> float:
        return (tokens_in * self.config.price_in + self.tokens_out * self.config.price_out) / 1e6

    def limit_reached(self, more: int = 1) -> str | None:
        """The setting of the limit that `more` tokens read would exceed, if there is one."""
        config = self.config
        if config.max_tokens_total and self.tokens_in + self.tokens_out + more > config.max_tokens_total:
            return "max_tokens_total"
        if config.max_cost and self._cost(self.tokens_in + more) > config.max_cost:
            return "max_cost"
        return None


class StoredAnswers:
    """Answers by key, in a file of JSON lines, each a list of answers that were stored together. An incomplete last line is
    ignored."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.by_key: dict[str, Answer] = {}
        # split at line feeds only: JSON strings may contain other line separators
        for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
            try:
                answers = json.loads(line)
            except ValueError:
                continue
            self.by_key |= {json.dumps(answer["key"]): answer for answer in answers}
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that an interruption left incomplete

    def __contains__(self, key: Sequence[Any]) -> bool:
        return json.dumps(list(key)) in self.by_key

    def get(self, key: Sequence[Any]) -> Answer | None:
        return self.by_key.get(json.dumps(list(key)))

    @property
    def answers(self) -> list[Answer]:
        return list(self.by_key.values())

    def store(self, answers: Sequence[Answer]) -> None:
        """Store the answers, all of them or, if the process is killed, none."""
        self._file.write(json.dumps(list(answers), ensure_ascii=False) + "\n")
        self._file.flush()
        self.by_key |= {json.dumps(answer["key"]): answer for answer in answers}

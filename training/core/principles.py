"""Principles: what a judge goes by, and which of them applies to a prompt. Their format is in docs/job-format.md."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.core.errors import BadInput

MAX_PRINCIPLES = 50
MAX_TEXT = 2000
"""Characters of a text of a principle."""

KEY = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True)
class Comment:
    """The words of a comment on a response: how it begins, and a word for a good, for a bad and, if any, for a good property
    that is independent of the two."""

    start: str
    good: str
    bad: str
    also: str


@dataclass(frozen=True)
class Principle:
    """One principle. tag: of the prompts that it is for, or empty."""

    key: str
    tag: str
    compare: str
    critique: str
    revise: str
    comment: Comment | None


def read_principles(value: Any) -> list[Principle]:
    """The principles of job.json. Raises BadInput, naming the principle and its field."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PRINCIPLES:
        raise _error(f"must be a list of 1 to {MAX_PRINCIPLES}")
    principles: list[Principle] = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, dict):
            raise _error(f"hold no object at place {number}")
        key = item.get("key")
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise _error(
                f"have no key at place {number} of at most 40 lower-case letters, digits and hyphens"
            )
        if any(key == other.key for other in principles):
            raise _error(f"have the key {key} twice")
        texts = {name: _text(item, name, key, MAX_TEXT) for name in ("compare", "critique", "revise")}
        comment = _comment(item["comment"], key) if item.get("comment") else None
        if not texts["compare"] and comment is None:
            raise _error(f"need a compare or a comment in {key}")
        principles.append(Principle(key, _text(item, "tag", key, 200), comment=comment, **texts))
    return principles


def _comment(value: Any, key: str) -> Comment:
    if not isinstance(value, dict):
        raise _error(f"need an object as the comment of {key}")
    texts = {name: _text(value, name, key, 200) for name in ("start", "good", "bad", "also")}
    for name in ("start", "good", "bad"):
        if not texts[name]:
            raise _error(f"need the comment's {name} in {key}")
    words = [texts[name] for name in ("good", "bad", "also") if texts[name]]
    if len(set(words)) < len(words):
        raise _error(f"need different words in the comment of {key}")
    return Comment(**texts)


def _text(item: dict[str, Any], name: str, key: str, limit: int) -> str:
    value = item.get(name) or ""
    if not isinstance(value, str) or len(value) > limit:
        raise _error(f"need a text of at most {limit} characters as {name} of {key}")
    return value.strip()


def _error(predicate: str) -> BadInput:
    return BadInput(f"The principles in job.json {predicate}.", setting="principles")


class Constitution:
    """The principles of a job, of which those with all the texts `needs` can be applied."""

    def __init__(self, principles: Sequence[Principle], needs: Sequence[str], seed: int) -> None:
        """Raises BadInput if there are none."""
        self.principles, self.needs, self.seed = list(principles), tuple(needs), seed
        self.tags = {principle.tag for principle in principles} - {""}
        if not principles:
            raise BadInput("job.json has no principles, which this run goes by.", setting="principles")
        if not any(map(self._is_usable, principles)):
            raise _error(f"have no {' and '.join(needs)}, which this mode needs")

    def _is_usable(self, principle: Principle) -> bool:
        return all(getattr(principle, name) for name in self.needs)

    def applicable(self, tags: Sequence[str], line: int) -> list[Principle]:
        """Those of the prompt's tags, if principles have any of them, else those without a tag. Raises BadInput, naming the line,
        if there are none."""
        own = self.tags.intersection(tags)
        found = [
            principle
            for principle in self.principles
            if (principle.tag in own if own else not principle.tag) and self._is_usable(principle)
        ]
        if not found:
            which = f"with the tag {', '.join(sorted(own))}" if own else "without a tag"
            raise BadInput(
                f"Line {line} of data.jsonl: no principle {which} has a {' and a '.join(self.needs)}, which this mode needs.",
                setting="principles",
                line=line,
            )
        return found

    def draw(self, tags: Sequence[str], line: int, *what: str | int) -> Principle:
        """One of the applicable principles, a function of the seed and of `what` it is for."""
        found = self.applicable(tags, line)
        digest = hashlib.blake2b(json.dumps([self.seed, *what]).encode(), digest_size=8).digest()
        return found[int.from_bytes(digest, "big") % len(found)]

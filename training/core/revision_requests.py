"""Drafts of revisions: a response, then critiques and revisions of it, and what the model is asked for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.core.data import Prompt
from training.core.messages import Message
from training.core.principles import Principle
from training.core.stored_answers import Answer

REVISION_END = "Reply with the new answer alone, as if it were your first."


@dataclass
class Draft:
    """What was written for a prompt so far. principles: one for each revision.

    steps: the number of texts written: the response, then a critique and a revision for each principle. is_open: whether more
    may follow, which it does not after a text that is cut or empty. critiques: for each revision. answer: the last revision, or
    None without one. gain: by how much it scores above the first, where there are scores.
    """

    prompt: Prompt
    principles: list[Principle]
    first: str = ""
    answer: str | None = None
    critiques: list[str] = field(default_factory=list)
    token_ids: list[int] | None = None
    gain: float | None = None
    is_open: bool = True
    steps: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to be written."""
        return not self.is_open or self.steps > 2 * len(self.principles)

    def add(
        self,
        text: str,
        *,
        is_usable: bool,
        token_ids: list[int] | None,
        tokens_in: int,
        tokens_out: int,
    ) -> None:
        """Add the next text. is_usable: whether it is whole."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        step, self.steps = self.steps, self.steps + 1
        text = text.strip()
        if not step:
            self.first = text
        if not is_usable or not text:
            self.is_open, self.answer, self.token_ids = False, None, None
        elif step % 2:
            self.critiques.append(text)
        elif step:
            self.answer, self.token_ids = text, token_ids


STORED = ("first", "answer", "critiques", "token_ids", "gain", "is_open", "steps", "tokens_in", "tokens_out")


def draft_answer(draft: Draft, place: int) -> Answer:
    """The draft as it is stored."""
    return {"key": [place]} | {name: getattr(draft, name) for name in STORED}


def stored_draft(prompt: Prompt, principles: list[Principle], answer: Answer) -> Draft:
    return Draft(prompt, principles, **{name: answer[name] for name in STORED})


def conversation(draft: Draft) -> list[Message]:
    """What the model reads for the draft's next text: the prompt; then its last answer and the request to criticise it; then
    that critique and the request for a revision."""
    messages = list(draft.prompt.prompt)
    if not draft.steps:
        return messages
    number = (draft.steps - 1) // 2
    principle = draft.principles[number]
    messages += [_assistant(draft.answer or draft.first), _user(principle.critique)]
    if draft.steps % 2 == 0:
        messages += [_assistant(draft.critiques[number]), _user(f"{principle.revise}\n{REVISION_END}")]
    return messages


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def revision_row(draft: Draft) -> dict[str, Any] | None:
    """A line of revisions.jsonl, or None for a draft without a revision that differs from the first response."""
    if draft.answer is None or draft.answer == draft.first:
        return None
    return {
        "id": draft.prompt.id,
        "prompt": draft.prompt.prompt,
        "first": draft.first,
        "answer": draft.answer,
        "principle": draft.principles[-1].key,
        "critique": draft.critiques[-1] if draft.critiques else "",
        "token_ids": draft.token_ids,
        "gain": draft.gain,
    }

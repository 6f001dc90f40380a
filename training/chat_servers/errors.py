"""The error of everything that asks a model server."""

from __future__ import annotations


class ChatServerError(Exception):
    """No answer, or not all of one; the message is a sentence for the user.

    retriable: whether the same request may succeed later.
    """

    def __init__(self, sentence: str, *, retriable: bool) -> None:
        super().__init__(sentence)
        self.sentence, self.retriable = sentence, retriable

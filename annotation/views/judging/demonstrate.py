"""The Demonstrate screen: an empty editor, or an answer to improve."""

from __future__ import annotations

from collections.abc import Sequence

from annotation.models import Response


def initial_text(entered: str | None, responses: Sequence[Response]) -> str:
    """The text in the editor: what was entered so far, or else the answer to improve, unmasked, since it becomes part of the
    new text. The copy shown beside it is masked like any answer (`screen.masked_html`)."""
    if entered is not None:
        return entered
    return responses[0].text if responses else ""

"""What the Demonstrate screen starts from: an empty page, or an answer that is to be made better."""

from __future__ import annotations

from collections.abc import Sequence

from annotation.models import Response


def start(written: str | None, given: Sequence[Response]) -> str:
    """The text in the editor: what was written so far, or else the answer given, just as it is, whatever it says of who wrote
    it: it becomes part of what is written. The copy to read beside it is blind, as any answer (`screen.blind`)."""
    if written is not None:
        return written
    return given[0].text if given else ""

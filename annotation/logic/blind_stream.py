"""Two answers as they are written, shown so that neither tells which model writes it: no faster than the slower of the two, and
without what they say of their own model."""

from __future__ import annotations

from typing import NamedTuple

from annotation.logic.masking import mask, stable_length

SIDES = ("a", "b")


class Piece(NamedTuple):
    """What comes next of the text of a side. offset: of its first character in what is shown of that side."""

    side: str
    offset: int
    text: str


class BlindStream:
    """Takes the texts of two sides piece by piece, and gives what may be shown."""

    def __init__(self) -> None:
        self.texts = dict.fromkeys(SIDES, "")
        self.ended = dict.fromkeys(SIDES, False)
        self._shown = dict.fromkeys(SIDES, 0)

    def add(self, side: str, text: str) -> None:
        self.texts[side] += text

    def end(self, side: str) -> None:
        self.ended[side] = True

    def restart(self, side: str) -> None:
        """Forget the text of a side, which is written anew."""
        self.texts[side], self.ended[side], self._shown[side] = "", False, 0

    def take(self) -> list[Piece]:
        """What may be shown now and was not taken before. While a side is written, no more characters are shown of the other."""
        showable = {side: self._showable(side) for side in SIDES}
        limits = [len(showable[side]) for side in SIDES if not self.ended[side]]
        pieces = []
        for side in SIDES:
            start = self._shown[side]
            if text := showable[side][start : min(limits, default=None)]:
                pieces.append(Piece(side, start, text))
                self._shown[side] += len(text)
        return pieces

    def _showable(self, side: str) -> str:
        text = self.texts[side]
        return mask(text if self.ended[side] else text[: stable_length(text)])

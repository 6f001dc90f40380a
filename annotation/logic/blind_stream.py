"""Two answers as they are written. Shown blind, neither tells which model writes it: it comes no faster than the slower of the
two, and without what it says of its own model."""

from __future__ import annotations

from typing import NamedTuple

from annotation.logic.masking import GrowingText, mask

SIDES = ("a", "b")


class Piece(NamedTuple):
    """What comes next of the text of a side. offset: of its first character in what is shown of that side."""

    side: str
    offset: int
    text: str


class BlindStream:
    """Takes the texts of two sides piece by piece, and gives what may be shown. is_blind: False where the reader knows the
    models: then everything is shown at once."""

    def __init__(self, *, is_blind: bool = True) -> None:
        self.is_blind = is_blind
        self.texts = dict.fromkeys(SIDES, "")
        self.ended = dict.fromkeys(SIDES, False)
        self._growing = {side: GrowingText() for side in SIDES}
        self._whole = dict.fromkeys(SIDES, "")  # masked, of the sides that have ended
        self._shown = dict.fromkeys(SIDES, 0)

    def add(self, side: str, text: str) -> None:
        self.texts[side] += text
        self._growing[side].add(text)

    def end(self, side: str) -> None:
        self.ended[side] = True
        self._whole[side] = mask(self.texts[side])

    def restart(self, side: str) -> None:
        """Forget the text of a side, which is written anew."""
        self.texts[side], self.ended[side], self._shown[side] = "", False, 0
        self._growing[side] = GrowingText()

    def take(self) -> list[Piece]:
        """What may be shown now and was not taken before. Blind, no more characters of a side are shown than of the other, until
        both have ended: how long one goes on after the other would tell how fast it is."""
        showable = {side: self._showable(side) for side in SIDES}
        is_paced = self.is_blind and not all(self.ended.values())
        limits = [len(showable[side]) for side in SIDES] if is_paced else []
        pieces = []
        for side in SIDES:
            start = self._shown[side]
            if text := showable[side][start : min(limits, default=None)]:
                pieces.append(Piece(side, start, text))
                self._shown[side] += len(text)
        return pieces

    def _showable(self, side: str) -> str:
        if not self.is_blind:
            return self.texts[side]
        return self._whole[side] if self.ended[side] else self._growing[side].visible_text()

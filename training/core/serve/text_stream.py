"""The text of a response while its tokens are sampled."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers decode to where bytes of a character are missing."""


class TextStream:
    """Turns tokens into pieces of text, which together are what `Encoder.decode` makes of all tokens: without special tokens and
    surrounding space. (Of bytes that are no text, some tokenizers decode more or fewer if others follow.)

    A piece is held back while it may still change: the bytes of an incomplete character, and space that may be the last.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.token_ids: list[int] = []
        self.text = ""
        """What was returned so far."""
        self._held = ""  # space after it
        # decoders treat the first token of a text differently: each piece is decoded after the one before it, which is
        # token_ids[_start:_end], and not all tokens again
        self._start = self._end = 0

    def push(self, token: int) -> str:
        """The text that is certain with this token, often that of the token itself; empty if there is none."""
        self.token_ids.append(token)
        before = self._decode(self.token_ids[self._start : self._end])
        now = self._decode(self.token_ids[self._start :])
        if now.endswith(INCOMPLETE):
            return ""
        if len(now) > len(before):
            self._start = self._end
        self._end = len(self.token_ids)
        fresh = self._held + now[len(before) :]
        if not self.text:
            fresh = fresh.lstrip()
        piece = fresh.rstrip()
        self._held = fresh[len(piece) :]
        self.text += piece
        return piece

    def finish(self) -> str:
        """The rest of the text, where the tokens end within a character."""
        whole = self._decode(self.token_ids).strip()
        if whole.startswith(self.text):
            piece = whole[len(self.text) :]
        else:
            before, now = (self._decode(self.token_ids[self._start : end]) for end in (self._end, None))
            piece = (self._held + now[len(before) :]).rstrip()
        self.text += piece
        return piece

    def _decode(self, token_ids: list[int]) -> str:
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True)) if token_ids else ""

"""Keys and values of conversations that were answered, which the next turn of a chat continues from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]
"""(1, H, T, D) keys and values of T tokens, for every layer."""


class Entry(NamedTuple):
    token_ids: list[int]
    layers: Layers

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


class PrefixCache:
    """The conversations used last, of `max_entries` and `max_bytes` at most."""

    def __init__(self, max_entries: int, max_bytes: float) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self._entries: list[Entry] = []  # the one used last is the last

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(entry.size for entry in self._entries)

    def find(self, token_ids: Sequence[int]) -> tuple[int, Layers]:
        """The longest prefix of a prompt that is here, as its number of tokens and views of their keys and values; 0 and nothing
        without any. It is shorter than the prompt, whose last token must be run."""
        shared = [common_prefix(entry.token_ids, token_ids) for entry in self._entries]
        best = max(range(len(shared)), key=lambda place: shared[place], default=None)
        length = 0 if best is None else min(shared[best], len(token_ids) - 1)
        if best is None or length < 1:
            return 0, []
        entry = self._entries.pop(best)
        self._entries.append(entry)
        return length, [(keys[:, :, :length], values[:, :, :length]) for keys, values in entry.layers]

    def add(self, token_ids: list[int], layers: Layers) -> None:
        """Keep the keys and values of these tokens, in place of those that they begin with."""
        kept = [
            entry
            for entry in self._entries
            if common_prefix(entry.token_ids, token_ids) < len(entry.token_ids)
        ]
        self._entries = [*kept, Entry(token_ids, layers)]
        while len(self._entries) > self.max_entries or self.size > self.max_bytes:
            del self._entries[0]

    def clear(self) -> None:
        self._entries.clear()


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens that both begin with."""
    shortest = min(len(one), len(other))
    return next((place for place in range(shortest) if one[place] != other[place]), shortest)

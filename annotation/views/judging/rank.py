"""The Rank screen: one rank per answer, in fields `rank-<letter>`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from annotation.logic.ranking import LETTERS

SMALL_NUMBER = re.compile("[0-9]{1,3}")


def read(form: Mapping[str, str], shown: Sequence[int]) -> dict[int, int]:
    """Ranks by response id. What is not a small number counts as not entered."""
    values = {
        response: form.get(f"rank-{letter}", "") for letter, response in zip(LETTERS, shown, strict=False)
    }
    return {response: int(rank) for response, rank in values.items() if SMALL_NUMBER.fullmatch(rank)}

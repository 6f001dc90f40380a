"""What the Rank screen sends: a rank for every answer, as `rank-<response id>`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from annotation.actions.queue import Lease

SMALL_NUMBER = re.compile("[0-9]{1,3}")


def read(form: Mapping[str, str], lease: Lease) -> dict[int, int]:
    """Response id -> rank, of those that were given one. What is no small number counts as not given."""
    given = {response: form.get(f"rank-{response}", "") for response in lease.shown_order}
    return {response: int(rank) for response, rank in given.items() if SMALL_NUMBER.fullmatch(rank)}


def read_draft(data: object, lease: Lease) -> dict[int, int]:
    """The ranks of a kept draft, of those answers that stand in the item."""
    ranks = data.get("ranks", {}) if isinstance(data, dict) else {}
    return {response: ranks[str(response)] for response in lease.shown_order if str(response) in ranks}

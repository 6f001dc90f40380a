from __future__ import annotations

import pytest

from annotation.logic.skip_routing import RULES, route
from annotation.models import Skip


@pytest.mark.parametrize(
    ("reason", "where"),
    [
        ("unsafe", ["restricted", "restricted", "retired"]),
        ("review", ["restricted", "restricted", "restricted"]),
        ("identical", ["open", "retired"]),
        ("broken", ["open", "retired"]),
        ("all_bad", ["open", "restricted", "restricted", "retired"]),
        ("cannot_judge", ["open", "open", "restricted", "restricted", "restricted", "retired"]),
    ],
)
def test_an_item_leaves_after_so_many_skips(reason: str, where: list[str]) -> None:
    for skips, to in enumerate(where, start=1):
        routing = route({reason: skips})
        assert (routing.state if routing else "open") == to, skips


def test_every_reason_leads_somewhere() -> None:
    assert set(RULES) == set(Skip.Reason.values)


def test_reasons_do_not_add_up() -> None:
    assert route({"identical": 1, "broken": 1, "all_bad": 1, "cannot_judge": 2}) is None


def test_retired_wins_over_restricted() -> None:
    for skips in ({"unsafe": 1, "broken": 2}, {"broken": 2, "unsafe": 1}):
        routing = route(skips)
        assert routing is not None
        assert (routing.state, routing.reason, routing.skips) == ("retired", "broken", 2)

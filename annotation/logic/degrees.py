"""The degrees of a comparison of two answers: their names on every page, and their margins."""

from __future__ import annotations

from annotation.logic.translation import gettext_noop

LABELS = {
    "significantly": gettext_noop("Significantly better"),
    "better": gettext_noop("Better"),
    "slightly": gettext_noop("Slightly better"),
    "negligibly": gettext_noop("Negligibly better / unsure"),
}
"""By the value that is stored, from the clearest preference to none."""

MARGINS = {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0}
"""What a degree adds to the margin between two rewards: the "small" form of Llama 2 (Touvron et al. 2023,
arXiv:2307.09288, table 27)."""


def margin(degree: str | None) -> float:
    """The margin of a degree; 0 for a ranking, which has none."""
    return MARGINS[degree] if degree else 0.0

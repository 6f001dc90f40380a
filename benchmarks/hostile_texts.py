"""What hostile texts cost where people and models send them: rendering, masking, comparing, each within 200 ms a text.

`make bench-hostile-texts`; the texts are those of the tests. No peer: the others render in the browser.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

from annotation.logic import diff, similarity
from annotation.logic.markdown import render
from annotation.logic.masking import mask
from benchmarks.results import about, save, write_report
from tests.annotation.logic.hostile_texts import TEXTS

BUDGET_S = 0.2
REPEATS = 5


def changed(text: str) -> str:
    """The text with every hundredth word changed."""
    words = text.split(" ")
    words[::100] = [word + "!" for word in words[::100]]
    return " ".join(words)


DOORS: dict[str, tuple[Callable[[str], object], int]] = {
    "rendering": (render, 1),
    "masking": (mask, 1),
    "lines of a change": (lambda text: diff.lines(text, changed(text)), 2),
    "answers compared": (lambda text: similarity.near_identical(text, changed(text)), 2),
}
"""With how many texts each has."""


def seconds(work: Callable[[str], object], texts: int, text: str) -> float:
    """The median over some calls, a text."""
    taken = []
    for _ in range(REPEATS):
        for kept in (similarity._tokens, similarity._words, similarity._shingles):
            kept.cache_clear()
        started = time.perf_counter()
        work(text)
        taken.append(time.perf_counter() - started)
    return median(taken) / texts


def main() -> None:
    rows = []
    for name, (work, texts) in DOORS.items():
        figures = [seconds(work, texts, text) for text in TEXTS]
        worst = max(range(len(TEXTS)), key=figures.__getitem__)
        rows.append(
            {"door": name, "median": median(figures), "worst": figures[worst], "text": TEXTS[worst][:24]}
        )
        print(f"{name}: worst {1000 * figures[worst]:.0f} ms, {TEXTS[worst][:24]!r}")
    save("hostile_texts", {"about": about({}), "rows": rows, "texts": len(TEXTS)})
    write_report()
    if any(row["worst"] > BUDGET_S for row in rows):
        sys.exit(f"More than {1000 * BUDGET_S:.0f} ms.")


if __name__ == "__main__":
    main()

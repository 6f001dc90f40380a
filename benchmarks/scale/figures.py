"""What was measured at the two sizes: the last line of `make bench-scale`, and the section of RESULTS.md."""

from __future__ import annotations

from typing import Any

from benchmarks.report_parts import origin, table

MAX_MS, MAX_QUERIES, MAX_KB, MAX_RATIO = 300, 15, 100, 1.5
"""What a page should take: milliseconds warm, statements, kilobytes of HTML, and times what it takes at a tenth of the size."""
SHOWN = 25


def pairs(values: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each page at both sizes, the slowest at the larger one first."""
    small, large = ({(page["role"], page["name"]): page for page in walk} for walk in values["pages"])
    both = [(small[key], page) for key, page in large.items() if key in small]
    return sorted(both, key=lambda pair: -float(pair[1]["ms"]))


def summary(values: dict[str, Any]) -> dict[str, Any]:
    rows = pairs(values)
    slowest = [max((pair[size] for pair in rows), key=lambda page: float(page["ms"])) for size in (0, 1)]
    return {
        "judgments": values["judgments"],
        "slowest": [{"name": page["name"], "ms": page["ms"]} for page in slowest],
        "ratio": round(max(large["ms"] / small["ms"] for small, large in rows), 2),
        "queries": max(large["queries"] for _, large in rows),
        "kb": max(large["kb"] for _, large in rows),
        "over": sum(_is_over(small, large) for small, large in rows),
        "pages": len(rows),
        "jit": values["jit"],
    }


def _is_over(small: dict[str, Any], large: dict[str, Any]) -> bool:
    return bool(
        large["ms"] > MAX_MS
        or large["queries"] > MAX_QUERIES
        or (large["kb"] > MAX_KB and not large["name"].startswith("API "))
        or (large["ms"] > MAX_RATIO * small["ms"] and large["ms"] - small["ms"] > 10)
    )


def scale_section(values: dict[str, Any]) -> str:
    rows = pairs(values)
    over = sum(_is_over(small, large) for small, large in rows)
    body = [
        [
            f"{large['name']} ({large['role']})",
            f"{small['ms']:.0f}",
            f"{large['ms']:.0f}",
            f"{large['ms'] / small['ms']:.2f}",
            str(large["queries"]),
            f"{large['kb']:.0f}",
        ]
        for small, large in rows[:SHOWN]
    ]
    few, many = (f"{count:,}" for count in values["judgments"])
    words = (
        f"## Pages of a large project\n\nMedian milliseconds of a warm request in one process, at {few} and at {many}"
        f" judgments in one project; {values['server']}, whose `jit` is {values['jit']}. The {SHOWN} slowest of"
        f" {len(rows)} pages and API lists; {over} of all take over {MAX_MS} ms, {MAX_QUERIES} statements, {MAX_KB} kB or"
        f" {MAX_RATIO} times their time at the smaller size (and 10 ms more).\n"
    )
    head = ["page", f"ms at {few}", f"ms at {many}", "ratio", "statements", "kB"]
    return "\n".join([words, origin(values), table(head, body)])

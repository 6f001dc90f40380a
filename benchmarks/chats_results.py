"""The section of RESULTS.md about live chats."""

from __future__ import annotations

from typing import Any

from benchmarks.report_parts import origin, table

WORDS = """## Live chats

People chat at once over the API with the demo's policy at two temperatures, on the demo's site, each message in a chat of its
own and sent as soon as the one before was judged, and one person loads the ranking page again and again, with pauses of 0.1 s.
They choose as soon as both answers are there or, as people who read, some seconds later.
First words: from the send until words of both answers have arrived. A piece: from Redis to its reader or, if it was written
before its reader's stream was open, from then; before that, pieces are collected for up to 50 ms. Everything shares this
machine's cores, the people too."""
ROWS = {
    "first_words_s": "first words, s",
    "whole_s": "both answers, s",
    "piece_ms": "a piece, ms",
    "page_ms_beside": "ranking page beside the chats, ms",
}


def chats_section(values: dict[str, Any]) -> str:
    figures = values["figures"]
    alone, paces = figures["page_ms_alone"], figures["paces"]
    counts = (
        f"{figures['people']} people. The first chat, for which the model is loaded, took {figures['first_chat_s']:g} s; the"
        f" ranking page alone takes {alone['median']:g} ms, and {alone['p95']:g} ms at the 95th percentile.\n"
    )
    rows = [
        [label, *(f"{pace[name][part]:g}" for pace in paces for part in ("median", "p95"))]
        for name, label in ROWS.items()
    ]
    rows += [
        [
            "messages, and those not answered",
            *(str(pace[part]) for pace in paces for part in ("messages", "failed")),
        ]
    ]
    heads = [
        f"{head}, {pace_name(pace['reading_s'])}" for pace in paces for head in ("median", "95th percentile")
    ]
    return "\n".join([WORDS + "\n", origin(values), counts, table(["", *heads], rows)])


def pace_name(reading_s: float) -> str:
    return f"read for {reading_s:g} s" if reading_s else "chosen at once"

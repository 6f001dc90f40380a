"""The section of RESULTS.md about live chats."""

from __future__ import annotations

from typing import Any

from benchmarks.report_parts import origin, table

WORDS = """## Live chats

People chat at once over the API with the demo's policy at two temperatures, on the demo's site, each message in a chat of its
own and sent as soon as the one before was judged, and one person loads the ranking page again and again, with pauses of 0.1 s.
First words: from the send until words of both answers have arrived. A piece: from Redis to its reader or, if it was written
before its reader's stream was open, from then; before that, pieces are collected for up to 50 ms. Everything shares this
machine's cores, the people too."""
ROWS = {
    "first_words_s": "first words, s",
    "whole_s": "both answers, s",
    "piece_ms": "a piece, ms",
    "page_ms_alone": "ranking page alone, ms",
    "page_ms_beside": "ranking page beside the chats, ms",
}


def chats_section(values: dict[str, Any]) -> str:
    figures = values["figures"]
    rows = [
        [label, f"{figures[name]['median']:g}", f"{figures[name]['p95']:g}"] for name, label in ROWS.items()
    ]
    counts = (
        f"{figures['people']} people, {figures['messages']} messages, {figures['failed']} not answered. The first chat, for which"
        f" the model is loaded, took {figures['first_chat_s']:g} s.\n"
    )
    return "\n".join([WORDS + "\n", origin(values), counts, table(["", "median", "95th percentile"], rows)])

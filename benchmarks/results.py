"""Raw figures in var/bench/results, one file a part, and RESULTS.md written from them."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.chats_results import chats_section
from benchmarks.environments import versions
from benchmarks.feedback_results import feedback_section
from benchmarks.loop_results import loop_settings_section, rounds_section
from benchmarks.report_parts import origin, table
from benchmarks.rollouts_results import rollouts_section
from benchmarks.scale.figures import scale_section
from benchmarks.workloads import PLACE

FOLDER = PLACE / "results"
REPORT = Path(__file__).with_name("RESULTS.md")
CURVES = Path(__file__).with_name("learning.svg")
ACTIVE_LEARNING = Path(__file__).with_name("active_learning.svg")
ROUNDS = Path(__file__).with_name("rounds.svg")


def processor() -> str:
    """The processor's name, with what of its vector units matters here, and how many cores this machine has."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict((part.strip() for part in line.split(":", 1)) for line in info.splitlines() if ":" in line)
    cores = info.count("processor\t")
    vectors = [
        name
        for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        if name in fields.get("flags", "").split()
    ]
    model = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', platform.processor())} ({model}; {', '.join(vectors)}), {cores} cores"


def about(peers: dict[str, Path]) -> dict[str, Any]:
    """Where and when a part was measured, and with which versions."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(),
        "load": round(os.getloadavg()[2], 1),
        "ours": versions(sys.executable),
        "peers": {name: versions(python) for name, python in peers.items()},
    }


def save(part: str, values: dict[str, Any], *, quick: bool = False) -> None:
    """Keep a part's figures; those of a quick run only where nobody reads them as results."""
    folder = FOLDER / "quick" if quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_text(json.dumps(values, indent=1))


def load(part: str, *, quick: bool = False) -> dict[str, Any] | None:
    path = (FOLDER / "quick" if quick else FOLDER) / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else None


def median_of(figures: list[dict[str, float]], name: str = "cpu") -> float:
    return median(step[name] for step in figures)


def case_table(case: dict[str, Any]) -> str:
    """One case: every side's median wall and CPU time, its spread, the ratio to the best peer, and its peak memory."""
    best = {
        precision: min(
            (
                median_of(side["figures"])
                for side in case["sides"]
                if side["peer"] and side["precision"] == precision
            ),
            default=None,
        )
        for precision in ("float32", "bfloat16")
    }
    rows = []
    for side in case["sides"]:
        walls = [step["wall"] for step in side["figures"]]
        cpu = median_of(side["figures"])
        base = best[side["precision"]]
        rows.append(
            [
                side["label"],
                f"{median(walls):.3f} ({min(walls):.3f} to {max(walls):.3f})",
                f"{cpu:.3f}",
                "" if base is None else f"{base / cpu:.2f}",
                f"{max(step['peak'] for step in side['figures']):.0f}",
            ]
        )
    return table(["", "wall s, median (spread)", "CPU s", "best peer / this", "peak MB"], rows)


def write_report() -> None:
    """Put what was measured on this machine into RESULTS.md; sections of others stay as they are."""
    parts: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("parity", parity_section),
        ("reward", cases_section("Reward model", REWARD_TEXT)),
        ("reward16", cases_section("Reward model, bfloat16", REWARD16_TEXT)),
        ("floor", floor_section),
        ("dpo", cases_section("Direct preference optimisation", DPO_TEXT)),
        ("generate", cases_section("Generation", GENERATE_TEXT)),
        ("grpo", cases_section("GRPO", GRPO_TEXT)),
        ("ppo", cases_section("PPO", PPO_TEXT)),
        ("learning", learning_section),
        ("rollouts", rollouts_section),
        ("rounds", rounds_section),
        ("loop_settings", loop_settings_section),
        ("active_learning", active_learning_section),
        ("feedback", feedback_section),
        ("queue", queue_section),
        ("scale", scale_section),
        ("export", export_section),
        ("hostile_texts", hostile_texts_section),
        ("chats", chats_section),
    ]
    write_sections(section(values) for name, section in parts if (values := load(name)))


def write_sections(texts: Iterable[str]) -> None:
    """Put sections into RESULTS.md: in place of those of the same heading, or else at its end."""
    _, *before = _split(REPORT.read_text())
    sections = {text.partition("\n")[0]: text for text in before}
    for text in texts:
        sections |= {one.partition("\n")[0]: one for one in _split(text) if one}
    REPORT.write_text("\n\n".join(text.strip() for text in [HEAD, *sections.values()]) + "\n")


def _split(text: str) -> list[str]:
    """What is before the first heading, and each section."""
    return re.split(r"^(?=## )", text, flags=re.MULTILINE)


HEAD = """# Results

Written by `make bench-core`, `make bench-queue`, `make bench-export`, `make bench-learning`, `make bench-rounds`,
`make bench-scale`, `make bench-loop-settings`, `make bench-active-learning`, `make bench-feedback`, `make bench-rollouts`,
`make bench-hostile-texts` and `make bench-chats` from what they measured; no table is typed by hand.

One thread a side. The sides of a case take turns step by step, each in a process of its own, through its own real
training loop; the first step is left out where it is short. Ratios are of CPU time, the median of one side over the
median of the other, and a bfloat16 side is compared with the best bfloat16 peer. Peak memory is the process's resident
size, libraries included.
"""

REWARD_TEXT = """TRL is `RewardTrainer` on the expanded pairs, in float32 without checkpointing, at the batch size that a
trial found fastest. A step is one optimizer step over all pairs. Each row of ours adds one thing to the row before it."""

REWARD16_TEXT = """The same in bfloat16. "Default" is TRL as it comes: with gradient checkpointing, eight pairs at once."""

DPO_TEXT = """TRL is `DPOTrainer`, float32, on the expanded pairs. A step is one optimizer step and the reference model's pass
over the same pairs. "Compact" is TRL patched to put only response positions through the LM head, as it does by itself on
some GPUs: the row to be compared with."""

GENERATE_TEXT = """Sampling at temperature 1. TRL's row is the method that `GRPOTrainer` generates with; the other is
`model.generate` with a static cache, 128 rows at once."""

GRPO_TEXT = """A step is sampling, scoring by a reward model of the policy's size, the reference's log-probs and one update.
Both sides sample groups of eight."""

PPO_TEXT = """A step is sampling, scoring, values, the reference's log-probs and one update in one epoch. TRL had PPO up to
1.12.0."""


def cases_section(title: str, words: str) -> Callable[[dict[str, Any]], str]:
    def section(values: dict[str, Any]) -> str:
        text = [f"## {title}\n", words + "\n", origin(values)]
        for case in values["cases"]:
            text += [f"### {case['title']}\n", case_table(case)]
        text += [f"Left out: {reason}\n" for reason in values.get("left_out", [])]
        return "\n".join(text)

    return section


def floor_section(values: dict[str, Any]) -> str:
    rows = [
        [
            row["label"],
            f"{row['products'] / 1e9:.0f}",
            f"{row['large'] / 1e9:.0f}",
            f"{row['products'] / row['large']:.0%}",
            f"{row['share_of_step']:.0%}",
        ]
        for row in values["rows"]
    ]
    head = ["", "in the step, GFLOP/s", "one large product, GFLOP/s", "share", "of the step's time"]
    words = (
        "The rate of the reward step's matrix products (k=4, P256 R128, shared layout) beside that of one large float32"
        " product in the same process."
    )
    return "\n".join(["## Floor\n", words + "\n", origin(values), table(head, rows)])


def parity_section(values: dict[str, Any]) -> str:
    rows = [
        [
            row["label"],
            f"{row['loss']:.1e}",
            f"{row['cosine']:.1e}",
            f"{row['parameters']:.1e}",
            f"{row['moved']:.1e}",
            "equal" if row["equal"] else "differs",
        ]
        for row in values["rows"]
    ]
    words = (
        f"The same rankings, ragged and with ties, through TRL's own trainer on the expanded pairs and through ours,"
        f" {values['steps']} steps in float32. Equal means: every step's loss within 1e-5 relative, cosine of the first"
        " gradients above 1 - 1e-6, parameters after the last step within 1e-5. The last rows break our layout on"
        " purpose and must differ. Adam's epsilon is 1e-5, Llama 2's: at 1e-8 losses and gradients agree as well, but the"
        " reward model's parameters end farther apart than 1e-5."
    )
    head = ["", "loss, relative", "1 - cosine", "parameters", "(they moved)", ""]
    return "\n".join(["## Parity with TRL\n", words + "\n", origin(values), table(head, rows)])


CURVES_TEXT = """

![hidden taste over the distance from the first policy]({name})

Gao et al.'s experiment in miniature (2023): the best of 1 to 64 answers by the reward model, and PPO and GRPO after 1, 2, 4
and 8 epochs, {seeds}. What rises is the taste, what is optimised is the reward model."""


def learning_section(values: dict[str, Any]) -> str:
    rows = [
        [
            row["method"],
            f"{row['win_rate']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['kl']:.2f}",
            f"{row['seconds']:.0f}",
            str(row["seeds"]),
        ]
        for row in values["rows"]
    ]
    head = ["", "win rate over the first policy (95%)", "KL to it, nats", "seconds", "seeds"]
    words = (
        "The demo's language and its hidden taste, which no model is trained on, offline: every method starts from the"
        " same first policy and takes the same prompts. The win rate is on held-out prompts, its interval over prompts"
        " of all seeds."
    )
    if count := values.get("curve_seeds"):
        seeds = "of one seed" if count == 1 else f"means of {count} seeds"
        words += CURVES_TEXT.format(name=CURVES.name, seeds=seeds)
    return "\n".join(["## Learning\n", words + "\n", origin(values), table(head, rows)])


ACTIVE_LEARNING_TEXT = f"""

![accuracy over the judgments that were asked for]({ACTIVE_LEARNING.name})

"Ahead" is how much more accurate a strategy's reward models are than those of an even draw with as many judgments, in
points, the mean over all steps after the first. "Needs" is the share of the judgments with which a strategy gets where an
even draw gets with all, read from straight lines over the logarithm of judgments; its interval draws the draws again from
themselves."""


def active_learning_section(values: dict[str, Any]) -> str:
    def accuracy(point: list[float]) -> str:
        return f"{point[1]:.3f} ({point[2]:.3f} to {point[3]:.3f})"

    def ahead(interval: list[float]) -> str:
        return f"{100 * interval[0]:+.1f} ({100 * interval[1]:+.1f} to {100 * interval[2]:+.1f})"

    def percent(share: float | None) -> str:
        return "more than 1000%" if share is None or share > 10 else f"{share:.0%}"

    def needs(row: dict[str, Any]) -> str:
        return f"{percent(row['share'])} ({' to '.join(map(percent, row['share_interval']))})"

    rows = [
        [
            f"{row['strategy']}, {judge}",
            *(accuracy(row[measure]["curve"][place]) for place in (0, len(values["judgments"]) // 2, -1)),
            *(
                ("", "")
                if row["strategy"] == "uniform"
                else (ahead(row[measure]["ahead"]), needs(row[measure]))
            ),
        ]
        for measure, judge in (("by_people", "as people"), ("by_taste", "as the taste"))
        for row in values["rows"]
    ]
    steps = values["judgments"]
    head = [
        "pairs in order",
        *(f"{steps[place]} judgments" for place in (0, len(steps) // 2, -1)),
        "ahead",
        "needs",
    ]
    words = (
        "Does asking where the reward model is unsure save judgments? In the demo's world, from the same first"
        f" {steps[0]} rankings, each strategy asks for more in {len(steps) - 1} steps, from twice as many prompts and with"
        f" {values['control_share']:.0%} drawn evenly, as a round does. Measured on held-out prompts that none may ask"
        f" about, over {values['rows'][0]['draws']} draws from {values['seeds']} seeds; intervals (95%) are over draws."
    )
    return "\n".join(
        ["## What to ask\n", words + ACTIVE_LEARNING_TEXT + "\n", origin(values), table(head, rows)]
    )


def queue_section(values: dict[str, Any]) -> str:
    rows = [
        [
            side["label"],
            crowd,
            f"{figures['per_s']:.1f}",
            f"{figures['cpu_ms']:.1f}",
            *(f"{figures[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
            str(side["errors"]),
        ]
        for side in values["sides"]
        for crowd, figures in side["crowds"].items()
    ]
    head = ["", "annotators", "cycles/s", "CPU ms a cycle", "p50 ms", "p95 ms", "p99 ms", "errors"]
    line = values["line"]
    words = (
        "A cycle is a submit and the next item, over HTTP. Server, PostgreSQL and Valkey share one core, the annotators have"
        " another; CPU is that of all three servers. Cycles a second are medians over turns."
        f" Items judged twice: {line['duplicates']}; lost: {line['lost']}; queries a cycle: {line['queries_per_cycle']}."
    )
    return "\n".join(["## The annotators' hot loop\n", words + "\n", origin(values), table(head, rows)])


def hostile_texts_section(values: dict[str, Any]) -> str:
    rows = [
        [
            row["door"],
            f"{1000 * row['median']:.1f}",
            f"{1000 * row['worst']:.0f}",
            f"`{row['text']!r}…`".replace("|", "\\|"),
        ]
        for row in values["rows"]
    ]
    words = (
        f"{values['texts']} texts of up to 100,000 characters on which careless code takes minutes, each the median of some"
        " calls, a text; what is compared is the text and one in which every hundredth word differs. The worst is to"
        " stay below 200 ms."
    )
    head = ["", "median ms", "worst ms", "the worst text begins"]
    return "\n".join(["## Hostile texts\n", words + "\n", origin(values), table(head, rows)])


def export_section(values: dict[str, Any]) -> str:
    line = values["line"]
    rows = [
        ["pairs, `trl` export", f"{line['pairs_per_s']:,}", f"{line['first_byte_ms'] / 1000:.2f}"],
        ["pairs, `COPY` of the same join by psql", f"{line['copy_per_s']:,}", ""],
        ["judgments, `raw` export, live", f"{line['raw_rows_per_s']:,}", ""],
        [
            "tasks, Label Studio's JSON export",
            f"{line['label_studio_export_rows_per_s']:,.0f}",
            f"{line['label_studio_first_byte_s']:.2f}",
        ],
        ["prompts with four responses, import", f"{line['import_per_s']:,}", ""],
        ["the same, Label Studio's import", f"{line['label_studio_import_per_s']:,.0f}", ""],
    ]
    if "snapshot_rows_per_s" in line:
        rows.insert(3, ["judgments, `raw` export of a snapshot", f"{line['snapshot_rows_per_s']:,}", ""])
    words = (
        f"{line['pairs']:,} pairs from rankings of seven, and an import of {line['imported']:,} prompts, over HTTP;"
        f" Label Studio holds {line['label_studio_tasks']:,} tasks. Memory of our web process grew by"
        f" {line['rss_growth_mb']} MB from ten thousand pairs to all of them; Label Studio's peak was"
        f" {line['label_studio_peak_mb']:,} MB. Of `COPY`, by wall time {line['vs_copy']:.0%}, by CPU time"
        f" {line['vs_copy_cpu']:.0%}."
    )
    head = ["", "rows/s", "first byte, s"]
    return "\n".join(["## Export and import\n", words + "\n", origin(values), table(head, rows)])

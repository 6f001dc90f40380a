"""The part of RESULTS.md on AI feedback, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.plot import Curve, write_plot
from benchmarks.report_parts import origin, table

PLOT = Path(__file__).with_name("feedback.svg")
CAI_PLOT = Path(__file__).with_name("feedback_cai.svg")
REST_PLOT = Path(__file__).with_name("feedback_rest.svg")
Row = dict[str, Any]

# Student's t at 97.5% by degrees of freedom
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """The mean over seeds with its 95% interval, or the value of one seed."""
    mean = fmean(values)
    if len(values) < 2:
        return format(mean, form)
    half = T.get(len(values) - 1, 2.0) * stdev(values) / len(values) ** 0.5
    return f"{mean:{form}} ± {half:{form}}"


def figures_table(head: str, rows: Row) -> str:
    """rows: by name, the figures of each seed."""
    shown = [("win", "win rate", ".3f"), ("helpful_win", "on harmless prompts", ".3f")]
    shown += [("harm", "harm", ".1%"), ("refused_help", "refused help", ".1%"), ("taste", "taste", ".2f")]
    return table(
        [head, *(title for _, title, _ in shown)],
        [
            [name, *(spread([row[key] for row in seeds], form) for key, _, form in shown)]
            for name, seeds in rows.items()
        ],
    )


def mean(rows: list[Row], key: str) -> float:
    return fmean(row[key] for row in rows)


def by_name(seeds: list[Row], names: Sequence[str]) -> dict[str, list[Row]]:
    return {name: [row[name] for row in seeds] for name in names if name in seeds[0]}


def feedback_section(values: Row) -> str:
    text = [
        "## AI feedback and the alternatives\n",
        (
            "`benchmarks/feedback.py`: from the same first policy, measured by the hidden taste on 160 held-out prompts; win"
            " rates are over the first policy. Nothing that judges sees the taste. Means over seeds with 95% intervals"
            " (Student's t), where there are several seeds.\n"
        ),
        origin(values),
    ]
    sections = {
        "judge": _judges,
        "labels": _labels,
        "rlaif": _rewards,
        "cai": _constitutional,
        "rest": _rest,
        "hindsight": _hindsight,
    }
    text += [section(values[name]) for name, section in sections.items() if values.get(name)]
    return "\n".join(text)


def _seeds(rows: list[Row]) -> str:
    return f"Seed{'s' if len(rows) > 1 else ''} {', '.join(str(row['seed']) for row in rows)}."


def _judges(rows: list[Row]) -> str:
    body = []
    for name in ("judge", "blind"):
        own = [row[name] for row in rows]
        body.append(
            [
                name,
                *(spread([row[key] for row in own], ".1%") for key in ("agreement", "people")),
                spread([row["ratio"] for row in own], ".2f"),
                ", ".join(f"{row['ratio_low']:.2f}" for row in own),
                spread([row["taste"] for row in own], ".1%"),
                f"{sum(row['trusted'] for row in own)} of {len(own)}",
                ", ".join(f"{row['weight']:.2f}" for row in own),
                f"{fmean(1000 * row['seconds'] / row['comparisons'] for row in own):.1f}",
            ]
        )
    head = ["", "agrees with people", "people with each other", "ratio", "its low ends", "with the taste"]
    head += ["trusted", "weights", "s per 1,000 comparisons"]
    words = (
        "### The judge\n\nThe base model in comment mode on the first policy's answers, and a blind judge, which reads two"
        " words that no comment has there: whatever it prefers, the gate has to see it. People are two a prompt on 100 prompts. "
        + _seeds(rows)
        + "\n"
    )
    return "\n".join([words, table(head, body)])


def _labels(rows: list[Row]) -> str:
    names = [name for name in rows[0] if name != "seed"]
    arms = by_name(rows, names)
    people = [(float(name.split()[0]), name) for name in names if name.endswith(" people")]
    curves = [Curve("people", sorted((n, mean(arms[name], "win")) for n, name in people))]
    with_ai = [(0.0, "AI only"), *((n, f"{name} and AI") for n, name in people if f"{name} and AI" in arms)]
    curves.append(Curve("with AI", sorted((n, mean(arms[name], "win")) for n, name in with_ai)))
    write_plot(PLOT, curves, across="human rankings a round", up="win rate over the first policy")
    trust = [
        f"{name}: {sum(use['trusted'] for row in own for use in row['judge'])} of"
        f" {sum(len(row['judge']) for row in own)}"
        for name, own in arms.items()
        if own[0]["judge"]
    ]
    words = (
        "### Human rankings and AI labels\n\n![win rate over the number of human rankings](feedback.svg)\n\nTwo rounds of DPO."
        " Beside the rankings named, 100 prompts a round were judged by two people each to measure the judge. Rounds in which the"
        f" judge was trusted: {'; '.join(trust)}. {_seeds(rows)}\n"
    )
    return "\n".join([words, figures_table("labels", arms)])


def _rewards(rows: list[Row]) -> str:
    names = [name for name in rows[0] if name != "seed"]
    words = (
        "### RLHF and RLAIF\n\nOne epoch of GRPO on the same prompts: the reward model learned from 320 human rankings, from"
        f" opinions on 700 prompts, or the judge's score is the reward. {_seeds(rows)}\n"
    )
    return "\n".join([words, figures_table("reward", by_name(rows, names))])


def _constitutional(rows: list[Row]) -> str:
    arms = by_name(rows, [name for name in rows[0] if name != "seed"])
    stages = ("first policy", "revised", "revised, then PPO")
    shares = {"harm": "harm", "refused help": "refused_help"}
    curves = [
        Curve(name, [(stage, 100 * mean(arms[stages[stage]], key)) for stage in range(len(stages))])
        for name, key in shares.items()
    ]
    write_plot(CAI_PLOT, curves, across="stages: first policy, revisions, PPO", up="% of answers")
    words = (
        "### Constitutional AI\n\n![harm and refused help by stage](feedback_cai.svg)\n\nNo person judged an answer to a harmful"
        " prompt. The first policy, fine-tuned on its first answers as they were, on the revised ones (the best of 8 by the"
        " comments), and then PPO on people's judgments of the other prompts and opinions on harmful ones."
        f" {_seeds(rows)}\n"
    )
    return "\n".join([words, figures_table("policy", arms)])


def _rest(rows: list[Row]) -> str:
    """steps[n] of a row: the policy after n Improve steps."""
    steps = [
        [row["steps"][number] for row in rows if len(row["steps"]) > number]
        for number in range(max(len(row["steps"]) for row in rows))
    ]
    curves = [
        Curve(name, [(number, mean(own, key)) for number, own in enumerate(steps)])
        for name, key in {"reward": "reward", "taste": "taste"}.items()
    ]
    write_plot(REST_PLOT, curves, across="Improve steps", up="mean of answers to held-out prompts")
    arms = {
        f"ReST, {number} Improve step{'s' * (number > 1)}": own for number, own in enumerate(steps) if number
    }
    arms |= {"ReST, steps chosen on held-out prompts": [row["rest"] for row in rows]}
    arms |= {"rejection sampling, as many samples": [row["rejection"] for row in rows]}
    rewards = ", ".join(spread([row["reward"] for row in own], ".2f") for own in steps)
    words = (
        "### ReST\n\n![reward and taste by Improve step](feedback_rest.svg)\n\nEight samples a prompt, once. The reward"
        " model's mean reward of answers to held-out prompts, before the first Improve step and after each:"
        f" {rewards}. {_seeds(rows)}\n"
    )
    return "\n".join([words, figures_table("policy", arms)])


def _hindsight(rows: list[Row]) -> str:
    names = ("good", "none", "bad", "best third")
    words = (
        "### Hindsight\n\nThe same policy under the good instruction, none and the bad one, and the first policy"
        f" fine-tuned on the best third of its answers, eight a prompt. {_seeds(rows)}\n"
    )
    return "\n".join([words, figures_table("instruction", by_name(rows, names))])

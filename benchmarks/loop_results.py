"""The parts of RESULTS.md on rounds and on their settings."""

from __future__ import annotations

from typing import Any

from benchmarks.report_parts import origin, table


def loop_settings_section(values: dict[str, Any]) -> str:
    seeds = sorted({row["seed"] for row in values["policies"]})
    words = (
        "Settings tried on the demo's rounds without the site (`benchmarks/loop_settings.py`). First, the policy after"
        " each round of DPO, by the hidden taste on 280 held-out prompts: its win rate over the first policy, the share of"
        " harmful requests that it follows, and the share of its answers with a false claim. `nll` is the weight of the"
        " best answers' likelihood beside the preferences, `replay` adds earlier judgments of harmful prompts, and "
        "`first-all` trains the first policy on all judgments so far."
    )
    rounds = range(len(values["policies"][0]["rounds"]))
    head = ["setting, seed", *(f"round {number + 1}: win / harm / wrong" for number in rounds)]
    rows = [
        [
            f"{row['setting']}, {row['seed']}",
            *(f"{one['win']:.3f} / {one['harm']:.1%} / {one['wrong']:.1%}" for one in row["rounds"]),
        ]
        for row in values["policies"]
    ]
    gaps: dict[str, dict[int, list[float]]] = {}
    for row in values["rewards"]:
        gaps.setdefault(row["setting"], {})[row["round"]] = row["gaps"]
    measured = sorted({row["round"] for row in values["rewards"]})
    reward_words = (
        "Then reward models on the judgments of rounds 1 to n of `default`, measured on the held-out answers of round n: how far"
        " their expected agreement with people is below that of the hidden taste itself, in points; seeds"
        f" {', '.join(map(str, seeds))}. `default` is one epoch from the first policy at 1e-3; `base` starts from the base model,"
        " `-2` and `-3` are epochs at half the rate, `ties` counts tied pairs as one half."
    )
    reward_head = ["setting", *(f"round {number}" for number in measured)]
    reward_rows = [
        [name, *(", ".join(f"{gap:.1f}" for gap in by_round.get(number, [])) or "–" for number in measured)]
        for name, by_round in gaps.items()
    ]
    return "\n".join(
        [
            *("## Settings of a round\n", words + "\n", origin(values), table(head, rows)),
            *(reward_words + "\n", table(reward_head, reward_rows)),
        ]
    )


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def rounds_section(values: dict[str, Any]) -> str:
    words = (
        "Whole rounds of the demo, the site with its workers and simulated people, started by the lead and left alone;"
        " where a gate fails, the lead keeps the policy of before, unless a title says otherwise. Win rate, harm (the"
        " share of harmful requests that it follows) and wrong (the share of answers with a false claim) are those of the"
        " policy that is current after the round; the win rate is over the first policy by the hidden taste, on held-out"
        " prompts. Accuracy is the reward model's on fresh held-out judgments, beside the most that their noise allows; KL"
        " is the new policy's from the reference: the one that the round started from or, with Llama 2, the first."
    )
    text = ["## Rounds\n", words + "\n", "![win rate and harm by round](rounds.svg)\n", origin(values)]
    head = [
        "round",
        "win rate (95%)",
        "each seed",
        "accuracy / ceiling",
        "KL, nats",
        "harm",
        "wrong",
        "promoted",
    ]
    for setting in values["settings"]:
        first = setting["rounds"][0]
        rows = [
            [
                str(row["round"]),
                f"{row['win_rate']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                ", ".join(f"{rate:.3f}" for rate in row["each"]),
                f"{shown(row['rm_accuracy'], '.3f')} / {shown(row['rm_ceiling'], '.3f')}",
                shown(row["kl"], ".1f"),
                shown(row["helped_harm"], ".1%"),
                shown(row["wrong"], ".1%"),
                f"{row['promoted']} of {row['seeds']}",
            ]
            for row in setting["rounds"]
        ]
        title = (
            f"### {setting['title']}; the first policy follows {shown(first['helped_harm_at_first'], '.1%')} of harmful"
            f" requests, and {shown(first['wrong_at_first'], '.1%')} of its answers are wrong\n"
        )
        text += [title, table(head, rows)]
    return "\n".join(text)

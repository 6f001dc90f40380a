"""A model's card: what it is, where it comes from, and how it was measured, as markdown."""

from __future__ import annotations

from importlib import metadata

from training import metric_labels
from training.models import ModelVersion, Run


def card(version: ModelVersion) -> str:
    """The card of a model whose ancestors are loaded, or are fetched one by one."""
    lines = [
        f"# {version.name}",
        "",
        f"A {version.get_kind_display().lower()} of the project “{version.project}”.",
    ]
    if version.run is not None:
        lines += ["", "## How it was made", "", *_making(version.run)]
    lines += ["", "## Where it comes from", ""]
    for ancestor in version.lineage():
        learned = ancestor.run.learned_from if ancestor.run else None
        source = f" by {ancestor.run}" if ancestor.run else f", from `{ancestor.location}`"
        data = (
            f", on {learned} ({learned.counts['judgments']:,} judgments, SHA-256 `{learned.sha256}`)"
            if learned
            else ""
        )
        lines.append(f"- **{ancestor.name}**{source}{data}")
    measured = metric_labels.results(metric_labels.of_report(version.metrics))
    if measured:
        lines += ["", "## Figures", "", "| figure | value | what it says |", "|---|---|---|"]
        lines += [f"| {one.label} | {one.value} | {one.sentence} |" for one in measured]
    for round in version.rounds_after.all():
        lines += ["", f"## Gates of {round.loop}, round {round.number}", ""]
        lines += [
            f"- {'Passed' if gate['passed'] else 'Not passed'}: {gate['sentence']}" for gate in round.gates
        ]
        lines += [f"- Overruled by {one['by']}: {one['reason']}" for one in round.overrules]
    lines += [
        "",
        "## Limits",
        "",
        "It says what pleased the people who judged, on prompts like theirs. Nothing more was measured.",
    ]
    return "\n".join(lines) + "\n"


def _making(run: Run) -> list[str]:
    made = [f"{run}, by Palate {metadata.version('palate')}."]
    for label, other in (
        ("Scored by", run.reward_model),
        ("Safety scored by", run.safety_reward_model),
        ("Held near", run.reference),
    ):
        made += [f"{label} {other}."] if other else []
    changed = ", ".join(f"`{name}={value}`" for name, value in sorted(run.config.items()))
    return [*made, "", f"Settings: {changed}."]

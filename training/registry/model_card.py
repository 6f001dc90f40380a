"""The model card, as markdown: how the model was made, its ancestors, its metrics and the gates that it passed."""

from __future__ import annotations

from importlib import metadata

from django.utils import translation

from annotation.labels import within_sentence
from training.metric_labels import criteria_tables, report_values
from training.models import ModelVersion, Run


@translation.override("en")  # whoever downloads the model reads it
def render_model_card(version: ModelVersion) -> str:
    """A model's card. Ancestors that are not loaded yet are fetched one by one."""
    lines = [
        f"# {version.name}",
        "",
        f"A {within_sentence(version.get_kind_display())} of the project “{version.project}”.",
    ]
    if version.run is not None:
        lines += ["", "## How it was made", "", *_training_lines(version.run)]
    lines += ["", "## Lineage", ""]
    for ancestor in version.lineage():
        learned = ancestor.run.training_snapshot if ancestor.run else None
        source = f" by {ancestor.run}" if ancestor.run else f", from `{ancestor.location}`"
        data = f", on {learned} ({learned.summary}, SHA-256 `{learned.sha256}`)" if learned else ""
        lines.append(f"- **{ancestor.name}**{source}{data}{_opinions(ancestor)}{_reward_function(ancestor)}")
    metrics = report_values(version.metrics)
    if metrics:
        lines += ["", "## Metrics", "", "| metric | value | description |", "|---|---|---|"]
        lines += [f"| {metric.label} | {metric.value} | {metric.description} |" for metric in metrics]
    lines += _criteria_lines(version)
    for round in version.rounds_after.all():
        lines += ["", f"## Gates of {round.loop}, round {round.number}", ""]
        lines += [
            f"- {'Passed' if gate['passed'] else 'Not passed'}: {gate['sentence']}" for gate in round.gates
        ]
        lines += [f"- Overruled by {overrule['by']}: {overrule['reason']}" for overrule in round.overrules]
    lines += [
        "",
        "## Limits",
        "",
        "It reflects the preferences of the people who judged, on prompts like these. Nothing else was measured.",
    ]
    return "\n".join(lines) + "\n"


def _opinions(version: ModelVersion) -> str:
    """The opinions of an AI judge that a version learned from, as the end of its line."""
    run = version.run
    learned = run.training_opinion_set if run else None
    if run is None or learned is None:
        return ""
    count, weight = f"{learned.counts['opinions']:,}", run.inputs.get("ai_weight")
    of_weight = f" of weight {weight:.2f}" if weight is not None else ""
    return f"; with {count} opinions{of_weight} by the AI judge {learned.judge} ({learned}, SHA-256 `{learned.sha256}`)"


def _reward_function(version: ModelVersion) -> str:
    """The Python function that rewarded a version, as the end of its line."""
    function = version.run.reward_function if version.run else None
    return f"; rewarded by {function}" if function else ""


def _criteria_lines(version: ModelVersion) -> list[str]:
    tables = criteria_tables(version.metrics)
    if tables is None:
        return []
    return [
        *("", "## Scores by criterion", ""),
        *("| criterion | accuracy | pairs |", "|---|---|---|"),
        *(f"| {row.label} | {row.percent} | {row.pairs:,} |" for row in tables.accuracies),
        *("", "Correlation of the scores:", ""),
        f"| score | {' | '.join(tables.heads)} |",
        "|---" * (1 + len(tables.heads)) + "|",
        *(f"| {label} | {' | '.join(values)} |" for label, values in tables.correlations),
    ]


def _training_lines(run: Run) -> list[str]:
    lines = [f"{run}, by Palate {metadata.version('palate')}."]
    for label, other in (
        ("Reward model", run.reward_model),
        ("Safety reward model", run.safety_reward_model),
        ("Second reward model", run.second_reward_model),
        ("Reference policy", run.reference),
        ("Judge whose score is the reward", run.judge),
        ("Principles", run.constitution),
        ("Reward function", run.reward_function),
    ):
        lines += [f"{label}: {other}."] if other else []
    settings = ", ".join(f"`{name}={value}`" for name, value in sorted(run.config.items()))
    return [*lines, "", f"Settings: {settings}."]

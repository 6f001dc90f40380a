"""The dataset card of a snapshot: a README in Markdown with front matter for the Hugging Face hub."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from annotation.logic.questions import QuestionKind, stored_questions

Manifest = Mapping[str, Any]


def render_readme(manifest: Manifest, configs: Mapping[str, Sequence[str]] = {}) -> str:
    """The card with front matter, from a snapshot's manifest. `configs`: the splits that have a file, by format."""
    return _front_matter(manifest, configs) + render_card(manifest)


def render_card(manifest: Manifest) -> str:
    project, statistics = manifest["project"], manifest["census"]
    counts = statistics["counts"]
    parts = [
        f"# {project['name']}, snapshot {manifest['number']}",
        manifest["note"],
        (
            f"{counts['judgments']:,} judgments of {counts['prompts']:,} prompts by {counts['annotators']:,} annotators give "
            f"{counts['pairs']:,} preference pairs. Frozen on {manifest['created_at'][:10]}; SHA-256 of `{manifest['file']}`: "
            f"`{manifest['sha256']}`."
        ),
        _describe_imported(statistics),
        "## How it was collected",
        _describe_collection(project, statistics),
        *(
            ["## What is in it", _counts_table(counts)]
            if counts["judgments"] or counts["demonstrations"]
            else []
        ),
        *(["## Agreement and habits", _describe_quality(statistics)] if counts["judgments"] else []),
        *_guidelines_section(manifest["guidelines"]),
        *_questions_section(manifest.get("questions", [])),
        "## Splits",
        (
            "A hash of the prompt's messages decides between `train` and the held-out split (`test` in files for `datasets`), "
            "so all rows of one prompt stand in the same split, in every snapshot and every project."
        ),
        "## Licence",
        f"{manifest['licence'] or 'No licence was given.'}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(manifest: Manifest, configs: Mapping[str, Sequence[str]]) -> str:
    names = {"train": "train", "held_out": "test"}
    lines = ["---", f"pretty_name: {json.dumps(manifest['project']['name'] + ' preferences')}"]
    if manifest["licence"]:
        lines.append(f"license: {json.dumps(manifest['licence'])}")
    lines += ["tags:", "- preferences", "- rlhf", "configs:"]
    for name, splits in configs.items():
        is_default = name == ("trl" if "trl" in configs else "trl-imported")
        lines += [f"- config_name: {name}", *(["  default: true"] if is_default else []), "  data_files:"]
        for split in splits:
            lines += [f"  - split: {names[split]}", f"    path: data/{name}/{names[split]}.parquet"]
    return "\n".join([*lines, "---", ""]) + "\n"


def _describe_collection(project: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
    if not statistics["dates"]:
        return "Nothing was judged in this project: all judgments are imported."
    first, last = (day[:10] for day in statistics["dates"])
    counts = statistics["counts"]
    accounts: Counter[str] = Counter()
    for annotator in statistics["annotators"]:
        accounts[annotator["account"]] += annotator["judgments"]
    sentences = [
        (
            f"Between {first} and {last}, in the open-source app Palate. Annotators saw {_describe_tasks(statistics)}, in an"
            f" order shuffled for each of them and kept, without knowing who wrote them; criterion: {project['criterion']}."
            f" {_describe_overlap(statistics)}"
        ),
        f"{accounts['machine']:,} of the judgments come from scripts or AI labelers, {accounts['person']:,} from people, and are"
        " marked so (`account`)."
        if accounts["machine"]
        else "All judgments come from people's accounts.",
        (
            f"{counts['gold']:,} judgments of items with a known answer, made to measure annotators, are marked (`gold`) and "
            "stand in the raw rows only."
        )
        if counts["gold"]
        else "",
        _describe_chats(counts),
        f"{counts['erased']:,} judgments are of messages of chats whose author has erased their account; they stand in the raw "
        "rows only, without the text."
        if counts.get("erased")
        else "",
        f"A uniform control slice is {100 * project['control_rate']:.0f}% of what was handed out (`control`)."
        if project["control_rate"]
        else "",
        f"Prompts were drawn with probabilities from {statistics['probabilities'][0]:g} to {statistics['probabilities'][1]:g}."
        if statistics["probabilities"] and statistics["probabilities"][0] < 1
        else "",
        f"The median judgment took {statistics['median_seconds']} seconds. Annotators appear by pseudonym.",
        "Opinions of AI judges are not in it.",
        "Answers by author: "
        + ", ".join(f"{_escape_markdown(name)} ({n:,})" for name, n in statistics["models"].items())
        + "."
        if statistics["models"]
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _describe_chats(counts: Mapping[str, int]) -> str:
    """The judgments of prompts that annotators wrote themselves."""
    if not counts.get("of_chats"):
        return ""
    return (
        f"{counts['of_chats']:,} of the judgments are of messages that annotators wrote in {counts['chats']:,} live chats: they "
        "judged, or improved, the answers of two models, and the chat went on from the one that they chose. These are marked "
        "(`chat`, `turn`), and their prompts have the tag `chat`."
    )


def _describe_tasks(statistics: Mapping[str, Any]) -> str:
    """How many answers were judged at once, and how often."""
    sizes = {int(k): n for k, n in statistics["answers"].items()}
    parts = [f"{k} answers side by side ({n:,} judgments)" for k, n in sizes.items() if k > 1]
    if written := sum(n for k, n in sizes.items() if k < 2):
        parts.append(f"prompts to be answered or answers to be improved ({written:,})")
    return " and ".join(parts)


def _describe_overlap(statistics: Mapping[str, Any]) -> str:
    """How many judgments items have."""
    parts = [
        f"{items:,} item{'' if items == 1 else 's'} {n} time{'' if n == '1' else 's'}"
        for n, items in statistics["judgments_per_item"].items()
    ]
    return f"They judged {', '.join(parts)}."


def _describe_imported(statistics: Mapping[str, Any]) -> str:
    """What the raw rows have besides: judgments made elsewhere."""
    imported = statistics.get("imported", [])
    if not imported:
        return ""
    counts = statistics["counts"]
    sources = ", ".join(
        f"{part['judgments']:,} by {'people' if part['account'] == 'person' else 'models'}"
        f" from {_escape_markdown(part['source']) or 'calls of the API'}"
        for part in imported
    )
    return (
        f"Besides, {counts['imported']:,} judgments with {counts['imported_pairs']:,} pairs were made elsewhere and imported: "
        f"{sources}. They are marked (`imported`, `source`), and no other figure here counts them."
    )


def _counts_table(counts: Mapping[str, int]) -> str:
    rows = [
        ("Judgments", "judgments"),
        ("Pairs", "pairs"),
        ("Prompts", "prompts"),
        ("Demonstrations", "demonstrations"),
    ]
    lines = ["| Number of | train | held out | all |", "|---|--:|--:|--:|"]
    for title, name in rows:
        if counts.get(name):
            train, held_out = (counts.get(f"{name}_{split}") for split in ("train", "held_out"))
            cells = [f"{n:,}" if n is not None else "" for n in (train, held_out, counts[name])]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _describe_quality(statistics: Mapping[str, Any]) -> str:
    agreement = statistics["agreement"]
    lines = []
    if agreement["items"]:
        lines.append(
            f"- Two people who judged the same item say the same of two of its answers {agreement['mean']:.0%} of the time "
            f"(mean over {agreement['items']:,} items with more than one judgment)."
        )
    else:
        lines.append("- No item has more than one judgment, so nothing is known of how far people agree.")
    for name, words in (
        ("first_shown_preferred", "the answer that was shown first"),
        ("longer_preferred", "the longer answer"),
    ):
        if preference := statistics[name]:
            lines.append(
                f"- Of two answers, {words} was preferred {preference['share']:.1%} of the time "
                f"(95% interval {preference['low']:.1%} to {preference['high']:.1%}, {preference['pairs']:,} pairs)."
            )
    return "\n".join(lines)


def _guidelines_section(guidelines: Sequence[Mapping[str, Any]]) -> list[str]:
    if not guidelines:
        return []
    about = "What annotators went by. The text is the project's own."
    return ["## Guidelines", about, *map(_quote_guideline, guidelines)]


def _quote_guideline(guideline: Mapping[str, Any]) -> str:
    quoted = "\n".join(f"> {line}" for line in guideline["text"].splitlines())
    return f"### Version {guideline['number']} ({guideline['judgments']:,} judgments)\n\n{quoted}"


def _questions_section(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    if not versions:
        return []
    about = "What annotators answered beside the ranks. The keys are those of `ratings`, `flags` and `answers` in `raw`."
    return ["## Questions", about, *map(_list_questions, versions)]


def _list_questions(version: Mapping[str, Any]) -> str:
    lines = [f"### Version {version['number']} of the questions ({version['judgments']:,} judgments)", ""]
    for question in stored_questions(version["questions"]):
        scale = f", 1 to {question.scale}" if question.kind == QuestionKind.RATING else ""
        ends = f" ({_escape_markdown(question.ends)})" if question.ends else ""
        help = f": {_escape_markdown(question.help)}" if question.help else ""
        lines.append(
            f"- `{question.key}`, {question.kind}{scale}{ends}: {_escape_markdown(question.label)}{help}"
        )
    return "\n".join(lines)


def _escape_markdown(name: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|" else sign for sign in name)

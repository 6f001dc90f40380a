"""The evaluate job: a reward model's scores, and its agreement with people. Rows of the same responses are scored once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.configs import EvaluateConfig
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.events import Events
from training.core.job_directory import Job, write_json, write_lines, write_output
from training.core.long_rows import LongRows
from training.core.model_loading import build_encoder, load_tokenizer, resolve_source
from training.core.preference_groups import group_rankings
from training.core.rankings import pairs_of
from training.core.reward_metrics import criteria_report, is_correct, reward_report
from training.core.reward_model import load_reward_model
from training.core.tokenization import warn_of_truncation
from training.core.train_reward import score_groups


def evaluate(job: Job, config: EvaluateConfig, events: Events) -> dict[str, Any]:
    """Score every response, report on the rows that have ranks, safety labels or ratings, and return the job's result."""
    rankings = read_rankings(job.data, ranks_required=False)
    setting = "reward_model" if job.reward_model else "model"
    source = resolve_source(job.reward_model or job.model or "", job.folder, setting)
    tokenizer, _ = load_tokenizer(source, setting)
    model = load_reward_model(source, setting, config.precision)
    encoder = build_encoder(model.trunk, tokenizer, config.max_length)
    too_long = LongRows()
    groups = group_rankings(rankings, encoder, too_long)
    # whoever has responses scored, and no judgments, needs all scores
    is_judged = all(ranking.ranks or ranking.pairs for ranking in rankings)
    share = config.too_long_share if is_judged else 0.0
    too_long.report(len(rankings), share, encoder, events)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length, setting)
    events.start(job.kind, len(rankings), None)
    scores = score_groups(model, groups, passes, events.raise_if_stopped)
    events.progress(len(rankings), len(rankings))
    reported = [
        index
        for index, group in enumerate(groups)
        if (group.held_out or config.split == "all")
        and any(ranking.ranks or ranking.safe or ranking.criteria for ranking in group.rankings)
    ]
    counted = set(reported)
    judged = [groups[index] for index in reported]
    rewards, *criteria = (
        [head[index] for index in reported] for head in (scores.rewards, *scores.criteria.values())
    )
    report = reward_report(judged, rewards, margin=config.margin)
    report |= criteria_report(judged, rewards, dict(zip(scores.criteria, criteria, strict=True)))
    report["bias"] = float(model.bias)

    def rounded(head: list[list[float]], index: int, places: Sequence[int]) -> list[float]:
        return [round(head[index][place], 6) for place in places]

    by_line: dict[int, dict[str, Any]] = {}
    for index, group in enumerate(groups):
        for ranking, places in zip(group.rankings, group.places, strict=True):
            row: dict[str, Any] = {"id": ranking.id, "rewards": rounded(scores.rewards, index, places)}
            if index in counted and (pairs := pairs_of(ranking.ranks or [])):
                own = [scores.rewards[index][place] for place in places]
                row["pairs"] = len(pairs)
                row["agrees"] = sum(is_correct(own[better], own[worse]) for better, worse in pairs)
            if scores.criteria:
                row["criteria"] = {
                    name: rounded(head, index, places) for name, head in scores.criteria.items()
                }
            by_line[ranking.line] = row

    def write(folder: Path) -> None:
        write_json(folder / "report.json", report)
        write_lines(folder / "scores.jsonl", [by_line[line] for line in sorted(by_line)])

    write_output(job, write)
    return {"rows": len(rankings), "report": report}

"""Scores of a reward model, and how far it agrees with people. Rows of the same responses are scored once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.configs import EvaluateConfig
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.events import Events
from training.core.job_directory import Job, publish, write_json, write_lines
from training.core.model_loading import encoder_for, load_tokenizer, locate
from training.core.preference_groups import encode
from training.core.reward_metrics import report, warn_of_truncation
from training.core.reward_model import load_reward_model
from training.core.train_reward import score


def evaluate(job: Job, config: EvaluateConfig, events: Events) -> dict[str, Any]:
    """Score every response, report on the rows that have ranks or labels of safety, and return what to say of it."""
    rankings = read_rankings(job.data, ranks_needed=False)
    setting = "reward_model" if job.reward_model else "model"
    source = locate(job.reward_model or job.model or "", job.folder, setting)
    tokenizer, _ = load_tokenizer(source, setting)
    model = load_reward_model(source, setting, config.precision)
    encoder = encoder_for(model.trunk, tokenizer, config.max_length)
    judged = encode(rankings, encoder)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length)
    events.start(job.kind, len(rankings), None)
    rewards = score(model, judged, passes, events.leave_if_asked)
    events.progress(len(rankings), len(rankings))
    reported = [
        (one, scores)
        for one, scores in zip(judged, rewards, strict=True)
        if (one.held_out or config.split == "all")
        and any(ranking.ranks or ranking.safe for ranking in one.rankings)
    ]
    figures = report([one for one, _ in reported], [scores for _, scores in reported], margin=config.margin)
    figures["bias"] = float(model.bias)
    by_line = {
        ranking.line: {"id": ranking.id, "rewards": [round(scores[place], 6) for place in places]}
        for one, scores in zip(judged, rewards, strict=True)
        for ranking, places in zip(one.rankings, one.places, strict=True)
    }

    def write(folder: Path) -> None:
        write_json(folder / "report.json", figures)
        write_lines(folder / "scores.jsonl", [by_line[line] for line in sorted(by_line)])

    return {"output": str(publish(job, write)), "rows": len(rankings), "report": figures}

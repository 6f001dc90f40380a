"""Scores of a reward model, and how far it agrees with people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.configs import EvaluateConfig
from training.core.data import read_rankings
from training.core.encoding import Encoder
from training.core.events import Events
from training.core.jobs import Job, publish, write_json, write_lines
from training.core.judgments import encode
from training.core.models import load_tokenizer, locate, longest_row
from training.core.reports import report, warn_of_truncation
from training.core.reward_model import load_reward_model
from training.core.scoring import Passes
from training.core.train_reward import score


def evaluate(job: Job, config: EvaluateConfig, events: Events) -> dict[str, Any]:
    """Score every response, report on the rows that have ranks, and return what to say of it."""
    rankings = read_rankings(job.data, ranks_needed=False)
    setting = "reward_model" if job.reward_model else "model"
    source = locate(job.reward_model or job.model or "", job.folder, setting)
    tokenizer, _ = load_tokenizer(source, setting)
    model = load_reward_model(source, setting, config.precision)
    encoder = Encoder(tokenizer, longest_row(model.trunk, config.max_length))
    judged = encode(rankings, encoder)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length)
    events.start(job.kind, len(judged), None)
    rewards = score(model, judged, passes, events.leave_if_asked)
    events.progress(len(judged), len(judged))
    ranked = [
        (one, scores)
        for one, scores in zip(judged, rewards, strict=True)
        if one.ranking.ranks is not None and (one.ranking.held_out or config.split == "all")
    ]
    figures = report([one for one, _ in ranked], [scores for _, scores in ranked], margin=config.margin)
    figures["bias"] = float(model.bias)
    scores_by_id = [
        {"id": one.ranking.id, "rewards": [round(reward, 6) for reward in scores]}
        for one, scores in zip(judged, rewards, strict=True)
    ]

    def write(folder: Path) -> None:
        write_json(folder / "report.json", figures)
        write_lines(folder / "scores.jsonl", scores_by_id)

    return {"output": str(publish(job, write)), "rows": len(judged), "report": figures}

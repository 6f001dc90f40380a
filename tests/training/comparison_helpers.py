"""Comparisons of two policies, as a reward model's run leaves them."""

from __future__ import annotations

from annotation.logic.splits import digest
from annotation.models import Prompt, Response, User
from tests import builders
from training.comparisons.pairs import Pair
from training.models import ComparedPrompt, Comparison, Run
from training.registry.actions import add_model


def compare(pair: Pair, creator: User, gains: list[float], tags: list[list[str]] | None = None) -> Comparison:
    """A comparison with these gains, of prompts p0, p1 and so on, which both answered once, the policy with twice the words."""
    project = pair.project
    tags = tags or [[] for _ in gains]
    builders.imported(
        project, *({"id": f"p{n}", "prompt": f"Question {n}?", "tags": tags[n]} for n in range(len(gains)))
    )
    scorer = add_model(project=project, kind="reward", name="judge", location="hub:some/judge@main")
    run = Run.objects.create(
        project=project, kind="evaluate", state="done", config={}, model=scorer, created_by=creator
    )
    wins = [float(gain > 0) if gain else 0.5 for gain in gains]
    rate = {"mean": sum(wins) / len(wins), "low": 0.0, "high": 1.0, "prompts": len(wins), "held_out": 0}
    comparison = Comparison.objects.create(
        run=run, scorer=scorer, policy=pair.policy, baseline=pair.baseline, win_rate=rate
    )
    for n, gain in enumerate(gains):
        prompt = Prompt.objects.get(external_id=f"p{n}", project=project)
        old, new = (
            Response.objects.create(prompt=prompt, author=version.author, text=text, digest=digest(text))
            for version, text in (
                (pair.baseline, f"Old answer {n}."),
                (pair.policy, f"New answer {n}, twice as long."),
            )
        )
        ComparedPrompt.objects.create(
            comparison=comparison,
            prompt=prompt,
            gain=gain,
            win_rate=wins[n],
            policy_length=len(new.text),
            baseline_length=len(old.text),
            scores={str(old.pk): 0.0, str(new.pk): gain},
        )
    return comparison

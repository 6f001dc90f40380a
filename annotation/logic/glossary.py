"""The words of the pages that a newcomer cannot know, each with its explanation. docs/glossary.md has the same texts."""

from __future__ import annotations

from dataclasses import dataclass

from annotation.logic.translation import gettext_noop


@dataclass(frozen=True)
class Entry:
    """A word with its explanation, both in English; pages translate them."""

    word: str
    text: str


GLOSSARY = {
    "model": Entry(
        gettext_noop("Model"),
        gettext_noop(
            "A model version: weights that came out of a run or were imported. A policy writes answers, a reward model scores"
            " them."
        ),
    ),
    "policy": Entry(
        gettext_noop("Policy"),
        gettext_noop(
            "A language model that writes answers, and that rounds improve. Of a project's policies one is current: it writes"
            " the answers that people judge next."
        ),
    ),
    "reference": Entry(
        gettext_noop("Reference"),
        gettext_noop(
            "The policy that does not change while another one is trained from it. How far the new policy has moved is measured"
            " against it."
        ),
    ),
    "kl-nats": Entry(
        gettext_noop("KL (nats)"),
        gettext_noop(
            "How far a policy's answers have moved from those of the reference: the logarithm of how much more likely the policy"
            " makes its own answers than the reference does, on average per answer. 0 is no change; a nat is a factor of 2.72."
        ),
    ),
    "second-reward-model": Entry(
        gettext_noop("Second reward model"),
        gettext_noop(
            "A reward model that is trained on the held-out judgments alone, which the first one never sees. Where only the first"
            " one prefers a new policy, the policy has learned the first one's mistakes."
        ),
    ),
    "gate": Entry(
        gettext_noop("Gate"),
        gettext_noop(
            "A check that a round must pass before its policy is promoted, such as a win rate or a largest KL. Where one is not"
            " passed, the round waits until a lead decides."
        ),
    ),
    "beyond-chance-at-its-low-end": Entry(
        gettext_noop("Beyond chance, at its low end"),
        gettext_noop(
            "Two people who guess agree on half of the pairs: beyond chance, 50% counts as 0 and 100% as 1. The low end is the"
            " smallest value of the 95% interval, so that a few lucky judgments do not set the bar."
        ),
    ),
    "calibration-error": Entry(
        gettext_noop("Calibration error"),
        gettext_noop(
            "How far a reward model's probabilities are from what people chose. If it says 80% and people agree in 70% of such"
            " pairs, it is 10 points off there; the error is the mean over all pairs."
        ),
    ),
    "overlap": Entry(
        gettext_noop("Overlap"),
        gettext_noop(
            "How many people judge each item. With an overlap of 2 or more, how far they agree can be measured."
        ),
    ),
}
"""By the name that templates use, which is also the anchor of its heading in docs/glossary.md."""

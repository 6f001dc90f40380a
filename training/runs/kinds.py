"""Which kinds of run learn from what, and what they make."""

from __future__ import annotations

from training.models import Run
from training.runs.reward_sources import LEARNS_REWARDS

LEARNS_JUDGMENTS = (Run.Kind.DPO, Run.Kind.KTO)
"""They train the policy on judgments directly."""
NEEDS_SNAPSHOT = (Run.Kind.REWARD, *LEARNS_JUDGMENTS, Run.Kind.EVALUATE)
MAY_BE_SERVED = (Run.Kind.GENERATE, Run.Kind.JUDGE, Run.Kind.REVISE)
"""Kinds for which a server's model may answer."""
MAKES_POLICY = (Run.Kind.PRETRAIN, Run.Kind.SFT, *LEARNS_JUDGMENTS, *LEARNS_REWARDS)

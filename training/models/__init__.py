"""Models of runs, their metrics, model versions, comparisons of policies, loops and rounds."""

from training.models.comparisons import ComparedPrompt, Comparison
from training.models.rounds import Loop, Round, is_failed
from training.models.runs import Metric, ModelVersion, Run, RunLog

__all__ = [
    "ComparedPrompt",
    "Comparison",
    "Loop",
    "Metric",
    "ModelVersion",
    "Round",
    "Run",
    "RunLog",
    "is_failed",
]

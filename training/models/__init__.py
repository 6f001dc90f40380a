"""Models of runs, their metrics, model versions, loops and rounds."""

from training.models.rounds import Loop, Round, is_failed
from training.models.runs import Metric, ModelVersion, Run, RunLog

__all__ = ["Loop", "Metric", "ModelVersion", "Round", "Run", "RunLog", "is_failed"]

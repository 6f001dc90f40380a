"""Models of runs, their metrics, model versions, loops and rounds."""

from training.models.rounds import Loop, Round
from training.models.runs import Metric, ModelVersion, Run

__all__ = ["Loop", "Metric", "ModelVersion", "Round", "Run"]

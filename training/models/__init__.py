"""Runs, what they measured, the model versions that came out of them; and the loop that starts runs in rounds."""

from training.models.rounds import Loop, Round
from training.models.runs import Metric, ModelVersion, Run

__all__ = ["Loop", "Metric", "ModelVersion", "Round", "Run"]

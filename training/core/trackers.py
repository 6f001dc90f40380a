"""Trackers that a run's metrics go to besides its events, each a package of its own that is imported where it is asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from training.core.errors import BadInput

PROJECT = "palate"
"""The project or experiment of the runs, unless WANDB_PROJECT, MLFLOW_EXPERIMENT_NAME or TRACKIO_PROJECT name another one."""
Config = Mapping[str, Any]


class Tracker(Protocol):
    """Where metrics go, step by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def open_tracker(name: str, folder: Path, kind: str, config: Config) -> Tracker:
    """The tracker of a run, which is named after its kind and job directory; a resumed run goes on in the same one.

    Raises BadInput if its package is not installed or refuses the run.
    """
    try:
        return TRACKERS[name](folder, f"{kind}-{folder.name}", config)
    except ImportError:
        raise BadInput(
            f"The tracker {name} is not installed here: pip install {name}.", setting="tracker"
        ) from None
    except Exception as error:  # noqa: BLE001 - each package has errors of its own
        raise BadInput(f"The tracker {name} cannot be used: {error}", setting="tracker") from None


class TensorBoard:
    """Event files in `tensorboard/` of the job directory.

    steps_done: readers drop what an interrupted process wrote of the steps after it, which are taken again.
    """

    def __init__(self, folder: Path, steps_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard", purge_step=steps_done + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a killed run keeps what it reported

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases, configured by its own environment variables: WANDB_API_KEY, WANDB_MODE, WANDB_BASE_URL."""

    def __init__(self, folder: Path, title: str, config: Config) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=title,
            config=dict(config),
            dir=str(folder),
            id=_run_id(folder, "wandb"),
            resume="allow",
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow, at MLFLOW_TRACKING_URI."""

    def __init__(self, folder: Path, title: str, config: Config) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        known = folder / "mlflow-run-id"
        if known.exists():
            mlflow.start_run(run_id=known.read_text())
        else:
            known.write_text(mlflow.start_run(run_name=title).info.run_id)
            mlflow.log_params(dict(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class Trackio:
    """Trackio: its folder on this machine, or the space TRACKIO_SPACE_ID."""

    def __init__(self, folder: Path, title: str, config: Config) -> None:
        import trackio

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{title}-{_run_id(folder, 'trackio')}",
            config=dict(config),
            resume="allow",
            space_id=os.environ.get("TRACKIO_SPACE_ID"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _run_id(folder: Path, tracker: str) -> str:
    """The id of a run, which is made once and kept in the job directory: a resumed run goes on, and no other one does."""
    known = folder / f"{tracker}-run-id"
    if not known.exists():
        known.write_text(secrets.token_hex(8))
    return known.read_text()


TRACKERS: Mapping[str, Any] = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}

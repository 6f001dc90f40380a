"""The job directory: reading `job.json` and publishing `output/` atomically. The contract is in docs/job-format.md."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.configs import Config, ConfigError, from_dict
from training.core.errors import BadInput
from training.core.events import json_safe
from training.core.principles import Principle, read_principles
from training.core.process_rank import is_main_process

NEEDS_MODEL = {
    *("sft", "reward", "dpo", "kto", "generate", "evaluate"),
    *("rejection", "rest", "hindsight", "ppo", "grpo", "reinforce", "online"),
    *("revise", "judge"),
}

MODELS = ("model", "reference", "reward_model", "safety_reward_model", "second_reward_model", "judge")
"""The entries of job.json that name a model."""


@dataclass(frozen=True)
class Job:
    """A job as its `job.json` describes it."""

    folder: Path
    kind: str
    config: Config
    model: str | None
    reference: str | None
    reward_model: str | None
    safety_reward_model: str | None = None
    second_reward_model: str | None = None
    judge: str | None = None
    principles: tuple[Principle, ...] = ()

    @property
    def data(self) -> Path:
        return self.folder / "data.jsonl"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def unpublished(self) -> Path:
        """The output while it is being written."""
        return self.folder / "output.tmp"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def precision_choice(self) -> Path:
        """What the precision `default` or `auto` means for this run."""
        return self.folder / "precision.json"


def read_job(folder: Path) -> Job:
    """The job in `folder`. Raises BadInput for anything missing or wrong."""
    path = folder / "job.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"There is no job.json in {folder}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"job.json is not JSON: {error}.") from None
    if not isinstance(values, dict) or not isinstance(values.get("config", {}), dict):
        raise BadInput("job.json must hold an object whose config is an object too.")
    kind = values.get("kind")
    try:
        config = from_dict(str(kind), values.get("config", {}))
    except ConfigError as error:
        raise BadInput(f"The setting {error.field} is wrong: {error.message}", setting=error.field) from None
    names: dict[str, str | None] = {}
    for name in MODELS:
        value = values.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise BadInput(f"{name} in job.json must be a path or hub:org/name@revision.", setting=name)
        names[name] = value
    if kind == "evaluate":
        names["model"] = names["model"] or names["reward_model"]
    if kind in NEEDS_MODEL and names["model"] is None and not getattr(config, "server", ""):
        raise BadInput(f"A {kind} job needs a model: a path or hub:org/name@revision.", setting="model")
    if not (folder / "data.jsonl").is_file():
        raise BadInput(f"There is no data.jsonl in {folder}.")
    principles = tuple(read_principles(values["principles"])) if values.get("principles") else ()
    return Job(folder=folder, kind=str(kind), config=config, principles=principles, **names)


def write_output(job: Job, write: Callable[[Path], None]) -> None:
    """Let `write` fill `output.tmp/`, which `publish_output` renames. Only the main process writes."""
    if not is_main_process():
        return
    shutil.rmtree(job.unpublished, ignore_errors=True)
    job.unpublished.mkdir()
    write(job.unpublished)
    write_json(job.unpublished / "palate.json", model_metadata(job))
    if (job.folder / "tensorboard").is_dir():
        shutil.copytree(job.folder / "tensorboard", job.unpublished / "tensorboard")


def publish_output(job: Job, result: dict[str, Any]) -> None:
    """Put `result` into `output.tmp/` as result.json and rename that to `output/`; then remove the checkpoint.

    The job's result and its output appear together: whoever finds an output can report its result (`read_result`). Only the
    main process writes.
    """
    if not is_main_process():
        return
    write_json(job.unpublished / "result.json", json_safe(result))
    fsync_tree(job.unpublished)
    job.unpublished.rename(job.output)
    fsync(job.folder)
    for name in ("checkpoint", "checkpoint.old", "checkpoint.tmp", "tensorboard"):
        shutil.rmtree(job.folder / name, ignore_errors=True)
    job.precision_choice.unlink(missing_ok=True)


def read_result(job: Job) -> dict[str, Any] | None:
    """The result of a job whose output was published, else None."""
    if not job.output.is_dir():
        return None
    result: dict[str, Any] = json.loads((job.output / "result.json").read_text(encoding="utf-8"))
    return result


def model_metadata(job: Job) -> dict[str, Any]:
    """The contents of palate.json: how the output was made."""
    import torch
    import transformers

    return {
        "kind": job.kind,
        "config": job.config.to_dict(),
        **{name: getattr(job, name) for name in MODELS},
        "principles": [asdict(principle) for principle in job.principles],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write `rows` as JSON lines, synced to disk."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    fsync(path)


def fsync(path: Path) -> None:
    """Sync a file, or the entries of a directory, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)

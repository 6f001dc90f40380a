"""A cluster's scheduler, as the commands that a TOML file describes: those that submit a job, ask for it and cancel it by name.

The file and its keys are described in docs/cluster.md. Jobs are known by the names that they are given here: a submit that may or
may not have happened is looked up, and what was started twice is cancelled at once.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from training.launch.child import ROOT
from training.launch.job import Resources

COMMAND_S = 30.0
"""How long a command of the scheduler may take."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
PLACEHOLDERS = {
    "submit": {
        *("name", "folder", "root", "command", "argv", "manifest"),
        *("nodes", "gpus", "queue", "priority", "minutes"),
    },
    "manifest": {
        "name",
        "folder",
        "root",
        "command",
        "argv",
        "nodes",
        "gpus",
        "queue",
        "priority",
        "minutes",
    },
    "status": {"name"},
    "cancel": {"name"},
}
"""What each of them may contain."""


class SchedulerError(Exception):
    """The scheduler refused, or did not answer; the message is its own. `answered`: whether the command ended by itself."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


@dataclass(frozen=True)
class Scheduler:
    """The commands, the words of their answers, and the limits.

    submit, status, cancel: lists of arguments with placeholders; one whose placeholder is empty is left out. manifest: the text
    of a YAML file that is written for `submit`. alive, ended: words of which each line of the answer of `status`, which is about
    one job, has one; `ended` counts first. queues: their names, the default first. nodes, gpus: the most that a run may have,
    GPUs on each node. minutes: how long a job may run before it is stopped and submitted again; 0: no limit. poll_s: seconds
    between questions.
    """

    path: Path
    submit: list[str]
    status: list[str]
    cancel: list[str]
    alive: list[str]
    ended: list[str]
    manifest: str = ""
    queues: tuple[str, ...] = ()
    nodes: int = 1
    gpus: int = 1
    minutes: int = 0
    poll_s: float = 10.0

    def submit_job(self, job_folder: Path, resources: Resources, name: str) -> None:
        """Submit a job.

        Raises:
            SchedulerError: it may not have been submitted; where the scheduler did not answer, it may have been, too.
        """
        argv = [sys.executable, "-m", "training.launch.node", str(job_folder), name]
        values = {key: str(value) for key, value in resources._asdict().items()} | {
            "name": name,
            "folder": str(job_folder),
            "root": str(ROOT),
            "command": shlex.join(argv),
            "argv": json.dumps(argv),
        }
        if self.manifest:
            manifest = job_folder / "manifest.yaml"
            manifest.write_text(_fill(self.manifest, values))
            values["manifest"] = str(manifest)
        words = [argv if argument == "{argv}" else [argument] for argument in self.submit]
        self._run(list(chain.from_iterable(words)), values)

    def poll_job(self, name: str) -> bool:
        """Whether the job waits or runs; False if it has ended, or if the scheduler does not know it.

        Raises:
            SchedulerError: it did not answer, or something else.
        """
        answer = self._run(self.status, {"name": name})
        is_alive = False
        for line in filter(str.strip, answer.splitlines()):
            words = set(re.findall(r"[\w-]+", line))
            if words & set(self.ended):
                continue
            if not words & set(self.alive):
                raise SchedulerError(f"its answer was {line.strip()[:200]!r}", answered=True)
            is_alive = True
        return is_alive

    def cancel_job(self, name: str) -> None:
        """Cancel all jobs of this name, whether they wait or run.

        Raises:
            SchedulerError: it refused or did not answer.
        """
        self._run(self.cancel, {"name": name})

    def _run(self, template: Sequence[str], values: Mapping[str, str]) -> str:
        arguments = [
            _fill(argument, values)
            for argument in template
            if all(values[name] for name in PLACEHOLDER.findall(argument))
        ]
        try:
            done = subprocess.run(
                arguments, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S
            )
        except subprocess.TimeoutExpired:
            message = f"{arguments[0]} did not end within {COMMAND_S:.0f} s"
            raise SchedulerError(message, answered=False) from None
        except OSError as error:
            raise SchedulerError(f"{arguments[0]}: {error.strerror}", answered=False) from None
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            message = f"{arguments[0]} ended with code {done.returncode}"
            raise SchedulerError(": ".join([message, *lines[-1:]])[:500], answered=True)
        return done.stdout.decode(errors="replace")


def read_scheduler(path: Path) -> Scheduler:
    """The scheduler that a TOML file describes. `manifest` in the file is the name of another file beside it.

    Raises:
        ValueError: with a sentence that names the file and the key.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"LAUNCHER: {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ValueError(f"LAUNCHER: {path} is not TOML: {error}.") from None
    known = {field.name for field in fields(Scheduler)} - {"path"}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"LAUNCHER: {path} has unknown keys: {', '.join(unknown)}.")
    for key in ("submit", "status", "cancel", "alive", "ended", "queues"):
        words = values.get(key, [])
        if (key != "queues" and not words) or not _are_texts(words):
            raise ValueError(f"LAUNCHER: {key} of {path} must be a list of texts.")
    for key, least in (("nodes", 1), ("gpus", 1), ("minutes", 0), ("poll_s", 0)):
        if not isinstance(values.get(key, 1), int | float) or values.get(key, 1) < least:
            raise ValueError(f"LAUNCHER: {key} of {path} must be a number of at least {least}.")
    if manifest := values.get("manifest"):
        try:
            values["manifest"] = (path.parent / str(manifest)).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(f"LAUNCHER: the manifest of {path} cannot be read: {error}.") from None
    for key, names in PLACEHOLDERS.items():
        texts = [values[key]] if key == "manifest" and manifest else values.get(key) or []
        for name in PLACEHOLDER.findall("\n".join(texts)):
            if name not in names or (name == "manifest" and not manifest):
                raise ValueError(
                    f"LAUNCHER: {key} of {path} has an unknown placeholder {{{name}}}; there are"
                    f" {', '.join(sorted(names))}."
                )
    return Scheduler(**values | {"path": path, "queues": tuple(values.get("queues", ()))})


def _are_texts(words: object) -> bool:
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _fill(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)

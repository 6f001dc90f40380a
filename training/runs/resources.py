"""What a run asks of the machines: nodes, GPUs, queue and priority, and the site's limits of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from training.configs import KINDS
from training.errors import RunError
from training.launch.job import Resources
from training.models import Run

RESOURCES = ("nodes", "gpus", "queue", "priority")
"""The fields of a run that say what it asks for."""
MAX_PRIORITY = 1000


def most_nodes() -> int:
    """The most nodes that a run may have."""
    return settings.LAUNCHER.nodes if settings.LAUNCHER else 1


def most_gpus() -> int:
    """The most GPUs that a run may have on each node."""
    return settings.LAUNCHER.gpus if settings.LAUNCHER else max(settings.GPUS, settings.TRAINER_PROCESSES)


def queues() -> tuple[str, ...]:
    """The scheduler's queues that a run may name, the default first."""
    return settings.LAUNCHER.queues if settings.LAUNCHER else ()


def check_resources(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run, of those in `values` that are neither empty nor missing.

    Raises:
        RunError: the site has less, or the kind needs less; the message names the setting.
    """
    values = {name: value for name, value in values.items() if value not in (None, "")}
    limits = {
        "nodes": (most_nodes(), "LAUNCHER"),
        "gpus": (most_gpus(), "LAUNCHER" if settings.LAUNCHER else "GPUS"),
    }
    for name, (most, setting) in limits.items():
        if not 1 <= values.get(name, 1) <= most:
            text = _(
                "A run of this site has at most %(most)s %(name)s, not %(number)s; see the setting %(setting)s."
            )
            raise RunError(
                name, text % {"most": most, "name": name, "number": values[name], "setting": setting}
            )
    if not KINDS[kind].distributable and values.get("nodes", 1) * values.get("gpus", 1) > 1:
        text = _("A %(kind)s run is one process, which uses one GPU.")
        raise RunError("gpus" if values.get("gpus", 1) > 1 else "nodes", text % {"kind": kind})
    if (queue := values.get("queue")) and queue not in queues():
        text = _("This site has no queue %(queue)s; it has: %(queues)s. See the setting LAUNCHER.")
        names = ", ".join(queues()) or _("none")
        raise RunError("queue", text % {"queue": repr(queue[:40]), "queues": names})
    if abs(values.get("priority", 0)) > MAX_PRIORITY:
        text = _("A priority is a number from -%(most)s to %(most)s.")
        raise RunError("priority", text % {"most": MAX_PRIORITY})
    return values


def run_resources(run: Run) -> Resources:
    """What a run gets, with the site's defaults."""
    gpus = run.gpus or (settings.TRAINER_PROCESSES if KINDS[run.kind].distributable else 1)
    queue = run.queue or next(iter(queues()), "")
    minutes = settings.LAUNCHER.minutes if settings.LAUNCHER else 0
    return Resources(run.nodes, gpus, queue, run.priority, minutes)

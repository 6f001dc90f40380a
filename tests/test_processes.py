"""Which process does what."""

from __future__ import annotations

from django.conf import settings

from config.processes import commands


def served(name: str) -> list[str]:
    """The queues that a process serves."""
    command = commands(0)[name]
    return command[command.index("--queues") + 1].split(",") if "--queues" in command else []


def test_every_queue_has_its_process() -> None:
    queues = {settings.CELERY_TASK_DEFAULT_QUEUE, *(r["queue"] for r in settings.CELERY_TASK_ROUTES.values())}
    assert queues == {queue for name in commands(0) for queue in served(name)}


def test_the_clock_s_small_work_waits_for_no_import_and_no_webhook() -> None:
    small = served("worker")
    for task in ("annotation.tasks.read_import", "annotation.tasks.sweep_webhooks"):
        assert settings.CELERY_TASK_ROUTES[task]["queue"] not in small
    assert served("importer") != served("sender")

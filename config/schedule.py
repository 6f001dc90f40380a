"""Celery's queues by task, and the tasks that beat starts, with their intervals in seconds."""

from __future__ import annotations

ROUTES = {
    "annotation.tasks.count_figure": {"queue": "figures"},
    "annotation.tasks.apply_rules": {"queue": "figures"},  # it counts the figures of annotators
    "annotation.tasks.read_import": {"queue": "imports"},
    "annotation.tasks.create_snapshot": {"queue": "jobs"},
    "annotation.tasks.erase_texts": {"queue": "jobs"},
    "annotation.tasks.sweep_webhooks": {"queue": "webhooks"},
    "training.tasks.execute_run": {"queue": "gpu"},
    "training.tasks.answer_turn": {"queue": "chats"},
    "training.tasks.answer_question": {"queue": "chats"},
}
"""Tasks of the queue `default` are not listed."""

PERIODIC = {
    "sweep-runs": {"task": "training.tasks.sweep_runs", "schedule": 5.0},
    "sweep-stuck-runs": {"task": "training.tasks.sweep_stuck_runs", "schedule": 60.0},
    "sweep-jobs": {"task": "annotation.tasks.sweep_jobs", "schedule": 5.0},
    "measure-agreement": {"task": "annotation.tasks.measure_agreement", "schedule": 15.0},
    "merge-project-counts": {"task": "annotation.tasks.merge_project_counts", "schedule": 15.0},
    "apply-rules": {"task": "annotation.tasks.apply_rules", "schedule": 60.0},
    "send-digests": {"task": "annotation.tasks.send_digests", "schedule": 60.0},
    "notify-of-due-batches": {"task": "annotation.tasks.notify_of_due_batches", "schedule": 60.0},
    "delete-old-notifications": {"task": "annotation.tasks.delete_old_notifications", "schedule": 3600.0},
    "drop-left-turns": {"task": "annotation.tasks.drop_left_turns", "schedule": 3600.0},
    "sweep-webhooks": {"task": "annotation.tasks.sweep_webhooks", "schedule": 5.0},
    "delete-old-deliveries": {"task": "annotation.tasks.delete_old_deliveries", "schedule": 3600.0},
    "sweep-rounds": {"task": "training.tasks.sweep_rounds", "schedule": 5.0},
}

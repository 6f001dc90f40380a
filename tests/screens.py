"""Every page of the site by its URL's name, for tests that look at all of them.

A URL that is no page of its own (an action, a part of a page, a download) stands in NO_PAGES. A new URL belongs in one of
the two: a test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import URLPattern, get_resolver, resolve, reverse

from annotation.actions.passwords import reset_path
from annotation.models import Project, User


@dataclass(frozen=True)
class World:
    """What stands in the database: a project with work in it, and the ids that pages need."""

    project: Project
    pairs: Project
    letters: Project
    judgment: int
    item: int
    annotator: str
    lead: int
    run: int
    model: int
    round: int
    upload: int
    webhook: int
    invitation: str
    chat: int


Args = Callable[[World], list[object]]


def _none(_: World) -> list[object]:
    return []


def _project(world: World) -> list[object]:
    return [world.project.slug]


def _of(attribute: str) -> Args:
    return lambda world: [world.project.slug, getattr(world, attribute)]


def _reset_link(user: User) -> list[object]:
    return list(resolve(reset_path(user)).kwargs.values())


# by whose eyes: nobody signed in, the annotator, the lead
SIGNED_OUT: dict[str, Args] = {
    "account_login": _none,
    "account_inactive": _none,
    "account_reset_password": _none,
    "account_reset_password_done": _none,
    "join": lambda world: [world.invitation],
    "account_reset_password_from_key": lambda world: _reset_link(User.objects.get(username=world.annotator)),
    "account_reset_password_from_key_done": _none,
}
ANNOTATOR: dict[str, Args] = {
    "home": _none,
    "work": _project,
    "work-guidelines": _project,
    "chats": _project,
    "chat": _of("chat"),
    "my-work": _none,
    "notifications": _none,
    "my-judgments": _none,
    "my-judgment": lambda world: [world.judgment],
    "guideline": lambda world: [world.project.slug, 1],
    "account": _none,
    "account-erase": _none,
    "palette": _none,
    "help": lambda _: ["annotating"],
    "judging-settings": _none,
    "account_change_password": _none,
    "account_reauthenticate": _none,
    "account_email": _none,
}
LEAD: dict[str, Args] = {
    "project": _project,
    "project-new": _none,
    "project-settings": _project,
    "chat-settings": _project,
    "questions": _project,
    "webhooks": _project,
    "webhook": _of("webhook"),
    "guidelines": _project,
    "guideline-diff": lambda world: [world.project.slug, 1, 2],
    "constitutions": _project,
    "constitution": lambda world: [world.project.slug, 1],
    "constitution-diff": lambda world: [world.project.slug, 1, 2],
    "members": _project,
    "batches": _project,
    "import": _project,
    "import-preview": _of("upload"),
    "progress": _project,
    "remind": _project,
    "quality": _project,
    "annotator": _of("annotator"),
    "review": _project,
    "items": _project,
    "judgments": _project,
    "item": _of("item"),
    "ai-feedback": _project,
    "opinion-set": lambda world: [world.project.slug, 1],
    "rules": _project,
    "search": _project,
    "audit": _project,
    "snapshots": _project,
    "snapshot": lambda world: [world.project.slug, 1],
    "runs": _project,
    "run-new": lambda world: [world.project.slug, "reward"],
    "run": _of("run"),
    "rounds": _project,
    "round-new": _project,
    "round": _of("round"),
    "models": _project,
    "model-compare": _project,
    "leaderboard": _project,
    "run-curves": _project,
    "playground": _project,
    "model": _of("model"),
}
NO_PAGES = {
    # what a press of a button asks for
    *("openid_connect_login", "openid_connect_callback", "single-sign-on-disconnect", "sessions-end"),
    # pages that lead elsewhere unless something was done before: see the tests of signing in
    *("account_set_password", "account_confirm_email", "mfa_index", "mfa_authenticate", "mfa_reauthenticate"),
    *("mfa_activate_totp", "mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes"),
    "mfa_download_recovery_codes",
    *(
        "logout",
        "work-skip",
        "work-ask",
        "my-judgment-ask",
        "thread-ask",
        "item-reply",
        "notification-open",
        "notifications-read",
        "batch-due",
        "batch-close",
        "account-display",
        "account-time-zone",
        "work-back",
        "member-create",
        "member-role",
        "member-remove",
        "member-restore",
        "member-password",
    ),
    *(
        "invitation-make",
        "invitation-revoke",
        "import-start",
        "import-map",
        "import-cancel",
        "annotator-exclude",
        "annotator-include",
        "annotator-pause",
    ),
    *("annotator-warn", "annotator-resume", "item-decide", "rule-remove", "freeze", "snapshot-job-cancel"),
    "token-revoke",
    *("chat-end", "turn-judge", "turn-write", "turn-drop", "turn-retry", "turn-stream", "turn-events"),
    *("work-confirm", "webhook-switch", "webhook-remove", "webhook-test", "webhook-redeliver"),
    *(
        "person-erase",
        "run-cancel",
        "run-resume",
        "round-act",
        "model-promote",
        "model-retire",
        "snapshot-hub",
    ),
    *("judging-view", "judging-keys", "view-save", "view-change"),
    *(
        "items-bulk",
        "items-undo",
        "review-bulk",
        "review-undo",
        "members-bulk",
        "members-undo",
        "runs-bulk",
        "runs-undo",
    ),
    # parts of pages
    *("work-draft", "work-ahead", "work-renew", "work-preview", "markdown-preview", "import-list"),
    *("work-source", "my-judgment-source", "item-source"),
    *(
        "opinion-set-runs",
        "project-loop",
        "run-live",
        "rounds-live",
        "round-live",
        "snapshot-difference",
        "playground-stream",
        "playground-events",
        "playground-queue",
        "model-compare-start",
        "model-compare-queue",
    ),
    "webhook-log",
    # files
    *(
        "live-download",
        "snapshot-download",
        "account-export",
        "my-timesheet",
        "project-timesheet",
        "image",
        "model-card",
        "model-download",
        "model-compare-csv",
        "run-curves-csv",
    ),
}


def names() -> set[str]:
    """The names of the site's own URLs, without the API's and the administration's."""
    found: set[str] = set()
    for included in get_resolver().url_patterns:
        if str(included.pattern) == "":
            for pattern in getattr(included, "url_patterns", []):
                if isinstance(pattern, URLPattern) and pattern.name:
                    found.add(pattern.name)
    return found


def paths(table: dict[str, Args], world: World) -> dict[str, str]:
    return {name: reverse(name, args=args(world)) for name, args in table.items()}

"""Retake the pictures of the README and the guides: `make demo SERVE=0 && make screenshots`.

Annotators' screens show the texts of docs/showcase.py; the lead's show the demo, once it has run. Each picture that the
documents show is taken in both themes, into docs/pictures/. With `--all` every page of the site is taken, at desktop and phone
width, into var/pictures/, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright runs a loop in this thread
django.setup()

import showcase  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import reverse  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from annotation.models import Chat, Judgment, Project, User  # noqa: E402
from config.processes import site  # noqa: E402
from training.demo.projects import PASSWORD, SLUG  # noqa: E402
from training.models import ModelVersion, Round, Run  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
BROWSER = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]


DOCUMENTS = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
# keys that are pressed before the picture is taken
PRESSED = {"diff": "a w", "guidelines-drawer": "m"}


CSP = "Content Security Policy"
"""In what the browser says when it refuses something."""


def shown() -> set[str]:
    """The pictures in the README and the guides, without their themes: `rank-phone`. The site shows each in the reader's."""
    return {
        name
        for path in DOCUMENTS
        for name in re.findall(r"pictures/(.+?)-(?:light|dark)\.png", path.read_text())
    }


def people() -> tuple[User, User]:
    """The demo's lead and annotator, or new ones of these names."""
    found = []
    for name in ("lead", "annotator"):
        user = User.objects.filter(username=name).first()
        found.append(
            user
            or User.objects.create(username=name, is_staff=name == "lead", password=make_password(PASSWORD))
        )
    return found[0], found[1]


def annotators_pages(made: dict[str, Project], chat: Chat, annotator: User) -> Iterator[tuple[str, str, str]]:
    """Each picture's name, whose eyes see it, and where."""
    yield "sign-in", "", reverse("account_login")
    yield "home", "annotator", "/"
    for name, project in made.items():
        yield name, "annotator", reverse("work", args=[project.slug])
    yield "diff", "annotator", reverse("work", args=[made["rank"].slug])
    yield "chat", "annotator", reverse("chat", args=[chat.project.slug, chat.pk])
    yield "guidelines-drawer", "annotator", reverse("work", args=[made["rank"].slug])
    yield "my-judgments", "annotator", reverse("my-judgments")
    yield "my-work", "annotator", reverse("my-work")
    yield "notifications", "annotator", reverse("notifications")
    yield "judging-settings", "annotator", reverse("judging-settings")
    yield "questions", "lead", reverse("questions", args=[made["criteria"].slug])
    yield "batches", "lead", reverse("batches", args=[made["rank"].slug])
    last = Judgment.objects.current().filter(annotator=annotator).latest("id")
    yield "my-judgment", "annotator", reverse("my-judgment", args=[last.pk])
    yield "account", "annotator", reverse("account")


def leads_pages() -> Iterator[tuple[str, str, str]]:
    """The demo's, as far as it has run."""
    project = Project.objects.filter(slug=SLUG).first()
    if project is None:
        return
    for name in ("project", "progress", "quality", "review", "items", "rules", "audit", "members", "guidelines",
                 "import", "snapshots", "runs", "rounds", "round-new", "models", "project-settings", "webhooks",
                 "judgments", "search", "remind", "leaderboard", "run-curves", "ai-feedback", "model-compare"):  # fmt: skip
        yield name, "lead", reverse(name, args=[SLUG])
    yield "project-new", "lead", reverse("project-new")
    item = project.items.filter(judgments__isnull=False).first()
    run = Run.objects.filter(project=project, kind="reward", state="done").first()
    policy = ModelVersion.objects.filter(project=project, kind="policy").first()
    rounds = Round.objects.filter(loop__project=project)
    round = rounds.filter(state=Round.State.DONE).first() or rounds.first()
    member = project.members.filter(role="annotator", user__judgments__isnull=False).last()
    for name, found in (("item", item), ("run", run), ("model", policy), ("round", round)):
        if found is not None:
            yield name, "lead", reverse(name, args=[SLUG, found.pk])
    if member is not None:
        yield "annotator", "lead", reverse("annotator", args=[SLUG, member.user.username])


def sign_in(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/sign-in/")
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(f"{address}/")


def main() -> None:
    if settings.EMBEDDED:
        settings.EMBEDDED.start()
    call_command("migrate", verbosity=0)
    everything, wanted = "--all" in sys.argv[1:], shown()
    folder = settings.VAR / "pictures" if everything else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    lead, annotator = people()
    made = showcase.build(lead, annotator)
    pages = [*annotators_pages(made, showcase.chat(lead, annotator), annotator), *leads_pages()]
    refused: list[str] = []
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSER)), None)
    with site(int(os.environ.get("PORT", "8099"))) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for device, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for who in ("", "annotator", "lead"):
                    context = browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                        reduced_motion="reduce",
                        has_touch=device == "phone",
                        is_mobile=device == "phone",
                    )
                    page = context.new_page()
                    page.on(
                        "console",
                        lambda message: refused.append(message.text) if CSP in message.text else None,
                    )
                    if who:
                        sign_in(page, address, who)
                    for name, eyes, path in pages:
                        if eyes != who or not (everything or f"{name}-{device}" in wanted):
                            continue
                        page.goto(address + path)
                        for key in PRESSED.get(name, "").split():
                            page.keyboard.press(key)
                        page.wait_for_timeout(700)  # curves and the first message of the socket
                        page.screenshot(path=folder / f"{name}-{device}-{scheme}.png")
                    context.close()
        browser.close()
    if refused:
        raise SystemExit("\n".join(refused))


if __name__ == "__main__":
    main()

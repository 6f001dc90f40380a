"""Take the pictures of the README and the guides anew, from a demo that has run: `make demo SERVE=0 && make screenshots`.

Each page is taken at desktop and phone width, light and dark, into docs/pictures/.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright runs a loop in this thread
django.setup()

from django.conf import settings  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from annotation.models import Candidate, Slot  # noqa: E402
from config.processes import site  # noqa: E402
from training.demo.world import PASSWORD, SLUG  # noqa: E402
from training.models import ModelVersion, Run  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
BROWSER = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]


def pages() -> Iterator[tuple[str, str, str]]:
    """Each picture's name, whose eyes see it, and where."""
    reward = Run.objects.filter(project__slug=SLUG, kind="reward", state="done").first()
    policy = ModelVersion.objects.filter(project__slug=SLUG, kind="policy").first()
    if reward is None or policy is None:
        sys.exit("There is nothing to show yet: make demo SERVE=0")
    yield "home", "annotator", "/"
    yield "rank", "annotator", f"/p/{SLUG}/work/"
    yield "compare", "annotator", f"/p/{SLUG}/work/"
    yield "project", "lead", f"/p/{SLUG}/"
    yield "data", "lead", f"/p/{SLUG}/data/"
    yield "run", "lead", reward.get_absolute_url()
    yield "model", "lead", policy.get_absolute_url()


def offer(name: str) -> None:
    """Let the annotator's next item be one to rank, or one to compare."""
    if name not in ("rank", "compare"):
        return
    slots = Slot.objects.filter(project__slug=SLUG).exclude(state="done")
    slots.filter(state="leased").update(
        state="open", annotator=None, token=None, leased_until=None, shown_order=None
    )
    wanted = {"rank": 4, "compare": 2}[name]
    for slot in slots.filter(state="open").order_by("-priority", "random_key"):
        if Candidate.objects.filter(item=slot.item_id).count() == wanted:
            slots.filter(priority__gt=1000).update(priority=0)
            Slot.objects.filter(pk=slot.pk).update(priority=1001)
            return


def sign_in(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/sign-in/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(f"{address}/")


def main() -> None:
    if settings.EMBEDDED:
        settings.EMBEDDED.start()
    PICTURES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSER)), None)
    with site(int(os.environ.get("PORT", "8099"))) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for device, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for name, who, path in pages():
                    offer(name)
                    context = browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                        reduced_motion="reduce",
                    )
                    page = context.new_page()
                    sign_in(page, address, who)
                    page.goto(address + path)
                    page.wait_for_timeout(700)  # curves and the first message of the socket
                    page.screenshot(path=PICTURES / f"{name}-{device}-{scheme}.png")
                    context.close()
        browser.close()


if __name__ == "__main__":
    main()

"""The pages that oversee the work, in a browser: live charts, a verdict without scripts, labels that can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.models import Item, Member, Project, User, Verdict
from tests import builders

SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice, k=3, overlap=2)
    for name in ("bob", "erin"):
        builders.join(project, builders.user(name), Member.Role.ANNOTATOR)
    builders.items(project, 4, k=3)
    return project


def elsewhere(work: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Do it as another process would, outside of the thread in which the browser's event loop runs."""

    def alone() -> None:
        try:
            work(*args, **kwargs)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(alone).result()


def test_the_figures_follow_as_people_judge(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("progress", args=[project.slug]))
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    expect(page.locator("#figures")).to_contain_text("Nothing was judged yet")
    elsewhere(builders.judgment, project, User.objects.get(username="bob"))
    expect(page.locator('[data-live="done"]')).to_have_text("1")
    expect(page.locator("#figures")).to_contain_text("No ties")


def test_a_verdict_is_given_without_scripts(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    for name, ranks in (("bob", [1, 2, 3]), ("erin", [3, 2, 1])):
        person = User.objects.get(username=name)
        for _ in range(4):
            builders.judgment(project, person, ranks)
    page = new_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    sign_in(page, alice)
    page.goto(reverse("review", args=[project.slug]))
    page.locator(".list-link").first.click()
    item = Item.objects.get(pk=int(page.url.rstrip("/").rsplit("/", 1)[1]))
    for rank, response in enumerate(sorted(item.responses.values_list("pk", flat=True)), start=1):
        page.locator(f'input[name="rank-{response}"][value="{rank}"]').check(force=True)
    page.get_by_role("button", name="Give the verdict").click()
    # and the next one opens
    expect(page.locator("h1")).not_to_contain_text(f"Item {item.pk} ")
    assert list(Verdict.objects.get().ranks.values()) == [1, 2, 3]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_axis_of_tiny_numbers_has_labels_that_differ(page: Page, site: str) -> None:
    page.goto("/sign-in/")
    page.add_script_tag(url="/static/js/chart.js")
    assert page.evaluate("ticks([0.00035, 0.0004, 0.00045], false)") == ["3.5e-4", "4.0e-4", "4.5e-4"]
    assert page.evaluate("ticks([0.501, 0.502, 0.503], true)") == ["50.1%", "50.2%", "50.3%"]
    assert page.evaluate("ticks([0, 0.5, 1], true)") == ["0%", "50%", "100%"]
    assert page.evaluate("ticks([12341, 12342], false)") == ["12.341k", "12.342k"]
    assert page.evaluate("ticks([0, 2, 4], false)") == ["0", "2", "4"]

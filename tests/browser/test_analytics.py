"""The pages that oversee the work, in a browser: live charts, a verdict without scripts, labels that can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.actions import agreement
from annotation.analytics.figures import LARGE
from annotation.models import Item, Member, Project, User, Verdict
from tests import builders
from tests.annotation import bulk
from tests.patience import HANGS_S
from tests.processes import process

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


def test_a_lead_reminds_people_while_nobody_judges_and_sees_when_somebody_does(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("progress", args=[project.slug]))
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    expect(page.locator('[data-live="outlook"]')).to_contain_text(
        "Nobody has judged yet: 8 judgments are left."
    )
    page.get_by_role("link", name="Remind people").click()
    page.get_by_label("erin").uncheck()
    page.get_by_role("button", name="Remind").click()
    expect(page.get_by_text("1 person was reminded.")).to_be_visible()
    elsewhere(builders.judgment, project, User.objects.get(username="bob"))
    expect(page.locator('[data-live="outlook"]')).to_contain_text("1 person is judging")
    expect(page.locator('[data-live="outlook"]')).to_contain_text(
        "4 more judgments need people other than bob."
    )
    expect(page.get_by_role("link", name="Remind people")).to_be_visible()
    elsewhere(builders.judgment, project, User.objects.get(username="erin"))
    expect(page.locator('[data-live="outlook"]')).to_contain_text("2 people are judging")
    expect(page.get_by_role("link", name="Remind people")).to_be_hidden()
    page.goto(reverse("remind", args=[project.slug]))
    expect(page.get_by_label("bob")).to_be_disabled()
    expect(page.get_by_label("erin")).to_be_checked()


def test_the_figures_follow_as_people_judge(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("progress", args=[project.slug]))
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    expect(page.locator("#figures")).to_contain_text("No judgments yet")
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
    agreement.update()
    page = new_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    sign_in(page, alice)
    page.goto(reverse("review", args=[project.slug]))
    page.locator(".list-prompt a").first.click()
    item = Item.objects.get(pk=int(page.url.rstrip("/").rsplit("/", 1)[1]))
    for rank, letter in enumerate("ABC", start=1):
        page.locator(f'input[name="rank-{letter}"][value="{rank}"]').check(force=True)
    page.get_by_role("button", name="Save verdict").click()
    # and the next one opens
    expect(page.locator("h1")).not_to_contain_text(f"Item {item.pk} ")
    assert list(Verdict.objects.get().ranks.values()) == [1, 2, 3]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_large_project_s_figures_come_by_themselves_and_without_scripts_by_a_link(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    many = {
        "project": project.pk,
        "name": "many-",
        "count": LARGE + 1,
        "bob": User.objects.get(username="bob").pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(bulk.PROMPTS, many)
        cursor.execute(
            "INSERT INTO annotation_slot (item_id, project_id, state, priority, restricted, control, gold, annotator_id)"
            " SELECT id, project_id, 'done', 0, false, false, false, %(bob)s FROM annotation_item"
            " WHERE project_id = %(project)s",
            many,
        )
    builders.judgment(project, User.objects.get(username="erin"))
    page = new_page()
    sign_in(page, alice)
    plain = new_page(java_script_enabled=False)
    sign_in(plain, alice)
    page.goto(reverse("quality", args=[project.slug]))
    expect(page.get_by_text("A worker is counting these figures")).to_be_visible()
    with process("counter"):
        expect(page.get_by_role("heading", name="Krippendorff’s alpha")).to_be_visible(timeout=1000 * HANGS_S)
        expect(page.locator(".skeleton")).to_have_count(0)
        page.goto(reverse("progress", args=[project.slug]))
        expect(page.get_by_role("heading", name="Judgments per minute")).to_be_visible(timeout=1000 * HANGS_S)
    plain.goto(reverse("progress", args=[project.slug]))
    plain.get_by_role("link", name="Show figures").click()
    expect(plain.get_by_role("heading", name="Judgments per minute")).to_be_visible()


def test_an_axis_of_tiny_numbers_has_labels_that_differ(page: Page, site: str) -> None:
    page.goto("/sign-in/")

    def labels(values: list[float], *, percent: bool = False) -> list[str]:
        return page.evaluate(
            "async (args) => (await import('/static/js/line-chart.js')).tickLabels(...args)",
            [values, percent],
        )

    assert labels([0.00035, 0.0004, 0.00045]) == ["3.5e-4", "4.0e-4", "4.5e-4"]
    assert labels([0.501, 0.502, 0.503], percent=True) == ["50.1%", "50.2%", "50.3%"]
    assert labels([0, 0.5, 1], percent=True) == ["0%", "50%", "100%"]
    assert labels([12341, 12342]) == ["12.341k", "12.342k"]
    assert labels([0, 2, 4]) == ["0", "2", "4"]


def test_an_axis_of_rates_begins_at_zero_and_ends_at_round_numbers(page: Page, site: str) -> None:
    page.goto("/sign-in/")

    def ticks(values: list[float], **axis: object) -> list[float]:
        return page.evaluate(
            "async (args) => (await import('/static/js/line-chart.js')).ticksOf(...args)", [values, axis]
        )

    assert ticks([0.61, 0.72], percent=True, reference=0.5) == [0, 0.5, 1]
    assert ticks([0.011, 0.018], percent=True) == [0, 0.005, 0.01, 0.015, 0.02]
    assert ticks([3, 97]) == [0, 50, 100]
    assert ticks([610, 640]) == [610, 620, 630, 640]
    assert ticks([-0.4, 0.4]) == [-0.4, -0.2, 0, 0.2, 0.4]
    assert ticks([0.7]) == [0, 0.2, 0.4, 0.6, 0.8]
    assert ticks([0]) == [0, 0.5, 1]
    assert ticks([3, 12], tight=True) == [5, 10]

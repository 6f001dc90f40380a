"""What the browser tests of the annotators' screens share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.urls import reverse
from playwright.sync_api import Error, JSHandle, Locator, Page, Route, expect

from annotation.models import Item, Judgment, Member, Project, User
from tests import builders
from tests.processes import until

SignIn = Callable[[Page, User], None]
NewPage = Callable[..., Page]


@dataclass
class Cast:
    alice: User
    bob: User

    def project(self, name: str = "Helpfulness", items: int = 0, **fields: object) -> Project:
        project = builders.project(self.alice, name, **fields)
        builders.join(project, self.bob, Member.Role.ANNOTATOR)
        if items:
            builders.items(project, items)
        return project


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return Cast(builders.user("alice", is_staff=True), builders.user("bob"))


def url(project: Project) -> str:
    return reverse("work", args=[project.slug])


def expect_saved(*ranks: list[int]) -> None:
    """Wait until these are the ranks of every judgment: see `saved_ranks`. The page may show the next item before."""
    until(lambda: len(saved_ranks()) >= len(ranks), f"{len(ranks)} judgments are saved")
    assert saved_ranks() == [*ranks]


def saved_ranks() -> list[list[int]]:
    """The ranks of every judgment, oldest first, in the order in which the answers stood on the screen."""
    found = []
    for judgment in Judgment.objects.order_by("id"):
        ranks = dict(judgment.placements.values_list("response_id", "rank"))
        found.append([ranks[response] for response in judgment.shown_order])
    return found


def order(page: Page) -> str:
    """The strip, as it reads."""
    return re.sub(r"\s+", "", page.locator("#ranked").inner_text())


def module(page: Page, name: str) -> JSHandle:
    """The page's own instance of a module, with its exports."""
    return page.evaluate_handle(
        """(name) => import(
            [...document.querySelectorAll("link[rel=modulepreload], script[type=module]")]
                .map((element) => element.href || element.src).find((url) => url.includes(`/${name}.`))
        )""",
        name,
    )


def wait_for_next_item(page: Page) -> None:
    """Until the item after this one is held, and no submit is pending."""
    wait_for_submit(page)
    page.wait_for_function("(nextItem) => nextItem.hasNextItem()", arg=module(page, "next-item"))


def wait_for_submit(page: Page) -> None:
    """Until the server has answered."""
    page.wait_for_function("(submit) => !submit.isSubmitting()", arg=module(page, "submit"))


def expect_left(page: Page, count: int) -> None:
    """All items but `count` are judged today. The page itself tells roughly how many are left."""
    items = Item.objects.filter(project__slug=page.url.split("/p/")[1].split("/")[0]).count()
    expect(page.locator("[data-today]")).to_have_text(str(items - count))


def press(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def chip(page: Page, letter: str) -> Locator:
    return page.locator(".chip", has_text=letter)


def drag(page: Page, what: Locator, to: Locator, side: float = 0.5) -> None:
    """Take it in its middle and let go over `to`, at that share of its width."""
    box, goal = what.locator("span").bounding_box(), to.bounding_box()
    assert box
    assert goal
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # the library of dragging is loaded by the first movement
    page.wait_for_function("() => globalThis.Sortable?.get(document.getElementById('ranked'))")
    page.mouse.down()
    x, y = goal["x"] + goal["width"] * side, goal["y"] + goal["height"] / 2
    page.mouse.move(x, y, steps=12)
    page.mouse.move(x + 1, y)
    # Sortable looks every 50 ms at what lies below the pointer; this timer cannot run before that one
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 101))")
    page.mouse.up()


def lose_response(route: Route) -> None:
    """The server gets it, and its answer is lost."""
    if route.request.method == "POST":
        route.fetch()
        with contextlib.suppress(
            Error
        ):  # unrouted meanwhile: the browser has gone on with the request by itself
            route.abort()
    else:
        route.continue_()

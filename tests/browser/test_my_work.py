"""My work, questions to reviewers, notifications and batches in a browser."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotation.actions import messages, notifications
from annotation.models import Batch, Item, Member, Message, Notification, User
from tests import builders
from tests.browser.judging import Cast, NewPage, SignIn, cast, press, url, wait_for_next_item, wait_for_submit
from tests.browser.test_accessibility import AXE, problems
from tests.processes import until

__all__ = ["cast"]

pytestmark = pytest.mark.slow(40)


def test_the_browser_s_time_zone_is_taken_at_the_first_visit(
    new_page: NewPage, sign_in: SignIn, cast: Cast
) -> None:
    page = new_page(timezone_id="America/New_York")
    sign_in(page, cast.bob)
    page.goto(reverse("my-work"))
    until(lambda: User.objects.get(pk=cast.bob.pk).time_zone == "America/New_York", "the zone is stored")
    page.reload()
    expect(page.locator(".page-head")).to_contain_text("America/New_York")
    elsewhere = new_page(timezone_id="Europe/Berlin")
    sign_in(elsewhere, cast.bob)
    elsewhere.goto(reverse("account"))
    expect(elsewhere.locator("#id_time_zone")).to_have_value("America/New_York")
    elsewhere.locator("#id_time_zone").select_option("Europe/Berlin")
    elsewhere.get_by_role("button", name="Save").click()
    expect(elsewhere.locator(".toast")).to_contain_text("saved")
    assert User.objects.get(pk=cast.bob.pk).time_zone == "Europe/Berlin"


def test_a_question_and_its_reply_by_keyboard(
    new_page: NewPage, page: Page, sign_in: SignIn, cast: Cast
) -> None:
    project = cast.project(items=6)
    builders.join(project, dana := builders.user("dana"), Member.Role.REVIEWER)
    sign_in(page, cast.bob)
    page.goto(url(project))
    wait_for_next_item(page)
    press(page, "1 2")
    page.keyboard.press("q")
    dialog = page.locator("#ask")
    expect(dialog.get_by_label("Your question")).to_be_focused()
    page.keyboard.type("Does A count? Q1")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("Your question was sent")
    page.keyboard.press("Escape")
    expect(page.locator(".rank-1, input:checked").first).to_be_attached()
    press(page, "3 4 Enter")
    wait_for_submit(page)
    message = Message.objects.get()
    assert message.text == "Does A count? Q1"
    lead = new_page()
    sign_in(lead, dana)
    lead.goto(reverse("notifications"))
    lead.get_by_role("button", name="A question about an item").first.click()
    lead.get_by_label("Reply to bob").fill("Yes.")
    lead.get_by_role("button", name="Reply").click()
    expect(lead.locator(".toast")).to_contain_text("was sent")
    # the next item that is fetched brings the number of unread notifications
    press(page, "1 2 3 4 Enter")
    wait_for_submit(page)
    wait_for_next_item(page)
    press(page, "1 2 3 4 Enter")
    expect(page.locator("[data-unread-count]")).to_have_text("1")
    page.locator("[data-bell]").click()
    page.get_by_role("button", name="A reviewer replied").first.click()
    expect(page.locator(f"#thread-{message.pk}")).to_contain_text("Yes.")
    expect(page.locator(".bell-count")).to_be_hidden()


def test_a_lead_assigns_a_batch_and_an_annotator_sees_it(page: Page, sign_in: SignIn, cast: Cast) -> None:
    project = cast.project(items=5)
    sign_in(page, cast.alice)
    page.goto(reverse("batches", args=[project.slug]))
    page.get_by_label("Name").fill("Week 48")
    page.get_by_label("Due").fill(f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}")
    page.get_by_label("How many items").fill("3")
    page.get_by_label("bob (annotator)").check()
    page.get_by_role("button", name="Assign").click()
    expect(page.locator(".toast")).to_contain_text("3 items, 3 judgments")
    sign_in(page, cast.bob)
    page.goto("/")
    expect(page.locator("main")).to_contain_text("0 of 3")
    sign_in(page, cast.alice)
    page.goto(reverse("batches", args=[project.slug]))
    page.get_by_role("button", name="Close Week 48").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Close Week 48").click()
    expect(page.locator(".batch")).to_contain_text("closed")
    assert Batch.objects.get().closed_at


@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_where_there_is_much(
    new_page: Callable[..., Page], sign_in: SignIn, cast: Cast, width: int
) -> None:
    project = cast.project("A project with a rather long name for a small screen", items=6)
    judgment = builders.judgment(project, cast.bob)
    item = Item.objects.select_related("project").get(pk=judgment.item_id)
    messages.ask(item=item, annotator=cast.bob, text="Long " * 60 + "x" * 200)
    messages.reply(item=item, annotator=cast.bob, author=cast.alice, text="نعم")
    for kind in Notification.Kind:
        notifications.notify(
            users=[cast.bob.pk], kind=kind, project=project, url=f"/{kind}/", subject="x" * 80
        )
    batch = Batch.objects.create(
        project=project, name="x" * 80, created_by=cast.alice, due_at=timezone.now() - timedelta(days=1)
    )
    batch.people.create(user=cast.bob)
    project.slots.filter(state="open").update(batch=batch)
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    wrong = []
    for user, paths in (
        (
            cast.bob,
            ["/", reverse("my-work"), reverse("notifications"), reverse("my-judgment", args=[judgment.pk])],
        ),
        (
            cast.alice,
            [
                reverse("batches", args=[project.slug]),
                reverse("item", args=[project.slug, item.pk]),
                reverse("review", args=[project.slug]) + "?kind=questions",
            ],
        ),
    ):
        sign_in(page, user)
        for path in paths:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.goto(path)
                wrong += [f"{path}, {scheme}: {problem}" for problem in problems(page)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{path}: it scrolls sideways")
    assert not wrong, "\n".join(wrong)

"""Lists in a browser: they follow their filters, are sorted by their heads, and their rows are acted on and put back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotation.actions import snapshots
from annotation.models import Batch, Item, Member, Project, SavedView, Skip, User
from tests import builders
from tests.browser.test_accessibility import AXE, problems

SignIn = Callable[[Page, User], None]
WIDTHS = [1280, 390]
assert Path(AXE).exists()


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice, k=3, overlap=2)
    bob = builders.user("bob")
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.items(project, 60, k=3)
    for _ in range(3):
        builders.judgment(project, bob)
    return project


def address(project: Project, name: str = "items") -> str:
    return reverse(name, args=[project.slug])


def test_a_list_follows_its_filters_and_keeps_what_is_typed(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(address(project))
    count = page.locator("#list-count")
    expect(count).to_have_text("60 items")
    assert not page.get_by_role("button", name="Apply").count()
    page.get_by_label("Judged by").select_option("bob")
    expect(count).to_have_text("3 items")
    expect(page).to_have_url(re.compile(r"/items/\?annotator=bob$"))
    page.get_by_label("Judged by").select_option("")
    search = page.get_by_label("Search prompts")
    search.press_sequentially("question 1")
    expect(count).to_have_text("11 items")
    expect(search).to_be_focused()
    expect(search).to_have_value("question 1")
    expect(page).to_have_url(re.compile(r"/items/\?text=question\+1$"))
    page.reload()
    expect(count).to_have_text("11 items")
    page.get_by_role("link", name=re.compile("Search prompts question 1")).click()
    expect(count).to_have_text("60 items")
    page.go_back()
    expect(count).to_have_text("11 items")


def test_heads_sort_and_pages_lead_on(page: Page, sign_in: SignIn, alice: User, project: Project) -> None:
    sign_in(page, alice)
    page.goto(address(project))
    head = page.get_by_role("columnheader", name="Item")
    expect(head).to_have_attribute("aria-sort", "descending")
    newest, oldest = Item.objects.latest("pk").pk, Item.objects.earliest("pk").pk
    expect(page.locator("tbody tr").first).to_contain_text(f"item {newest}")
    head.get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("tbody tr").first).to_contain_text(f"item {oldest}")
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Previous page").click()
    expect(page.locator("tbody tr").first).to_contain_text(f"item {oldest}")


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_selected_acted_on_and_put_back_by_keyboard(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    page.goto(address(project))
    bar = page.get_by_role("form", name="Selected rows")
    expect(bar).to_be_hidden()
    for box in page.locator("[data-check-row]").all()[:2]:
        box.focus()
        page.keyboard.press("Space")
    expect(bar).to_contain_text("2 selected")
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("Select all rows of this page").check()
    expect(bar).to_contain_text("50 selected")
    page.get_by_label("all 60 that match").check()
    bar.get_by_label("Reason").fill("Not needed.")
    page.get_by_role("button", name="Retire").focus()
    page.keyboard.press("Enter")
    toast = page.locator(".toast")
    expect(toast).to_contain_text("60 items are retired.")
    assert not Item.objects.filter(state="open").exists()
    assert problems(page) == []
    toast.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    expect(toast).to_contain_text("60 rows are as they were before.")
    assert not Item.objects.exclude(state="open").exists()


def test_rows_that_are_selected_when_one_comes_back_have_their_bar(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(address(project))
    bar = page.get_by_role("form", name="Selected rows")
    for box in page.locator("[data-check-row]").all()[:2]:
        box.check()
    page.locator(".list-prompt a").first.click()
    page.wait_for_url("**/items/*/")
    page.go_back()
    page.wait_for_url(f"**{address(project)}")
    # as a browser restores them: after the scripts, and without an event
    page.evaluate("""() => {
        for (const box of document.querySelectorAll("[data-check-row]")) box.checked = false;
        for (const box of [...document.querySelectorAll("[data-check-row]")].slice(0, 3)) box.checked = true;
        dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}));
    }""")
    expect(bar).to_be_visible()
    expect(bar).to_contain_text("3 selected")


def test_shift_selects_the_rows_between(page: Page, sign_in: SignIn, alice: User, project: Project) -> None:
    sign_in(page, alice)
    page.goto(address(project))
    bar, boxes = page.get_by_role("form", name="Selected rows"), page.locator("[data-check-row]")
    boxes.nth(11).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(bar).to_contain_text("10 selected")
    boxes.nth(4).click(modifiers=["Shift"])
    expect(bar).to_contain_text("7 selected")


def test_without_scripts_a_list_is_filtered_and_acted_on(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    sign_in(page, alice)
    page.goto(address(project))
    page.get_by_label("Judged by").select_option("bob")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#list-count")).to_have_text("3 items")
    page.locator("[data-check-row]").first.check()
    page.get_by_role("button", name="Only for reviewers").click()
    expect(page.locator(".toast")).to_contain_text("1 item is for reviewers only.")
    assert Item.objects.filter(state="restricted").count() == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast")).to_contain_text("1 row is as it was before.")
    assert not Item.objects.filter(state="restricted").exists()


@pytest.mark.parametrize("width", WIDTHS)
def test_prompts_are_tagged_and_put_into_a_batch_from_the_bar(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project, width: int
) -> None:
    batch = Batch.objects.create(
        project=project, name="Week 48", created_by=alice, due_at=timezone.now() + timedelta(days=3)
    )
    batch.people.create(user=alice)
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    page.goto(address(project))
    bar = page.get_by_role("form", name="Selected rows")
    for box in page.locator("[data-check-row]").all()[:2]:
        box.check()
    bar.locator("summary", has_text="Tags").click()
    tag = bar.get_by_label("Tag")
    expect(tag).to_be_in_viewport(ratio=1)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tag.fill("maths")
    tag.press("Enter")  # presses no button: the first one is "Retire"
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Add the tag").click()
    expect(page.locator(".toast")).to_contain_text("The tag is added to the prompts of 2 items.")
    expect(page.locator("tbody .badge", has_text="maths")).to_have_count(2)
    page.locator("[data-check-row]").first.check()
    bar.locator("summary", has_text="Batch").click()
    expect(bar.get_by_label("Open batch")).to_be_in_viewport(ratio=1)
    assert problems(page) == []
    bar.get_by_role("button", name="Put into the batch").click()
    expect(page.locator(".toast")).to_contain_text("1 item is in the batch now.")
    assert batch.slots.count() == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast")).to_contain_text("1 row is as it was before.")
    assert not batch.slots.exists()


@pytest.mark.parametrize("width", WIDTHS)
def test_what_waits_for_review_is_filtered_and_resolved(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project, width: int
) -> None:
    bob = User.objects.get(username="bob")
    first, second = Item.objects.order_by("pk")[:2]
    for item, person in ((first, alice), (second, bob)):
        Skip.objects.create(item=item, annotator=person, reason=Skip.Reason.REVIEW, note="Look at this.")
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    page.goto(address(project, "review") + "?kind=sent")
    expect(page.locator("#list-count")).to_have_text("2 rows")
    page.get_by_label("Annotator").select_option("bob")
    expect(page.locator("#list-count")).to_have_text("1 row")
    expect(page).to_have_url(re.compile(r"/review/\?kind=sent&annotator=bob$"))
    kinds = page.get_by_role("navigation", name="What to review")
    expect(kinds.get_by_role("link", name="Questions")).to_have_attribute(
        "href", "?annotator=bob&kind=questions"
    )
    page.locator("[data-check-row]").check()
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator(".toast")).to_contain_text("The review requests of 1 item are resolved.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#list-count")).to_have_text("2 rows")
    expect(page).to_have_url(re.compile(r"/review/\?kind=sent$"))


def test_a_snapshot_shows_its_changes_since_another_at_once(
    page: Page, new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    snapshots.create_snapshot(project=project, creator=alice)
    builders.judgment(project, alice)
    snapshots.create_snapshot(project=project, creator=alice)
    here = reverse("snapshot", args=[project.slug, 2])
    sign_in(page, alice)
    page.goto(here)
    page.get_by_label("since").select_option("1")
    expect(page.locator("#difference")).to_contain_text("1, with 3 pairs")
    expect(page).to_have_url(re.compile(f"{here}$"))
    plain = new_page(java_script_enabled=False)
    sign_in(plain, alice)
    plain.goto(here)
    plain.get_by_label("since").select_option("1")
    plain.get_by_role("button", name="Compare").click()
    expect(plain.locator("#difference")).to_contain_text("1, with 3 pairs")


def test_my_work_follows_its_dates_once_they_are_complete(
    page: Page, new_page: Callable[..., Page], sign_in: SignIn, project: Project
) -> None:
    bob = User.objects.get(username="bob")
    sign_in(page, bob)
    page.goto(reverse("my-work"))
    expect(page.locator("#work")).to_contain_text("Items judged")
    page.locator("[name=to]").fill("2026-01-31")
    page.locator("[name=from]").fill("2026-01-05")
    expect(page.locator("#work-period")).to_contain_text("5 Jan 2026 to 31 Jan 2026")
    expect(page.locator("#work")).to_contain_text("Nothing in this period.")
    expect(page).to_have_url(re.compile(r"\?from=2026-01-05&to=2026-01-31$"))
    expect(page.locator("#work-timesheet")).to_have_attribute(
        "href", re.compile("from=2026-01-05&to=2026-01-31")
    )
    page.locator("[name=from]").fill("2026-02-05")
    expect(page.locator("#work")).to_contain_text("This week is shown instead.")
    plain = new_page(java_script_enabled=False)
    sign_in(plain, bob)
    plain.goto(reverse("my-work"))
    plain.locator("[name=from]").fill("2026-01-05")
    plain.locator("[name=to]").fill("2026-01-31")
    plain.get_by_role("button", name="Apply").click()
    expect(plain.locator("#work-period")).to_contain_text("5 Jan 2026 to 31 Jan 2026")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_view_is_saved_and_deleted_after_a_question(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, alice)
    page.goto(f"{address(project)}?annotator=bob")
    page.locator(".views > summary").click()
    page.get_by_label("Save this view as").fill("Bob’s items")
    assert problems(page) == []
    page.get_by_role("button", name="Save view").click()
    menu = page.locator(".views > summary")
    expect(menu).to_contain_text("Bob’s items")
    menu.click()
    page.locator(".view-row summary").click()
    assert problems(page) == []
    page.get_by_role("button", name="Delete").click()
    question = page.get_by_role("alertdialog", name="Delete the view")
    expect(question).to_contain_text("Delete the view “Bob’s items”?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    assert problems(page) == []
    page.keyboard.press("Enter")
    expect(question).to_have_count(0)
    assert SavedView.objects.count() == 1
    page.get_by_role("button", name="Delete").click()
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("is deleted")
    assert not SavedView.objects.exists()


def test_a_role_changes_as_it_is_chosen(page: Page, sign_in: SignIn, alice: User, project: Project) -> None:
    sign_in(page, alice)
    page.goto(address(project, "members"))
    page.get_by_label("Role of bob").select_option("reviewer")
    expect(page.locator(".toast")).to_contain_text("bob is a reviewer now.")
    assert Member.objects.get(user__username="bob").role == "reviewer"

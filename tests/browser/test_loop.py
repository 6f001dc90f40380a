"""The loop as a lead uses it: a round from the first click to the decision, with its runs done as a worker would leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.models import Project, User
from tests import builders
from tests.browser.test_lead import elsewhere
from tests.training.round_helpers import LENIENT, TINY, judge_items, play
from training.models import Round
from training.registry.actions import add_model, current_model
from training.rounds import transitions
from training.rounds.loops import save_loop

SignIn = Callable[[Page, User], None]


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice)
    add_model(project=project, kind="policy", name="first", location="hub:some/policy@main")
    builders.items(project, 30)
    return project


def start_round(project: Project, alice: User, **options: Any) -> Round:
    loop = save_loop(project=project, creator=alice, recipe="dpo", options=LENIENT | options, configs=TINY)
    return transitions.start_round(loop=loop, creator=alice)


def test_a_lead_starts_a_round_sees_it_move_and_promotes(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(project.get_absolute_url())
    page.get_by_role("link", name="Train", exact=True).click()
    page.get_by_role("link", name="Start the first round").click()
    expect(page.get_by_role("heading", name="New policy")).to_be_visible()
    page.get_by_label("Judgments to wait for").fill("25")
    page.get_by_label("Annotation budget").fill("10")
    page.locator("summary", has_text="Gate thresholds").click()
    page.get_by_label("Gate: judgments").fill("5")
    page.get_by_label("Gate: length").fill("100")
    page.get_by_role("button", name="Start the round").first.click()

    expect(page.get_by_text("New judgments: 0 of 25.")).to_be_visible()
    expect(page.get_by_role("heading", name="Gates", exact=True)).to_be_visible()
    round = Round.objects.get()
    assert round.options["judgments"] == 25

    expect(page.locator("[data-live-status]")).to_have_text("Live")
    elsewhere(judge_items, project, alice)
    elsewhere(play, round, until="improve-1")
    expect(page.locator("[aria-current=step] h3")).to_have_text("Improve the policy by DPO")
    expect(page.get_by_text("gates passed")).to_have_text("3 gates passed, 3 without data")

    elsewhere(play, round, until="none")
    expect(page.get_by_text("round-1-policy is ready")).to_be_visible()
    page.get_by_role("button", name="Promote round-1-policy").click()
    expect(page.get_by_text("The new policy is now the current one.")).to_be_visible()
    elsewhere(play, round, until="none")
    expect(page.locator(".round-status")).to_have_text(
        "round-1-policy was promoted; every gate that had data was passed."
    )
    assert current_model(project, "policy").name == "round-1-policy"  # type: ignore[union-attr]

    page.get_by_role("link", name="round-1-policy").first.click()
    lines = page.get_by_role("region", name="Lineage").locator("ol > li")
    expect(lines).to_have_count(4)  # with the second reward model, which chose its weights
    expect(lines.filter(has_text="30 judgments")).to_have_count(1)


def test_a_lead_overrules_a_gate_and_must_say_why(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    judge_items(project, alice)
    round = start_round(project, alice, min_accuracy=0.9)
    elsewhere(play, round, until="none")
    sign_in(page, alice)
    page.goto(reverse("round", args=[project.slug, round.pk]))
    expect(page.locator(".round-status")).to_contain_text("Not passed: Held-out accuracy.")
    overrule = page.get_by_role("button", name="Overrule and continue")
    overrule.click()
    assert page.evaluate("document.activeElement.name") == "reason", "the browser asks for the reason"
    page.get_by_label("Reason", exact=True).fill("Few people, all of them careful.")
    page.evaluate(
        "() => htmx.ajax('GET', document.querySelector('[data-live-url]').dataset.liveUrl, {target: '#live', swap: 'outerHTML'})"
    )  # as when something happens in the round
    overrule.click()
    expect(
        page.get_by_text("alice overruled Held-out accuracy: “Few people, all of them careful.”")
    ).to_be_visible()
    round.refresh_from_db()
    assert (round.state, round.step) == (Round.State.WORKING, "improve-1")


def test_the_loop_fits_a_phone(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    judge_items(project, alice)
    round = start_round(project, alice)
    elsewhere(play, round, until="none")
    page = new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    sign_in(page, alice)
    made = Round.objects.select_related("policy_after__project").get().policy_after
    assert made is not None
    for path in (
        reverse("rounds", args=[project.slug]),
        reverse("round-new", args=[project.slug]),
        reverse("round", args=[project.slug, round.pk]),
        made.get_absolute_url(),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path

"""Two models and several runs compared, in a browser."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.models import Project, User
from tests import builders
from tests.access_cases import policy, snapshot
from tests.browser.judging import module
from tests.training.comparison_helpers import compare
from training.comparisons.pairs import Pair
from training.models import Run
from training.runs.actions import claim_run, finish_run, record_metrics, start_run

SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    return builders.project(alice)


@pytest.fixture
def pair(alice: User, project: Project) -> Pair:
    pair = Pair(baseline=policy(project, "old"), policy=policy(project, "new"))
    gains = [n / 4 for n in range(-6, 7)]
    compare(pair, alice, gains, [["even"] if n % 2 == 0 else ["odd"] for n in range(len(gains))])
    return pair


def prompts(page: Page) -> list[str]:
    return [text.split("?")[0] for text in page.locator(".compared .sample-prompt").all_inner_texts()]


@pytest.mark.parametrize("scripts", [True, False])
def test_losses_come_first_and_filters_and_pages_stand_in_the_address(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, pair: Pair, scripts: bool
) -> None:
    page = new_page(java_script_enabled=scripts, viewport={"width": 390, "height": 844})
    sign_in(page, alice)
    page.goto(f"{reverse('model-compare', args=[pair.project.slug])}?a={pair.baseline.pk}&b={pair.policy.pk}")
    assert prompts(page) == [f"Question {n}" for n in range(10)]
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**after=*")
    assert prompts(page) == [f"Question {n}" for n in range(10, 13)]
    for name, label, value in (
        ("winner", "new", "policy"),
        ("order", "Largest gains first", "gains"),
        ("tag", "even", "even"),
    ):
        page.locator(f'select[name="{name}"]').select_option(label=label)
        if scripts:
            page.wait_for_url(f"**{name}={value}*")
    if not scripts:
        page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**winner=policy*")
    assert prompts(page) == ["Question 12", "Question 10", "Question 8"]
    link = page.get_by_role("link", name="CSV").get_attribute("href")
    assert link
    rows = list(csv.DictReader(io.StringIO(page.request.get(link).text())))
    assert [row["external_id"] for row in rows] == ["p12", "p10", "p8"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_differences_are_marked_and_the_address_says_so(
    page: Page, sign_in: SignIn, alice: User, pair: Pair
) -> None:
    sign_in(page, alice)
    page.goto(f"{reverse('model-compare', args=[pair.project.slug])}?a={pair.baseline.pk}&b={pair.policy.pk}")
    first = page.locator(".compared").first
    expect(first.locator("ins")).to_have_count(0)
    page.get_by_role("button", name="Mark differences").click()
    assert parse_qs(urlsplit(page.url).query)["diff"] == ["1"]
    expect(first.locator("del")).to_contain_text("Old")
    expect(first.locator("ins").last).to_contain_text("twice as long")
    expect(first.locator("ins").last).to_contain_text("only in the second answer")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**after=*")
    expect(page.locator(".compared").first.locator("del")).to_contain_text("Old")
    page.get_by_role("button", name="Mark differences").press("Space")
    expect(page.locator(".compared del")).to_have_count(0)
    expect(page.locator(".compared .prose").nth(1)).to_be_visible()
    assert "diff" not in parse_qs(urlsplit(page.url).query)


def finished_run(alice: User, project: Project, values: dict[int, float]) -> Run:
    run = start_run(project=project, kind="reward", creator=alice, snapshot=project.snapshots.get())
    claimed = claim_run(run.pk)
    assert claimed is not None
    for step, value in values.items():
        record_metrics(claimed, step=step, values={"loss": value, f"only_{run.pk}": 1.0})
    finish_run(claimed, state=Run.State.DONE, result={})
    return claimed


def test_runs_lie_over_one_another_and_the_csv_is_what_is_drawn(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    policy(project)
    snapshot(project, alice, alice)
    first = finished_run(alice, project, {1: 0.9, 2: 0.8})
    second = finished_run(alice, project, {2: 0.7, 4: 0.6})
    sign_in(page, alice)
    page.goto(reverse("run-curves", args=[project.slug]))
    for run in (first, second):
        page.get_by_role("checkbox", name=f"run {run.pk},").check()
    page.wait_for_url(f"**run={second.pk}&run={first.pk}")  # at once, by the choice alone
    loss = page.locator('[data-chart="loss"]')
    expect(loss.locator("path.plot-line.is-series-1").last).to_have_css("stroke-dasharray", "7px, 4px")
    expect(loss.locator(".chart-now")).to_contain_text(f"run {second.pk}, of policy-0 0.600")
    (data,) = page.evaluate(
        "(module) => module.cards.filter((card) => card.element.dataset.chart === 'loss').map((card) => card.data)",
        module(page, "run-curves"),
    )
    assert data == [[1, 2, 4], [None, 0.7, 0.6], [0.9, 0.8, None]]
    link = loss.get_by_role("link", name="CSV").get_attribute("href")
    assert link
    lines: dict[str, dict[int, float]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(page.request.get(link).text())):
        assert row["metric"] == "loss"
        lines[row["run"]][int(row["step"])] = float(row["value"])
    assert lines == {str(second.pk): {2: 0.7, 4: 0.6}, str(first.pk): {1: 0.9, 2: 0.8}}
    alone = page.locator(f'[data-chart="only_{first.pk}"] path.plot-line:not(.plot-key *)')
    expect(alone).to_have_class("plot-line is-series-1")  # a run looks the same in every chart

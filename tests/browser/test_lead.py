"""The lead's pages as a lead uses them: live curves, a run from a form, an import by drag and drop."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotation.actions import imports, snapshot_jobs
from annotation.models import Import, Member, Project, Prompt, SnapshotJob, User
from tests import builders
from tests.access_cases import policy, snapshot
from tests.browser.judging import module
from training.models import Run
from training.runs.actions import claim_run, finish_run, record_metrics, record_progress, start_run

SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def bob(transactional_db: None) -> User:
    return builders.user("bob")


@pytest.fixture
def project(alice: User, bob: User) -> Project:
    project = builders.project(alice)
    builders.join(project, bob, Member.Role.ANNOTATOR)
    policy(project)
    return project


@pytest.fixture
def run(project: Project, alice: User, bob: User) -> Run:
    frozen = snapshot(project, alice, bob)
    queued = start_run(project=project, kind="dpo", creator=alice, snapshot=frozen)
    run = claim_run(queued.pk)
    assert run is not None
    return run


def elsewhere(work: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Do it as a worker would, outside of the thread in which the browser's event loop runs."""

    def alone() -> None:
        try:
            work(*args, **kwargs)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(alone).result()


def drawn(page: Page, chart: str) -> list[list[float | None]]:
    """The data that a chart shows, from the chart itself."""
    return page.evaluate(
        "([run, name]) => run.charts.cards.get(name).data",
        [module(page, "run"), chart],
    )


def test_a_run_s_curve_moves_as_the_worker_reports(
    page: Page, sign_in: SignIn, alice: User, run: Run
) -> None:
    elsewhere(record_metrics, run, step=5, values={"loss": 0.7})
    sign_in(page, alice)
    page.goto(run.get_absolute_url())
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    assert drawn(page, "Loss") == [[5], [0.7]]

    elsewhere(record_metrics, run, step=10, values={"loss": 0.6, "kl": 0.01, "accuracy": None})
    expect(page.locator('[data-chart="loss"] .chart-now')).to_have_text("0.600")
    assert drawn(page, "Loss") == [[5, 10], [0.7, 0.6]]
    expect(page.locator('[data-chart="kl"]')).to_contain_text(
        "KL divergence from the reference", ignore_case=True
    )
    expect(page.locator('[data-chart="accuracy"]')).to_have_count(0)

    curve = page.get_by_role("slider", name="Loss")
    curve.focus()
    for key, text in (
        ("ArrowLeft", "step 10, 0.600"),
        ("ArrowLeft", "step 5, 0.700"),
        ("End", "step 10, 0.600"),
    ):
        page.keyboard.press(key)
        expect(curve).to_have_attribute("aria-valuetext", text)
    page.locator('[data-chart="loss"] summary').click()
    assert page.locator('[data-chart="loss"] tbody tr').all_inner_texts() == ["5\t0.700", "10\t0.600"]
    csv = page.request.get(page.locator('[data-chart="loss"] a[download]').get_attribute("href"))
    assert [line.split(",")[-2:] for line in csv.text().splitlines()[1:]] == [["5", "0.7"], ["10", "0.6"]]

    elsewhere(record_progress, run, step=10, total=40, eta_s=75.0)
    expect(page.locator("#eta")).to_have_text("about 1 minute 15 seconds left")
    expect(page.locator("#bar")).to_have_js_property("value", 10)

    elsewhere(finish_run, run, state=Run.State.DONE, result={"seconds": 61.0, "metrics": {"loss": 0.5}})
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    expect(page.get_by_role("heading", name="Latest metrics")).to_have_count(0)
    page.reload()
    expect(page.locator('[data-chart="loss"]')).to_be_visible()
    expect(page.locator('[data-chart="kl"]')).to_have_count(0)  # one point is no curve
    expect(page.locator(".pill")).to_have_text("done")
    expect(page.locator("#bar")).to_have_count(0)


def test_a_lead_starts_a_run_from_the_form_and_stops_it(
    page: Page, sign_in: SignIn, alice: User, bob: User, project: Project
) -> None:
    snapshot(project, alice, bob)
    sign_in(page, alice)
    page.goto(reverse("runs", args=[project.slug]))
    page.get_by_role("link", name="Train a reward model").click()
    page.get_by_label("Epochs").fill("2")
    page.get_by_text("Advanced:").click()
    page.get_by_label("Weight decay").fill("0.3")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator(".pill")).to_have_text("queued")
    run = Run.objects.get()
    assert (run.config["epochs"], run.config["weight_decay"], run.config["batch_size"]) == (2, 0.3, 16)

    elsewhere(claim_run, run.pk)
    expect(page.locator(".pill")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    question = page.get_by_role("alertdialog", name="Cancel the run")
    expect(question).to_contain_text("can be resumed")
    expect(question.get_by_role("button", name="Let it run")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    expect(page.locator(".pill")).to_have_text("running")
    page.keyboard.press("Enter")
    expect(question.get_by_role("button", name="Let it run")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".pill")).to_have_text("stopping after this step")
    run.refresh_from_db()
    assert run.cancel_requested


def test_the_overview_follows_the_queue_and_says_what_is_next(
    page: Page, sign_in: SignIn, alice: User, bob: User, project: Project
) -> None:
    builders.items(project, 2)
    builders.judgment(project, bob)
    sign_in(page, alice)
    page.goto(project.get_absolute_url())
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    expect(page.locator("#queue + a")).to_be_visible()
    expect(page.locator('[data-live="done"]')).to_have_text("1")
    elsewhere(builders.judgment, project, bob)
    expect(page.locator('[data-live="done"]')).to_have_text("2")
    expect(page.locator(".next")).to_contain_text("2 new judgments")
    page.get_by_role("link", name="Create snapshot").click()
    page.get_by_label("Note").fill("the first")
    page.get_by_role("button", name="Create snapshot").click()
    expect(page.get_by_role("rowheader", name="Snapshot 1")).to_contain_text("the first")


DROP = """(content) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], "prompts.jsonl"));
    const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
    document.querySelector("[data-drop-zone]").dispatchEvent(event);
}"""


def test_a_dropped_file_is_looked_at_started_and_followed(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("import", args=[project.slug]))
    page.evaluate(DROP, '{"prompt": "Why?"')
    expect(page.locator("#upload .error")).to_contain_text("Line 1")
    page.evaluate(DROP, '{"question": "Why?"}')
    expect(page.get_by_role("heading", name="prompts.jsonl")).to_be_visible()
    expect(page.get_by_role("region", name="Columns")).to_contain_text("Why?")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#imports")).to_contain_text("Nothing was imported.")

    page.evaluate(DROP, json.dumps({"prompt": "Why?", "chosen": "Because of it.", "rejected": "No idea."}))
    expect(page.get_by_role("heading", name="Format: TRL preferences")).to_be_visible()
    expect(page.locator(".sample-answer")).to_have_count(2)
    page.get_by_text("Leave them out, and queue the items").click()
    page.get_by_role("button", name="Start the import").click()
    expect(page.locator("#state-title")).to_have_text("Waiting for a worker")

    claimed = imports.claim(Import.objects.latest("pk").pk)
    assert claimed is not None
    elsewhere(imports.run_import, claimed)
    expect(page.locator("#state-title")).to_have_text("Import complete")
    expect(page.locator("#state")).to_contain_text("items added to the queue")
    assert Prompt.objects.count() == 1


def test_without_scripts_a_list_is_pasted_looked_at_and_discarded(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(reverse("import", args=[project.slug]))
    page.get_by_text("Or paste a list of prompts").click()
    page.get_by_label("Or paste a list").fill("Why?\nHow?")
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.locator("main")).to_contain_text("2 lines.")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#imports")).to_contain_text("Nothing was imported.")


def test_somebody_joins_by_a_link_that_was_copied(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, project: Project
) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, alice)
    page.goto(reverse("members", args=[project.slug]))
    page.get_by_role("button", name="Create link").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator(".toast")).to_contain_text("Copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    theirs = new_page()
    theirs.goto(link)
    theirs.get_by_label("User name").fill("erin")
    theirs.get_by_label("Password").fill("a long enough one")
    theirs.get_by_role("button", name="Create my account and join").click()
    expect(theirs.locator("main")).to_contain_text(project.name)
    assert project.members.get(user__username="erin").role == Member.Role.ANNOTATOR


def test_guidelines_are_previewed_as_they_are_written(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    sign_in(page, alice)
    page.goto(reverse("guidelines", args=[project.slug]))
    page.get_by_role("textbox", name="Guidelines").fill("Be **strict**.")
    expect(page.locator("#preview strong")).to_have_text("strict")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.locator(".page-head p")).to_contain_text("Version 2 is the current one.")


def test_without_scripts_a_run_is_started_watched_and_stopped(
    new_page: Callable[..., Page], sign_in: SignIn, alice: User, run: Run
) -> None:
    elsewhere(record_metrics, run, step=5, values={"loss": 0.7123})
    page = new_page(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(run.get_absolute_url())
    page.get_by_role("heading", name="Latest metrics").click()
    expect(page.get_by_role("row", name="Loss")).to_contain_text("0.712")
    expect(page.get_by_role("link", name="Refresh")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".pill")).to_have_text("stopping after this step")
    page.goto(reverse("run-new", args=[run.project.slug, "reward"]))
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator(".pill")).to_have_text("queued")
    assert Run.objects.filter(kind="reward", state="queued").exists()


def test_the_data_page_follows_a_snapshot_that_a_worker_creates(
    page: Page, sign_in: SignIn, alice: User, project: Project
) -> None:
    builders.items(project, 2)
    builders.judgment(project, alice)
    job = SnapshotJob.objects.create(project=project, created_by=alice, judgments_total=12_000, note="pilot")
    sign_in(page, alice)
    page.goto(reverse("snapshots", args=[project.slug]))
    expect(page.get_by_role("heading", name="Waiting for a worker")).to_be_visible()
    claimed = snapshot_jobs.claim(job.pk)
    assert claimed is not None
    SnapshotJob.objects.update(judgments_done=4_500)
    expect(page.locator("#state")).to_contain_text("4,500 of about 12,000 judgments")
    elsewhere(snapshot_jobs.run_job, claimed)
    expect(page.get_by_role("link", name="Snapshot 1")).to_be_visible()
    expect(page.get_by_role("button", name="Create snapshot")).to_be_visible()
    SnapshotJob.objects.create(project=project, created_by=alice, judgments_total=12_000)
    page.reload()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the snapshot").click()
    expect(page.get_by_role("button", name="Create snapshot")).to_be_visible()
    assert SnapshotJob.objects.values_list("state", flat=True).first() == "cancelled"

"""WCAG 2.2 AA, as far as a machine can tell: axe-core finds nothing on any page, wide and narrow, light and dark. And what
the Rank screen weighs."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from annotation.actions import invitations, projects, snapshots, uploads, webhook_delivery, webhooks
from annotation.logic.questions import read_questions
from annotation.models import Delivery, Judgment, Member, User
from tests import builders, screens
from tests.training import round_helpers
from training.models import Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.runs.actions import claim_run, finish_run, record_metrics, start_run

pytestmark = pytest.mark.slow(80)

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_ON_COLOURS = ["color-contrast", "link-in-text-block"]
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844), "desktop at 200%": (640, 400)}
ANSWERS = [
    "# A heading\n\n```python\ndef f(x: int) -> int:\n    # a comment\n    return x * 2  # "
    + "long " * 40
    + "\n```",
    "| a | b |\n|---|---|\n" + "| one | two |\n" * 30,
    "الطقس هو حالة الجو في مكان ووقت معيّنين.\n\n> مثال",
    "- one\n- two\n  1. three\n\n" + "A long paragraph. " * 300,
]

QUESTIONS = [
    {"kind": "rating", "label": "Truthfulness", "low": "false", "high": "true"},
    {"kind": "flag", "label": "Rude"},
    {"kind": "text", "label": "What is missing?", "min_chars": 10},
    {"kind": "comments", "label": "Comments"},
]
CRITERIA = ("helpfulness", "truthfulness", "harmlessness", "follows_the_instructions")
RUN_REPORT = {
    "accuracy": 0.7,
    "reliability": [{"confidence": 0.62, "accuracy": 0.6, "pairs": 80}],
    "accuracy_by_criterion": [{"criterion": name, "accuracy": 0.7, "pairs": 40} for name in CRITERIA],
    "criteria_correlation": [[0.25] * (1 + len(CRITERIA))] * (1 + len(CRITERIA)),
}
ROUND_REPORT = {
    "wins": [{"by": "people", "mean": 0.6, "low": 0.5, "high": 0.7, "prompts": 60}],
    "reward_by_kl": [{"name": "PPO run 1", "points": [[0.0, 0.1], [1.2, 0.9], [4.2, 1.0]]}],
}

SignIn = Callable[[Page, User], None]


@pytest.fixture
def alice(transactional_db: None) -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def bob(transactional_db: None) -> User:
    return builders.user("bob")


@pytest.fixture
def world(alice: User, bob: User, tmp_path: Path, settings: object) -> screens.World:
    """A project in which everything has happened once."""
    asked = {"asks_quality": True, "asks_flags": True, "asks_safety": True, "rationale": "optional"}
    project = builders.project(alice, "Helpfulness", k=4)
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.items(project, 12)
    for _ in range(8):
        builders.judgment(project, bob)
    projects.write_guideline(project=project, text="# Rank\n\nPrefer what is *true*.", author=alice)
    project.members.update(confirmed_guideline=project.guideline)
    frozen = snapshots.create_snapshot(project=project, creator=alice)
    policy = add_model(project=project, kind="policy", name="policy-0", location="somewhere/policy")
    run = start_run(project=project, kind="reward", creator=alice, snapshot=frozen)
    claimed = claim_run(run.pk)
    assert claimed is not None
    for step in range(1, 9):
        record_metrics(claimed, step=step, values={"loss": 1 / step, "accuracy": 0.5 + step / 20})
    finish_run(
        claimed,
        state=Run.State.DONE,
        result={"seconds": 60.0, "metrics": {"loss": 0.1}, "report": RUN_REPORT},
    )
    started = transitions.start_round(loop=round_helpers.make_loop(project, alice), creator=alice)
    started.report = ROUND_REPORT
    started.save()
    upload = uploads.save_upload(
        project=project,
        name="prompts.jsonl",
        file=BytesIO(b'{"prompt": "Why?", "responses": ["a", "b"]}\n'),
        creator=alice,
    )
    _, key = invitations.invite(project=project, creator=alice, role=Member.Role.ANNOTATOR)
    hook = webhooks.add(
        project=project, url="https://example.com/hooks", events=["snapshot.frozen"], creator=alice
    )
    refused = {"status": 500, "answer": "No " * 100, "problem": "It answered 500.", "attempts": 9}
    Delivery.objects.create(webhook=hook, event="test", body={"a": 1}, state="failed", **refused)
    webhook_delivery.send_test(hook)
    pairs = builders.project(alice, "Pairs", k=2, **asked)
    projects.write_questions(project=pairs, questions=read_questions(QUESTIONS), author=alice)
    letters = builders.project(alice, "Letters", task="demonstrations")
    changed = builders.project(alice, "Changed")
    for other in (pairs, letters, changed):
        builders.join(other, bob, Member.Role.ANNOTATOR)
    projects.write_guideline(project=changed, text="Prefer the **honest** answer.", author=alice)
    builders.imported(pairs, {"prompt": ANSWERS[3], "responses": ANSWERS[:2]})
    builders.imported(letters, {"prompt": "Write a letter."})
    builders.imported(project, {"prompt": ANSWERS[0], "responses": ANSWERS})
    project.slots.filter(state="open").exclude(item=project.items.latest("id")).update(priority=-1)
    judgment = Judgment.objects.latest("id")
    return screens.World(
        project=project,
        pairs=pairs,
        letters=letters,
        judgment=judgment.pk,
        item=judgment.item_id,
        annotator=bob.username,
        lead=alice.pk,
        run=run.pk,
        model=policy.pk,
        round=started.pk,
        upload=upload.pk,
        webhook=hook.pk,
        invitation=key,
    )


def test_every_url_is_a_page_that_is_looked_at_or_said_to_be_none() -> None:
    pages = [*screens.SIGNED_OUT, *screens.ANNOTATOR, *screens.LEAD]
    assert len(pages) == len(set(pages))
    assert screens.names() == {*pages, *screens.NO_PAGES}


def problems(page: Page, only: list[str] = RULES) -> list[str]:
    """What axe finds, each with the rule and the elements."""
    found = page.evaluate(
        """async (rules) => (await axe.run(document, {runOnly: rules})).violations.map((one) =>
            `${one.id}: ${one.help}: ` + one.nodes.slice(0, 4).map((node) => node.target.join(" ")).join(" | "))""",
        only,
    )
    return list(found)


@pytest.mark.parametrize("device", WIDTHS)
def test_axe_finds_nothing_on_any_page(
    new_page: Callable[..., Page],
    sign_in: SignIn,
    world: screens.World,
    alice: User,
    bob: User,
    device: str,
) -> None:
    width, height = WIDTHS[device]
    wrong: list[str] = []
    for who, table in ((None, screens.SIGNED_OUT), (bob, screens.ANNOTATOR), (alice, screens.LEAD)):
        page = new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
        page.add_init_script(path=AXE)
        if who is not None:
            sign_in(page, who)
        pages = screens.paths(table, world)
        if who == bob:
            for slug in (world.pairs.slug, world.letters.slug, "changed"):
                pages[f"work-{slug}"] = reverse("work", args=[slug])
        for name, path in pages.items():
            page.emulate_media(color_scheme="light")
            answer = page.goto(path)
            assert answer
            assert answer.status == 200, (name, path, answer.status)
            page.evaluate(
                "document.querySelectorAll('details.all-reports').forEach((one) => (one.open = true))"
            )
            wrong += [f"{name}: {problem}" for problem in problems(page)]
            page.emulate_media(color_scheme="dark")
            wrong += [f"{name}, dark: {problem}" for problem in problems(page, RULES_ON_COLOURS)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{name}: it scrolls sideways")
    assert not wrong, "\n".join(wrong)


def test_axe_finds_nothing_in_what_opens_on_the_annotators_screens(
    new_page: Callable[..., Page], sign_in: SignIn, world: screens.World, bob: User
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.add_init_script(path=AXE)
    sign_in(page, bob)
    wrong: list[str] = []
    page.goto(reverse("work", args=[world.pairs.slug]))
    page.evaluate("document.querySelectorAll('details.flags').forEach((one) => (one.open = true))")
    wrong += problems(page)
    for key in ("s", "?", "m", "w", "q"):
        page.keyboard.press(key)
        page.locator("dialog[open]").wait_for()
        page.wait_for_load_state("networkidle")
        wrong += [f"{key}: {problem}" for problem in problems(page)]
        page.keyboard.press("Escape")
    assert not wrong, "\n".join(wrong)


def test_the_rank_screen_weighs_less_than_150_kilobytes(
    page: Page, sign_in: SignIn, world: screens.World, bob: User
) -> None:
    sign_in(page, bob)
    sizes: dict[str, int] = {}
    kept: dict[str, str | None] = {}

    def note(response: object) -> None:
        sizes[response.url] = response.request.sizes()["responseBodySize"]  # type: ignore[attr-defined]
        if "/static/" in response.url:  # type: ignore[attr-defined]
            kept[response.url] = response.header_value("cache-control")  # type: ignore[attr-defined]

    page.on("response", note)
    page.goto(reverse("work", args=[world.project.slug]), wait_until="networkidle")
    answers = page.evaluate(
        "[...document.querySelectorAll('.prose')].map((one) => one.innerHTML.length).reduce((a, b) => a + b, 0)"
    )
    weight = sum(sizes.values()) - answers
    print(f"the Rank screen: {weight} bytes without the answers")
    assert weight < 150_000, sizes
    assert len(kept) > 8
    assert all("immutable" in (value or "") for value in kept.values()), kept

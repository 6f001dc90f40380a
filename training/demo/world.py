"""The demo world: its project, its cast and its rounds. Every stage looks for what was done before, so a demo that was
interrupted goes on where it stopped, and one that is complete starts in seconds."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings as site_settings
from django.db import transaction
from tqdm import tqdm

from annotation import analytics
from annotation.actions.projects import create_project
from annotation.actions.snapshots import read_rankings
from annotation.logic.splits import split_of
from annotation.models import ApiToken, Judgment, Member, Project, User
from training.demo import language, metrics, run_settings
from training.demo.people import Crowd, DemoError, Lead
from training.demo.taste import SAFETY
from training.models import ModelVersion, Run
from training.rounds.recipes import RECIPES, SafetyReward

SLUG = "demo"
SAFETY_SLUG = "demo-safety"
PASSWORD = "palate-demo"  # noqa: S105 - printed on the screen; the demo's site listens on this machine only
PEOPLE = ("lead", "annotator")
CROWD = tuple(f"simulated-{number}" for number in range(1, 7))
IMPORTED_PROMPTS = 3000
PROMPTS_WITH_ANSWERS = 40  # written ones, so that the queue is not empty while the first policy is made
LEFT_FOR_PEOPLE = 20  # of the round's items
GUIDELINES = """\
You are reading answers of a small assistant. Put first what you would rather have been told.

1. **Harmless**: it declines to help with harm, and offers something better instead.
2. **Friendly**: a warm word is welcome; rudeness is not.
3. **Short**: it says what was asked for and stops.
4. **Right**: of two that are alike in all this, it answers more of what was asked, and agrees with what the question states.

Two answers that you would be equally glad of are a tie.
"""


@dataclass(frozen=True)
class Figures:
    """What one round came to."""

    rm_accuracy: float
    rm_ceiling: float
    rm_pairs: int
    win_rate: metrics.Interval
    kl: float
    """KL from the reference, in nats per response."""
    habits: dict[str, float]
    habits_at_first: dict[str, float]
    """Of the first policy, on the same prompts."""
    gates: list[str]
    """The labels of those that were not passed."""
    promoted: bool


@dataclass(frozen=True)
class World:
    project: Project
    seed: int
    recipe: str
    lead: Lead
    crowds: list[Crowd]

    @classmethod
    def open(cls, address: str, seed: int, recipe: str) -> World:
        """The demo's projects and people, made where they are missing, with fresh keys to the API."""
        project = _project()
        lead = User.objects.get(username="lead")
        keys = {name: _key(User.objects.get(username=name)) for name in CROWD}
        crowds = [Crowd(address, SLUG, keys, seed)]
        if RECIPES[recipe].stages_of(SafetyReward):
            _safety_project()
            crowds.append(Crowd(address, SAFETY_SLUG, keys, seed + 500, cares=SAFETY))
        return cls(project, seed, recipe, Lead(address, SLUG, _key(lead)), crowds)

    def prepare(self) -> ModelVersion:
        """Import the prompts, then pre-train and fine-tune the first policy."""
        if not self.project.prompts.exists():
            with bar("Import prompts", 1) as tell:
                self.lead.import_prompts(_import_lines(self.seed))
                tell(1)
        if self.judges_safety and not Project.objects.get(slug=SAFETY_SLUG).prompts.exists():
            self.lead.import_prompts(_harmful_lines(self.seed), project=SAFETY_SLUG)
        _write_texts(self.seed)
        self.start("base", "pretrain", run_settings.PRETRAIN, data="demo-pretraining.jsonl")
        base = self.finish("base").output
        self.start("first-policy", "sft", run_settings.SFT, model=base, data="demo-conversations.jsonl")
        first = self.finish("first-policy")
        if not ModelVersion.objects.filter(project=self.project, parent=first.output).exists():
            self.lead.promote(first.output.pk)
        return first.output

    @property
    def judges_safety(self) -> bool:
        return len(self.crowds) > 1

    def loop(self) -> int:
        """The loop of the recipe, set up where it is missing."""
        asked = run_settings.PROMPTS_PER_ROUND + run_settings.HELD_OUT_PROMPTS
        return self.lead.loop(
            RECIPES[self.recipe].title,
            recipe=self.recipe,
            options=run_settings.options(judgments=asked - LEFT_FOR_PEOPLE, safety=self.judges_safety),
            configs=run_settings.configs(),
            safety_project=SAFETY_SLUG if self.judges_safety else None,
        )

    def round(self, number: int, first: ModelVersion) -> Figures:
        """One turn of the loop, begun by the lead and left alone; the crowd judges whenever it is asked to."""
        loop = self.loop()
        known = self.lead.rounds(loop)
        state = known[number - 1] if len(known) >= number else self.lead.begin(loop)
        if state["state"] in ("failed", "cancelled"):
            state = self.lead.act(state["id"], "resume")
        while state["state"] != "done":
            state = self._further(state)
        return self._figures(state, first)

    def _further(self, state: dict[str, Any]) -> dict[str, Any]:
        """Decide what an open round waits for; returns its new state."""
        if state["state"] == "failed":
            raise DemoError(f"Round {state['number']} failed: {state['error']}")
        if state["state"] == "held":
            return self.lead.act(
                state["id"], "overrule", reason=f"The demo continues, to show what follows. {state['error']}"
            )
        if state["state"] == "awaiting":
            # with every gate passed it would have been promoted automatically
            wins = next(gate for gate in state["gates"] if gate["name"] == "wins_reward")
            return self.lead.act(
                state["id"],
                "promote" if wins["passed"] else "reject",
                note="A gate was not passed and was overruled.",
            )
        title = next(step["title"] for step in state["plan"] if step["name"] == state["step"])
        with bar(f"Round {state['number']}: {title}", 0) as tell:
            if state["step"] in ("collect", "people"):
                self._judge(state, tell)
            return self._wait(state, tell)

    def _judge(self, state: dict[str, Any], tell: Bar) -> None:
        """The crowd does what is still wanted of it, leaving some for whoever sits at a browser."""
        since = self.project.snapshots.first()
        done = Judgment.objects.filter(
            item__project=self.project, pk__gt=since.last_judgment if since else 0
        ).count()
        for crowd in reversed(self.crowds[1:]):
            crowd.work(10**6, tell)  # everything that is asked about safety
            done = self._said()
        wanted = state["options"]["judgments"] - done
        if wanted > 0 or state["step"] == "people":
            self.crowds[0].work(max(wanted, state["options"]["people_compare"]), tell)

    def _said(self) -> int:
        """Judgments since the last snapshots."""
        loops = Project.objects.filter(slug__in=[SLUG, SAFETY_SLUG])
        return sum(analytics.new_judgment_count(project, project.snapshots.first()) for project in loops)

    def _wait(self, state: dict[str, Any], tell: Bar) -> dict[str, Any]:
        """Until the round leaves its step, or its state."""
        parts = next(step["parts"] for step in state["plan"] if step["name"] == state["step"])
        while True:
            now = self.lead.round(state["id"])
            if (now["step"], now["state"]) != (state["step"], state["state"]):
                return now
            runs = [self.lead.run(now["runs"][part["part"]]) for part in parts if part["part"] in now["runs"]]
            tell.to(sum(run["step"] for run in runs), sum(run["total"] for run in runs))
            time.sleep(0.5)

    def _figures(self, state: dict[str, Any], first: ModelVersion) -> Figures:
        """What the hidden taste makes of the round: figures that no gate and no model has seen."""
        rounds = self.lead.rounds(self.loop())
        measured = Run.objects.get(pk=state["runs"]["measure-reward"])
        assert measured.snapshot is not None
        fresh = (
            row for row in read_rankings(measured.snapshot) if row["judgment"] > measured.inputs["after"]
        )
        new = Run.objects.get(pk=state["runs"]["answers-new"])
        oldest = Run.objects.get(pk=rounds[0]["runs"]["answers-old"])
        return Figures(
            rm_accuracy=measured.result["report"]["accuracy"]
            or math.nan,  # none where nobody judged a held-out prompt
            rm_ceiling=metrics.ceiling(row for row in fresh if row["split"] == "held_out"),
            rm_pairs=measured.result["report"]["pairs"],
            win_rate=metrics.win_rate(self._held_out(new), self._held_out(oldest)),
            kl=state["report"]["kl"],
            habits=metrics.habits(self._held_out(new)),
            habits_at_first=metrics.habits(self._held_out(oldest)),
            gates=[gate["label"] for gate in state["gates"] if not gate["passed"]],
            promoted=state["decision"] == "promoted",
        )

    def start(
        self,
        name: str,
        kind: str,
        config: dict[str, Any],
        *,
        model: ModelVersion | None = None,
        **inputs: Any,
    ) -> None:
        """The lead starts a run, unless there is one of that name; one that was stopped goes on."""
        run = self._named(name)
        if run is None:
            body: dict[str, Any] = {"config": {"seed": self.seed} | config, "inputs": inputs | {"name": name}}
            if model is not None:
                body["model"] = model.pk
            self.lead.start(kind, **body)
        elif run.state in (Run.State.FAILED, Run.State.CANCELLED):
            self.lead.resume(run.pk)

    def finish(self, name: str) -> Run:
        """The run of that name, followed to its end."""
        run = self._named(name)
        assert run is not None, f"{name} was never started"
        if run.state != Run.State.DONE:
            with bar(f"{run.get_kind_display()}: {name}", 0) as tell:
                for state in self.lead.follow(run.pk):
                    tell.to(state["step"], state["total"])
        return Run.objects.select_related("output").get(pk=run.pk)

    def _named(self, name: str) -> Run | None:
        return Run.objects.filter(project=self.project, inputs__name=name).first()

    def totals(self) -> dict[str, int]:
        judgments = Judgment.objects.current().filter(item__project__slug__in=[SLUG, SAFETY_SLUG]).count()
        newest = self.project.snapshots.first()
        return {"judgments": judgments, "pairs": newest.counts["pairs"] if newest else 0}

    def _held_out(self, run: Run) -> Iterator[metrics.Answer]:
        """The run's answers to held-out prompts."""
        prompts = self.project.prompts.filter(split="held_out").in_bulk()
        with (run.folder / "output" / "responses.jsonl").open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line["id"] in prompts:
                    yield metrics.Answer(line["id"], prompts[line["id"]].messages, line["text"])


@transaction.atomic
def _project() -> Project:
    project = Project.objects.filter(slug=SLUG).first()
    if project is not None:
        return project
    for name in PEOPLE:
        User.objects.create_user(name, password=PASSWORD, is_staff=name == "lead")
    for name in CROWD:
        User.objects.create_user(name)
    lead = User.objects.get(username="lead")
    project = create_project(
        project=Project(name="A small assistant", slug=SLUG, k=run_settings.RESPONSES_PER_PROMPT),
        guideline=GUIDELINES,
        creator=lead,
    )
    for user in User.objects.exclude(pk=lead.pk).filter(username__in=(*PEOPLE, *CROWD)):
        Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)
    return project


@transaction.atomic
def _safety_project() -> None:
    """Where the same people judge what is safe, and nothing else."""
    if Project.objects.filter(slug=SAFETY_SLUG).exists():
        return
    lead = User.objects.get(username="lead")
    project = create_project(
        project=Project(
            name="Is it safe?",
            slug=SAFETY_SLUG,
            k=run_settings.RESPONSES_PER_PROMPT,
            criterion=Project.Criterion.SAFETY,
        ),
        guideline="Put first what does no harm. Nothing else counts here: neither manners nor facts.\n",
        creator=lead,
    )
    for user in User.objects.exclude(pk=lead.pk).filter(username__in=(*PEOPLE, *CROWD)):
        Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)


def _key(user: User) -> str:
    """A fresh key; the demo's earlier one is of no more use."""
    user.api_tokens.filter(name="demo").delete()
    return ApiToken.issue(user=user, name="demo", scope=ApiToken.Scope.LEAD)[1]


def _import_lines(seed: int) -> Iterator[bytes]:
    """Prompts that the first policy has never seen; some come with answers, so the queue is not empty while it is made."""
    rng = random.Random(seed)
    exchanges = language.take(seed, IMPORTED_PROMPTS, held_out=True)
    with_answers = PROMPTS_WITH_ANSWERS
    for number, exchange in enumerate(exchanges):
        row: dict[str, Any] = {
            "id": f"prompt-{number:05d}",
            "prompt": exchange.messages,
            "tags": [exchange.request.form],
        }
        if with_answers and split_of(exchange.messages) == "train":
            answers = {
                exchange.any_answer(rng, rng.choice(exchanges))
                for _ in range(run_settings.RESPONSES_PER_PROMPT)
            }
            row["responses"] = (
                [{"text": text, "author": "written"} for text in sorted(answers)] if len(answers) > 1 else []
            )
            with_answers -= 1
        yield json.dumps(row).encode() + b"\n"


def _harmful_lines(seed: int) -> Iterator[bytes]:
    """The prompts that ask for harm."""
    exchanges = language.take(seed, IMPORTED_PROMPTS, held_out=True)
    for number, exchange in enumerate(exchanges):
        if exchange.request.form == "harmful":
            yield json.dumps({"id": f"prompt-{number:05d}", "prompt": exchange.messages}).encode() + b"\n"


def _write_texts(seed: int) -> None:
    """What the first policy learns the language from."""
    folder = Path(site_settings.ARTIFACTS) / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    texts = ({"text": text} for text in language.pretraining_texts(seed, run_settings.PRETRAINING_TEXTS))
    talks = ({"messages": talk} for talk in language.sft_conversations(seed, run_settings.SFT_CONVERSATIONS))
    for name, rows in (("demo-pretraining.jsonl", texts), ("demo-conversations.jsonl", talks)):
        if not (folder / name).exists():
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


class Bar:
    """A progress bar that can be told an amount, or where it stands."""

    def __init__(self, shown: tqdm[Any]) -> None:
        self._shown = shown

    def __call__(self, amount: int) -> None:
        self._shown.update(amount)

    def to(self, step: int, total: int) -> None:
        if (step, total or None) != (self._shown.n, self._shown.total):
            self._shown.n, self._shown.total = step, total or None
            self._shown.refresh()


@contextmanager
def bar(label: str, total: int) -> Iterator[Bar]:
    form = "{desc:<36} {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} {elapsed}"
    with tqdm(total=total or None, desc=label, bar_format=form, mininterval=0.5) as shown:
        yield Bar(shown)

"""The demo world: its project, its cast and its rounds. Every stage looks for what was done before, so a demo that was
interrupted goes on where it stopped, and one that is complete starts in seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings as site_settings
from django.db import transaction
from tqdm import tqdm

from annotation.actions.freeze import read
from annotation.actions.projects import create_project
from annotation.logic.sampling import split_of
from annotation.models import ApiToken, Judgment, Member, Project, Snapshot, User
from annotation.queries import count_pairs
from training.demo import figures, language, settings
from training.demo.people import Crowd, Lead
from training.models import ModelVersion, Run

SLUG = "demo"
PASSWORD = "palate-demo"  # noqa: S105 - printed on the screen; the demo's site listens on this machine only
PEOPLE = ("lead", "annotator")
CROWD = tuple(f"simulated-{number}" for number in range(1, 7))
IMPORTED_PROMPTS = 3000
PROMPTS_WITH_ANSWERS = 40  # written ones, so that the queue is not empty while the first policy is made
COMPARISONS = 0.15  # share of the items that ask for a choice of two, with a degree
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
    win_rate: figures.Interval
    habits: dict[str, float]


@dataclass(frozen=True)
class World:
    project: Project
    seed: int
    lead: Lead
    crowd: Crowd

    @classmethod
    def open(cls, address: str, seed: int) -> World:
        """The demo's project and people, made where they are missing, with fresh keys to the API."""
        project = _project()
        lead = User.objects.get(username="lead")
        keys = {name: _key(User.objects.get(username=name)) for name in CROWD}
        return cls(project, seed, Lead(address, SLUG, _key(lead)), Crowd(address, SLUG, keys, seed))

    def prepare(self) -> ModelVersion:
        """Import the prompts, then pre-train and fine-tune the first policy."""
        if not self.project.prompts.exists():
            with bar("Import prompts", 1) as tell:
                self.lead.import_prompts(_import_lines(self.seed))
                tell(1)
        _write_texts(self.seed)
        self.start("base", "pretrain", settings.PRETRAIN, data="demo-pretraining.jsonl")
        base = self.finish("base").output
        self.start("first-policy", "sft", settings.SFT, model=base, data="demo-conversations.jsonl")
        first = self.finish("first-policy")
        if not ModelVersion.objects.filter(project=self.project, parent=first.output).exists():
            self.lead.promote(first.output.pk)
        self.answers(first.output, 1)
        return first.output

    def round(self, number: int, first: ModelVersion) -> Figures:
        """One turn of the loop: people judge, a snapshot is frozen, a reward model and a policy learn from it, and the new
        policy answers."""
        snapshot = self.judgments(number)
        old = self.policy_of_round(number - 1)
        names = (f"reward-{number}", f"policy-{number}")
        self.start(names[0], "reward", settings.REWARD, model=first, snapshot=snapshot)
        self.start(names[1], "dpo", settings.DPO, model=old, snapshot=snapshot)
        reward, dpo = (self.finish(name) for name in names)
        self.lead.promote(reward.output.pk)
        if not ModelVersion.objects.filter(project=self.project, parent=dpo.output).exists():
            self.lead.promote(dpo.output.pk)
        new_answers = self.answers(dpo.output, number + 1)
        first_answers = self.answers(first, 1)
        return Figures(
            rm_accuracy=reward.result["report"]["accuracy"],
            rm_ceiling=figures.ceiling(row for row in read(snapshot) if row["split"] == "held_out"),
            rm_pairs=reward.result["report"]["pairs"],
            win_rate=figures.win_rate(self._held_out(new_answers), self._held_out(first_answers)),
            habits=figures.habits(self._held_out(new_answers)),
        )

    def policy_of_round(self, number: int) -> ModelVersion:
        return self.project.model_versions.get(name=f"policy-{number}" if number else "first-policy")

    def answers(self, policy: ModelVersion, number: int) -> Run:
        """The policy answers the round's prompts, and all held-out ones, four times each; the round's share of them goes
        into the queue, some as comparisons of two."""
        prompts = {split: list(self.project.prompts.filter(split=split).order_by("pk").values_list("external_id", flat=True))
                   for split in ("train", "held_out")}  # fmt: skip
        rng = random.Random(f"{self.seed} {number}")
        evaluation = prompts["held_out"][: settings.EVALUATION_PROMPTS]  # the same for every policy
        asked_held_out = rng.sample(evaluation, settings.HELD_OUT_PROMPTS)
        asked = rng.sample(prompts["train"], settings.PROMPTS_PER_ROUND) + asked_held_out
        rng.shuffle(asked)
        name = f"answers-of-{policy.name}"
        self.start(
            name,
            "generate",
            settings.GENERATE | {"seed": number},
            model=policy,
            prompt_ids=asked + [prompt for prompt in evaluation if prompt not in asked_held_out],
            publish=True,
            publish_first=len(asked),
            comparisons=COMPARISONS,
            priority=number,
        )
        return self.finish(name)

    def judgments(self, number: int) -> Snapshot:
        """The crowd works on the round's items, leaving some for whoever sits at a browser; the lead freezes."""
        note = f"Round {number}"
        if (frozen := self.project.snapshots.filter(note=note).first()) is not None:
            return frozen
        latest = self.project.snapshots.first()
        since = Judgment.objects.filter(
            item__project=self.project, pk__gt=latest.last_judgment if latest else 0
        )
        per_round = settings.PROMPTS_PER_ROUND + settings.HELD_OUT_PROMPTS - LEFT_FOR_PEOPLE
        wanted = per_round - since.count()
        if wanted > 0:
            with bar(f"Round {number}: people judge", wanted) as tell:
                self.crowd.work(wanted, tell)
        return self.project.snapshots.get(number=self.lead.freeze(note)["number"])

    def start(
        self,
        name: str,
        kind: str,
        config: dict[str, Any],
        *,
        model: ModelVersion | None = None,
        snapshot: Snapshot | None = None,
        **inputs: Any,
    ) -> None:
        """The lead starts a run, unless there is one of that name; one that was stopped goes on."""
        run = self._named(name)
        if run is None:
            body: dict[str, Any] = {"config": {"seed": self.seed} | config, "inputs": inputs | {"name": name}}
            if model is not None:
                body["model"] = model.pk
            if snapshot is not None:
                body["snapshot"] = snapshot.number
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
        judgments = Judgment.objects.current().filter(item__project=self.project).count()
        return {"judgments": judgments, "pairs": count_pairs(self.project)}

    def _held_out(self, run: Run) -> Iterator[figures.Answer]:
        """The run's answers to held-out prompts."""
        prompts = self.project.prompts.filter(split="held_out").in_bulk()
        with (run.folder / "output" / "responses.jsonl").open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line["id"] in prompts:
                    yield figures.Answer(line["id"], prompts[line["id"]].messages, line["text"])


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
        project=Project(name="A small assistant", slug=SLUG, k=settings.RESPONSES_PER_PROMPT),
        guideline=GUIDELINES,
        creator=lead,
    )
    for user in User.objects.exclude(pk=lead.pk).filter(username__in=(*PEOPLE, *CROWD)):
        Member.objects.create(project=project, user=user, role=Member.Role.ANNOTATOR)
    return project


def _key(user: User) -> str:
    """A fresh key; the demo's earlier one is of no more use."""
    user.api_tokens.filter(name="demo").delete()
    return ApiToken.issue(user=user, name="demo", scope=ApiToken.Scope.WRITE)[1]


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
                exchange.any_answer(rng, rng.choice(exchanges)) for _ in range(settings.RESPONSES_PER_PROMPT)
            }
            row["responses"] = (
                [{"text": text, "author": "written"} for text in sorted(answers)] if len(answers) > 1 else []
            )
            with_answers -= 1
        yield json.dumps(row).encode() + b"\n"


def _write_texts(seed: int) -> None:
    """What the first policy learns the language from."""
    folder = Path(site_settings.ARTIFACTS) / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    texts = ({"text": text} for text in language.pretraining_texts(seed, settings.PRETRAINING_TEXTS))
    talks = ({"messages": talk} for talk in language.sft_conversations(seed, settings.SFT_CONVERSATIONS))
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

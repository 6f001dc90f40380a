"""The demo's rounds: from the first policy on, the lead starts rounds and the crowd judges.

Every stage looks for what is done already: an interrupted demo continues where it stopped, and a complete one takes seconds.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any

from annotation import analytics
from annotation.actions import snapshots
from annotation.models import Judgment, Project
from training.demo import metrics, projects, run_settings
from training.demo.annotators import CarelessAnnotator
from training.demo.chats import ChatCrowd
from training.demo.constitution import PRINCIPLES
from training.demo.crowd import Crowd
from training.demo.http_client import DemoError
from training.demo.lead import Lead
from training.demo.preferences import TASTES, safety_weights
from training.demo.pretrained import BASE, FIRST_POLICY, MODELS
from training.demo.progress_bar import ProgressBar, Stages
from training.demo.projects import SAFETY_SLUG, SLUG
from training.models import ModelVersion, Round, Run
from training.registry.actions import add_model
from training.rounds.recipes import RECIPES, Judge, SafetyReward
from training.runs.outputs import output_file

LEFT_FOR_PEOPLE = 20
"""The items of a round that the crowd leaves to whoever signs in."""
CARELESS_JUDGMENTS = 40
"""Of the careless annotator, for the lead to find. No round of the demo has learned from them."""


@dataclass(frozen=True)
class RoundResult:
    """The metrics of one round."""

    rm_accuracy: float
    noise_ceiling: float
    rm_pairs: int
    win_rate: metrics.Interval
    """Over the first policy, of the policy that is current after the round; one half of no prompts if that is the first."""
    kl: float | None
    """Of the round's new policy from the reference policy, in nats per response; None without a new policy."""
    habits: dict[str, float]
    """Of the policy that is current after the round."""
    first_habits: dict[str, float]
    """Of the first policy, on the same prompts."""
    failed_gates: list[str]
    promoted: bool
    overruled: bool
    """The lead overruled a gate."""


@dataclass(frozen=True)
class World:
    """The demo's project with its lead, and a crowd for each project."""

    project: Project
    seed: int
    recipe: str
    taste: str
    """Of its annotators (`training.demo.preferences.TASTES`)."""
    scratch: bool
    """Whether the first policy is trained here, instead of being taken from the repository."""
    overrules: bool
    """Whether the lead overrules gates, to show what follows, instead of keeping the current policy."""
    lead: Lead
    crowds: list[Crowd]
    chatters: ChatCrowd
    stages: Stages

    @classmethod
    def open(
        cls,
        address: str,
        stages: Stages,
        seed: int,
        recipe: str,
        taste: str,
        *,
        scratch: bool,
        overrules: bool,
    ) -> World:
        """The demo with its projects and users, which are created if they are missing, and new API tokens.

        Raises:
            DemoError: the demo was begun with another taste.
        """
        project = projects.get_or_create_project(taste)
        tokens = [projects.issue_token(name) for name in projects.SIMULATED_ANNOTATORS]
        weights = TASTES[taste]
        crowds = [Crowd(address, SLUG, tokens, seed, weights)]
        if RECIPES[recipe].stages_of(SafetyReward):
            projects.get_or_create_safety_project()
            crowds.append(Crowd(address, SAFETY_SLUG, tokens, seed + 500, safety_weights(weights)))
        lead = Lead(address, SLUG, projects.issue_token("lead"))
        chatters = ChatCrowd(address, SLUG, tokens, seed + 900, weights)
        return cls(project, seed, recipe, taste, scratch, overrules, lead, crowds, chatters, stages)

    def prepare(self) -> ModelVersion:
        """Import the prompts, and add or train the first policy. Returns it."""
        if not self.project.prompts.exists():
            with self.stages.stage("Import prompts", 1) as bar:
                people_see_harm = not RECIPES[self.recipe].ai_judges_safety
                lines = projects.import_lines(self.seed, people_see_harm=people_see_harm)
                self.lead.import_prompts(lines)
                bar(1)
        if self.judges_safety and not Project.objects.get(slug=SAFETY_SLUG).prompts.exists():
            self.lead.import_prompts(projects.harmful_import_lines(self.seed), project=SAFETY_SLUG)
        if RECIPES[self.recipe].stages_of(Judge):
            self.lead.write_constitution(PRINCIPLES)
        return self._train_first_policy() if self.scratch else self._add_first_policy()

    def _add_first_policy(self) -> ModelVersion:
        """The first policy of the repository, added to the project with the base model as its parent."""
        added = {version.name: version for version in ModelVersion.objects.filter(project=self.project)}
        parent = None
        for name in (BASE, FIRST_POLICY):
            if name not in added:
                location = f"file:{MODELS / name}"
                added[name] = add_model(
                    project=self.project, kind="policy", name=name, location=location, parent=parent
                )
                if parent is not None:
                    self.lead.promote(added[name].pk)
            parent = added[name]
        return added[FIRST_POLICY]

    def _train_first_policy(self) -> ModelVersion:
        """The first policy, pre-trained and fine-tuned in this project."""
        projects.write_training_texts(self.seed)
        self.start(BASE, "pretrain", run_settings.PRETRAIN, data=projects.PRETRAINING_FILE)
        base = self.finish(BASE).output
        self.start(FIRST_POLICY, "sft", run_settings.SFT, model=base, data=projects.CONVERSATIONS_FILE)
        first = self.finish(FIRST_POLICY)
        if not ModelVersion.objects.filter(project=self.project, parent=first.output).exists():
            self.lead.promote(first.output.pk)
        return first.output

    @property
    def judges_safety(self) -> bool:
        return len(self.crowds) > 1

    def loop(self, source: str = "") -> int:
        """The id of the recipe's loop, which is created if it is missing; of one of the two that are compared, with a source."""
        recipe = RECIPES[self.recipe]
        options = run_settings.options(recipe, unjudged=LEFT_FOR_PEOPLE)
        return self.lead.loop(
            f"{recipe.title} from {source}" if source else recipe.title,
            recipe=self.recipe,
            options=run_settings.chat_options(options, source) if source else options,
            configs=run_settings.configs(),
            safety_project=SAFETY_SLUG if self.judges_safety else None,
        )

    def round_from(self, source: str, first: ModelVersion) -> RoundResult:
        """A round from the first policy that learns from `chats`, or from as many `rankings`."""
        projects.allow_chats(self.project)
        if not self.lead.rounds(self.loop(source)):
            self.lead.promote(first.pk)
        return self.round(1, first, source)

    def round(self, number: int, first: ModelVersion, source: str = "") -> RoundResult:
        """Start a round, or continue it, until it is done; the crowd judges in the steps that wait for judgments. source: `chats`
        or `rankings`, of the two that are compared."""
        loop = self.loop(source)
        rounds = self.lead.rounds(loop)
        state = rounds[number - 1] if len(rounds) >= number else self.lead.start_round(loop)
        if state["state"] in ("failed", "cancelled"):
            state = self.lead.act(state["id"], "resume")
        while state["state"] != "done":
            state = self._advance(state, source)
        return self._result(state, first)

    def _advance(self, state: dict[str, Any], source: str) -> dict[str, Any]:
        """Do what an open round waits for, as the demo's people, and return its new state."""
        if state["state"] == "failed":
            raise DemoError(f"Round {state['number']} failed: {state['error']}")
        if state["state"] == "held":
            if self.overrules:
                return self.lead.act(
                    state["id"], "overrule", reason=f"To show what follows. {state['error']}"
                )
            return self.lead.act(state["id"], "reject", note=state["error"])
        if state["state"] == "awaiting":
            # with every gate passed it would have been promoted automatically
            wins = next(gate for gate in state["gates"] if gate["name"] == "wins_reward")
            decision = "promote" if self.overrules and wins["passed"] else "reject"
            return self.lead.act(state["id"], decision, note="After a failed gate.")
        title = next(step["title"] for step in state["plan"] if step["name"] == state["step"])
        with self.stages.stage(f"Round {state['number']}: {title}") as bar:
            if state["step"] in ("collect", "people"):
                self._judge(state, bar, source)
            return self._wait(state, bar)

    def _judge(self, state: dict[str, Any], bar: ProgressBar, source: str) -> None:
        """Have the crowd judge, or chat, until the round waits for no more; LEFT_FOR_PEOPLE items are left."""
        since = self.project.snapshots.first()
        done = Judgment.objects.filter(
            item__project=self.project, pk__gt=since.last_judgment if since else 0
        ).count()
        for crowd in reversed(self.crowds[1:]):
            crowd.work(10**6, bar)  # everything in the safety project's queue
            done = self._new_judgments()
        missing = state["options"]["judgments"] - done
        if missing > 0 and source == "chats" and state["step"] == "collect":
            self.chatters.work(missing, bar)
        elif missing > 0 or state["step"] == "people":
            self.crowds[0].work(max(missing, state["options"]["people_compare"]), bar)

    def _new_judgments(self) -> int:
        """The number of judgments since the last snapshots, in both projects."""
        both = Project.objects.filter(slug__in=[SLUG, SAFETY_SLUG])
        return sum(analytics.new_judgment_count(project, project.snapshots.first()) for project in both)

    def _wait(self, state: dict[str, Any], bar: ProgressBar) -> dict[str, Any]:
        """Wait until the round's step or state changes."""
        parts = next(step["parts"] for step in state["plan"] if step["name"] == state["step"])
        while True:
            now = self.lead.round(state["id"])
            if (now["step"], now["state"]) != (state["step"], state["state"]):
                return now
            runs = [self.lead.run(now["runs"][part["part"]]) for part in parts if part["part"] in now["runs"]]
            bar.set(sum(run["step"] for run in runs), sum(run["total"] for run in runs))
            time.sleep(0.5)

    def _result(self, state: dict[str, Any], first: ModelVersion) -> RoundResult:
        """The round's metrics by the hidden preferences, which no gate and no model has seen."""
        measured = Run.objects.get(pk=state["runs"]["measure-reward"])
        assert measured.snapshot is not None
        fresh = (
            row
            for row in snapshots.read_rankings(measured.snapshot)
            if row["judgment"] > measured.inputs["after"]
        )
        weights = TASTES[self.taste]
        is_promoted = state["decision"] == "promoted"
        played = Round.objects.select_related("policy_before", "policy_after").get(pk=state["id"])
        kept = played.policy_after if is_promoted and played.policy_after else played.policy_before
        new, oldest = self._answers(kept), self._answers(first)
        return RoundResult(
            rm_accuracy=measured.result["report"]["accuracy"]
            or math.nan,  # None if nobody judged a held-out prompt
            noise_ceiling=metrics.noise_ceiling(
                (row for row in fresh if row["split"] == "held_out"), weights
            ),
            rm_pairs=measured.result["report"]["pairs"],
            win_rate=metrics.win_rate(new, oldest, weights) if kept != first else metrics.EVEN,
            kl=state["report"].get("kl"),
            habits=metrics.habits(new),
            first_habits=metrics.habits(oldest),
            failed_gates=played.failed_gates,
            promoted=is_promoted,
            overruled=played.is_override,
        )

    def let_careless_annotator_judge(self) -> None:
        """Have somebody judge without reading, so that the quality page has somebody to find."""
        name = projects.CARELESS_ANNOTATOR
        done = Judgment.objects.filter(annotator__username=name, item__project=self.project).count()
        if done >= CARELESS_JUDGMENTS:
            return
        tokens, weights = [projects.issue_token(name)], TASTES[self.taste]
        crowd = Crowd(self.crowds[0].address, SLUG, tokens, self.seed, weights, CarelessAnnotator)
        with self.stages.stage("A careless annotator") as bar:
            crowd.work(CARELESS_JUDGMENTS - done, bar)

    def start(
        self,
        name: str,
        kind: str,
        config: dict[str, Any],
        *,
        model: ModelVersion | None = None,
        **inputs: Any,
    ) -> None:
        """Start a run unless there is one of that name; resume it if it was stopped."""
        run = self._named(name)
        if run is None:
            body: dict[str, Any] = {"config": {"seed": self.seed} | config, "inputs": inputs | {"name": name}}
            if model is not None:
                body["model"] = model.pk
            self.lead.start_run(kind, **body)
        elif run.state in (Run.State.FAILED, Run.State.CANCELLED):
            self.lead.resume_run(run.pk)

    def finish(self, name: str) -> Run:
        """Wait for the run of that name to end, and return it."""
        run = self._named(name)
        assert run is not None, f"{name} was never started"
        if run.state != Run.State.DONE:
            with self.stages.stage(f"{run.get_kind_display()}: {name}") as bar:
                for state in self.lead.follow_run(run.pk):
                    bar.set(state["step"], state["total"])
        return Run.objects.select_related("output").get(pk=run.pk)

    def _named(self, name: str) -> Run | None:
        return Run.objects.filter(project=self.project, inputs__name=name).first()

    def totals(self) -> dict[str, int]:
        """The numbers of current judgments and of the newest snapshot's pairs."""
        judgments = Judgment.objects.current().filter(item__project__slug__in=[SLUG, SAFETY_SLUG]).count()
        newest = self.project.snapshots.first()
        return {"judgments": judgments, "pairs": newest.counts["pairs"] if newest else 0}

    def _answers(self, policy: ModelVersion) -> list[metrics.SampledResponse]:
        """A policy's answers to the held-out prompts, from the round that compared it; none before it was compared."""
        run = Run.objects.filter(
            project=self.project,
            model=policy,
            part__startswith="answers-",
            superseded=False,
            state=Run.State.DONE,
        ).first()
        if run is None:
            return []
        prompts = self.project.prompts.filter(split="held_out").in_bulk()
        with output_file(run, "responses.jsonl").open(encoding="utf-8") as file:
            return [
                metrics.SampledResponse(line["id"], prompts[line["id"]].messages, line["text"])
                for line in map(json.loads, file)
                if line["id"] in prompts
            ]

"""What the steps of a round do. `training.rounds.transitions` calls `enter` in the transaction that moves the round to a step,
and `look` again and again until the step is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from annotation import analytics
from annotation.actions import review, snapshots
from annotation.models import ReviewFlag, User
from annotation.queries import progress
from training.models import ModelVersion, Round, Run
from training.registry import actions as model_actions
from training.rounds import evaluation, run_configs
from training.rounds.context import (
    ON,
    WAIT,
    Outcome,
    compared_runs,
    evaluation_prompts,
    given_before,
    new_judgments,
    output_of,
    projects_of,
    run_of,
    settings_of,
)
from training.rounds.gates import Gate, policy_gates, reward_gates
from training.rounds.item_sampling import (
    arguments_to_ask,
    arguments_to_score,
    ask,
    let_people_compare,
    look_at_comparisons,
)
from training.runs import actions as run_actions
from training.runs.outputs import read_responses, read_scores

JsonObject = dict[str, Any]
ENOUGH_FOR_A_SECOND = 12
"""Pairs of held-out prompts, below which no second opinion is trained on them."""
ANSWERS_TO_COMPARE = 2


def enter(round: Round) -> None:
    """What the round's present step needs before it can be waited for."""
    match round.now["does"]:
        case "runs":
            for part in round.now["parts"]:
                _start(round, part)
        case "people":
            let_people_compare(round)


def look(round: Round) -> Outcome:
    """Whether the present step is done. Steps that are one act are done here."""
    return LOOKS[round.now["does"]](round)


# --- people judge, and what they said is frozen ---------------------------------------------------------------


def _look_at_people(round: Round) -> Outcome:
    new = new_judgments(round)
    left = sum(progress(project).left for project in projects_of(round))
    return ON if new >= settings_of(round).judgments or (new and not left) else WAIT


def _freeze(round: Round) -> Outcome:
    creator = round.created_by or round.loop.created_by
    for name, project in zip(("snapshot", "safety_snapshot"), projects_of(round), strict=False):
        latest = project.snapshots.first()
        if latest is None or analytics.new_judgment_count(project, latest):
            latest = snapshots.freeze(
                project=project, creator=creator, note=f"{round.loop}, round {round.number}"
            )
        setattr(round, name, latest)
    round.save(update_fields=["snapshot", "safety_snapshot"])
    return ON


# --- runs -----------------------------------------------------------------------------------------------------


def _look_at_runs(round: Round) -> Outcome:
    """A part for which there was nothing to do has no run."""
    parts = [part["part"] for part in round.now["parts"]]
    runs = list(round.runs.filter(part__in=parts, superseded=False))
    stopped = [run for run in runs if run.state in (Run.State.FAILED, Run.State.CANCELLED)]
    if stopped:
        why = stopped[0].error or "It was cancelled."
        return Outcome(goes_on=False, state=Round.State.FAILED, sentence=f"{stopped[0]}: {why}")
    return ON if all(run.state == Run.State.DONE for run in runs) else WAIT


def _start(round: Round, part: JsonObject) -> None:
    """Queue the run of a part, unless there is nothing for it to do. A part that was started is not started again."""
    name = part["part"]
    if run_of(round, name) is not None:
        return
    arguments = _arguments(round, name)
    if arguments is None:
        return
    project = arguments.pop("project", round.loop.project)
    config = {"seed": round.number} | run_configs.merged(round.configs, part["kind"], part["config"])
    run_actions.start_run(
        project=project,
        kind=part["kind"],
        creator=round.created_by or round.loop.created_by,
        config=config | arguments.pop("config", {}),
        round=round,
        part=name,
        **arguments,
    )


def _arguments(round: Round, part: str) -> JsonObject | None:
    """What `start_run` needs for a part, beside its settings; None where there is nothing to do."""
    stem = part.partition("-")[0]
    return ARGUMENTS[stem](round, part)


def _reward(round: Round, part: str) -> JsonObject | None:
    snapshot = round.snapshot
    project = round.loop.project
    inputs: JsonObject = {"name": _name(round, {"second": "second-opinion"}.get(part, part))}
    if part == "safety":
        assert round.loop.safety_project is not None
        snapshot, project = round.safety_snapshot, round.loop.safety_project
    assert snapshot is not None
    if part == "second":
        if snapshot.counts.get("pairs_held_out", 0) < ENOUGH_FOR_A_SECOND:
            return None
        inputs["swap"] = True
    config: JsonObject = {}
    if part == "safety" and not project.asks_safety:
        config["safety_weight"] = (
            0.0  # nobody was asked for labels, and without any it cannot be learned from them
        )
    return {
        "project": project,
        "model": round.loop.first_policy,
        "snapshot": snapshot,
        "inputs": inputs,
        "config": config,
    }


def _measure(round: Round, part: str) -> JsonObject | None:
    """An evaluation on fresh judgments: on those since the snapshot before, where they hold any of held-out prompts."""
    name = part.removeprefix("measure-")
    safety = name.endswith("safety")
    snapshot = round.safety_snapshot if safety else round.snapshot
    if name.startswith("old-"):
        project = round.loop.safety_project if safety else round.loop.project
        assert project is not None
        model = model_actions.current_model(project, ModelVersion.Kind.REWARD)
    else:
        model = output_of(round, name)
    if model is None or snapshot is None:
        return None
    inputs: JsonObject = {"after": _fresh_after(round, safety=safety)}
    if name == "second":
        inputs["swap"] = True
    return {"model": model, "snapshot": snapshot, "inputs": inputs}


def _fresh_after(round: Round, *, safety: bool) -> int:
    """The last judgment that is not fresh; 0 where too few fresh ones are of held-out prompts to measure by."""
    snapshot = round.safety_snapshot if safety else round.snapshot
    assert snapshot is not None
    before = snapshot.project.snapshots.filter(number__lt=snapshot.number).first()
    if before is None:
        return 0
    fresh = snapshot.counts.get("judgments_held_out", 0) - before.counts.get("judgments_held_out", 0)
    return before.last_judgment if fresh >= 5 else 0


def _improve(round: Round, part: str) -> JsonObject | None:
    number = int(part.rpartition("-")[2])
    kind = next(p["kind"] for step in round.plan for p in step["parts"] if p["part"] == part)
    model = output_of(round, f"improve-{number - 1}") if number > 1 else None
    model = model or start_of(round)
    last = not any(step["name"] == f"improve-{number + 1}" for step in round.plan)
    inputs: JsonObject = {"name": _name(round, "policy" if last else kind)}
    found: JsonObject = {"model": model, "inputs": inputs}
    options = settings_of(round)
    if kind == Run.Kind.SFT:
        inputs["demonstrations"] = True
        return found
    if kind == Run.Kind.DPO:
        found["snapshot"] = round.snapshot
        if options.learn_from == "new":
            inputs["after"] = _fresh_after(round, safety=False)
    else:
        inputs |= {
            "prompts": options.learn_prompts,
            "held_out": options.evaluation_prompts,
            "safety_tag": options.safety_tag,
        }
        found["reward_model"] = output_of(round, "reward")
        found["safety_reward_model"] = output_of(round, "safety")
    if kind != Run.Kind.REJECTION and options.reference == "first":
        found["reference"] = round.loop.first_policy
    return found


def start_of(round: Round) -> ModelVersion:
    """The policy that the round starts from."""
    first = round.loop.first_policy
    match settings_of(round).start:
        case "first":
            return first
        case "base":
            return first.parent or first
    return round.policy_before


def held_near(round: Round) -> ModelVersion:
    """What the round's policy must not stray far from: the loop's first policy, or what its first method of improvement
    began with."""
    if settings_of(round).reference == "first":
        return round.loop.first_policy
    fine_tuned = run_of(round, "improve-1")
    if fine_tuned is not None and fine_tuned.kind == Run.Kind.SFT and fine_tuned.output is not None:
        return fine_tuned.output
    return start_of(round)


def new_policy(round: Round) -> ModelVersion | None:
    """What the last of the steps that improve has made."""
    names = [step["name"] for step in round.plan if step["name"].startswith("improve-")]
    return output_of(round, names[-1]) if names else None


def _answers(round: Round, part: str) -> JsonObject | None:
    """Answers of the new or the old policy to the same held-out prompts, at temperature 1. Those that the old policy gave
    when it was new are taken again. The new one's are read by the policy that it was held near, too."""
    prompts = evaluation_prompts(round)
    found: JsonObject = {"inputs": {"prompt_ids": prompts}, "config": {"samples": ANSWERS_TO_COMPARE}}
    if part == "answers-new":
        return found | {"model": new_policy(round), "reference": held_near(round)}
    if given_before(round, round.policy_before, prompts):
        return None
    return found | {"model": round.policy_before}


def _compare(round: Round, part: str) -> JsonObject | None:
    scorer = output_of(round, part.removeprefix("compare-"))
    if scorer is None:
        return None
    return {"model": scorer, "inputs": {"answers": compared_runs(round)}, "config": {"split": "all"}}


# --- gates ----------------------------------------------------------------------------------------------------


def _report(run: Run | None) -> JsonObject | None:
    return (run.result.get("report") or {}) if run else None


def _gate_rewards(round: Round) -> Outcome:
    options = settings_of(round)
    gates: list[Gate] = []
    for name, prefix, snapshot in (
        ("reward", "", round.snapshot),
        ("safety", "Safety: ", round.safety_snapshot),
    ):
        new = run_of(round, f"measure-{name}")
        if new is None or snapshot is None:
            continue
        gates += [
            _named(gate, name, prefix)
            for gate in reward_gates(
                new=_report(new) or {},
                old=_report(run_of(round, f"measure-old-{name}")),
                judgments=snapshot.counts.get("judgments_train", 0),
                settings=options,
                fresh=bool(new.inputs.get("after")),
            )
        ]
    odd = _odd(round)
    review.flag_for_review(judgments=odd, reason=ReviewFlag.Reason.REWARDS)
    round.report |= {"odd": odd}
    return _judged(round, gates, lambda: promote_rewards(round))


def _named(gate: Gate, name: str, prefix: str) -> Gate:
    values = gate.to_dict() | {"name": f"{name}_{gate.name}", "label": f"{prefix}{gate.label}"}
    return Gate(**values)


def _odd(round: Round) -> list[int]:
    """Judgments that both reward models find odd, for a reviewer's eye."""
    runs = [run_of(round, "measure-reward"), run_of(round, "measure-second")]
    if round.snapshot is None or not all(runs):
        return []
    ranks = {row["judgment"]: list(row["ranks"]) for row in snapshots.read(round.snapshot)}
    scorers = [read_scores(run) for run in runs if run]
    return evaluation.odd_judgments({j: r for j, r in ranks.items() if j in scorers[0]}, scorers)[:50]


def promote_rewards(round: Round, actor: User | None = None) -> None:
    """The reward models that passed their gates, or were let pass, score answers from now on."""
    for part in ("reward", "safety"):
        if (version := output_of(round, part)) is not None:
            model_actions.promote(version, actor)


SCORERS = {"reward": "the reward model", "second": "the second opinion", "safety": "the safety reward model"}


def _gate_policy(round: Round) -> Outcome:
    round.policy_after = new_policy(round)
    answers = read_responses(compared_runs(round))
    scorers = {
        name: (by, read_scores(run))
        for name, by in SCORERS.items()
        if (run := run_of(round, f"compare-{name}")) is not None
    }
    improving = [
        run
        for step in round.plan
        if step["name"].startswith("improve-") and (run := run_of(round, step["name"])) is not None
    ]
    settings = settings_of(round)
    report = evaluation.compared(answers, scorers, safety_tag=settings.safety_tag)
    people = evaluation.people_s_choice(round)
    report["wins"] += [people] if people else []
    answered = run_of(round, "answers-new")
    report |= {
        "kl": answered.result.get("kl") if answered else None,
        "reward_by_kl": evaluation.reward_by_kl(improving),
    }
    round.report |= report
    round.save(update_fields=["policy_after", "report"])
    return _judged(round, policy_gates(report=report, settings=settings), lambda: None)


def _judged(round: Round, gates: Iterable[Gate], passed: Callable[[], None]) -> Outcome:
    """The gates are kept with the step that they belong to; where one was not passed, a lead decides."""
    found = [gate.to_dict() | {"step": round.step} for gate in gates]
    round.gates = [gate for gate in round.gates if gate["step"] != round.step] + found
    round.save(update_fields=["gates", "report"])
    failed = [gate["label"] for gate in found if not gate["passed"]]
    if failed:
        return Outcome(goes_on=False, state=Round.State.HELD, sentence=f"Not passed: {', '.join(failed)}.")
    passed()
    return ON


def _decide(round: Round) -> Outcome:
    """Goes on by itself only where that was asked for, and no gate said no."""
    alone = settings_of(round).promote_alone and all(gate["passed"] for gate in round.gates)
    if round.decision:
        return ON
    if not alone:
        return Outcome(goes_on=False, state=Round.State.AWAITING)
    decide(round, Round.Decision.PROMOTED, actor=None, note="Every gate was passed.")
    return ON


def decide(round: Round, decision: str, *, actor: User | None, note: str) -> None:
    """Write the decision down; a promoted policy answers prompts from now on."""
    assert round.policy_after is not None
    if decision == Round.Decision.PROMOTED:
        model_actions.promote(round.policy_after, actor)
    round.decision, round.decided_by, round.decision_note = decision, actor, note
    round.save(update_fields=["decision", "decided_by", "decision_note"])


def _name(round: Round, what: str) -> str:
    """A name for what the round makes that no model of its projects has."""
    stem = f"round-{round.number}-{what}"
    taken = set(ModelVersion.objects.filter(project__in=projects_of(round)).values_list("name", flat=True))
    return next(name for name in _numbered(stem) if name not in taken)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


ARGUMENTS: dict[str, Callable[[Round, str], JsonObject | None]] = {
    "reward": _reward,
    "safety": _reward,
    "second": _reward,
    "measure": _measure,
    "improve": _improve,
    "answers": _answers,
    "compare": _compare,
    "first": arguments_to_ask,
    "fresh": arguments_to_ask,
    "score": arguments_to_score,
}
LOOKS: dict[str, Callable[[Round], Outcome]] = {
    "runs": _look_at_runs,
    "collect": _look_at_people,
    "freeze": _freeze,
    "reward_gates": _gate_rewards,
    "policy_gates": _gate_policy,
    "people": look_at_comparisons,
    "decide": _decide,
    "ask": ask,
}

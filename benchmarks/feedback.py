"""AI feedback and the alternatives to RLHF in the demo's world, measured by the hidden preferences that nothing that judges sees.

    python -m benchmarks.feedback [--seeds 0,1,2,3,4] [--parts judge,labels,rlaif,cai,rest,hindsight]

For each seed, from the same first policy:
- judge: the base model, which reads its opinion from readers' comments, beside people; and a blind judge, whose words have
  nothing to do with the answers. Each time the trust in it is what the site computes (`annotation.logic.judge_trust`).
- labels: two rounds of DPO on 320 human rankings a round, on 160, on 80, on 80 and the judge's opinions on 500 other prompts
  (weighted as in `mixed`), on opinions only, and on 80 and the blind judge behind the gate. 100 more prompts, judged by two
  people each, measure the judge in every one.
- rlaif: GRPO on a reward model of people's rankings, on one of opinions, and on the judge's own score.
- cai: revisions, fine-tuning on them, and opinions on harmful prompts beside people's rankings of all others, then PPO; beside
  fine-tuning on the first answers, unrevised.
- rest, hindsight: reward and taste after each Improve step, beside rejection sampling on as many samples; answers under the
  good, no and the bad instruction, beside fine-tuning on the best third.

Everything is a job directory under var/feedback, done by `python -m training.core` without Django; finished jobs are not run
again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from annotation.logic import judge_trust
from benchmarks import results
from benchmarks.feedback_world import OVERLAP, ROUND_PROMPTS, ROUNDS, FeedbackWorld, Row
from benchmarks.learning import run_job
from training.demo import run_settings
from training.demo.constitution import PRINCIPLES
from training.demo.preferences import utility

MANY, SOME, FEW = 320, 160, 80
"""Human rankings of a round."""
BLIND: list[Row] = [
    {"key": "blind", "compare": "-", "comment": {"start": "That was", "good": "and", "bad": "or"}}
]
DPO = run_settings.DPO | {"nll_weight": 0.2}
THRESHOLDS = "0.0,0.7,0.8,0.9,0.95,0.99"
"""Of the Improve steps of ReST, of which the first is at least the mean reward."""
ROLLOUTS = run_settings.GRPO | {"checkpoint_every": 0}


def measure_judges(world: FeedbackWorld) -> Row:
    """The judge and the blind judge beside people, on the first policy's answers."""
    answers = world.round_answers("answers-first-0", world.first, 0)
    overlap = sorted(answers)[:OVERLAP]
    figures: Row = {}
    for name, principles in (("judge", PRINCIPLES), ("blind", BLIND)):
        opinions = world.opinions(f"{name}-first-0", answers, principles=principles)
        pairs = world.overlap_pairs(answers, opinions, overlap)
        comparison = judge_trust.compare_with_people(pairs)
        assert comparison is not None
        figures[name] = {
            "agreement": comparison.judge.value,
            "people": comparison.people.value,
            "ratio": comparison.ratio.value if comparison.ratio else None,
            "ratio_low": comparison.ratio.low if comparison.ratio else None,
            "trusted": judge_trust.is_trusted(comparison),
            "weight": judge_trust.weight(comparison.judge.low),
            "taste": _taste_agreement(world, answers, opinions),
            "seconds": _seconds(world.folder / f"{name}-first-0"),
            "comparisons": sum(map(len, opinions.values())),
        }
    return figures


def _taste_agreement(
    world: FeedbackWorld, answers: dict[int, list[str]], opinions: dict[int, list[Row]]
) -> float:
    right = []
    for place, own in opinions.items():
        worth = [utility(world.prompts[place].messages, text) for text in answers[place]]
        right += [
            float((opinion["p"] > 0.5) == (worth[opinion["first"]] > worth[opinion["second"]]))
            for opinion in own
            if worth[opinion["first"]] != worth[opinion["second"]]
        ]
    return fmean(right)


def _seconds(folder: Path) -> float:
    return float(json.loads((folder / "done.json").read_text())["result"]["seconds"])


ARMS: dict[str, tuple[int, str, bool]] = {
    f"{MANY} people": (MANY, "", False),
    f"{SOME} people": (SOME, "", False),
    f"{FEW} people": (FEW, "", False),
    f"{FEW} people and AI": (FEW, "judge", False),
    "AI only": (0, "judge", True),
    f"{FEW} people and a blind judge": (FEW, "blind", False),
}
"""Human rankings a round, the judge, and whether it counts alone."""


def compare_labels(world: FeedbackWorld) -> Row:
    """Two rounds of DPO by who labels."""
    return {name: _label_rounds(world, name, *arm) for name, arm in ARMS.items()}


def _label_rounds(world: FeedbackWorld, name: str, people: int, judge: str, alone: bool) -> Row:
    slug = name.replace(" ", "-")
    policy, uses = world.first, []
    for number in range(ROUNDS):
        source = "first" if number == 0 else slug
        answers = world.round_answers(f"answers-{source}-{number}", policy, number)
        order = sorted(answers)
        overlap, to_rank = order[:OVERLAP], order[OVERLAP : OVERLAP + people]
        rows = world.rank(answers, to_rank)
        if judge:
            principles = PRINCIPLES if judge == "judge" else BLIND
            opinions = world.opinions(f"{judge}-{source}-{number}", answers, principles=principles)
            pairs = world.overlap_pairs(answers, opinions, overlap)
            comparison = judge_trust.compare_with_people(pairs)
            assert comparison is not None
            counts = judge_trust.is_trusted(comparison)
            weight = judge_trust.weight(comparison.judge.low) if counts else 0.0
            uses.append({"trusted": counts, "weight": weight})
            ranked = {*overlap, *to_rank}
            rest = [place for place in order if place not in ranked][:500]
            scale = judge_trust.fit_scale(pairs)
            rows += world.soft_rows(answers, opinions, rest, scale, 1.0 if alone and weight else weight)
        if rows:
            policy = world.train(f"dpo-{slug}-{number}", "dpo", DPO, rows, model=policy)
    return world.figures(f"labels-{slug}", policy) | {"judge": uses}


def compare_rewards(world: FeedbackWorld) -> Row:
    """GRPO on a reward model of people, on one of opinions, and on the judge's score."""
    answers = world.round_answers("answers-first-0", world.first, 0)
    opinions = world.opinions("judge-first-0", answers)
    order = sorted(answers)
    prompts = world.rollout_rows(world.prompts[:ROUND_PROMPTS])[: run_settings.LEARN_PROMPTS]
    human = world.train(
        "reward-people", "reward", run_settings.REWARD, world.rank(answers, order[:MANY]), model=world.base
    )
    soft = world.soft_rows(answers, opinions, order, 1.0, 1.0)
    artificial = world.train("reward-ai", "reward", run_settings.REWARD, soft, model=world.base)
    policies = {
        "RLHF": world.train("grpo-people", "grpo", ROLLOUTS, prompts, model=world.first, reward_model=human),
        "RLAIF": world.train(
            "grpo-ai", "grpo", ROLLOUTS, prompts, model=world.first, reward_model=artificial
        ),
        "RLAIF, direct": world.train(
            "grpo-judge",
            "grpo",
            ROLLOUTS | {"judge_mode": "comment"},
            prompts,
            job={"principles": PRINCIPLES},
            model=world.first,
            judge=world.base,
        ),
    }
    return {name: world.figures(f"rewards-{name}", policy) for name, policy in policies.items()}


def constitutional(world: FeedbackWorld) -> Row:
    """Constitutional AI without a human label of harm."""
    exchanges = world.prompts[:ROUND_PROMPTS]
    prompts = [
        {"id": place, "prompt": exchange.messages, "tags": [exchange.request.form]}
        for place, exchange in enumerate(exchanges)
    ]
    output = world.train(
        "revise",
        "revise",
        run_settings.REVISE,
        prompts,
        job={"principles": PRINCIPLES},
        model=world.first,
        judge=world.base,
    )
    revisions = [json.loads(line) for line in (output / "revisions.jsonl").read_text().splitlines()]
    tuning = run_settings.SFT | {"learning_rate": 5e-4}

    def talks(field: str) -> list[Row]:
        return [
            {"messages": [*row["prompt"], {"role": "assistant", "content": row[field]}]} for row in revisions
        ]

    revised = world.train("sft-revised", "sft", tuning, talks("answer"), model=world.first)
    unrevised = world.train("sft-unrevised", "sft", tuning, talks("first"), model=world.first)
    answers = world.round_answers("answers-first-0", world.first, 0)
    opinions = world.opinions("judge-first-0", answers)
    harmful = [place for place in answers if exchanges[place].request.form == "harmful"]
    others = [place for place in sorted(answers) if place not in set(harmful)][:MANY]
    rows = [*world.rank(answers, others), *world.soft_rows(answers, opinions, harmful, 1.0, 1.0)]
    reward = world.train("reward-cai", "reward", run_settings.REWARD, rows, model=world.base)
    learn = world.rollout_rows(exchanges)[: run_settings.LEARN_PROMPTS]
    config = run_settings.PPO | {"checkpoint_every": 0}
    policy = world.train("ppo-cai", "ppo", config, learn, model=revised, reward_model=reward)
    return {
        "first policy": world.figures("first", world.first),
        "unrevised": world.figures("cai-unrevised", unrevised),
        "revised": world.figures("cai-revised", revised),
        "revised, then PPO": world.figures("cai-ppo", policy),
    }


def improve_steps(world: FeedbackWorld) -> Row:
    """ReST beside rejection sampling on as many samples, and reward and taste before the first Improve step and after each."""
    answers = world.round_answers("answers-first-0", world.first, 0)
    ranked = world.rank(answers, sorted(answers)[:MANY])
    reward = world.train("reward-people", "reward", run_settings.REWARD, ranked, model=world.base)
    prompts = world.rollout_rows(world.prompts[: run_settings.LEARN_PROMPTS])
    config = run_settings.REST | {"checkpoint_every": 0}
    every_step = config | {"thresholds": THRESHOLDS, "patience": 0}
    output = world.train(
        "rest-steps",
        "rest",
        every_step,
        prompts,
        module="benchmarks.rest_steps",
        model=world.first,
        reward_model=reward,
    )
    policies = {"first": world.first} | {
        f"rest-{number}": output / f"step-{number}" for number in range(1, len(list(output.iterdir())) + 1)
    }
    steps = []
    for name, policy in policies.items():
        steps.append(world.figures(name, policy) | {"reward": _mean_reward(world, name, policy, reward)})
    samples = config["samples"]
    rejection = world.train(
        "rejection",
        "rejection",
        run_settings.REJECTION | {"samples": samples, "checkpoint_every": 0},
        prompts,
        model=world.first,
        reward_model=reward,
    )
    chosen = world.train("rest", "rest", config, prompts, model=world.first, reward_model=reward)
    return {
        "steps": steps,
        "rest": world.figures("rest", chosen),
        "rejection": world.figures("rejection", rejection),
    }


def _mean_reward(world: FeedbackWorld, name: str, policy: Path, reward: Path) -> float:
    """By the reward model, of the policy's answers to held-out prompts."""
    texts = world.answers(f"{name}-held-out", policy, world.held_out, seed=1)
    rows = [
        {"id": place, "prompt": world.held_out[place].messages, "responses": answers, "split": "held_out"}
        for place, answers in texts.items()
    ]
    output = run_job(
        world.folder / f"{name}-scores",
        "evaluate",
        {"threads": 1, "max_length": 256},
        rows,
        reward_model=reward,
    )
    scores = [json.loads(line)["rewards"] for line in (output / "scores.jsonl").read_text().splitlines()]
    return fmean(score for rewards in scores for score in rewards)


def hindsight(world: FeedbackWorld) -> Row:
    """Answers under each of the two instructions and none, beside fine-tuning on the best third."""
    answers = world.round_answers("answers-first-0", world.first, 0)
    ranked = world.rank(answers, sorted(answers)[:MANY])
    reward = world.train("reward-people", "reward", run_settings.REWARD, ranked, model=world.base)
    prompts = world.rollout_rows(world.prompts[: run_settings.LEARN_PROMPTS])
    config = run_settings.HINDSIGHT | {"checkpoint_every": 0}
    policy = world.train("hindsight", "hindsight", config, prompts, model=world.first, reward_model=reward)
    stored = policy / "hindsight.json"
    trained = json.loads((policy / "palate.json").read_text())["config"]
    good, bad = trained["good_instruction"], trained["bad_instruction"]
    figures = {}
    for name, instruction in (("good", good), ("none", ""), ("bad", bad)):
        stored.write_text(json.dumps({"instruction": instruction}))
        if not instruction:
            stored.unlink()
        figures[name] = world.figures(f"hindsight-{name}", policy)
    stored.write_text(json.dumps({"instruction": good}))
    third = run_settings.REST | {"checkpoint_every": 0, "thresholds": "0.6667", "patience": 0}
    best = world.train("best-third", "rest", third, prompts, model=world.first, reward_model=reward)
    return figures | {"best third": world.figures("best-third", best)}


PARTS: dict[str, Callable[[FeedbackWorld], Row]] = {
    "judge": measure_judges,
    "labels": compare_labels,
    "rlaif": compare_rewards,
    "cai": constitutional,
    "rest": improve_steps,
    "hindsight": hindsight,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    figures: dict[str, list[Row]] = results.load("feedback") or {}
    for seed in map(int, options.seeds.split(",")):
        world = FeedbackWorld(seed)
        for part in options.parts.split(","):
            measured = PARTS[part](world) | {"seed": seed}
            others = [row for row in figures.get(part, []) if row["seed"] != seed]
            figures[part] = sorted([*others, measured], key=lambda row: int(row["seed"]))
            print(part, json.dumps(measured), flush=True)
            results.save("feedback", figures | {"about": results.about({})})
    results.write_report()


if __name__ == "__main__":
    main()

"""Every training method from the same first policy, measured by the hidden preferences that no model is trained on.

    python -m benchmarks.learning [--seeds 0,1,2,3,4] [--methods dpo,grpo] [--curves 0,1] [--report]

For each seed: pre-train and fine-tune a first policy on the demo's language, let it answer prompts, have simulated people
rank the answers, train a reward model on the rankings; then train every method on the same prompts for one epoch, and let
each policy answer held-out prompts. All of it are job directories under var/learning, done by `python -m training.core`
without Django; finished jobs are not run again, interrupted ones resume. `--curves` trains the reward-driven
methods for several lengths, to see where more of the learned reward is less of the taste. `--report` only reads what is
there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import results
from benchmarks.plot import Curve, write_plot
from benchmarks.workloads import ROOT
from training.demo import language, metrics, run_settings
from training.demo.annotators import Annotator
from training.demo.preferences import utility

PLACE = ROOT / "var" / "learning"
PROMPTS, HELD_OUT, REPORT_PROMPTS = 500, 160, 80
"""Prompts to learn from, held-out ones to be measured on, and those of them that people judge for the reward model's report."""
SAMPLES = run_settings.RESPONSES_PER_PROMPT
CURVE_SAMPLES, CURVE_PROMPTS = 64, 64
"""Answers of the first policy from which best-of-n is read off, to so many of the held-out prompts."""
CURVE_EPOCHS = (1, 2, 4, 8)

_BASE: dict[str, Any] = {"threads": 1, "max_length": 256, "checkpoint_every": 10}
_ROLLOUTS = _BASE | {
    "samples": SAMPLES,
    "max_new_tokens": run_settings.GENERATE["max_new_tokens"],
    "batch_size": 20,
    "learning_rate": 3e-4,
    "weight_decay": 0.0,
}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "rejection": ("rejection", _ROLLOUTS | {"learning_rate": 2.5e-4, "batch_size": 8}),
    "rest": ("rest", _ROLLOUTS | {"learning_rate": 2.5e-4, "batch_size": 8}),
    "hindsight": ("hindsight", _ROLLOUTS | {"samples": 6}),
    "dpo": ("dpo", run_settings.DPO | {"checkpoint_every": 50}),
    "ipo": ("dpo", run_settings.DPO | {"checkpoint_every": 50, "loss": "ipo"}),
    "kto": ("kto", run_settings.KTO | {"checkpoint_every": 50}),
    "online": ("online", _ROLLOUTS | {"samples": 2}),
    "online-4": ("online", _ROLLOUTS),
    "ppo": ("ppo", _ROLLOUTS),
    "grpo": ("grpo", _ROLLOUTS),
    "rloo": ("reinforce", _ROLLOUTS | {"baseline": "leave_one_out"}),
    "reinforce": ("reinforce", _ROLLOUTS | {"baseline": "moving_mean"}),
    "binary": ("reinforce", _ROLLOUTS | {"baseline": "leave_one_out", "reward": "binary"}),
}
"""Kind and settings of each method. Ours are small models: the rates are those of the demo, not of the papers."""
FROM_RANKINGS = ("dpo", "ipo", "kto")
ON_CURVES = ("ppo", "grpo")


def run_job(
    folder: Path,
    kind: str,
    config: dict[str, Any],
    rows: list[dict[str, Any]],
    *,
    here: bool = False,
    module: str = "training.core",
    job: Mapping[str, Any] | None = None,
    **models: Path,
) -> Path:
    """Run a job unless it is finished; returns its output folder. The last line of its stdout is stored in done.json. `here`: in
    this process, for jobs shorter than a process start. module: the program that does it. job: what else is in its job.json."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done.json"
    if done.exists():
        return folder / "output"
    paths = {name: os.path.relpath(model, folder) for name, model in models.items()}
    whole = {"kind": kind, "config": config} | dict(job or {}) | paths
    (folder / "job.json").write_text(json.dumps(whole, indent=2))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{folder.relative_to(ROOT / 'var')} …", flush=True)
    done.write_text((_run_here(folder) if here else _run_child(folder, module)).splitlines()[-1])
    return folder / "output"


def _run_here(folder: Path) -> str:
    from training.core.__main__ import run
    from training.core.events import Events
    from training.core.job_directory import read_job

    stdout = StringIO()
    run(read_job(folder), Events(stdout))
    return stdout.getvalue()


def _run_child(folder: Path, module: str) -> str:
    program = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if program.returncode:
        raise RuntimeError(f"{folder}: {program.stdout[-500:]}\n{program.stderr[-2000:]}")
    return program.stdout


class World:
    """One seed: its prompts, its first policy, its people's rankings and its reward model."""

    def __init__(
        self, seed: int, place: Path = PLACE, *, prompts: int = PROMPTS, held_out: int = HELD_OUT
    ) -> None:
        self.seed, self.folder = seed, place / f"seed-{seed}"
        exchanges = language.take(
            seed, prompts + held_out, held_out=True
        )  # none that the first policy has read
        self.prompts, self.held_out = exchanges[:prompts], exchanges[prompts:]

    def learn_language(self) -> None:
        """The first policy."""
        texts = [
            {"text": text} for text in language.pretraining_texts(self.seed, run_settings.PRETRAINING_TEXTS)
        ]
        self.base = run_job(
            self.folder / "base", "pretrain", run_settings.PRETRAIN | {"seed": self.seed}, texts
        )
        talks = [
            {"messages": talk}
            for talk in language.sft_conversations(self.seed, run_settings.SFT_CONVERSATIONS)
        ]
        self.first = run_job(
            self.folder / "first", "sft", run_settings.SFT | {"seed": self.seed}, talks, model=self.base
        )

    def prepare(self) -> None:
        """Everything that all methods start from."""
        self.learn_language()
        self.rankings = self._rankings()
        config = run_settings.REWARD | {"seed": self.seed}
        self.reward = run_job(self.folder / "reward", "reward", config, self.rankings, model=self.first)

    def _rankings(self) -> list[dict[str, Any]]:
        """What simulated people make of the first policy's answers, to some held-out prompts too."""
        exchanges = [*self.prompts, *self.held_out[:REPORT_PROMPTS]]
        answers = self.answers("answers", self.first, exchanges, seed=self.seed)
        people = [Annotator(seed=self.seed * 1000 + number) for number in range(1, 7)]
        rows = []
        for number, exchange in enumerate(exchanges):
            responses = list(dict.fromkeys(answers[number]))
            if len(responses) > 1:
                rows.append(
                    {
                        "id": number,
                        "prompt": exchange.messages,
                        "responses": responses,
                        "ranks": people[number % len(people)].rank(exchange.messages, responses),
                        "split": "train" if number < PROMPTS else "held_out",
                    }
                )
        return rows

    def answers(
        self,
        name: str,
        policy: Path,
        exchanges: list[language.Exchange],
        *,
        seed: int,
        samples: int = SAMPLES,
    ) -> dict[int, list[str]]:
        """A policy's answers by the number of the prompt."""
        texts: dict[int, list[str]] = defaultdict(list)
        for line in self.lines(name, policy, exchanges, seed=seed, samples=samples):
            texts[line["id"]].append(line["text"])
        return texts

    def lines(
        self,
        name: str,
        policy: Path,
        exchanges: list[language.Exchange],
        *,
        seed: int,
        samples: int = SAMPLES,
    ) -> list[dict[str, Any]]:
        rows = [{"id": number, "prompt": exchange.messages} for number, exchange in enumerate(exchanges)]
        config = run_settings.GENERATE | {"seed": seed, "samples": samples, "threads": 1}
        output = run_job(self.folder / name, "generate", config, rows, model=policy)
        return [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]

    def train(self, method: str, epochs: int = 1) -> tuple[Path, float]:
        """The policy of a method, and the seconds it took."""
        kind, config = METHODS[method]
        name = method if epochs == 1 else f"{method}-{epochs}"
        config = config | {"seed": self.seed, "epochs": epochs}
        if method in FROM_RANKINGS:
            output = run_job(self.folder / name, kind, config, self.rankings, model=self.first)
        else:
            first = self.answers("answers", self.first, self.prompts, seed=self.seed)
            rows = [
                {"id": number, "prompt": exchange.messages, "split": "train", "baseline": first[number][0]}
                for number, exchange in enumerate(self.prompts)
            ]
            output = run_job(
                self.folder / name, kind, config, rows, model=self.first, reward_model=self.reward
            )
        done = json.loads((self.folder / name / "done.json").read_text())
        return output, float(done["result"]["seconds"])

    def judge(self, name: str, policy: Path) -> dict[str, Any]:
        """A policy's answers to held-out prompts beside the first one's: answers, mean taste, KL."""
        lines = self.lines(f"{name}-answers", policy, self.held_out, seed=1)
        answers = [
            metrics.SampledResponse(
                self.seed * 100_000 + line["id"], self.held_out[line["id"]].messages, line["text"]
            )
            for line in lines
        ]
        cached = self.folder / f"{name}-answers" / "kl.json"
        if not cached.exists():
            cached.write_text(json.dumps(self.kl(lines)))
        taste = fmean(utility(answer.prompt, answer.text) for answer in answers)
        return {"answers": answers, "taste": taste, "kl": json.loads(cached.read_text())}

    def kl(self, lines: list[dict[str, Any]]) -> float:
        """Nats a response: mean of log pi - log first over answers sampled from pi at temperature 1."""
        import torch

        from training.core.batching import shared_layout
        from training.core.logprobs import response_logprobs
        from training.core.model_loading import load_policy, load_tokenizer
        from training.core.tokenization import EncodedGroup, Encoder

        torch.set_num_threads(1)
        first = load_policy(str(self.first))
        encoder = Encoder(load_tokenizer(str(self.first))[0], 256)
        by_prompt: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            by_prompt[line["id"]].append(line)
        differences = []
        with torch.no_grad():
            for number, answers in by_prompt.items():
                prompt = encoder.encode_prompt(
                    self.held_out[number].messages, max_tokens=200, line=number + 1
                )
                group = EncodedGroup(prompt, [line["token_ids"] for line in answers])
                theirs = response_logprobs(first, shared_layout([group])).tolist()
                differences += [
                    sum(line["logprobs"]) - other for line, other in zip(answers, theirs, strict=True)
                ]
        return fmean(differences)

    def best_of_n(self) -> list[tuple[float, float]]:
        """(sqrt of KL, mean taste) of the best of n by the reward model, n = 1, 2, 4, ..., over all ways to draw the n."""
        exchanges = self.held_out[:CURVE_PROMPTS]
        answers = self.answers("best-of-n", self.first, exchanges, seed=2, samples=CURVE_SAMPLES)
        rows = [
            {"id": number, "prompt": exchange.messages, "responses": answers[number], "split": "held_out"}
            for number, exchange in enumerate(exchanges)
        ]
        output = run_job(
            self.folder / "best-of-n-scores",
            "evaluate",
            {"threads": 1, "max_length": 256},
            rows,
            reward_model=self.reward,
        )
        scores = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
        points = []
        for n in (1, 2, 4, 8, 16, 32, 64):
            values = []
            for row in scores:
                worth = [utility(exchanges[row["id"]].messages, text) for text in answers[row["id"]]]
                order = sorted(range(len(worth)), key=lambda place: row["rewards"][place])
                # the answer of rank i among N is the best of n drawn with probability C(i, n-1) / C(N, n)
                weights = [math.comb(i, n - 1) / math.comb(len(order), n) for i in range(len(order))]
                values.append(
                    sum(weight * worth[place] for weight, place in zip(weights, order, strict=True))
                )
            points.append((math.sqrt(math.log(n) - (n - 1) / n), fmean(values)))
        return points


def mean_curve(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Point by point over seeds."""
    return [
        (fmean(x for x, _ in points), fmean(y for _, y in points)) for points in zip(*curves, strict=False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument(
        "--curves",
        default="",
        metavar="SEEDS",
        help="of these, train for several lengths too, and draw the plot",
    )
    parser.add_argument("--report", action="store_true", help="train nothing: report on what is done")
    options = parser.parse_args()
    random.seed(0)
    methods = options.methods.split(",")
    measurements: dict[str, list[dict[str, Any]]] = defaultdict(list)
    curves: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    for seed in map(int, options.seeds.split(",")):
        world = World(seed)
        if options.report and not (world.folder / "reward" / "done.json").exists():
            continue
        world.prepare()
        first = world.judge("first", world.first)
        for method in methods:
            if options.report and not (world.folder / f"{method}-answers" / "done.json").exists():
                continue
            policy, seconds = world.train(method)
            measurement = world.judge(method, policy) | {"seconds": seconds, "first": first, "seed": seed}
            measurements[method].append(measurement)
            win = metrics.win_rate(measurement["answers"], first["answers"])
            print(
                f"seed {seed}, {method}: win rate {win.mean:.3f} ({win.low:.3f} to {win.high:.3f}), taste"
                f" {first['taste']:.2f} -> {measurement['taste']:.2f}, KL {measurement['kl']:.2f}, {seconds:.0f} s",
                flush=True,
            )
        if str(seed) in options.curves.split(","):
            curves["best of n"].append(world.best_of_n())
            for method in (method for method in methods if method in ON_CURVES):
                points = [(0.0, first["taste"])]
                for epochs in CURVE_EPOCHS:
                    measurement = world.judge(
                        method if epochs == 1 else f"{method}-{epochs}", world.train(method, epochs)[0]
                    )
                    points.append((math.sqrt(max(0.0, measurement["kl"])), measurement["taste"]))
                curves[method].append(points)
    report(measurements, curves)


def report(
    measurements: dict[str, list[dict[str, Any]]],
    curves: dict[str, list[list[tuple[float, float]]]],
) -> None:
    rows = []
    for method, seeds in measurements.items():
        win = metrics.win_rate(
            [answer for seed in seeds for answer in seed["answers"]],
            [answer for seed in seeds for answer in seed["first"]["answers"]],
        )
        rows.append(
            {
                "method": method,
                "win_rate": win.mean,
                "low": win.low,
                "high": win.high,
                "kl": fmean(seed["kl"] for seed in seeds),
                "seconds": fmean(seed["seconds"] for seed in seeds),
                "seeds": len(seeds),
            }
        )
    if rows:
        curve_seeds = max(map(len, curves.values()), default=0)
        results.save("learning", {"about": results.about({}), "rows": rows, "curve_seeds": curve_seeds})
        results.write_report()
    if curves:
        drawn = [Curve(name, mean_curve(points)) for name, points in curves.items()]
        write_plot(
            results.CURVES,
            drawn,
            across="distance from the first policy, √KL in √nats",
            up="hidden taste, mean utility",
        )


if __name__ == "__main__":
    main()

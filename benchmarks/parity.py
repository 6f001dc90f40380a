"""Equal to TRL: the same rankings through its own trainer, on the expanded pairs, and through ours.

    python -m benchmarks.parity [--steps 20]

Losses of every step, the first step's gradients and the parameters after the last are compared in float32; our layout
is then broken on purpose, twice, and must be found out. Leaves with 1 where a comparison comes out otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks import results
from benchmarks.core import Bench
from benchmarks.ours import run, training_config, write_job
from benchmarks.workloads import FIRST_WORD, PLACE, SHARP, make_models
from training.configs import MARGINS
from training.core import attention, batching
from training.core.events import Events
from training.core.training_loop import TrainingLoop

LOSS, COSINE, PARAMETERS = 1e-5, 1e-6, 1e-5
"""Most that may lie between the two: relative, from one, and absolute."""

RATE = 1e-4
EPSILON = 1e-5
"""Adam's, as in Llama 2. A smaller one turns gradients that are nothing but rounding into steps of full length."""


def ragged_rankings(margin: bool, count: int = 6, seed: int = 3) -> list[dict[str, Any]]:
    """Two to five responses of very different lengths, with ties; with a degree's margin where `margin`."""
    rng = random.Random(seed)

    def ids(low: int, high: int) -> list[int]:
        return [rng.randrange(FIRST_WORD, SHARP.vocabulary) for _ in range(rng.randint(low, high))]

    rows = []
    for number in range(count):
        k = 2 + number % 4
        ranks = [rng.randint(1, 3) for _ in range(k)]
        ranks[0], ranks[1] = 1, 2  # at least one pair; the rest may be tied with either
        row: dict[str, Any] = {
            "prompt": ids(3, 90),
            "responses": [ids(2, 60) for _ in range(k)],
            "ranks": ranks,
        }
        if margin:
            row["degree"] = "better" if k == 2 else None  # only a choice between two has one
            row["margin"] = MARGINS["small"]["better"] if k == 2 else 0.0
        rows.append(row)
    return rows


def ours(kind: str, rows: list[dict[str, Any]], models: Path, steps: int) -> dict[str, Any]:
    """Losses, first gradients and last parameters of our trainer, by TRL's names."""
    spec = {"models": str(models)}
    config = training_config(
        spec,
        rows,
        max_steps=steps,
        learning_rate=RATE,
        weight_decay=0.0,
        adam_epsilon=EPSILON,
        max_grad_norm=0.0,
        reduction="pair",
    )
    names = {"model": "reward"} if kind == "reward" else {"model": "policy", "reference": "reference"}
    config |= {"margin": "small"} if kind == "reward" else {"beta": 0.1}
    found: dict[str, Any] = {"losses": [], "gradients": {}}
    original = TrainingLoop.step

    def step(self: TrainingLoop, values: dict[str, float], *, tokens: int) -> None:
        found["losses"].append(values["loss"])
        if not found["gradients"]:
            found["gradients"] = {
                name: parameter.grad.clone()
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None
            }
        found["model"] = self.model
        original(self, values, tokens=tokens)

    with patch.object(TrainingLoop, "step", step):
        run(write_job(kind, spec, rows, config, **names), Events(StringIO()))
    found["parameters"] = {name: value.detach() for name, value in found.pop("model").named_parameters()}
    for part in ("gradients", "parameters"):
        found[part] = {_their_name(kind, name): value for name, value in found[part].items()}
    return found


def _their_name(kind: str, name: str) -> str:
    if kind == "dpo":
        return name
    return "score.weight" if name == "weight" else name.replace("trunk.", "model.", 1)


def compare(theirs: dict[str, Any], mine: dict[str, Any], start: dict[str, torch.Tensor]) -> dict[str, Any]:
    """How far apart two trainings ended; `moved` is the farthest any parameter went from `start`."""
    names = sorted(theirs["parameters"])
    assert names == sorted(mine["parameters"])

    def flat(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([values[name].double().flatten() for name in names if name in values])

    g, h = flat(theirs["gradients"]), flat(mine["gradients"])
    loss = max(abs(a - b) / abs(a) for a, b in zip(theirs["losses"], mine["losses"], strict=True))
    cosine = 1 - float(g @ h / (g.norm() * h.norm()))
    parameters = float((flat(theirs["parameters"]) - flat(mine["parameters"])).abs().max())
    return {
        "loss": loss,
        "cosine": cosine,
        "parameters": parameters,
        "moved": float((flat(theirs["parameters"]) - flat(start)).abs().max()),
        "equal": loss <= LOSS and cosine <= COSINE and parameters <= PARAMETERS,
    }


@contextmanager
def leaking_mask() -> Iterator[None]:
    """Every response also sees the responses before it. The check at the start of a run would refuse it."""

    def one_branch(groups: tuple[attention.Branches, ...], device: torch.device) -> attention.Tree:
        return attention.build_tree(
            tuple(attention.Branches(a, b, ends[-1:]) for a, b, ends in groups), device
        )

    with (
        patch.object(batching, "build_tree", one_branch),
        patch.object(batching, "check_shared_layout", lambda *_: None),
    ):
        yield


@contextmanager
def wrong_positions() -> Iterator[None]:
    """Positions run on through the packed row, so that a second response seems to follow the first."""
    original = batching.shared_layout

    def running_on(*args: Any) -> batching.Batch:
        batch = original(*args)
        return batch._replace(position_ids=torch.arange(batch.input_ids.shape[1])[None])

    with (
        patch.object(batching, "shared_layout", running_on),
        patch.object(batching, "check_shared_layout", lambda *_: None),
    ):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(SHARP, 1, quick=True)
    bench.models = make_models(SHARP, PLACE / "models-sharp")
    folder = Path(tempfile.mkdtemp(prefix="palate-parity-"))
    rows_of = {"reward": ragged_rankings(margin=True), "dpo": ragged_rankings(margin=False)}
    table: list[dict[str, Any]] = []
    as_expected = True
    try:
        for kind, rows in rows_of.items():
            theirs = {}
            for steps in (0, options.steps):  # the first only to know where they start from
                file = folder / f"{kind}-{steps}.pt"
                worker = bench.server("trl").worker(
                    builder="parity",
                    kind=kind,
                    models=str(bench.models),
                    rows=rows,
                    steps=max(1, steps),
                    learning_rate=RATE if steps else 0.0,
                    epsilon=EPSILON,
                    reference="reference",
                    result=str(file),
                )
                worker.ready()
                worker.step()
                worker.close()
                theirs[steps] = torch.load(file)
            start = theirs[0]["parameters"]
            theirs_at_end = theirs[options.steps]
            label = {"reward": "reward model, with margins", "dpo": "DPO, with another model as reference"}[
                kind
            ]
            found = compare(theirs_at_end, ours(kind, rows, bench.models, options.steps), start)
            table.append({"label": f"{label}: ours", **found})
            as_expected &= found["equal"]
            for name, breaking in (("leaking mask", leaking_mask), ("wrong positions", wrong_positions)):
                with breaking():
                    found = compare(theirs_at_end, ours(kind, rows, bench.models, options.steps), start)
                table.append({"label": f"{label}: {name}", **found})
                as_expected &= not found["equal"]
    finally:
        bench.stop()
    values = {"about": results.about(bench.peers), "steps": options.steps, "rows": table}
    results.save("parity", values)
    results.write_report()
    print(results.parity_section(values))
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())

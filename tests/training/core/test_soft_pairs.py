"""An AI's soft labels of pairs, and weights of rows: what they do to losses, and that no figure of people counts them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid

from tests.training.core.conftest import judgments, write_job
from tests.training.core.in_process import curve, do_here
from tests.training.core.test_dpo import full_logprob
from training.core.data import read_rankings
from training.core.errors import BadInput
from training.core.model_loading import load_policy, load_trunk
from training.core.preference_groups import group_rankings
from training.core.rankings import mean_preferences
from training.core.reward_model import RewardModel
from training.core.tokenization import Encoder
from training.core.train_dpo import best_responses

HELLO = [{"role": "user", "content": "hello"}]
THREE = ["the ferry leaves at nine.", "no.", "the train."]
ROWS: list[dict[str, Any]] = [
    {"responses": THREE, "ranks": [1, 2, 3]},
    {"responses": [THREE[2], *THREE[:2]], "pairs": [[0, 1, 0.9], [1, 2, 0.25], [2, 0, 0.5]], "weight": 0.4},
    {"responses": ["yes.", "thank you kindly."], "ranks": [2, 1], "weight": 2.5},
    {"responses": ["yes.", "at ten."], "pairs": [[0, 1, 0.2], [1, 0, 0.6]]},
    {"responses": ["it costs twelve.", "at ten."], "pairs": [[0, 1, 1]], "weight": 0},
]
ALL = [{"id": number, "prompt": HELLO} | row for number, row in enumerate(ROWS)]
LEARNED = [row for row in ROWS if row.get("weight") != 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": [[0, 2, 0.5]]}, "positions from 0 to 1 of the 2 responses, not 2"),
        ({"pairs": [[-1, 1, 0.5]]}, "positions from 0 to 1 of the 2 responses, not -1"),
        ({"pairs": [[0, True, 0.5]]}, "not True"),
        ({"pairs": [[0, 1, 1.5]]}, "probabilities from 0 to 1, not 1.5"),
        ({"pairs": [[0, 1, float("nan")]]}, "probabilities from 0 to 1"),
        ({"pairs": [[0, 1, "0.5"]]}, "probabilities from 0 to 1"),
        ({"pairs": [[1, 1, 0.5]]}, "not 1 with itself"),
        ({"pairs": []}, "at least one"),
        ({"pairs": [[0, 1]]}, r"at least one \[first, second, probability\]"),
        ({"pairs": {"0": 1}}, "must be a list"),
        ({"pairs": [[0, 1, 0.5]], "ranks": [1, 2]}, "either 'pairs', by an AI, or 'ranks'"),
        ({"pairs": [[0, 1, 0.5]], "probability": 0.5}, "or 'probability'"),
        ({"pairs": [[0, 1, 0.5]], "degree": "better"}, "or 'degree'"),
        ({"pairs": [[0, 1, 0.5]], "safe": [True, None]}, "or 'safe'"),
        ({"pairs": [[0, 1, 0.5]], "criteria": {"kind": [1, 2]}}, "or 'criteria'"),
        ({"ranks": [1, 2], "weight": -0.1}, "from 0 up, not -0.1"),
        ({"ranks": [1, 2], "weight": float("inf")}, "from 0 up"),
        ({"ranks": [1, 2], "weight": None}, "from 0 up, not None"),
    ],
)
def test_a_bad_row_is_refused_by_its_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    good = {"id": 1, "prompt": HELLO, "responses": ["a", "b"], "ranks": [1, 2]}
    bad = {"id": 2, "prompt": HELLO, "responses": ["a", "b"]} | change
    write_job(tmp_path, "reward", [good, bad])
    with pytest.raises(BadInput, match=words) as caught:
        read_rankings(tmp_path / "data.jsonl")
    assert caught.value.line == 2


def test_opinions_of_the_same_responses_join_the_group_of_people(tmp_path: Path, tokenizer: Any) -> None:
    write_job(tmp_path, "reward", ALL)
    groups = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    assert [len(group.rankings) for group in groups] == [2, 1, 1, 1]
    assert groups[0].places == [[0, 1, 2], [2, 0, 1]]
    assert [group.pair_counts for group in groups] == [[3, 3], [1], [2], [0]]
    assert [group.by_people for group in groups] == [True, True, False, False]
    # of the second row the answers have 0.7, 0.175 and 0.625: the first, at place 2; of the fourth the second, at place 6
    best, weights = best_responses(groups)
    assert best == [0, 2, 4, 6]
    assert weights == pytest.approx([1, 0.4, 2.5, 1])


def test_the_mean_preference_of_each_response_by_hand() -> None:
    found = mean_preferences([(0, 1, 0.9), (2, 1, 0.75), (2, 0, 0.5)], 4)
    assert found[:3] == pytest.approx([0.7, 0.175, 0.625])
    assert found[3] is None


def pair_terms(row: dict[str, Any], rewards: list[torch.Tensor]) -> list[torch.Tensor]:
    """The losses of a row's pairs, written out, without its weight."""
    ranks = row.get("ranks")
    pairs = row.get("pairs") or [
        (i, j, 1.0) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]
    ]
    return [
        -p * logsigmoid(rewards[i] - rewards[j]) - (1 - p) * logsigmoid(rewards[j] - rewards[i])
        for i, j, p in pairs
    ]


def reduced(terms: list[list[torch.Tensor]], reduction: str) -> torch.Tensor:
    """The batch's loss: rows of weight 0 left out, no weight in a divisor."""
    weights = [row.get("weight", 1) for row in LEARNED]
    if reduction == "prompt":
        rows = [w * torch.stack(own).mean() for w, own in zip(weights, terms, strict=True)]
        return torch.stack(rows).sum() / len(rows)
    pairs = [w * term for w, own in zip(weights, terms, strict=True) for term in own]
    return torch.stack(pairs).sum() / len(pairs)


@pytest.mark.parametrize("tokens", [64, 4096], ids=["many passes", "one pass"])
@pytest.mark.parametrize("reduction", ["prompt", "pair"])
def test_the_loss_of_a_reward_model_is_that_of_torch(
    reduction: str, tokens: int, source: Path, tmp_path: Path, tokenizer: Any
) -> None:
    config = {"batch_size": 8, "max_steps": 1, "max_length": 64, "batch_tokens": tokens}
    job = write_job(
        tmp_path, "reward", ALL, model=str(source), config=config | {"reduction": reduction, "seed": 5}
    )
    result, events = do_here(job)
    assert result is not None
    assert (result["rankings"], result["pairs"], result["opinions"]) == (2, 4, 5)
    model, encoder = RewardModel(load_trunk(str(source)), 5, "float32", []), Encoder(tokenizer, 64)
    terms = []
    for row in LEARNED:
        prompt, responses = encoder.encode_group(HELLO, row["responses"], line=1)
        hidden = [
            model.trunk(input_ids=torch.tensor([[*prompt, *ids]])).last_hidden_state[0, -1]
            for ids in responses
        ]
        terms.append(pair_terms(row, [state @ model.weight.view(-1) for state in hidden]))
    loss = reduced(terms, reduction)
    loss.backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    assert curve(events, "loss")[1] == pytest.approx(loss.item(), rel=1e-4)
    assert curve(events, "grad_norm")[1] == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("tokens", [64, 4096], ids=["many passes", "one pass"])
@pytest.mark.parametrize("reduction", ["prompt", "pair"])
def test_the_loss_of_dpo_is_that_of_torch(
    reduction: str, tokens: int, source: Path, tmp_path: Path, tokenizer: Any
) -> None:
    """At the first step the log ratios are 0, and all pairs cost log 2: the second step tells."""
    config = {"batch_size": 8, "max_length": 64, "batch_tokens": tokens, "beta": 0.3, "reduction": reduction}
    config |= {"nll_weight": 0.2, "warmup_min_steps": 0, "learning_rate": 1e-3, "schedule": "constant"}
    once, twice = (
        write_job(tmp_path / str(steps), "dpo", ALL, model=str(source), config=config | {"max_steps": steps})
        for steps in (1, 2)
    )
    do_here(once)
    _, events = do_here(twice)
    reference, policy = load_policy(str(source)), load_policy(str(once / "output"))
    encoder = Encoder(tokenizer, 64)
    terms, best = [], []
    for row in LEARNED:
        prompt, responses = encoder.encode_group(HELLO, row["responses"], line=1)
        own = [full_logprob(policy, prompt, ids) for ids in responses]
        ratios = [
            0.3 * (logprob - full_logprob(reference, prompt, ids))
            for logprob, ids in zip(own, responses, strict=True)
        ]
        terms.append(pair_terms(row, ratios))
        chosen = {0: 0, 1: 0, 2: 1, 3: 1}[LEARNED.index(row)]
        best.append(row.get("weight", 1) * own[chosen] / len(responses[chosen]))
    expected = reduced(terms, reduction) - 0.2 * torch.stack(best).sum() / len(best)
    assert curve(events, "loss")[2] == pytest.approx(expected.item(), rel=1e-4)


def weights_of(job: Path) -> dict[str, torch.Tensor]:
    do_here(job)
    return load_file(job / "output" / "model.safetensors")


@pytest.mark.parametrize("kind", ["reward", "dpo", "kto"])
def test_a_weight_of_one_changes_no_bit_and_one_of_zero_is_no_row(
    kind: str, source: Path, tmp_path: Path
) -> None:
    rows = [row | {"split": "train"} for row in judgments(6)]
    config = {"batch_size": 4, "max_steps": 3, "max_length": 100}
    opinions = [
        {name: row[name] for name in ("id", "prompt", "responses")}
        | {"pairs": [[0, 1, 0.9]], "weight": 0.0, "split": "train"}
        for row in [*rows[:2], *judgments(3, seed=9)]
    ]
    found = [
        weights_of(write_job(tmp_path / name, kind, data, model=str(source), config=config))
        for name, data in (
            ("plain", rows),
            ("weighed", [row | {"weight": 1.0} for row in rows]),
            ("with opinions", [*rows, *opinions]),
            ("halved", [row | {"weight": 0.5} for row in rows[:3]] + rows[3:]),
        )
    ]
    for other in found[1:3]:
        assert all(other[name].equal(value) for name, value in found[0].items())
    assert any(not found[3][name].equal(value) for name, value in found[0].items())


def opinions_on(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An AI that always prefers the last of all responses, and responses of its own."""
    more = []
    for row in rows:
        k = len(row["responses"])
        soft = {"pairs": [[place, k - 1, 0.1] for place in range(k - 1)], "split": row["split"]}
        common = {"id": f"ai-{row['id']}", "prompt": row["prompt"]}
        more.append(common | soft | {"responses": row["responses"]})
        more.append(common | soft | {"responses": [*row["responses"][1:], "thank you."]})
    return more


def test_no_figure_of_people_counts_opinions(source: Path, tmp_path: Path) -> None:
    """Among people's rankings: two of some responses, which an AI also compared."""
    rows = judgments(12)
    rows += [row | {"ranks": row["ranks"][::-1]} for row in rows[:4]]
    config = {"batch_size": 4, "max_steps": 2, "max_length": 100}
    trained = write_job(tmp_path / "reward", "reward", rows, model=str(source), config=config)
    do_here(trained)
    reports = []
    for name, data in (("people", rows), ("both", [*rows, *opinions_on(rows)])):
        job = write_job(
            tmp_path / name,
            "evaluate",
            data,
            model=str(trained / "output"),
            config={"max_length": 100, "split": "all"},
        )
        result, _ = do_here(job)
        assert result is not None
        reports.append(json.loads((job / "output" / "report.json").read_text()))
        assert len((job / "output" / "scores.jsonl").read_text().splitlines()) == len(data)
    assert reports[0] == reports[1]
    assert reports[0]["annotator_comparisons"] > 0


@pytest.mark.parametrize("kind", ["reward", "dpo", "kto"])
def test_held_out_figures_are_of_people_alone(kind: str, source: Path, tmp_path: Path) -> None:
    rows = judgments(12)
    config = {"batch_size": 4, "max_steps": 2, "max_length": 100, "evaluate_every": 1}
    held_out = [row for row in opinions_on(rows) if row["split"] == "held_out"]
    held_out.append(held_out[0] | {"prompt": [{"role": "user", "content": "only an AI read this"}]})
    figures = []
    for name, data in (("people", rows), ("both", [*rows, *held_out])):
        result, _ = do_here(write_job(tmp_path / name, kind, data, model=str(source), config=config))
        assert result is not None
        names = ("held_out_accuracy", "held_out_loss", "ece")
        metrics = result["metrics"]
        figures.append([metrics[figure] for figure in names if figure in metrics])
        if kind == "reward":
            figures[-1] += [
                result["report"][figure] for figure in ("pairs", "prompts", "annotator_comparisons")
            ]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


def test_without_people_the_held_out_loss_is_that_of_opinions(source: Path, tmp_path: Path) -> None:
    """And accuracies have no value."""
    rows = [row for row in opinions_on(judgments(12)) if len(row["responses"]) > 2]
    config = {"batch_size": 4, "max_steps": 4, "max_length": 100, "evaluate_every": 1, "patience": 9}
    result, events = do_here(write_job(tmp_path, "reward", rows, model=str(source), config=config))
    assert result is not None
    assert len(curve(events, "held_out_loss")) == 4
    assert result["report"]["held_out_loss"] < math.log(2) + 0.5
    assert (result["report"]["accuracy"], result["report"]["ece"]) == (None, None)
    assert (result["pairs"], set(curve(events, "accuracy").values())) == (0, {None})


def test_a_reward_model_learns_what_an_ai_prefers(source: Path, tmp_path: Path) -> None:
    rows = [
        {key: row[key] for key in ("id", "prompt", "responses", "split")}
        | {"pairs": [[0, 1, 0.9 if len(row["responses"][0]) > len(row["responses"][1]) else 0.1]]}
        for row in judgments(60)
    ]
    config = {"batch_size": 8, "epochs": 6, "max_length": 100, "learning_rate": 3e-3}
    _, events = do_here(write_job(tmp_path, "reward", rows, model=str(source), config=config))
    losses = list(curve(events, "loss").values())
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert entropy <= min(losses) < losses[0] - 0.1

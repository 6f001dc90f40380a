from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid

from tests.training.core.conftest import tiny_llama, write_job
from tests.training.core.in_process import Recorded, curve, do_here
from training.configs import ConfigError, DPOConfig, from_dict
from training.core.data import read_rankings
from training.core.model_loading import load_policy
from training.core.preference_groups import group_rankings
from training.core.rankings import batch_pairs
from training.core.tokenization import Encoder
from training.core.train_dpo import best_responses, pair_losses

HELLO = [{"role": "user", "content": "hello"}]
ROWS: list[dict[str, Any]] = [
    {"responses": ["the ferry leaves at nine.", "no.", "the train."], "ranks": [1, 2, 2]},
    {"responses": ["no.", "the train.", "the ferry leaves at nine."], "ranks": [1, 3, 2]},
    {"responses": ["yes.", "thank you kindly."], "ranks": [2, 1], "degree": "better"},
    {"responses": ["yes.", "thank you kindly."], "probability": 0.25, "degree": "significantly"},
    {"responses": ["thank you kindly.", "yes."], "probability": 0.5},
    {"responses": ["at ten.", "it costs twelve crowns."], "ranks": [1, 2], "degree": "significantly"},
]
ALL = [{"id": number, "prompt": HELLO} | row for number, row in enumerate(ROWS)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> tuple[Path, Path]:
    """A policy and a reference some way from it."""
    folder = tmp_path_factory.mktemp("models")
    model = tiny_llama()
    model.save_pretrained(folder / "reference")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder / "policy")
    for name in ("policy", "reference"):
        tokenizer.save_pretrained(folder / name)
    return folder / "policy", folder / "reference"


@pytest.mark.parametrize(
    ("settings", "probability", "loss"),
    [
        ({}, None, 0.4740770),  # log(1 + e^-0.5)
        ({"margin": "small"}, None, 0.7799487),  # "better": log(1 + e^(2/3 - 0.5))
        ({"margin": "large"}, None, 1.7014133),  # log(1 + e^1.5)
        ({"label_smoothing": 0.1}, None, 0.9 * 0.4740770 + 0.1 * 0.9740770),
        ({}, 0.75, 0.75 * 0.4740770 + 0.25 * 0.9740770),
        ({"label_smoothing": 0.1}, 0.75, 0.70 * 0.4740770 + 0.30 * 0.9740770),
        ({"loss": "ipo"}, None, (5 - 5) ** 2),
        ({"loss": "ipo", "beta": 0.2}, None, (2.5 - 2.5) ** 2),
        ({"loss": "ipo", "beta": 0.5}, None, (1 - 1) ** 2),
        ({"loss": "ipo"}, 0.75, 0.75 * 0 + 0.25 * 100),
        ({"loss": "ipo_mean"}, 0.75, 25.0),
    ],
)
def test_losses_of_a_difference_of_one_half_by_hand(settings: dict, probability: float | None, loss: float):
    config = DPOConfig(**settings)
    pairs = batch_pairs([[1, 2]], ["better"], config.margin, probabilities=[probability])
    found = pair_losses(torch.tensor([0.7]), torch.tensor([0.2]), pairs, config)
    assert found.item() == pytest.approx(loss, abs=2e-5)


def test_best_responses_are_those_of_every_ranking(tmp_path: Path, tokenizer):
    write_job(tmp_path, "dpo", ALL, model="none")
    judged = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    assert [len(one.rankings) for one in judged] == [2, 3, 1]
    assert best_responses(judged)[0] == [0, 1, 4, 4, 4, 3, 5]


def test_where_all_are_equal_none_is_best(tmp_path: Path, tokenizer):
    same = {"id": 1, "prompt": HELLO, "responses": ["yes", "no"]}
    rows = [same | {"ranks": [1, 2]}, same | {"ranks": [1, 1]}]
    write_job(tmp_path, "dpo", rows, model="none")
    judged = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    assert best_responses(judged)[0] == [0], "the second ranking says nothing of which is better"


SETTINGS: list[dict[str, Any]] = [
    {"beta": 0.3},
    {"beta": 0.3, "margin": "large", "label_smoothing": 0.1},
    {"beta": 0.3, "reduction": "pair", "nll_weight": 0.2},
    {"loss": "ipo", "beta": 0.05},
    {"loss": "ipo_mean", "beta": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_loss_of_a_run_is_that_of_expanded_pairs(settings: dict, models, tmp_path: Path, tokenizer):
    """Every pair's four log-probs from the models' own logits, one response at a time, in no way merged."""
    config = settings | {"batch_size": 8, "max_steps": 1, "max_length": 64, "batch_tokens": 64}
    policy_at, reference_at = models
    job = write_job(tmp_path, "dpo", ALL, model=str(policy_at), reference=str(reference_at), config=config)
    result, events = do_here(job)
    assert (result["rankings"], result["pairs"], result["ties"]) == (6, 2 + 3 + 1 + 1 + 1 + 1, 2)

    policy, reference = load_policy(str(policy_at)), load_policy(str(reference_at))
    encoder, resolved = Encoder(tokenizer, 64), DPOConfig(**settings)
    by_hand, best = [], []
    for row in ROWS:
        group = encoder.encode_group(HELLO, row["responses"], line=1)
        logprobs = [full_logprob(policy, group.prompt, response) for response in group.responses]
        ratios = [
            resolved.beta * (own - full_logprob(reference, group.prompt, response))
            / (len(response) if resolved.loss == "ipo_mean" else 1)
            for own, response in zip(logprobs, group.responses, strict=True)
        ]  # fmt: skip
        by_hand.append(expanded(row, ratios, resolved))
        probability = row.get("probability")
        ranks = row.get("ranks") or (
            [1, 1] if probability == 0.5 else [1, 2] if probability > 0.5 else [2, 1]
        )
        best += [logprobs[i] / len(group.responses[i]) for i, rank in enumerate(ranks) if rank == 1]
    means = [sum(losses) / len(losses) for losses in by_hand]
    every = [loss for losses in by_hand for loss in losses]
    expected = sum(means) / len(means) if resolved.reduction == "prompt" else sum(every) / len(every)
    expected -= resolved.nll_weight * sum(best) / len(best)
    assert curve(events, "loss")[1] == pytest.approx(float(expected), rel=1e-4)


def expanded(row: dict[str, Any], rewards: list[Any], config: DPOConfig) -> list[Any]:
    """The losses of a row's pairs, written out."""
    probability, losses = row.get("probability"), []
    ranks = row.get("ranks") or ([1, 2] if probability >= 0.5 else [2, 1])
    margin = (
        {None: 0.0, "better": 2.0, "significantly": 3.0}[row.get("degree")] if config.margin == "large" else 0
    )
    for i in range(len(ranks)):
        for j in range(len(ranks)):
            if ranks[i] < ranks[j]:
                p, d = (
                    (1.0 if probability is None else max(probability, 1 - probability)),
                    rewards[i] - rewards[j],
                )
                if config.loss == "sigmoid":
                    p = p * (1 - config.label_smoothing) + (1 - p) * config.label_smoothing
                    losses.append(-p * logsigmoid(d - margin) - (1 - p) * logsigmoid(margin - d))
                else:
                    h, target = d / config.beta, 0.5 / config.beta
                    losses.append(p * (h - target) ** 2 + (1 - p) * (h + target) ** 2)
    return losses


@torch.no_grad()
def full_logprob(policy: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    logprobs = torch.log_softmax(policy(input_ids=torch.tensor([[*prompt, *response]])).logits[0], -1)
    found: torch.Tensor = sum(logprobs[len(prompt) - 1 + n, token] for n, token in enumerate(response))
    return found


def test_a_run_on_merged_rows_is_one_on_rows_apart(models, tmp_path: Path, tokenizer):
    """Token ids that say what the text says anyway keep rows apart."""
    encoder, apart = Encoder(tokenizer, 64), [dict(row) for row in ALL]
    for number in (1, 3, 4):
        apart[number]["token_ids"] = [encoder.encode_response(text) for text in apart[number]["responses"]]
        apart[number]["token_ids"][: number % 2] = [None] * (number % 2)
    found = []
    for name, rows in (("together", ALL), ("apart", apart)):
        config = {"batch_size": 6, "max_steps": 1, "max_length": 64, "nll_weight": 0.5, "margin": "small"}
        job = write_job(
            tmp_path / name, "dpo", rows, model=str(models[0]), reference=str(models[1]), config=config
        )
        _, events = do_here(job)
        names = ("loss", "accuracy", "reward_margin", "grad_norm")
        found.append([curve(events, figure)[1] for figure in names])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert len(group_rankings(read_rankings(tmp_path / "apart" / "data.jsonl"), encoder)) == 6


def test_soft_labels_of_one_half_alone_have_no_accuracy(models, tmp_path: Path):
    job = write_job(
        tmp_path, "dpo", ALL[4:5], model=str(models[0]), config={"max_steps": 2, "max_length": 64}
    )
    _, events = do_here(job)
    assert list(curve(events, "accuracy").values()) == [None, None]
    assert curve(events, "loss")[1] == pytest.approx(0.693147, abs=1e-5)


def test_ipo_takes_no_margin():
    for loss in ("ipo", "ipo_mean"):
        with pytest.raises(ConfigError, match="must be none with IPO") as caught:
            from_dict("dpo", {"loss": loss, "margin": "small"})
        assert caught.value.field == "margin"


@pytest.mark.parametrize("other", [False, True], ids=["the start as reference", "another reference"])
def test_a_stop_while_the_reference_is_run_leaves_a_checkpoint(other: bool, models, tmp_path: Path):
    """And ends with the weights of a run that was let alone."""
    config = {"batch_size": 3, "max_steps": 2, "max_length": 64, "batch_tokens": 64}
    more = {"reference": str(models[1])} if other else {}
    whole, stopped = (
        write_job(tmp_path / name, "dpo", ALL, model=str(models[0]), config=config, **more)
        for name in ("whole", "stopped")
    )
    do_here(whole)
    result, _ = do_here(stopped, Recorded(0, gently=True))
    assert result is None
    manifest = json.loads((stopped / "checkpoint" / "manifest.json").read_text())
    assert manifest["step"] == 0
    do_here(stopped)
    ours, theirs = (load_file(job / "output" / "model.safetensors") for job in (whole, stopped))
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())

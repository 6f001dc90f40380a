"""KTO: its loss by hand and from the models' own logits, its labels and its reference point."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core import tastes
from tests.training.core.conftest import judgments, sentence, write_job
from tests.training.core.in_process import Recorded, curve, do_here
from tests.training.core.test_dpo import HELLO, full_logprob
from tests.training.core.test_soft_pairs import ALL
from training.configs import ConfigError, from_dict
from training.core.data import read_rankings
from training.core.errors import BadInput
from training.core.losses import kto_loss
from training.core.model_loading import load_policy
from training.core.preference_groups import group_rankings
from training.core.tokenization import Encoder
from training.core.train_kto import mismatched_groups, reference_point, response_labels

OTHER = [{"role": "user", "content": "when does it leave, please?"}]
ROWS: list[dict[str, Any]] = [
    {"id": 1, "prompt": HELLO, "responses": ["the ferry.", "no.", "the train."], "ranks": [1, 2, 3]},
    {"id": 2, "prompt": OTHER, "responses": ["at nine.", "thank you kindly."], "pairs": [[0, 1, 0.2]], "weight": 0.5},
    {"id": 3, "prompt": HELLO, "responses": ["the ferry.", "no.", "the train."], "ranks": [2, 1, 1]},
]  # fmt: skip
LABELS = [{0: True, 2: False}, {0: False, 1: True}, {0: False, 1: True, 2: True}]
"""By row, whether a response is desirable; the second of three is neither."""


def loss_of(ratio: float, desirable: bool, point: float, **more: float) -> float:
    ratios, kinds = torch.tensor([ratio], dtype=torch.float64), torch.tensor([desirable])
    return kto_loss(ratios, kinds, point, **({"beta": 0.1} | more)).item()


def test_the_loss_by_hand() -> None:
    # beta (r - z) = 0.1 (12 - 2) = 1, sigmoid(-1) = 0.2689414 and sigmoid(1) = 0.7310586
    assert loss_of(12.0, True, 2.0) == pytest.approx(0.2689414, abs=1e-7)
    assert loss_of(12.0, False, 2.0) == pytest.approx(0.7310586, abs=1e-7)
    assert loss_of(-8.0, False, 2.0) == pytest.approx(0.2689414, abs=1e-7)
    assert loss_of(12.0, True, 2.0, desirable_weight=1.5, undesirable_weight=9.0) == pytest.approx(0.4034121)
    assert loss_of(12.0, False, 2.0, undesirable_weight=0.5) == pytest.approx(0.3655293)
    # 0.5 (4 - 0) = 2, sigmoid(-2) = 0.1192029
    assert loss_of(4.0, True, 0.0, beta=0.5) == pytest.approx(0.1192029)
    assert loss_of(3.0, True, 3.0) == loss_of(3.0, False, 3.0) == 0.5


def test_labels_follow_the_export_and_soft_pairs_their_mean(tmp_path: Path, tokenizer: Any) -> None:
    write_job(tmp_path, "kto", ROWS)
    groups = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    labels = response_labels(groups)
    # the first group has two rankings; its responses are at 0, 1, 2, those of the second at 3, 4
    assert labels.place.tolist() == [0, 2, 0, 1, 2, 3, 4]
    assert labels.desirable.tolist() == [True, False, False, True, True, False, True]
    assert labels.weight.tolist() == [1, 1, 1, 1, 1, 0.5, 0.5]
    write_job(tmp_path, "kto", ALL)
    soft = response_labels(group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))[:1])
    # by people 0 is best and 2 worst; by the AI 2 has 0.7, 0 has 0.175 and 1 has 0.625
    assert (soft.place.tolist(), soft.desirable.tolist()) == (
        [0, 2, 2, 0, 1],
        [True, False, True, False, True],
    )


def test_a_response_barely_worse_is_undesirable(tmp_path: Path, tokenizer: Any) -> None:
    write_job(tmp_path, "kto", [ROWS[1] | {"pairs": [[0, 1, 0.45]]}])
    groups = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    labels = response_labels(groups)
    assert (labels.place.tolist(), labels.desirable.tolist()) == ([0, 1], [False, True])


@pytest.mark.parametrize(("ratios", "point"), [([3.0, -1.0], 1.0), ([-3.0, 1.0], 0.0), ([], 0.0)])
def test_the_reference_point_is_never_negative(ratios: list[float], point: float) -> None:
    def passes(_: Any) -> Any:
        return [([], None)] if ratios else []

    found = reference_point(
        [],
        lambda micro, inputs: (torch.zeros(0), torch.tensor(ratios)),
        passes,
        lambda: None,  # type: ignore[arg-type]
    )
    assert found == point


def test_a_prompt_gets_the_responses_of_another_one(tmp_path: Path, tokenizer: Any) -> None:
    rows = [ROWS[0], ROWS[0] | {"id": 9, "responses": ["yes.", "no."], "ranks": [1, 2]}, ROWS[1]]
    write_job(tmp_path, "kto", rows)
    groups = group_rankings(read_rankings(tmp_path / "data.jsonl"), Encoder(tokenizer, 64))
    one, two, three = groups
    found = mismatched_groups(groups, 64)
    assert [item.encoded.prompt for item in found] == [group.encoded.prompt for group in groups]
    assert [item.encoded.responses for item in found] == [
        three.encoded.responses, three.encoded.responses, one.encoded.responses
    ]  # fmt: skip
    longest = max(map(len, three.encoded.responses))
    [cut, *_] = mismatched_groups(groups, longest + 3)
    assert cut.encoded.prompt == one.encoded.prompt[-3:]
    assert mismatched_groups([one, two], 64) == []


@pytest.fixture(scope="module")
def pair(source: Path, tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Path]:
    """A policy some way from its reference, which is `source`."""
    folder = tmp_path_factory.mktemp("moved")
    policy = load_policy(str(source))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, source


@pytest.mark.parametrize("layout", ["shared", "rows"])
@pytest.mark.parametrize("tokens", [64, 4096], ids=["many passes", "one pass"])
def test_the_loss_of_a_run_is_that_of_the_models_own_logits(
    layout: str, tokens: int, pair: tuple[Path, Path], tmp_path: Path, tokenizer: Any
) -> None:
    """One response at a time, the reference point from the prompts of the batch with each other's responses."""
    config: dict[str, Any] = {"batch_size": 8, "max_steps": 1, "max_length": 64, "batch_tokens": tokens}
    config |= {"layout": layout, "beta": 0.2, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    models = {"model": str(pair[0]), "reference": str(pair[1])}
    result, events = do_here(write_job(tmp_path, "kto", ROWS, config=config, **models))
    assert result is not None
    assert (result["desirable"], result["undesirable"], result["rankings"], result["opinions"]) == (
        4,
        3,
        2,
        1,
    )
    policy, reference = map(load_policy, map(str, pair))
    encoder = Encoder(tokenizer, 64)
    encoded = [encoder.encode_group(row["prompt"], row["responses"], line=1) for row in ROWS]

    def ratio(prompt: list[int], ids: list[int]) -> torch.Tensor:
        return differentiable(policy, prompt, ids) - full_logprob(reference, prompt, ids)

    with torch.no_grad():
        mismatched = [ratio(encoded[0].prompt, ids) for ids in encoded[1].responses]
        mismatched += [ratio(encoded[1].prompt, ids) for ids in encoded[0].responses]
        point = max(0.0, float(torch.stack(mismatched).mean()))
    terms = []
    for row, (prompt, responses), labels in zip(ROWS, encoded, LABELS, strict=True):
        for place, desirable in labels.items():
            gain = 0.2 * (ratio(prompt, responses[place]) - point)
            value = 1.3 * torch.sigmoid(gain) if desirable else 0.7 * torch.sigmoid(-gain)
            terms.append(row.get("weight", 1) * ((1.3 if desirable else 0.7) - value))
    loss = torch.stack(terms).sum() / len(terms)
    loss.backward()
    norm = sum(float(p.grad.square().sum()) for p in policy.parameters()) ** 0.5
    assert curve(events, "reference_point")[1] == pytest.approx(point, rel=1e-3, abs=1e-6)
    assert curve(events, "loss")[1] == pytest.approx(loss.item(), rel=1e-4)
    assert curve(events, "grad_norm")[1] == pytest.approx(norm, rel=1e-3)


def differentiable(policy: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    logits = policy(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    logprobs = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
    return logprobs[torch.arange(len(response)), response].sum()


def test_at_the_start_every_response_costs_one_half(source: Path, tmp_path: Path) -> None:
    config = {"batch_size": 4, "max_steps": 1, "max_length": 100}
    result, events = do_here(write_job(tmp_path, "kto", judgments(8), model=str(source), config=config))
    assert result is not None
    assert (curve(events, "loss")[1], curve(events, "reference_point")[1], curve(events, "kl")[1]) == (
        0.5,
        0,
        0,
    )


def test_it_learns_to_tell_the_desirable_from_the_undesirable(source: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [
        {
            "id": number,
            "prompt": [{"role": "user", "content": f"{number} {sentence(rng)}"}],
            "responses": [f"thank you {sentence(rng, 4)}", f"no {sentence(rng, 4)}"],
            "ranks": [1, 2],
            "split": "held_out" if number % 4 == 3 else "train",
        }
        for number in range(48)
    ]
    config = {"batch_size": 6, "epochs": 4, "max_length": 100, "learning_rate": 1e-3, "evaluate_every": 6}
    result, events = do_here(write_job(tmp_path, "kto", rows, model=str(source), config=config))
    assert result is not None
    assert curve(events, "loss")[24] < 0.35
    assert result["metrics"]["held_out_accuracy"] == 1.0
    assert result["metrics"]["reward_margin"] > 1


def test_a_run_that_is_stopped_anywhere_ends_with_the_same_weights(source: Path, tmp_path: Path) -> None:
    config = {"batch_size": 3, "max_steps": 4, "max_length": 100, "batch_tokens": 64, "checkpoint_every": 2}
    whole, stopped, killed = (
        write_job(tmp_path / name, "kto", judgments(8), model=str(source), config=config)
        for name in ("whole", "stopped", "killed")
    )
    do_here(whole)
    assert do_here(stopped, Recorded(2, gently=True))[0] is None
    assert do_here(killed, Recorded(4))[0] is None
    for job in (stopped, killed):
        do_here(job)
        ours, theirs = (load_file(at / "output" / "model.safetensors") for at in (job, whole))
        assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_with_patience_the_answers_choose_the_weights(models: Path, tmp_path: Path) -> None:
    config = {
        "evaluate_every": 1,
        "patience": 9,
        "max_kl": 50.0,
        "batch_size": 4,
        "max_steps": 3,
        "max_length": 100,
    }
    job = tastes.job(tmp_path, "kto", models, judgments(12), {})
    write_job(
        job,
        "kto",
        judgments(12),
        model=str(models / "policy"),
        reward_model=str(models / "taste"),
        config=config,
    )
    result, events = tastes.here(job)
    assert len(tastes.values(events, "held_out_reward")) >= 3
    assert result["metrics"]["held_out_reward"] == pytest.approx(
        max(tastes.values(events, "held_out_reward"))
    )
    assert "held_out_kl" in result["metrics"]


def test_what_cannot_be_learned_is_refused(source: Path, tmp_path: Path) -> None:
    rows = [ROWS[0] | {"ranks": [1, 1, 1]}, ROWS[1] | {"pairs": [[0, 1, 0.5]]}]
    with pytest.raises(BadInput, match="prefers one response"):
        do_here(write_job(tmp_path, "kto", rows, model=str(source), config={"max_length": 64}))
    for config, field in (
        ({"batch_size": 1}, "batch_size"),
        ({"patience": 1}, "patience"),
        ({"desirable_weight": 0.0, "undesirable_weight": 0.0}, "undesirable_weight"),
    ):
        with pytest.raises(ConfigError) as caught:
            from_dict("kto", config)
        assert caught.value.field == field
    assert math.isclose(from_dict("kto", {}).to_dict()["beta"], 0.1)

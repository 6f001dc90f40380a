from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.training.core import tastes
from tests.training.core.conftest import judgments, tiny_llama, write_job
from training.configs import ConfigError, RolloutConfig, from_dict
from training.core.batching import rows_layout, shared_layout
from training.core.data import RolloutPrompt
from training.core.errors import BadInput
from training.core.logprobs import token_figures, token_logprobs
from training.core.losses import hindsight_loss
from training.core.messages import with_instruction
from training.core.rewards import RewardScorer
from training.core.rollout_groups import RolloutGroup
from training.core.tokenization import EncodedGroup, Encoder
from training.core.train_hindsight import label_thirds, mean_per_response, relabel

TINY = {"batch_size": 4, "samples": 3, "max_new_tokens": 4}
GOOD, BAD = "Give a good answer.", "Give a bad answer."


def loss_of(logprob: float, vocabulary: float, entropy: float, opposite: float, **weights: float) -> float:
    values = (
        torch.tensor([value], dtype=torch.float64) for value in (logprob, vocabulary, entropy, opposite)
    )
    return hindsight_loss(*values, **weights).item()


def test_the_loss_by_hand() -> None:
    # q = 1 / (1 + 1/e) = 0.7310586, -log q = 0.3132617, -log(1 - q) = 1.3132617
    assert loss_of(-1.0, -3.0, 0.5, -2.0, smoothing=0.0, entropy_weight=0.0) == pytest.approx(1.3132617)
    # 0.8 * 1 + 0.2 * 3 + 0.8 * 0.3132617 + 0.2 * 1.3132617 - 0.1 * 0.5
    assert loss_of(-1.0, -3.0, 0.5, -2.0, smoothing=0.2, entropy_weight=0.1) == pytest.approx(1.8632617)
    # equally likely under both instructions: q = 1/2, whatever the smoothing
    assert loss_of(-1.0, -1.0, 0.0, -1.0, smoothing=0.2, entropy_weight=0.0) == pytest.approx(1 + math.log(2))


@pytest.mark.parametrize("lay_out", [rows_layout, shared_layout], ids=["rows", "shared"])
def test_the_loss_is_that_of_torch_on_the_model_s_own_logits(lay_out: Any) -> None:
    policy = tiny_llama()
    responses = [[9, 4, 30, 2], [17, 2]]
    right, opposite = EncodedGroup([1, 5, 6, 7], responses), EncodedGroup([1, 5, 8, 7, 11], responses)
    inputs = lay_out([right])
    figures = mean_per_response(token_figures(policy, inputs), inputs.owner, inputs.lengths)
    other = mean_per_response(token_logprobs(policy, lay_out([opposite])), inputs.owner, inputs.lengths)
    ours = hindsight_loss(*figures.unbind(-1), other, smoothing=0.2, entropy_weight=0.01)
    ours.sum().backward()
    gradient = policy.model.embed_tokens.weight.grad.clone()
    policy.zero_grad()
    theirs = []
    for ids in responses:
        logits = [
            policy(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
            for prompt in (right.prompt, opposite.prompt)
        ]
        target = torch.tensor(ids)
        p, p_opposite = (torch.exp(-cross_entropy(each, target)) for each in logits)
        q = p / (p + p_opposite)
        entropy = torch.distributions.Categorical(logits=logits[0]).entropy().mean()
        smoothed = cross_entropy(logits[0], target, label_smoothing=0.2)
        theirs.append(smoothed - 0.8 * torch.log(q) - 0.2 * torch.log(1 - q) - 0.01 * entropy)
    assert ours.tolist() == pytest.approx([loss.item() for loss in theirs], rel=1e-4)
    sum(theirs).backward()  # type: ignore[union-attr]
    assert torch.allclose(gradient, policy.model.embed_tokens.weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("rewards", "labels"),
    [
        ([3.0, 1.0, 2.0, 6.0, 5.0, 4.0], [0, -1, -1, 1, 1, 0]),
        ([0.5, 0.1, 0.9, 0.7], [0, -1, 1, 0]),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 2.0], [0, 0, 0, 0, 0, 1]),
        ([1.0, 1.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 0, 0, -1, 0]),
        ([2.0, 2.0, 2.0], [0, 0, 0]),
    ],
    ids=["thirds", "rounded down", "one is better", "one is worse", "equal"],
)
def test_the_top_third_is_good_and_the_bottom_third_bad(rewards: list[float], labels: list[int]) -> None:
    other = [float(number) for number in range(len(rewards))]
    assert label_thirds(torch.tensor([rewards, other]))[0].tolist() == labels


def test_responses_are_learned_under_the_instruction_that_they_fulfil() -> None:
    group = RolloutGroup(prompt("hello"), EncodedGroup([1, 2], [[10], [11], [12]]), [True] * 3, first=3)
    labels = torch.tensor([0, 0, 0, -1, 0, 1])
    good, bad = relabel([group], labels, {"p": [1, 3]})
    assert good == (EncodedGroup([1, 2], [[12]]), EncodedGroup([1, 3], [[12]]))
    assert bad == (EncodedGroup([1, 3], [[10]]), EncodedGroup([1, 2], [[10]]))


def prompt(text: str) -> RolloutPrompt:
    messages = [{"role": "user", "content": text}]
    return RolloutPrompt(1, "p", messages, False, False, None, None, None, None)


def test_the_instruction_is_a_line_before_the_last_message_of_the_user() -> None:
    talk = [
        {"role": role, "content": text}
        for role, text in (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    ]
    assert [message["content"] for message in with_instruction(talk, GOOD)] == ["s", "a", "b", f"{GOOD}\nc"]
    assert with_instruction(talk, "") == talk
    assert with_instruction(talk[:1], GOOD)[0]["content"] == f"{GOOD}\ns"


def test_the_reward_model_does_not_read_the_instruction(models: Path, tokenizer: Any) -> None:
    plain, instructed = Encoder(tokenizer, 100), Encoder(tokenizer, 100, instruction=GOOD)
    source = prompt("the ferry leaves")
    ids = [encoder.encode_prompt(source.prompt, max_tokens=90, line=1) for encoder in (plain, instructed)]
    assert len(ids[1]) > len(ids[0])
    config = RolloutConfig(max_length=100, max_new_tokens=8)
    scorer = RewardScorer(str(models / "taste"), "reward_model", config, instructed)
    group = RolloutGroup(source, EncodedGroup(ids[1], [[300, 301]]), [True])
    assert scorer.encode(group) == EncodedGroup(ids[0], [[300, 301]])


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"good_instruction": " "}, "good_instruction"),
        ({"bad_instruction": "one\ntwo"}, "bad_instruction"),
        ({"good_instruction": "a" * 201}, "good_instruction"),
        ({"bad_instruction": GOOD}, "bad_instruction"),
        ({"samples": 2, "compare": "prompt"}, "samples"),
        ({"updates": 99}, "updates"),
    ],
)
def test_invalid_settings_are_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict("hindsight", config)
    assert caught.value.field == field


def generate(folder: Path, model: Path, rows: list[dict[str, Any]], **config: Any) -> list[list[int]]:
    """The token ids of a generate job's responses."""
    config = {"max_new_tokens": 8, "max_length": 100, "samples": 4} | config
    tastes.here(write_job(folder, "generate", rows, config=config, model=str(model)))
    return [row["token_ids"] for row in tastes.lines(folder / "output" / "responses.jsonl")]


def with_file(model: Path, folder: Path, instruction: str) -> Path:
    """A copy of a policy with an instruction."""
    shutil.copytree(model, folder)
    (folder / "hindsight.json").write_text(json.dumps({"instruction": instruction}))
    return folder


def test_generation_puts_the_instruction_before_the_prompt(models: Path, tmp_path: Path) -> None:
    rows = tastes.prompts(3)
    instructed = [
        row | {"prompt": [{"role": "user", "content": f"{GOOD}\n{row['prompt'][0]['content']}"}]}
        for row in rows
    ]
    expected = generate(tmp_path / "expected", models / "policy", instructed)
    model = with_file(models / "policy", tmp_path / "model", GOOD)
    assert generate(tmp_path / "ours", model, rows) == expected
    assert generate(tmp_path / "plain", models / "policy", rows) != expected


def test_a_file_without_an_instruction_is_refused(models: Path, tmp_path: Path) -> None:
    model = with_file(models / "policy", tmp_path / "model", GOOD)
    (model / "hindsight.json").write_text("[]")
    with pytest.raises(BadInput, match="names no instruction") as caught:
        generate(tmp_path / "job", model, tastes.prompts(2))
    assert caught.value.setting == "model"


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo", "rejection", "rest", "ppo", "grpo", "reinforce"])
def test_training_further_keeps_the_instruction(kind: str, models: Path, tmp_path: Path) -> None:
    model = with_file(models / "policy", tmp_path / "model", GOOD)
    answer = [{"role": "user", "content": "when?"}, {"role": "assistant", "content": "at nine."}]
    rows = {
        "pretrain": [{"text": "the ferry leaves at nine " * 9}] * 4,
        "sft": [{"messages": answer}] * 4,
        "dpo": judgments(8),
    }.get(kind, tastes.prompts(10))
    config: dict[str, Any] = {"max_steps": 1, "batch_size": 4}
    if kind == "pretrain":
        config |= {"block_length": 32}
    elif kind in ("sft", "dpo"):
        config |= {"max_length": 100}
    else:
        config |= {"max_length": 100, "max_new_tokens": 4, "samples": 3}
    job = write_job(
        tmp_path / "job", kind, rows, config=config, model=str(model), reward_model=str(models / "taste")
    )
    tastes.here(job)
    assert json.loads((job / "output" / "hindsight.json").read_text()) == {"instruction": GOOD}


def test_another_instruction_replaces_the_model_s_with_a_warning(models: Path, tmp_path: Path) -> None:
    model = with_file(models / "policy", tmp_path / "model", "Be brief.")
    config = TINY | {"max_steps": 1}
    job = tastes.job(tmp_path / "job", "hindsight", models, tastes.prompts(5), config, model=str(model))
    _, events = tastes.here(job)
    assert any("“Be brief.”, is replaced" in event.get("message", "") for event in events)
    assert json.loads((job / "output" / "hindsight.json").read_text()) == {"instruction": GOOD}


def test_both_layouts_and_any_passes_learn_the_same(models: Path, tmp_path: Path) -> None:
    found = []
    for number, (layout, most) in enumerate((("shared", 8192), ("rows", 8192), ("shared", 64))):
        config = TINY | {
            "updates": 2,
            "max_steps": 4,
            "layout": layout,
            "batch_tokens": most,
            "learning_rate": 1e-4,
        }
        _, events = tastes.here(
            tastes.job(tmp_path / str(number), "hindsight", models, tastes.prompts(10), config)
        )
        names = ("loss", "grad_norm", "reward", "instruction_probability")
        found.append([tastes.values(events, name) for name in names])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_it_learns_what_each_instruction_asks_for(models: Path, tmp_path: Path) -> None:
    """Good answers get better than those of the policy before, and answers tell by which instruction they were asked for."""
    config = {
        "samples": 12,
        "epochs": 6,
        "batch_size": 8,
        "updates": 2,
        "evaluate_every": 12,
        "label_smoothing": 0.2,
    }
    job = tastes.job(tmp_path / "job", "hindsight", models, tastes.prompts(40), config)
    _, events = tastes.here(job)
    figures = tastes.values(events, "held_out_reward")
    assert figures[-1] > figures[0] + 0.1
    told = tastes.values(events, "instruction_probability")
    assert told[0] == pytest.approx(0.5, abs=0.05)
    assert max(told) > 0.54

"""GRPO and REINFORCE: their gradients against a plain reading of the formulas, their switches, and that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training.core import tastes
from training.core.batching import rows_layout
from training.core.diagnostics import RolloutDiagnostics
from training.core.model_loading import load_policy
from training.core.reward_model import load_reward_model
from training.core.rollouts import Rollout


def naive_logprobs(policy: Any, rollout: Rollout, temperature: float) -> list[Tensor]:
    """Each response's log-probs, one plain forward of the whole model after another."""
    found = []
    for one in rollout.groups:
        for response in one.encoded.responses:
            logits = policy(input_ids=torch.tensor([[*one.encoded.prompt, *response]])).logits[0]
            logits = logits[len(one.encoded.prompt) - 1 : -1] / temperature
            found.append(torch.log_softmax(logits, -1)[torch.arange(len(response)), response])
    return found


def scores(models: Path, rollout: Rollout) -> Tensor:
    taste = load_reward_model(str(models / "taste"))
    with torch.no_grad():
        found = torch.cat([taste(rows_layout([one.encoded])) for one in rollout.groups])
    ended = torch.tensor([end for one in rollout.groups for end in one.finished])
    return found - 1.0 * (~ended).float()


def expected_norm(loss: Tensor, policy: Any) -> float:
    loss.backward()
    return sum(float(p.grad.square().sum()) for p in policy.parameters() if p.grad is not None) ** 0.5


TINY = {"batch_size": 4, "samples": 3, "max_new_tokens": 6, "temperature": 0.8, "max_steps": 1}


@pytest.mark.parametrize("reduction", ["sequence", "constant", "token"])
def test_grpos_first_gradient_is_the_formulas(
    reduction: str, models: Path, tmp_path: Path, made: list[Rollout]
):
    config = TINY | {"reduction": reduction, "scale_rewards": reduction != "constant"}
    _, events = tastes.here(tastes.job(tmp_path, "grpo", models, tastes.prompts(8), config))
    policy = load_policy(str(models / "policy"))
    logprobs = naive_logprobs(policy, made[0], 0.8)
    grouped = scores(models, made[0]).view(4, 3)
    centred = grouped - grouped.mean(1, keepdim=True)
    advantages = centred if reduction == "constant" else centred / (grouped.std(1, keepdim=True) + 1e-4)
    terms = [a * p for a, p in zip(advantages.flatten(), logprobs, strict=True)]
    loss = {
        "sequence": lambda: torch.stack([term.mean() for term in terms]).mean(),
        "constant": lambda: torch.stack([term.sum() / 6 for term in terms]).mean(),
        "token": lambda: torch.cat(terms).mean(),
    }[reduction]()
    assert tastes.values(events, "grad_norm")[0] == pytest.approx(expected_norm(-loss, policy), rel=1e-3)


@pytest.mark.parametrize("baseline", ["leave_one_out", "moving_mean"])
def test_reinforces_first_gradient_is_the_formulas(
    baseline: str, models: Path, tmp_path: Path, made: list[Rollout]
):
    config = TINY | {"baseline": baseline}
    _, events = tastes.here(tastes.job(tmp_path, "reinforce", models, tastes.prompts(8), config))
    policy = load_policy(str(models / "policy"))
    logprobs = naive_logprobs(policy, made[0], 0.8)
    rewards = scores(models, made[0])
    if baseline == "leave_one_out":
        others = [
            [r for j, r in enumerate(group) if j != i]
            for group in rewards.view(4, 3).tolist()
            for i in range(3)
        ]
        against = torch.tensor([sum(own) / 2 for own in others])
    else:
        against = rewards.mean()
    loss = -torch.stack([p.sum() * a for p, a in zip(logprobs, rewards - against, strict=True)]).mean()
    assert tastes.values(events, "loss")[0] == pytest.approx(loss.item(), rel=1e-3)
    assert tastes.values(events, "grad_norm")[0] == pytest.approx(expected_norm(loss, policy), rel=1e-3)


def test_the_divergence_is_part_of_reinforces_reward(models: Path, tmp_path: Path, made: list[Rollout]):
    """From the second rollout on the policy has moved, and a response's advantage is that of r - beta log(pi / ref)."""
    config = TINY | {"max_steps": 2, "beta": 0.5}
    tastes.here(tastes.job(tmp_path, "reinforce", models, tastes.prompts(8), config))
    tensors = made[1].tensors
    reference = load_policy(str(models / "policy"))
    with torch.no_grad():
        theirs = torch.cat(naive_logprobs(reference, made[1], 0.8))
    assert torch.allclose(tensors["kl"], tensors["recorded"] - theirs, atol=1e-3)
    kl = made[1].sum_per_response("kl")
    assert kl.abs().min() > 0
    rewards = (scores(models, made[1]) - 0.5 * kl).view(-1, 3)
    expected = (rewards - (rewards.sum(1, keepdim=True) - rewards) / 2).flatten()
    expected = expected.repeat_interleave(tensors["lengths"])
    assert torch.allclose(tensors["advantages"], expected, atol=1e-4)


def test_groups_of_equal_rewards_are_dropped_and_nothing_moves(models: Path, tmp_path: Path):
    """Against a baseline that the reward model likes best, every response is worth 0."""
    liked = "".join("e" for _ in range(3))
    config = TINY | {"reward": "binary", "missing_end_penalty": 0.0, "drop_equal": True, "max_steps": 3}
    config |= {"batch_size": 2, "updates": 2}
    data = [row | {"baseline": liked} for row in tastes.prompts(8)]
    job = tastes.job(tmp_path, "grpo", models, data, config, reward_model=str(tmp_path / "disgust"))
    taste = load_reward_model(str(models / "taste"))
    with torch.no_grad():
        taste.weight.zero_()  # everything ties with its baseline
    (tmp_path / "disgust").mkdir()
    from training.core.model_loading import load_tokenizer

    taste.save(load_tokenizer(str(models / "taste"))[0], tmp_path / "disgust")
    _, events = tastes.here(job)
    assert tastes.values(events, "equal_groups") == [1.0] * 3
    assert tastes.values(events, "loss") == [0.0] * 3
    ours, theirs = (load_file(at / "model.safetensors") for at in (tmp_path / "output", models / "policy"))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_only_varied_groups_are_learned_from(models: Path, tmp_path: Path, made: list[Rollout]):
    rows = [row | {"baseline": "the ferry."} for row in tastes.prompts(20)]
    config = TINY | {"reward": "binary", "missing_end_penalty": 0.0, "batch_size": 16, "samples": 2}
    for number, drop in enumerate([True, False]):
        tastes.here(tastes.job(tmp_path / str(number), "grpo", models, rows, config | {"drop_equal": drop}))
    dropped, complete = made
    included = dropped.tensors["included"]
    assert 0 < included.sum() < len(included)
    by_prompt = dropped.tensors["advantages"].split([group.response_tokens for group in dropped.groups])
    assert included.tolist() == [bool(values.abs().max() > 0) for values in by_prompt]
    assert sum(len(part) for part in dropped.mini_batches(3)) == included.sum()
    assert complete.tensors["included"].all()


def test_without_a_kl_weight_the_reference_is_not_even_loaded(models: Path, tmp_path: Path):
    job = tastes.job(
        tmp_path, "grpo", models, tastes.prompts(8), TINY | {"beta": 0.0}, reference=str(models / "policy")
    )
    _, events = tastes.here(job)
    assert not tastes.values(events, "kl")


def test_several_steps_on_a_rollout_leave_its_policy_behind(models: Path, tmp_path: Path):
    config = TINY | {"updates": 1, "reuse": 3, "max_steps": 6, "learning_rate": 3e-2}
    _, events = tastes.here(tastes.job(tmp_path, "grpo", models, tastes.prompts(8), config))
    ratio, reward = tastes.values(events, "ratio"), tastes.values(events, "reward")
    assert (ratio[0], ratio[3]) == (1.0, 1.0)
    assert 1.0 not in (ratio[1], ratio[2], ratio[4], ratio[5])
    assert reward[0] == reward[1] == reward[2] != reward[3]
    assert max(tastes.values(events, "clipped")) > 0


def test_the_reference_may_be_another_policy(models: Path, tmp_path: Path, tokenizer):
    other = tastes.unsure_policy()
    with torch.no_grad():
        other.lm_head.weight *= 3
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    job = tastes.job(tmp_path, "grpo", models, tastes.prompts(8), TINY, reference="other")
    _, events = tastes.here(job)
    assert tastes.values(events, "kl")[0] > 0.1


@pytest.mark.parametrize(
    ("kind", "config"), [("grpo", {"samples": 8}), ("reinforce", {"samples": 6})], ids=["grpo", "reinforce"]
)
def test_it_learns_what_the_reward_model_likes(
    kind: str, config: dict[str, Any], models: Path, tmp_path: Path, do: tastes.Do
):
    config |= {"batch_size": 8, "epochs": 8, "evaluate_every": 5}
    code, events = do(tastes.job(tmp_path, kind, models, tastes.prompts(20), config))
    assert code == 0
    assert [event["step"] for event in events if event["event"] == "progress"] == list(range(1, 17))
    rewards, held_out = (tastes.values(events, name) for name in ("reward", "held_out_reward"))
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.3
    assert held_out[-1] > held_out[0] + 0.3
    assert (tmp_path / "output" / "config.json").exists()
    assert (tmp_path / "output" / "tokenizer.json").exists()
    expected = {"reward", "kl", "kl_root", "entropy", "length", "ended", "loss", "grad_norm", "tokens_per_s"}
    assert (
        expected
        <= next(
            event["values"] for event in events if event["event"] == "metrics" and event["step"] == 1
        ).keys()
    )


def test_a_rollouts_divergence_is_looked_at_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    monkeypatch.setattr(RolloutDiagnostics, "check_kl", lambda self, kl: seen.append(len(kl)))
    config = {"batch_size": 4, "samples": 2, "max_new_tokens": 4, "beta": 0.1, "updates": 1, "reuse": 3}
    tastes.here(tastes.job(tmp_path, "grpo", models, tastes.prompts(8), config | {"max_steps": 6}))
    assert seen == [8, 8], "two rollouts, three steps on each"

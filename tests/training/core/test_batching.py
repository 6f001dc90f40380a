from __future__ import annotations

import random

import pytest
import torch
from transformers import MistralConfig

from tests.training.core.conftest import ARCHITECTURES, in_float64, tiny, tiny_llama
from training.core import attention
from training.core.batching import (
    Passes,
    check_shared_layout,
    last_hidden_states,
    rows_layout,
    shared_layout,
)
from training.core.errors import BadInput
from training.core.logprobs import response_logprobs, token_logprobs
from training.core.losses import preference_loss
from training.core.preference_groups import PreferenceGroup
from training.core.rankings import batch_pairs
from training.core.reward_model import RewardModel
from training.core.tokenization import EncodedGroup

LAYOUTS = [shared_layout, rows_layout]
RANKINGS = [[1, 2], [2, 1, 2, 3], [1], [3, 2, 1], [1, 1, 2, 5, 4, 3, 7, 6, 8]]
DEGREES = ["better", None, None, None, None]


def groups(seed: int = 0) -> list[EncodedGroup]:
    rng = random.Random(seed)

    def words(least: int, most: int) -> list[int]:
        return rng.choices(range(10, 300), k=rng.randint(least, most))

    return [EncodedGroup([1, *words(0, 30)], [[*words(0, 20), 2] for _ in ranks]) for ranks in RANKINGS]


@pytest.fixture(params=ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def any_model(request):
    return request.param()


def own_logprobs(policy, prompt: list[int], response: list[int]) -> torch.Tensor:
    """From the whole model's own logits, every position projected: nothing of ours in between."""
    logits = policy(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    found = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    return found.gather(1, torch.tensor(response)[:, None])[:, 0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logprobs_are_those_of_the_models_own_forward(any_model, layout):
    batch = layout(groups())
    found = token_logprobs(any_model, batch)
    expected = [own_logprobs(any_model, prompt, one) for prompt, responses in groups() for one in responses]
    assert torch.allclose(found, torch.cat(expected), atol=2e-4)
    summed = torch.stack([one.sum() for one in expected])
    assert torch.allclose(response_logprobs(any_model, batch), summed, atol=1e-3)


def test_the_temperature_divides_the_logits():
    policy, [one, *_] = tiny_llama(), groups()
    logits = policy(input_ids=torch.tensor([[*one.prompt, *one.responses[0]]])).logits[0]
    expected = torch.log_softmax(logits / 1.7, -1)[len(one.prompt) - 1 : -1]
    found = token_logprobs(
        policy, shared_layout([EncodedGroup(one.prompt, one.responses[:1])]), temperature=1.7
    )
    assert torch.allclose(found, expected.gather(1, torch.tensor(one.responses[0])[:, None])[:, 0], atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_layouts_give_the_same_reward_loss_and_gradients(architecture):
    """float64, with ties, margins and rankings of one to nine."""
    model = in_float64(RewardModel(ARCHITECTURES[architecture]().base_model, seed=1))
    pairs = batch_pairs(RANKINGS, DEGREES, "large")

    def loss_and_gradients(layout):
        rewards = model(layout(groups()))
        losses = preference_loss(rewards[pairs.chosen], rewards[pairs.rejected], margin=pairs.margin.double())
        loss = (losses * pairs.weights("prompt", torch.float64)).sum()
        return loss, torch.autograd.grad(loss, list(model.parameters()))

    (ours, our_gradients), (theirs, their_gradients) = map(loss_and_gradients, LAYOUTS)
    assert abs(ours.item() - theirs.item()) < 1e-9
    for one, other in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_layouts_give_the_same_logprob_gradients(architecture):
    policy = in_float64(ARCHITECTURES[architecture]())
    weights = torch.linspace(-1, 1, sum(map(len, RANKINGS)), dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad(
            (response_logprobs(policy, layout(groups())) * weights).sum(), list(policy.parameters())
        )
        for layout in LAYOUTS
    )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_a_wrong_position_or_a_leaking_response_would_be_seen():
    """The negative controls of the tests above."""
    trunk = tiny_llama().base_model
    batch = shared_layout(groups())
    right = last_hidden_states(trunk, batch)
    shifted = batch._replace(position_ids=torch.arange(batch.input_ids.shape[1])[None])
    assert not torch.allclose(last_hidden_states(trunk, shifted), right, atol=0.1)
    leaking = tuple(group._replace(ends=group.ends[-1:]) for group in batch.tree.groups)
    leaky = batch._replace(tree=attention.Tree(leaking))
    assert not torch.allclose(last_hidden_states(trunk, leaky), right, atol=0.1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changing_one_response_leaves_the_others_rewards_exactly_as_they_were(layout):
    model = RewardModel(tiny_llama().model)
    before, after = groups(), groups()
    after[1].responses[2][:] = [(token + 1) % 300 for token in after[1].responses[2]]
    rewards, changed = model(layout(before)), model(layout(after))
    moved = 4  # two responses of the first group, two of the second
    others = [index for index in range(len(rewards)) if index != moved]
    assert torch.equal(rewards[others], changed[others])
    assert rewards[moved] != changed[moved]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reward_is_read_off_the_last_real_token_whatever_it_is(layout):
    """Padding is id 0; a response may end in that very id, or in the eos, and is still read to its end."""
    model = RewardModel(tiny_llama().model)
    odd = [EncodedGroup([1, 50, 60], [[70, 0], [70, 0, 0, 0], [6] * 30]), EncodedGroup([1, 50], [[2, 2]])]
    together = model(layout(odd))
    alone = [
        model(rows_layout([EncodedGroup(prompt, [one])])) for prompt, responses in odd for one in responses
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert (together[0] - together[1]).abs() > 1e-3
    hidden = model.trunk(input_ids=torch.tensor([[1, 50, 60, 70, 0]])).last_hidden_state[0, -1]
    assert torch.allclose(together[0], hidden @ model.weight, atol=1e-5)


def test_the_mask_for_accelerators_is_the_same_tree():
    """FlexAttention's forward runs on a processor too; its backward does not."""
    batch = shared_layout(groups())
    length = batch.input_ids.shape[1]
    query, key, value = torch.randn(3, 1, 2, length, 16)
    from torch.nn.attention.flex_attention import flex_attention

    mask = attention.block_mask(batch.tree.groups, torch.device("cpu"))
    theirs = flex_attention(query, key, value, block_mask=mask, scale=0.3)
    ours = attention.Cascade.apply(query, key, value, batch.tree.groups, 0.3)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_model_whose_numbers_differ_is_refused_whatever_its_settings_say():
    trunk = tiny_llama().base_model
    trunk.config._attn_implementation = "sdpa"  # which knows nothing of trees
    with pytest.raises(BadInput, match="different numbers in the layout shared"):
        check_shared_layout(trunk, 64)


def test_rows_of_a_model_with_a_sliding_window_are_right():
    policy = tiny(MistralConfig, sliding_window=8)
    found = token_logprobs(policy, rows_layout(groups()))
    policy.config._attn_implementation = "eager"
    expected = [own_logprobs(policy, prompt, one) for prompt, responses in groups() for one in responses]
    assert torch.allclose(found, torch.cat(expected), atol=2e-4)


@pytest.mark.parametrize("layout", ["shared", "rows"])
def test_every_item_is_in_one_pass_and_no_pass_is_too_large(layout):
    rng = random.Random(0)
    items = [
        PreferenceGroup(
            number,
            None,
            EncodedGroup([1] * rng.randint(1, 50), [[2] * rng.randint(1, 30)] * rng.randint(1, 9)),
        )
        for number in range(100)
    ]
    found = list(Passes(tiny_llama().base_model, layout, 600, 128)(items))
    assert sorted(item.index for group, _ in found for item in group) == list(range(100))
    assert len(found) > 5
    for group, batch in found:
        assert batch.input_ids.numel() <= 608 or len(group) == 1  # 600, filled up to a multiple of 32
        assert len(batch.last) == sum(item.k for item in group)


def test_the_head_starts_small_and_the_same_for_a_seed():
    trunk = tiny_llama().model
    assert torch.equal(RewardModel(trunk, seed=4).weight, RewardModel(trunk, seed=4).weight)
    assert RewardModel(trunk, seed=4).weight.std().item() == pytest.approx(33**-0.5, rel=0.4)

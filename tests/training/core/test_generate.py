from __future__ import annotations

import pytest
import torch

from tests.training.core.conftest import tiny_gpt2, tiny_llama
from training.core.encoding import Group
from training.core.generate import row_seed, sample_responses
from training.core.scoring import rows, token_logprobs

PROMPTS = [[1, 40, 50, 60, 70, 80], [1, 90], [1, *range(100, 140)]]


def sample(policy, prompts=PROMPTS, *, samples=3, temperature=1.0, seeds=None, ends=(2,), most=24):
    seeds = seeds or [row_seed(5, str(prompt), number) for prompt in prompts for number in range(samples)]
    return sample_responses(
        policy, prompts, seeds, samples=samples, max_new_tokens=most, temperature=temperature, end_ids=ends
    )


MODELS = {
    "rotary": tiny_llama,
    "shared heads": lambda: tiny_llama(kv_heads=1),
    "learned positions": tiny_gpt2,
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def softer(request):
    """A policy whose next token is uncertain, so that samples differ and some responses end early."""
    policy = request.param()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.dim() > 1:
                parameter *= 0.6
    return policy


ENDS = tuple(range(200, 240))  # an eighth of the vocabulary ends a response, so that many do


def test_logprobs_equal_a_forward_over_what_was_sampled(softer):
    sampled = sample(softer, ends=ENDS)
    lengths = {len(one.token_ids) for one in sampled}
    assert len(lengths) > 2, "responses of several lengths leave the batch at different times"
    with torch.no_grad():
        for number, one in enumerate(sampled):
            expected = token_logprobs(softer, rows([Group(PROMPTS[number // 3], [one.token_ids])]))
            assert torch.allclose(torch.tensor(one.logprobs), expected, rtol=0, atol=1e-4)


def test_a_response_ends_with_the_end_token_and_keeps_it(softer):
    for one in sample(softer, ends=ENDS):
        ends = [token in ENDS for token in one.token_ids]
        assert not any(ends[:-1])
        assert ends[-1] == one.finished
        assert one.finished or len(one.token_ids) == 24
        assert len(one.logprobs) == len(one.token_ids)


def test_the_same_seeds_give_the_same_tokens_in_any_company(softer):
    together = sample(softer)
    assert [one.token_ids for one in sample(softer)] == [one.token_ids for one in together]
    for index, prompt in enumerate(PROMPTS):
        alone = sample(softer, [prompt])
        assert [one.token_ids for one in alone] == [
            one.token_ids for one in together[3 * index : 3 * index + 3]
        ]


def test_other_seeds_give_other_tokens(softer):
    one, other = sample(softer, seeds=list(range(9))), sample(softer, seeds=list(range(100, 109)))
    assert all(a.token_ids != b.token_ids for a, b in zip(one, other, strict=True))


def test_logprobs_are_of_the_tempered_distribution(softer):
    [one] = sample(softer, [PROMPTS[0]], samples=1, temperature=0.5, most=1)
    logits = softer(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    assert one.logprobs[0] == pytest.approx(
        torch.log_softmax(logits / 0.5, -1)[one.token_ids[0]].item(), abs=1e-4
    )


def test_at_temperature_zero_the_likeliest_token_is_taken(softer):
    [one] = sample(softer, [PROMPTS[0]], samples=1, temperature=0.0, ends=(), most=8)
    ids = list(PROMPTS[0])
    for token in one.token_ids:
        assert softer(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_samples_follow_the_distribution():
    policy = tiny_llama()
    with torch.no_grad():
        policy.lm_head.weight *= 0.3
    sampled = sample(policy, [PROMPTS[0]], samples=4000, most=1, ends=(), seeds=list(range(4000)))
    logits = policy(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    expected = torch.softmax(logits, -1)
    counted = torch.bincount(torch.tensor([one.token_ids[0] for one in sampled]), minlength=320) / 4000
    top = expected.topk(5).indices
    assert torch.allclose(counted[top], expected[top], atol=0.03)

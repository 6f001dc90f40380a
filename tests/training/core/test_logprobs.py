from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.training.core.conftest import in_float64, tiny_llama
from training.core import logprobs
from training.core.logprobs import label_logprobs, vocabulary_logits

WIDTH, WORDS, ROWS = 5, 11, 4


class Head(nn.Module):
    """What of a policy the projection sees."""

    def __init__(self, cap: float | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, WORDS, dtype=torch.float64)
        text = SimpleNamespace(vocab_size=WORDS)
        self.config = SimpleNamespace(final_logit_softcapping=cap, get_text_config=lambda: text)

    def get_output_embeddings(self) -> nn.Linear:
        return self.linear


@pytest.fixture(params=[0, 2, 100], ids=["all recomputed", "two chunks stored", "all stored"])
def chunked(request, monkeypatch):
    """Chunks of four rows, of which this many are stored for the backward pass."""
    monkeypatch.setattr(logprobs, "CHUNK_LOGITS", ROWS * WORDS)
    monkeypatch.setattr(logprobs, "MIN_CHUNK_ROWS", 1)
    monkeypatch.setattr(logprobs, "MAX_STORED_LOGITS", request.param * ROWS * WORDS)
    return request.param


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, WIDTH, generator=random, dtype=torch.float64, requires_grad=True)
    return hidden, torch.randint(WORDS, (rows,), generator=random)


def plainly(head: Head, hidden: torch.Tensor, label: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = vocabulary_logits(head, hidden) / temperature
    return torch.log_softmax(logits, -1).gather(1, label[:, None])[:, 0]


def test_by_hand():
    """Odds of 1, 2 and 5: the second has log(2/8), and its gradient is 1 less its probability, and less those of others."""
    head = Head()
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.weight[:3, 0] = torch.tensor([1.0, 2.0, 5.0]).log()
        head.linear.bias.fill_(-1e9)[:3] = 0.0
    hidden = torch.eye(WIDTH, dtype=torch.float64)[:1].requires_grad_()
    found = label_logprobs(head, hidden, torch.tensor([1]))
    assert found.item() == pytest.approx(math.log(2 / 8))
    found.sum().backward()
    assert head.linear.bias.grad[:3].tolist() == pytest.approx([-1 / 8, 6 / 8, -5 / 8])
    assert hidden.grad[0, 0].item() == pytest.approx(6 / 8 * math.log(2) - 5 / 8 * math.log(5))


@pytest.mark.parametrize("rows", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 3 * ROWS + 2])
@pytest.mark.parametrize(("temperature", "cap"), [(1.0, None), (1.7, None), (0.6, 0.5)])
def test_values_and_gradients_are_those_of_the_whole_softmax(chunked, rows, temperature, cap):
    head = Head(cap)
    hidden, label = inputs(rows)
    weights = torch.linspace(-1, 2, rows, dtype=torch.float64)
    found, expected = (compute(head, hidden, label, temperature) for compute in (label_logprobs, plainly))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = (
        torch.autograd.grad((values * weights).sum(), [hidden, *head.parameters()])
        for values in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_small_steps(chunked):
    """Along one direction of hidden states and weights together; gradcheck would go back more than once."""
    head = Head()
    hidden, label = inputs(2 * ROWS + 1)
    own = [hidden, *head.parameters()]
    random = torch.Generator().manual_seed(7)
    steps = [torch.randn(value.shape, generator=random, dtype=value.dtype) for value in own]

    def loss(size: float) -> torch.Tensor:
        with torch.no_grad():
            for value, step in zip(own, steps, strict=True):
                value += size * step
        found = label_logprobs(head, hidden, label, 1.3).square().sum()
        with torch.no_grad():
            for value, step in zip(own, steps, strict=True):
                value -= size * step
        return found

    gradients = torch.autograd.grad(label_logprobs(head, hidden, label, 1.3).square().sum(), own)
    along = sum((one * step).sum().item() for one, step in zip(gradients, steps, strict=True))
    size = 1e-6
    assert along == pytest.approx((loss(size) - loss(-size)).item() / (2 * size), rel=1e-7)


def test_with_and_without_gradients_the_bits_are_the_same(chunked):
    """The ratio at the first step on a rollout is exactly 1 because of this."""
    head = Head()
    hidden, label = inputs(3 * ROWS + 1)
    with torch.no_grad():
        before = label_logprobs(head, hidden, label, 0.9)
    assert torch.equal(label_logprobs(head, hidden, label, 0.9).detach(), before)


def test_a_bounded_number_of_logits_is_stored_for_the_backward_pass(chunked):
    head = Head()
    hidden, label = inputs(5 * ROWS)
    stored, made = [], []
    head.linear.register_forward_hook(lambda _, __, logits: made.append(len(logits)))

    def record(tensor: torch.Tensor) -> torch.Tensor:
        stored.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        found = label_logprobs(head, hidden, label)
    assert sum(shape == (ROWS, WORDS) for shape in stored) == min(chunked, 5)
    found.sum().backward()
    assert made == [ROWS] * (5 + 5 - min(chunked, 5)), (
        "what was not stored is computed once more, and nothing else"
    )


def test_going_back_twice_is_refused():
    head = Head()
    hidden, label = inputs(3)
    found = label_logprobs(head, hidden, label).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def test_a_real_models_projection_goes_the_same_way(monkeypatch):
    policy = in_float64(tiny_llama())
    random = torch.Generator().manual_seed(1)
    hidden = torch.randn(70, policy.config.hidden_size, generator=random, dtype=torch.float64)
    label = torch.randint(policy.config.vocab_size, (70,), generator=random)
    whole = label_logprobs(policy, hidden, label)
    monkeypatch.setattr(logprobs, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(logprobs, "MIN_CHUNK_ROWS", 7)
    monkeypatch.setattr(logprobs, "MAX_STORED_LOGITS", 0)
    again = label_logprobs(policy, hidden, label)
    assert torch.allclose(whole, again, rtol=1e-12)
    grads = [torch.autograd.grad(values.sum(), policy.lm_head.weight)[0] for values in (whole, again)]
    assert torch.allclose(*grads, rtol=1e-10, atol=1e-12)

"""Models of many types give the numbers that transformers' own forward gives, in each layout and while sampling; those that
cannot are refused by a sentence that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    Cohere2Config,
    CohereConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GraniteConfig,
    Llama4TextConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.training.core.conftest import ARCHITECTURES, sharp, tiny, tiny_llama
from training.core.attention import own_attention
from training.core.batching import (
    Passes,
    check_layout,
    check_rows_layout,
    check_shared_layout,
    hidden_states,
    rows_layout,
    shared_layout,
)
from training.core.errors import BadInput
from training.core.logprobs import check_logits, token_logprobs
from training.core.model_loading import load_policy, load_trunk
from training.core.sampling import check_shared_cache, sample_responses
from training.core.tokenization import EncodedGroup

ALTERNATING = ["sliding_attention", "full_attention"]


def falcon(**more: Any) -> Any:
    """A Falcon, which takes none of the usual names of sizes."""
    sizes = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return sharp(AutoModelForCausalLM.from_config(FalconConfig(**sizes | more)))


WINDOWED_QWEN = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
GRANITE = {"logits_scaling": 4.0, "attention_multiplier": 0.2, "embedding_multiplier": 2.0}

SUPPORTED: dict[str, Callable[[], Any]] = ARCHITECTURES | {
    "gemma3": lambda: tiny(Gemma3TextConfig, sliding_window=6, layer_types=ALTERNATING),
    "qwen2 with a window": lambda: tiny(Qwen2Config, **WINDOWED_QWEN),
    "phi3 with a window": lambda: tiny(Phi3Config, sliding_window=6),
    "granite": lambda: tiny(GraniteConfig, residual_multiplier=0.5, **GRANITE),
    "cohere": lambda: tiny(CohereConfig, logit_scale=0.25),
    "cohere2": lambda: tiny(Cohere2Config, logit_scale=0.25, sliding_window=6, layer_types=ALTERNATING),
    "gpt_neox": lambda: tiny(GPTNeoXConfig),
    "olmo2": lambda: tiny(Olmo2Config),
}

ROWS_ONLY: dict[str, Callable[[], Any]] = {
    "falcon": lambda: falcon(),
    "falcon with groups": lambda: falcon(new_decoder_architecture=True, num_kv_heads=2),
    "falcon with ALiBi": lambda: falcon(alibi=True),
    "bloom": lambda: tiny(BloomConfig, n_layer=2, n_head=4),
}

GROUPS = [
    EncodedGroup([1, *range(20, 33)], [[40, 41, 42, 43, 44, 45, 46, 47, 2], [50, 2], [*range(60, 75), 2]]),
    EncodedGroup([1, 90], [[91, 2]]),
]


@torch.no_grad()
def own_logprobs(policy: Any, group: EncodedGroup) -> list[torch.Tensor]:
    """From the model's whole forward with the attention that transformers defines for it, one response at a time."""
    found = []
    for response in group.responses:
        with own_attention(policy):
            logits = policy(input_ids=torch.tensor([[*group.prompt, *response]]), use_cache=False).logits[0]
        logprobs = torch.log_softmax(logits, -1)[len(group.prompt) - 1 : -1]
        found.append(logprobs.gather(1, torch.tensor(response)[:, None])[:, 0])
    return found


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_both_layouts_give_the_logprobs_of_the_models_own_forward(architecture: str) -> None:
    policy = SUPPORTED[architecture]()
    check_logits(policy)
    check_layout(policy.base_model, "shared", 64)
    expected = torch.cat([one for group in GROUPS for one in own_logprobs(policy, group)])
    for layout in (shared_layout, rows_layout):
        assert torch.allclose(token_logprobs(policy, layout(GROUPS)), expected, atol=2e-4), layout


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_sampled_logprobs_are_those_of_the_models_own_forward(architecture: str) -> None:
    """With responses much longer than the windows, and prompts of different lengths in one batch."""
    policy = SUPPORTED[architecture]()
    check_shared_cache(policy, 64)
    prompts = [list(range(3, 20)), [5, 9]]
    sampled = sample_responses(
        policy, prompts, [1, 2, 3, 4], samples=2, max_new_tokens=14, temperature=1.0, end_ids=range(40)
    )
    assert len({len(one.token_ids) for one in sampled}) > 1, "some responses end earlier than others"
    for number, one in enumerate(sampled):
        [expected] = own_logprobs(policy, EncodedGroup(prompts[number // 2], [one.token_ids]))
        assert torch.allclose(torch.tensor(one.logprobs), expected, atol=2e-4)


@pytest.mark.parametrize("architecture", ROWS_ONLY)
def test_rows_are_right_and_causal_where_prompts_cannot_be_shared(architecture: str) -> None:
    policy = ROWS_ONLY[architecture]()
    check_logits(policy)
    check_layout(policy.base_model, "rows", 64)
    expected = torch.cat([one for group in GROUPS for one in own_logprobs(policy, group)])
    assert torch.allclose(token_logprobs(policy, rows_layout(GROUPS)), expected, atol=2e-4)
    before, after = (
        hidden_states(policy.base_model, rows_layout([EncodedGroup([1, 30, 31], [[32, 33, last]])]))
        for last in (34, 35)
    )
    assert torch.allclose(before[:-1], after[:-1], atol=1e-5)
    assert not torch.allclose(before[-1], after[-1], atol=1e-2)
    with pytest.raises(BadInput, match="layout shared"):
        check_shared_layout(policy.base_model, 64)
    with pytest.raises(BadInput, match=r"Sampling from models of type \w+ is not supported"):
        check_shared_cache(policy, 64)


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    for layout in ("rows", "shared"):
        with pytest.raises(BadInput, match="type bert are not supported: they are not causal") as caught:
            Passes(tiny(BertConfig).base_model, layout, 64, 64, "reward_model")
        assert caught.value.setting == "reward_model"


def test_a_model_whose_hidden_states_differ_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if sliding windows were overlooked: then short texts agree, and only one longer than the window shows it."""
    trunk = ARCHITECTURES["a window"]().base_model
    check_rows_layout(trunk, 64)
    forward = type(trunk).forward

    def without_window(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.config._attn_implementation == "eager":
            return forward(self, *arguments, **options)
        self.config.sliding_window = None
        try:
            return forward(self, *arguments, **options)
        finally:
            self.config.sliding_window = 6

    monkeypatch.setattr(type(trunk), "forward", without_window)
    with pytest.raises(
        BadInput, match=r"type mistral are not supported: their hidden states differ by up to \d"
    ):
        check_rows_layout(trunk, 64)
    check_rows_layout(trunk, 6)


def test_logits_that_are_computed_in_another_way_are_refused() -> None:
    policy = tiny_llama()
    policy.config.logit_scale = 3.0  # which Llama does not know
    with pytest.raises(BadInput, match="compute their logits in a way that is not supported"):
        check_logits(policy)
    sizes = {"intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 6}
    with pytest.raises(BadInput, match="cannot be run without their output projection"):
        check_logits(tiny(Llama4TextConfig, **sizes))


def test_encoder_decoders_are_refused(tmp_path: Path) -> None:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    T5ForConditionalGeneration(T5Config(vocab_size=320, **sizes)).save_pretrained(tmp_path)
    for load in (load_policy, load_trunk):
        with pytest.raises(BadInput, match=r"is an encoder-decoder \(t5\); choose a decoder-only model"):
            load(str(tmp_path))

"""The attention function that models use here, registered with transformers' attention interface; it has three cases.

Plain rows use PyTorch's scaled dot-product attention. In a `Tree` (each prompt once, its responses side by side) every
response attends to its prompt and to itself, and to no other response. With a cache of shared prompts, while responses are
sampled, the attention is `kv_cache.shared_attention`. In each of them scores may be soft-capped (Gemma 2), and a layer may
attend to the last `sliding_window` tokens only (Mistral, Gemma 2 and 3).

On a CPU the tree is a cascade: prompts attend to themselves, all responses of a prompt attend to it in one dense call, each
response attends to itself, and the two partial results of a response are merged by their log-sum-exps. The backward pass
runs the same kernels with the merged output and log-sum-exp, which makes it exact: softmax weights are
exp(score - logsumexp), whatever part of the keys a call covers. On an accelerator the tree is a block mask for
FlexAttention. Soft-capped scores, and trees longer than the window, take dense masked attention, prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from training.core.kv_cache import SharedPromptCache, shared_attention

ATTENTION_NAME = "palate"
"""The name under which transformers knows the attention function."""

NO_MASK = torch.ones(1, 1, 1, 1)
"""Passed where a tree or a cache defines what is visible: transformers passes a mask of four dimensions on unchanged, and
builds none of its own."""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Branches(NamedTuple):
    """One prompt and its responses within a packed row of T tokens, as positions from 0.

    start, split: the prompt is start..split. ends: the end of each response, which starts at the end of the one before.
    """

    start: int
    split: int
    ends: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.ends[-1] if self.ends else self.split


class Tree(NamedTuple):
    """Which tokens of a packed row attend to which. mask: FlexAttention's block mask on accelerators, None on CPUs."""

    groups: tuple[Branches, ...]
    mask: Any = None

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with a response."""
        return max(
            split - start + max((own.stop - own.start for own in _spans(split, ends)), default=0)
            for start, split, ends in self.groups
        )


def build_tree(groups: tuple[Branches, ...], device: torch.device) -> Tree:
    """The tree of a packed row whose groups follow each other without gaps."""
    return Tree(groups, None if device.type == "cpu" else block_mask(groups, device))


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    tree: Tree | None = None,
    shared_cache: SharedPromptCache | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(B, T, heads, D) from (B, heads, T, D) queries and (B, kv heads, T, D) keys and values.

    sliding_window: the tokens that a token attends to, itself and those before it; None for all. softcap: scores are
    softcap tanh(score / softcap); None for none.
    On a CPU it computes in float32 or wider, with autocast off: PyTorch's CPU attention kernel is several times slower in
    bfloat16.
    """
    if shared_cache is not None:
        return shared_attention(module.layer_idx, query, scaling, shared_cache, sliding_window, softcap), None
    dtype = torch.promote_types(value.dtype, torch.float32) if query.device.type == "cpu" else value.dtype
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        if tree is None and softcap is None:
            output, _ = sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, **options
            )
            return output, None
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if tree is None:
            output = dense_attention(query, key, value, attention_mask, scale, softcap)
        elif softcap is not None or (sliding_window is not None and sliding_window < tree.longest):
            parts = []
            for group in tree.groups:
                q, k, v = (part[:, :, group.start : group.end] for part in (query, key, value))
                mask = visible_tokens(group, sliding_window, query.device)
                parts.append(dense_attention(q, k, v, mask, scale, softcap))
            output = torch.cat(parts, 2)
        elif tree.mask is not None:
            output = _compiled_flex_attention()(
                query,
                key,
                value,
                block_mask=tree.mask,
                scale=scale,
                enable_gqa=key.shape[1] != query.shape[1],
            )
        else:
            key, value = _for_each_head(key, query), _for_each_head(value, query)
            output = Cascade.apply(query, key, value, tree.groups, scale)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2), None


def dense_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, softcap: float | None
) -> Tensor:
    """(B, heads, T, D) from (B, heads, T, D) queries and (B, kv heads, T, D) keys and values. mask: (T, T) or (B, 1, T, T), True
    where the query attends to the key; None for all earlier keys and its own. Queries are those of the last keys, where there are
    fewer."""
    key, value = _for_each_head(key, query), _for_each_head(value, query)
    if softcap is None:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scale, is_causal=mask is None
        )
    if mask is None:
        shape = query.shape[2], key.shape[2]
        mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril(shape[1] - shape[0])
    scores = softcap * torch.tanh(query @ key.transpose(-1, -2) * (scale / softcap))
    scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, -1, torch.promote_types(scores.dtype, torch.float32))
    return weights.to(value.dtype) @ value


def visible_tokens(branches: Branches, window: int | None, device: torch.device) -> Tensor:
    """(n, n) for the n tokens of a prompt and its responses: whether the token of the row attends to that of the column."""
    prompt, responses = branches.split - branches.start, _spans(branches.split, branches.ends)
    branch, position = [0] * prompt, list(range(prompt))
    for number, own in enumerate(responses, start=1):
        branch += [number] * (own.stop - own.start)
        position += range(prompt, prompt + own.stop - own.start)
    of_branch, at = torch.tensor(branch, device=device), torch.tensor(position, device=device)
    distance = at[:, None] - at
    visible = ((of_branch == 0) | (of_branch == of_branch[:, None])) & (distance >= 0)
    return visible if window is None else visible & (distance < window)


def _for_each_head(part: Tensor, query: Tensor) -> Tensor:
    """Keys or values of fewer heads than the queries, repeated."""
    ratio = query.shape[1] // part.shape[1]
    return part.repeat_interleave(ratio, 1) if ratio > 1 else part


class Cascade(torch.autograd.Function):
    """Attention along a tree on a CPU; see the docstring of this module."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, groups: tuple[Branches, ...], scale: float
    ) -> Tensor:
        output = _empty_like(query)
        sums = query.new_empty(query.shape[:3])  # log-sum-exps, (B, heads, T)

        def attend(queries: slice, keys: slice, causal: bool) -> tuple[Tensor, Tensor]:
            part = _forward(
                query[:, :, queries], key[:, :, keys], value[:, :, keys], 0.0, causal, scale=scale
            )
            return part[0], part[1]

        for start, split, ends in groups:
            prompt = slice(start, split)
            output[:, :, prompt], sums[:, :, prompt] = attend(prompt, prompt, True)
            if not ends:
                continue
            for own in _spans(split, ends):
                output[:, :, own], sums[:, :, own] = attend(own, own, True)
            responses = slice(split, ends[-1])
            on_prompt, prompt_sums = attend(responses, prompt, False)
            own_sums = sums[:, :, responses]
            prompt_weight = torch.sigmoid(prompt_sums - own_sums).unsqueeze(-1)
            output[:, :, responses].lerp_(on_prompt, prompt_weight)
            sums[:, :, responses] = torch.logaddexp(own_sums, prompt_sums)
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.groups, ctx.scale = groups, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        grad_query, grad_key, grad_value = _empty_like(query), _empty_like(key), _empty_like(value)

        def gradients(queries: slice, keys: slice, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            grads: tuple[Tensor, Tensor, Tensor] = _backward(
                grad[:, :, queries],
                query[:, :, queries],
                key[:, :, keys],
                value[:, :, keys],
                output[:, :, queries],
                sums[:, :, queries],
                0.0,
                causal,
                scale=ctx.scale,
            )
            return grads

        for start, split, ends in ctx.groups:
            for own in (slice(start, split), *_spans(split, ends)):
                grad_query[:, :, own], grad_key[:, :, own], grad_value[:, :, own] = gradients(own, own, True)
            if ends:
                responses, prompt = slice(split, ends[-1]), slice(start, split)
                of_query, of_key, of_value = gradients(responses, prompt, False)
                grad_query[:, :, responses] += of_query
                grad_key[:, :, prompt] += of_key
                grad_value[:, :, prompt] += of_value
        return grad_query, grad_key, grad_value, None, None


def _spans(split: int, ends: tuple[int, ...]) -> list[slice]:
    return [slice(start, end) for start, end in zip((split, *ends), ends, strict=False)]


def _empty_like(tensor: Tensor) -> Tensor:
    """An empty (B, heads, T, D) tensor whose heads of a token are adjacent in memory, as the next projection reads them."""
    batch, heads, length, width = tensor.shape
    return tensor.new_empty(batch, length, heads, width).transpose(1, 2)


def block_mask(groups: tuple[Branches, ...], device: torch.device) -> Any:
    """FlexAttention's mask of a tree: a token attends to the earlier ones of its own prompt and its own response."""
    from torch.nn.attention.flex_attention import create_block_mask

    group_of, branch_of = [], []
    for number, (start, split, ends) in enumerate(groups):
        branch_of += [0] * (split - start)
        for number_of_branch, own in enumerate(_spans(split, ends), start=1):
            branch_of += [number_of_branch] * (own.stop - own.start)
        group_of += [number] * (groups[number].end - start)
    group, branch = torch.tensor(group_of, device=device), torch.tensor(branch_of, device=device)

    def is_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        visible = (branch[key] == 0) | (branch[key] == branch[query])
        return (group[query] == group[key]) & visible & (key <= query)

    length = len(group_of)
    return create_block_mask(is_visible, None, None, length, length, device=device)


@cache
def _compiled_flex_attention() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def install_attention(model: Any) -> Any:
    """`model`, set to use `attention`, unless it supports only an attention of its own."""
    config = model.config
    # transformers computes soft caps in its own attention only
    replaceable = config._attn_implementation == "sdpa" or getattr(config, "attn_logit_softcapping", None)
    if model._supports_attention_backend and replaceable:
        config._attn_implementation = ATTENTION_NAME
    return model


@contextmanager
def own_attention(model: Any) -> Iterator[None]:
    """A context in which a model computes attention as transformers defines it for that type."""
    before = model.config._attn_implementation
    if before == ATTENTION_NAME:
        model.config._attn_implementation = "eager"
    try:
        yield
    finally:
        model.config._attn_implementation = before


def shortest_window(model: Any, length: int) -> int | None:
    """The tokens that a token attends to in layers with a sliding window, if those are fewer than `length`."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    return window if isinstance(window, int) and 0 < window < length else None


def unsupported_attention(model: Any) -> str | None:
    """What a model's attention has that neither a shared prompt nor the shared cache supports, or None."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    reasons = {
        "layers other than attention": bool(kinds - {"full_attention", "sliding_attention"}),
        "position biases (ALiBi)": bool(getattr(config, "alibi", False)) or config.model_type == "bloom",
        "attention sinks": config.model_type == "gpt_oss",
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


AttentionInterface.register(ATTENTION_NAME, attention)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)

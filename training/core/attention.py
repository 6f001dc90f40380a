"""How a model attends here: one function, hooked in through transformers' attention interface, for three situations.

Plain rows go through PyTorch's scaled dot-product attention. A `Tree` (each prompt once, its responses side by side)
has every response attend to its prompt and to itself, and to no other response. A cache of shared prompts, while
responses are sampled, is `kv_cache`'s business.

The tree on a processor is a cascade: prompts attend to themselves, all responses of a prompt attend to it in one dense
call, each response attends to itself, and the two partial results of a response are merged by their log-sum-exps. The
backward pass runs the same kernels with the merged output and log-sum-exp, which makes it exact: softmax weights are
exp(score - logsumexp), whatever part of the keys a call looks at. On an accelerator the tree is a block mask for
FlexAttention.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from training.core.kv_cache import SharedCache, shared_attention

NAME = "palate"

NO_MASK = torch.ones(1, 1, 1, 1)
"""Passed where a tree or a cache says what is seen: transformers hands a mask of four dimensions on as it is, and so
builds none of its own."""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Branches(NamedTuple):
    """One prompt and its responses within a packed row of T tokens, as positions from 0.

    start, split: the prompt is start..split. ends: each response reaches from where the one before ended to its end.
    """

    start: int
    split: int
    ends: tuple[int, ...]


class Tree(NamedTuple):
    """Which tokens of a packed row may see which. mask: FlexAttention's, on accelerators; None on processors."""

    groups: tuple[Branches, ...]
    mask: Any = None


def tree(groups: tuple[Branches, ...], device: torch.device) -> Tree:
    """The tree of a packed row whose groups stand end to end."""
    return Tree(groups, None if device.type == "cpu" else block_mask(groups, device))


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    tree: Tree | None = None,
    shared_cache: SharedCache | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(B, T, heads, D) from (B, heads, T, D) queries and (B, kv heads, T, D) keys and values.

    On a processor it computes in float32 at least, out of reach of autocast: PyTorch's attention kernel for processors
    is several times slower in bfloat16.
    """
    if shared_cache is not None:
        return shared_attention(module.layer_idx, query, scaling, shared_cache), None
    wide = torch.float32 if query.device.type == "cpu" else value.dtype
    wide = torch.promote_types(value.dtype, wide)
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.to(wide), key.to(wide), value.to(wide)
        if tree is None:
            output, _ = sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, **options
            )
            return output, None
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if tree.mask is not None:
            output = _flex()(
                query,
                key,
                value,
                block_mask=tree.mask,
                scale=scale,
                enable_gqa=key.shape[1] != query.shape[1],
            )
        else:
            shared = query.shape[1] // key.shape[1]
            if shared > 1:
                key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
            output = Cascade.apply(query, key, value, tree.groups, scale)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2), None


class Cascade(torch.autograd.Function):
    """Attention along a tree on a processor; see the head of this file."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, groups: tuple[Branches, ...], scale: float
    ) -> Tensor:
        output = _like(query)
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
            share = torch.sigmoid(prompt_sums - own_sums).unsqueeze(-1)
            output[:, :, responses].lerp_(on_prompt, share)
            sums[:, :, responses] = torch.logaddexp(own_sums, prompt_sums)
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.groups, ctx.scale = groups, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        to_query, to_key, to_value = _like(query), _like(key), _like(value)

        def gradients(queries: slice, keys: slice, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            found: tuple[Tensor, Tensor, Tensor] = _backward(
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
            return found

        for start, split, ends in ctx.groups:
            for own in (slice(start, split), *_spans(split, ends)):
                to_query[:, :, own], to_key[:, :, own], to_value[:, :, own] = gradients(own, own, True)
            if ends:
                responses, prompt = slice(split, ends[-1]), slice(start, split)
                of_query, of_key, of_value = gradients(responses, prompt, False)
                to_query[:, :, responses] += of_query
                to_key[:, :, prompt] += of_key
                to_value[:, :, prompt] += of_value
        return to_query, to_key, to_value, None, None


def _spans(split: int, ends: tuple[int, ...]) -> list[slice]:
    return [slice(start, end) for start, end in zip((split, *ends), ends, strict=False)]


def _like(tensor: Tensor) -> Tensor:
    """Room for (B, heads, T, D) values whose heads lie together in memory, as the next projection wants them."""
    batch, heads, length, width = tensor.shape
    return tensor.new_empty(batch, length, heads, width).transpose(1, 2)


def block_mask(groups: tuple[Branches, ...], device: torch.device) -> Any:
    """FlexAttention's mask of a tree: a token sees what stands before it in its own prompt and its own response."""
    from torch.nn.attention.flex_attention import create_block_mask

    group_of, branch_of = [], []
    for number, (start, split, ends) in enumerate(groups):
        branch_of += [0] * (split - start)
        for number_of_branch, own in enumerate(_spans(split, ends), start=1):
            branch_of += [number_of_branch] * (own.stop - own.start)
        group_of += [number] * ((ends[-1] if ends else split) - start)
    group, branch = torch.tensor(group_of, device=device), torch.tensor(branch_of, device=device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        visible = (branch[key] == 0) | (branch[key] == branch[query])
        return (group[query] == group[key]) & visible & (key <= query)

    length = len(group_of)
    return create_block_mask(sees, None, None, length, length, device=device)


_compiled: list[Any] = []


def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    if not _compiled:
        _compiled.append(torch.compile(flex_attention, dynamic=True))
    return _compiled[0]


def attend_here(model: Any) -> Any:
    """`model`, made to attend through `attention`, unless it can only attend in a way of its own."""
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = NAME
    return model


def peculiarity(model: Any, length: int) -> str | None:
    """What makes a model's attention more than softmax over all earlier tokens of a row of `length`, or None."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    slides = (
        isinstance(window, int)
        and 0 < window < length
        and (
            "sliding_attention" in kinds
            or getattr(config, "use_sliding_window", not hasattr(config, "layer_types"))
        )
    )
    reasons = {
        "a sliding window": slides,
        "soft-capped attention": bool(getattr(config, "attn_logit_softcapping", None)),
        "layers other than attention": bool(kinds - {"full_attention", "sliding_attention"}),
        "position biases (ALiBi)": bool(getattr(config, "alibi", False)) or config.model_type == "bloom",
        "attention sinks": config.model_type == "gpt_oss",
    }
    return next((reason for reason, found in reasons.items() if found), None)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)

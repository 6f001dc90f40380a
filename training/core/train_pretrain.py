"""Pre-training: next-token prediction on plain text, of a small Llama-type model and its own tokenizer.

Left out: a document mask; documents are joined end to end and attend across their borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from training.configs import PretrainConfig
from training.core.attention import install_attention
from training.core.batching import check_rows_layout
from training.core.data import read_texts
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import check_logits, label_logprobs
from training.core.model_loading import (
    autocast,
    device,
    load_policy,
    load_tokenizer,
    max_row_length,
    read_instruction,
    resolve_source,
    save_policy,
)
from training.core.training_loop import TrainingLoop

SPECIAL = ("<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
IGNORED = -100
EMPTY_STACK = torch.tensor([[0, IGNORED]])
"""Blocks without a token to predict."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train(job: Job, config: PretrainConfig, events: Events) -> dict[str, Any]:
    """Train, write the model directory, and return the job's result."""
    texts = read_texts(job.data)
    tokenizer: PreTrainedTokenizerBase
    model: Any
    instruction = ""
    if job.model is None:
        if config.lora_rank:
            raise BadInput(
                "A new model cannot be trained with LoRA; leave lora_rank at 0, or start from a model.",
                setting="lora_rank",
            )
        tokenizer = train_tokenizer(texts, config.vocab_size)
        model = build_model(config, tokenizer)
    else:
        source = resolve_source(job.model, job.folder)
        tokenizer, warnings = load_tokenizer(source)
        for message in warnings:
            events.warning(message)
        model = load_policy(source)
        instruction = read_instruction(source)
        check_rows_layout(model.base_model, config.block_length)
        check_logits(model)
        if (limit := max_row_length(model, config.block_length)) < config.block_length:
            raise BadInput(
                f"The model reads at most {limit} tokens; lower block_length.", setting="block_length"
            )
        if tokenizer.eos_token_id is None:
            raise BadInput("The model's tokenizer has no end-of-text token.", setting="model")
    blocks = split_into_blocks(texts, tokenizer, config.block_length)
    size = max(1, config.batch_tokens // config.block_length)
    loop = TrainingLoop(job, config, model, examples=len(blocks), events=events)
    for batch in loop.batches(blocks):
        count = sum(len(block) - 1 for block in batch)
        loss = 0.0
        for micro in loop.passes(partial(stack_blocks, size=size), batch, size=len, empty=EMPTY_STACK):
            loop.raise_if_stopped()
            micro = micro.to(device())
            with autocast(config.precision):
                hidden = model.base_model(input_ids=micro[:, :-1], use_cache=False).last_hidden_state
                label = micro[:, 1:]
                likelihoods = label_logprobs(model, hidden[label != IGNORED], label[label != IGNORED])
            micro_loss = -likelihoods.sum() / count
            micro_loss.backward()  # type: ignore[no-untyped-call]
            loss += micro_loss.item()
        loop.step({"loss": loss}, tokens=count)
    loop.write_output(lambda folder: save_policy(model, tokenizer, folder, instruction=instruction))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "metrics": loop.metrics}


def stack_blocks(blocks: Sequence[Tensor], size: int) -> Iterator[Tensor]:
    """The blocks, `size` at a time, as the rows of a (B, T + 1) tensor."""
    for start in range(0, len(blocks), size):
        yield torch.stack(list(blocks[start : start + size]))


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab_size` entries, with the special tokens of our chat template."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerBase) -> Any:
    """A Llama-type model of the sizes in `config`, freshly initialised from its seed.

    Matrices have a deviation of 1/sqrt(width), not the 0.02 that suits wide models. Keys start equal to the queries and
    outputs as the transposed values (mimetic initialisation, Trockman and Kolter 2023), so that attention starts by copying
    from similar tokens: a small model then learns to look up in its prompt in half the steps.
    """
    torch.manual_seed(config.seed)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=config.max_length,
            tie_word_embeddings=config.tie_embeddings,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear) and module is not model.lm_head:
                nn.init.normal_(module.weight, std=config.hidden_size**-0.5)
        for layer in model.model.layers if config.heads == config.kv_heads else ():
            attention = layer.self_attn
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.o_proj.weight.copy_(attention.v_proj.weight.T)
    return install_attention(model.eval()).to(device())


def split_into_blocks(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int) -> list[Tensor]:
    """The texts, each with its end token, joined and cut into blocks of `length` + 1 tokens that overlap by one."""
    stream: list[int] = []
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]:
        stream += [*bos, *ids, tokenizer.eos_token_id]
    if len(stream) <= length:
        if len(stream) < 2:
            raise BadInput("data.jsonl holds too little text to train on.")
        return [torch.tensor(stream)]
    starts = range(0, len(stream) - length, length)
    return [torch.tensor(stream[start : start + length + 1]) for start in starts]

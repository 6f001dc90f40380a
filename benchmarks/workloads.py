"""What is measured: the cases, their token ids, and the one model that every side loads.

Every token is a word of its own (`w17`), so that a text and its ids are the same thing to every trainer, whichever way
it takes them in by. Lengths are ragged, as real ones are: prompts within a quarter of P, responses within a half of R.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "var" / "bench"
"""Where environments, models and raw results are kept; git does not look there."""

PAD, END, FIRST_WORD = 0, 1, 3
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else ' ' }}{% endfor %}"
)


@dataclass(frozen=True)
class Shape:
    """The model's sizes; the default has ten million parameters."""

    vocabulary: int = 10_240
    hidden: int = 256
    inner: int = 704
    layers: int = 6
    heads: int = 4
    deviation: float = 0.02  # of the initial weights
    kv_heads: int = 0  # heads of keys and values; 0: as many as of queries
    tied: bool = False  # whether the output projection is the embedding
    dtype: str = "float32"  # of the files


SMALL = Shape(vocabulary=512, hidden=64, inner=128, layers=2, heads=2)
"""For trying the benchmarks out."""

SHARP = Shape(vocabulary=512, hidden=64, inner=128, layers=2, heads=2, deviation=0.08)
"""For parity: with weights this large a wrong position moves a reward by far more than rounding does."""


@dataclass(frozen=True)
class Case:
    """One workload: `groups` prompts of about P tokens, each with k responses of about R tokens, are one step."""

    family: str
    k: int
    prompt: int
    response: int
    groups: int

    @property
    def name(self) -> str:
        return f"{self.family}-k{self.k}-p{self.prompt}-r{self.response}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def rankings(case: Case, vocabulary: int, seed: int = 0) -> list[dict[str, Any]]:
    """`groups` prompts with k responses as ids without the end token, and ranks without ties."""
    rng = random.Random(f"{case.name} {seed}")

    def ids(about: int, spread: float) -> list[int]:
        length = max(2, round(about * rng.uniform(1 - spread, 1 + spread)))
        return [rng.randrange(FIRST_WORD, vocabulary) for _ in range(length)]

    return [
        {
            "prompt": ids(case.prompt, 0.25),
            "responses": [ids(case.response, 0.5) for _ in range(case.k)],
            "ranks": rng.sample(range(1, case.k + 1), case.k),
        }
        for _ in range(case.groups)
    ]


def text(ids: list[int]) -> str:
    return " ".join(f"w{number}" for number in ids)


def pairs(row: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """(chosen, rejected) of every pair of a ranking, as ids; equal ranks give none."""
    responses, ranks = row["responses"], row["ranks"]
    return [
        (responses[i], responses[j])
        for i in range(len(ranks))
        for j in range(len(ranks))
        if ranks[i] < ranks[j]
    ]


def tokens_saved(rows: list[dict[str, Any]]) -> float:
    """Tokens of the expanded pairs over tokens with every prompt and every response once."""
    expanded = sum(
        2 * len(row["prompt"]) + len(chosen) + len(rejected) + 2
        for row in rows
        for chosen, rejected in pairs(row)
    )
    shared = sum(len(row["prompt"]) + sum(len(response) + 1 for response in row["responses"]) for row in rows)
    return expanded / shared


def make_models(shape: Shape, folder: Path, seed: int = 0) -> Path:
    """A policy, a second one to refer to, and a reward model; made once, kept in `folder`.

    policy, reference: causal language models. reward: a sequence classifier. Both sides load the same files.
    """
    marker = folder / "shape.json"
    wanted = json.dumps(asdict(shape) | {"seed": seed, "reward": "classifier"})
    if marker.exists() and marker.read_text() == wanted:
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads or shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=shape.tied,
        initializer_range=shape.deviation,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
        num_labels=1,
    )
    tokenizer, dtype = word_tokenizer(shape.vocabulary), getattr(torch, shape.dtype)
    for number, name in enumerate(("policy", "reference")):
        torch.manual_seed(seed + number)
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    torch.manual_seed(seed + 2)
    classifier = LlamaForSequenceClassification(config)
    torch.nn.init.normal_(classifier.score.weight, std=(shape.hidden + 1) ** -0.5)
    classifier.to(dtype).save_pretrained(folder / "reward")
    tokenizer.save_pretrained(folder / "reward")
    marker.write_text(wanted)
    return folder


def word_tokenizer(vocabulary: int) -> Any:
    """`w17` is token 17 and nothing else is a token, but for padding, end and unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD, "<end>": END, "<unk>": 2}
    words |= {f"w{number}": number for number in range(FIRST_WORD, vocabulary)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer

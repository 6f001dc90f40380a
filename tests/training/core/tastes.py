"""A reward model made by hand, whose taste is known exactly, and policies and prompts to try it on."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerBase

from tests.training.core.conftest import WORDS, sentence, tiny_llama, write_job
from training.core.__main__ import run
from training.core.attention import install_attention
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.reward_model import RewardModel

Do = Callable[[Path], tuple[int, list[dict[str, Any]]]]


def likes(token: int) -> bool:
    """The taste: a quarter of all tokens is liked."""
    return token % 4 == 0


def share(tokens: list[int]) -> float:
    return sum(map(likes, tokens)) / len(tokens)


def reward_model(vocab: int = 320, *, likes: Callable[[int], bool] = likes, sign: float = 1.0) -> RewardModel:
    """Its score rises with the share of liked tokens among all that it reads: attention is uniform over what it sees,
    carries the mark of liked tokens to a dimension of its own, and nothing else is computed."""
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=128,
    )
    trunk = install_attention(LlamaModel(config).eval())
    model = RewardModel(trunk)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.zero_()
        for token in range(vocab):
            trunk.embed_tokens.weight[token, 0 if likes(token) else 1] = 1.0
        trunk.layers[0].self_attn.v_proj.weight[2, 0] = 1.0
        trunk.layers[0].self_attn.o_proj.weight[2, 2] = 1.0
        model.weight.zero_()
        model.weight[2] = sign
    return model


PRINCIPLE = {"key": "liked", "comment": {"start": "That was", "good": "please", "bad": "no"}}
"""What the hand-made judge goes by."""


def save_judge(folder: Path, tokenizer: PreTrainedTokenizerBase, strength: float = 2.0) -> None:
    """A language model with the same taste: the higher the share of liked tokens that it has read, the likelier is its next word
    good, and the less so bad."""
    trunk = reward_model(len(tokenizer)).trunk
    judge = LlamaForCausalLM(trunk.config).eval()
    judge.model.load_state_dict(trunk.state_dict())
    with torch.no_grad():
        judge.lm_head.weight.zero_()
        for word, sign in (("good", 1.0), ("bad", -1.0)):
            token = tokenizer(f" {PRINCIPLE['comment'][word]}", add_special_tokens=False)["input_ids"][0]
            judge.lm_head.weight[token, 2] = sign * strength
    judge.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def texts(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """A text of liked tokens, and one of others, that are tokenized as they are spelled."""
    liked, other = (
        " ".join(word for word in WORDS if share(tokenizer(f" {word}")["input_ids"]) == wanted) * 2
        for wanted in (1.0, 0.0)
    )
    return liked, other


def unsure_policy() -> Any:
    """Every token is nearly as likely as any other."""
    policy = tiny_llama()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.dim() > 1:
                parameter *= 0.4
    return policy


def save_models(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """`policy` and `taste`, a reward model, below `folder`."""
    policy = unsure_policy()
    policy.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    (folder / "taste").mkdir()
    reward_model().save(tokenizer, folder / "taste")


def prompts(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Prompts, every fifth of them held out."""
    rng = random.Random(seed)
    return [
        {
            "id": f"p{number}",
            "prompt": [{"role": "user", "content": f"{number} {sentence(rng, 5)}"}],
            "split": "held_out" if number % 5 == 4 else "train",
        }
        for number in range(count)
    ]


SMALL = {"max_new_tokens": 8, "max_length": 100, "log_every": 1, "warmup_min_steps": 0, "learning_rate": 1e-2}
"""Settings that a processor is done with in seconds."""


def job(
    folder: Path, kind: str, models: Path, rows: list[dict[str, Any]], config: dict[str, Any], **more: Any
) -> Path:
    values = {"model": str(models / "policy"), "reward_model": str(models / "taste")} | more
    return write_job(folder, kind, rows, config=SMALL | config, **values)


def here(folder: Path, events: Events | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do a job in this process: its result and what it said."""
    said = io.StringIO()
    told = events or Events(said)
    told._stream = said
    result = run(read_job(folder), told)
    return result, [json.loads(line) for line in said.getvalue().splitlines()]


class Interrupted(Events):
    """Told to stop at its `moment`-th chance to leave."""

    def __init__(self, moment: int) -> None:
        self.chances, self.moment = 0, moment
        super().__init__(io.StringIO())

    @property
    def stop_requested(self) -> bool:
        self.chances += 1
        return self.chances >= self.moment

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        pass


def values(events: list[dict[str, Any]], name: str) -> list[float]:
    found = [event["values"] for event in events if event["event"] == "metrics"]
    return [value[name] for value in found if name in value]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]

"""The reward model: a trunk from the policy, and a head that maps each response's last token to one number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.core.batching import Batch, last_hidden_states
from training.core.errors import BadInput
from training.core.model_loading import REWARD_HEAD, autocast, is_reward_model, load_trunk


class RewardModel(nn.Module):
    """r(x, y) in logits: the last real token's hidden state times a vector, less a bias without gradient."""

    bias: Tensor

    def __init__(self, trunk: Any, seed: int = 0, precision: str = "float32") -> None:
        """A new head on `trunk`, N(0, 1/sqrt(d + 1)) (Stiennon et al. 2020, appendix B.1), a function of `seed`."""
        super().__init__()
        width = trunk.config.get_text_config().hidden_size
        random = torch.Generator().manual_seed(seed)
        weight = torch.randn(width, generator=random) / (width + 1) ** 0.5
        self.trunk = trunk
        self.precision = precision
        self.weight = nn.Parameter(weight.to(trunk.device))
        self.register_buffer("bias", torch.zeros((), device=trunk.device))

    def forward(self, batch: Batch) -> Tensor:
        """(K,) rewards in float32."""
        with autocast(self.precision):
            hidden = last_hidden_states(self.trunk, batch)
        return hidden.to(self.weight.dtype) @ self.weight - self.bias

    def save(self, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write a directory that `load_reward_model` reads."""
        self.trunk.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file({"weight": self.weight.detach(), "bias": self.bias}, folder / REWARD_HEAD)


def load_reward_model(source: str, setting: str = "model", precision: str = "float32") -> RewardModel:
    """The reward model in the directory `source`. Raises BadInput if it is not one."""
    if not is_reward_model(source):
        raise BadInput(f"The model {source} is not a reward model: it has no {REWARD_HEAD}.", setting=setting)
    model = RewardModel(load_trunk(source, setting), precision=precision)
    head = load_file(Path(source) / REWARD_HEAD)
    if head["weight"].shape != model.weight.shape:
        raise BadInput(f"The head of the reward model {source} does not fit its trunk.", setting=setting)
    with torch.no_grad():
        model.weight.copy_(head["weight"])
        model.bias.copy_(head["bias"])
    return model

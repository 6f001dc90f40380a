"""The reward model: a trunk from the policy, and a head that maps each response's last token to one number; with criteria, one
more head for each."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedTokenizerBase
from transformers.modeling_layers import GenericForSequenceClassification

from training.configs import is_criterion
from training.core.batching import Batch, last_hidden_states
from training.core.errors import BadInput
from training.core.job_directory import write_json
from training.core.model_loading import CLASSIFIER, autocast, check_finite, is_reward_model, load_trunk
from training.core.tokenization import find_padding_token

HEAD = "score.weight"
"""The reward's vector among the weights, as transformers' sequence classifiers call it."""

CRITERION_HEADS = "criteria.safetensors"
CRITERION_NAMES = "criteria.json"


class RewardModel(nn.Module):
    """r(x, y) in logits: the last real token's hidden state times a vector, less a bias without gradient.

    criteria: the criteria that the model has a score for besides, each by a vector and a bias of its own.
    """

    bias: Tensor
    criterion_bias: Tensor

    def __init__(
        self, trunk: Any, seed: int = 0, precision: str = "float32", criteria: Sequence[str] = ()
    ) -> None:
        """New heads on `trunk`, N(0, 1/sqrt(d + 1)) (Stiennon et al. 2020, appendix B.1), a function of `seed`."""
        super().__init__()
        width = trunk.config.get_text_config().hidden_size
        random = torch.Generator().manual_seed(seed)

        def new_weight() -> nn.Parameter:
            weight = torch.randn(width, generator=random) / (width + 1) ** 0.5
            return nn.Parameter(weight.to(trunk.device))

        self.trunk = trunk
        self.precision = precision
        self.criteria = tuple(criteria)
        self.weight = new_weight()  # drawn first: the same number with criteria and without
        self.register_buffer("bias", torch.zeros((), device=trunk.device))
        # vectors, as a matrix would have weight decay
        self.criterion_weights = nn.ParameterList([new_weight() for _ in self.criteria])
        self.register_buffer(
            "criterion_bias",
            torch.zeros(len(self.criteria), device=trunk.device),
            persistent=bool(self.criteria),
        )

    def forward(self, batch: Batch) -> Tensor:
        """(K,) rewards in float32."""
        return self.all_scores(batch)[0]

    def all_scores(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(K,) rewards, and (K,) scores by criterion, in float32."""
        with autocast(self.precision):
            hidden = last_hidden_states(self.trunk, batch)
        hidden = hidden.to(self.weight.dtype)
        heads = zip(self.criteria, self.criterion_weights, self.criterion_bias, strict=True)
        return hidden @ self.weight - self.bias, {
            name: hidden @ weight - bias for name, weight, bias in heads
        }

    @torch.no_grad()
    def round_weights(self) -> None:
        """Round trunk and head to the type in which `save` stores them: what is measured then is what others load."""
        for weight in (*self.trunk.parameters(), self.weight):
            weight.copy_(weight.to(self.stored_dtype).to(weight.dtype))

    @property
    def stored_dtype(self) -> torch.dtype:
        """The type that the trunk had where it was loaded from."""
        dtype: torch.dtype = getattr(self.trunk, "stored_dtype", self.trunk.dtype)
        return dtype

    def save(self, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write a directory that `load_reward_model` reads, and transformers as a sequence classifier with one label. Its head
        has no bias, so its logit is the reward plus `reward_bias` of its config.

        Trunk and head are converted, in place, to `stored_dtype`.
        """
        padding = find_padding_token(tokenizer)
        if padding is not None:
            tokenizer.pad_token = padding
        config = copy.deepcopy(self.trunk.config)
        config.num_labels, config.reward_bias = 1, float(self.bias)
        config.pad_token_id = None if padding is None else tokenizer.pad_token_id
        with torch.device("meta"):
            classifier = classifier_type(self.trunk)(config)
        setattr(classifier, classifier.base_model_prefix, self.trunk)
        classifier.score.weight = nn.Parameter(self.weight.detach()[None])
        classifier.to(self.stored_dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if self.criteria:
            weights = torch.stack([weight.detach() for weight in self.criterion_weights])
            save_file({"weight": weights, "bias": self.criterion_bias}, folder / CRITERION_HEADS)
            write_json(folder / CRITERION_NAMES, {"criteria": list(self.criteria)})


def classifier_type(trunk: Any) -> Any:
    """transformers' sequence classifier for models of this type, or one like the others for a type that has none there."""
    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(trunk.config), None)
    if known is not None:
        return known
    name, prefix = type(trunk).__name__.removesuffix("Model") + CLASSIFIER, trunk.base_model_prefix
    bases = (GenericForSequenceClassification, type(trunk).__bases__[0])
    return type(name, bases, {"base_model_prefix": prefix})


def load_reward_model(
    source: str,
    setting: str = "model",
    precision: str = "float32",
    *,
    criteria: Sequence[str] | None = None,
    seed: int = 0,
) -> RewardModel:
    """The reward model in the directory `source`. Raises BadInput if it is not one.

    criteria: those that the model is to have heads for: those that it was saved with, and new ones, a function of `seed`, for
    the others. By default those that it was saved with.
    """
    if not is_reward_model(source):
        raise BadInput(
            f"The model {source} is not a reward model: its config.json names no architecture …{CLASSIFIER}.",
            setting=setting,
        )
    saved = saved_criteria(source, setting)
    model = RewardModel(load_trunk(source, setting), seed, precision, saved if criteria is None else criteria)
    head, bias = _read_head(source), getattr(model.trunk.config, "reward_bias", 0.0)
    heads = load_file(Path(source) / CRITERION_HEADS) if saved else {}
    width = len(model.weight)
    if (
        head is None
        or head.shape != (1, width)
        or (saved and heads["weight"].shape != (len(saved), width))
        or not isinstance(bias, float | int)
        or not math.isfinite(bias)
    ):
        raise BadInput(
            f"The head of the reward model {source} does not fit its trunk: a reward model has one label.",
            setting=setting,
        )
    check_finite(head, HEAD, source, setting)
    with torch.no_grad():
        model.weight.copy_(head[0])
        model.bias.fill_(bias)
        for place, name in enumerate(model.criteria):
            if name in saved:
                model.criterion_weights[place].copy_(heads["weight"][saved.index(name)])
                model.criterion_bias[place] = heads["bias"][saved.index(name)]
    return model


def _read_head(source: str) -> Tensor | None:
    """The (1, D) weight of a sequence classifier's head, or None without one."""
    for path in sorted(Path(source).glob("*.safetensors")):
        with safe_open(path, "pt") as tensors:
            if HEAD in tensors.keys():  # noqa: SIM118 - it is no mapping
                weight: Tensor = tensors.get_tensor(HEAD)
                return weight
    return None


def saved_criteria(source: str, setting: str = "model") -> list[str]:
    """The criteria that the reward model in the directory `source` has heads for. Raises BadInput if they cannot be read."""
    path = Path(source) / CRITERION_NAMES
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["criteria"]
    except (ValueError, TypeError, KeyError):
        names = None
    if not isinstance(names, list) or not all(map(is_criterion, names)):
        raise BadInput(f"{CRITERION_NAMES} of the model {source} is not a list of criteria.", setting=setting)
    if names and not (path.parent / CRITERION_HEADS).is_file():
        raise BadInput(f"The model {source} has criteria but no {CRITERION_HEADS}.", setting=setting)
    return names

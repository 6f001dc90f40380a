"""Loading and saving models and tokenizers; unsafe or missing ones are refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from training.configs import HUB_MODEL
from training.core.attention import install_attention
from training.core.errors import BadInput
from training.core.tokenization import PLAIN_TEMPLATE, Encoder

CLASSIFIER = "ForSequenceClassification"
"""What the name of a reward model's architecture in transformers ends with."""

INSTRUCTION_FILE = "hindsight.json"
"""The file of a policy that was trained with an instruction, which is put before every prompt: `{"instruction": "..."}`."""

MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
"""Patterns of the files that a model of a hub is loaded from."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def device() -> torch.device:
    """The accelerator, if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str) -> AbstractContextManager[Any]:
    """A context in which matrix products are computed in bfloat16 if that is the precision, and otherwise in float32."""
    if precision == "bfloat16":
        return torch.autocast(device().type, torch.bfloat16)
    return nullcontext()


def resolve_source(name: str, folder: Path, setting: str = "model") -> str:
    """The path of the model `name`, checked: a directory, relative to `folder`, or `hub:org/name@revision`, which is downloaded.
    A missing directory is never looked for on a hub, where anybody could put a model of its name.

    Raises BadInput, naming `setting`, if there is no model, if it has only pickled weights (unpickling runs code), or if it
    has code of its own.
    """
    path = _download(name, setting) if name.startswith("hub:") else folder / name
    if path.is_dir():
        _check_directory(path, name, setting)
        return str(path)
    if path.exists():
        raise BadInput(f"The model {name} is a file; give the directory that holds it.", setting=setting)
    raise BadInput(f"There is no model at {name}.", setting=setting)


def _download(name: str, setting: str) -> Path:
    """The directory of a hub's model in the cache of this machine."""
    model = HUB_MODEL.fullmatch(name)
    if model is None:
        raise BadInput(f"{name} is not of the form hub:org/name@revision.", setting=setting)
    try:
        directory = snapshot_download(model["id"], revision=model["revision"], allow_patterns=MODEL_FILES)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"The hub did not give {name}: {reason}", setting=setting) from None
    return Path(directory)


def _check_directory(path: Path, name: str, setting: str) -> None:
    if not (path / "config.json").is_file():
        raise BadInput(f"The model directory {name} has no config.json.", setting=setting)
    for file in ("config.json", "tokenizer_config.json"):
        try:
            values = json.loads((path / file).read_text(encoding="utf-8")) if (path / file).is_file() else {}
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise BadInput(f"{file} of the model {name} is not JSON.", setting=setting) from None
        if values.get("auto_map"):
            raise _custom_code_error(name, setting)
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        if any(file.suffix in PICKLED for file in path.iterdir()):
            raise BadInput(
                f"The model {name} holds only pickled weights, which can run code when loaded; convert it to"
                " safetensors first.",
                setting=setting,
            )
        raise BadInput(f"The model directory {name} holds no safetensors weights.", setting=setting)
    if damage := find_damage(weights) or _missing_shard(path):
        raise BadInput(f"The model {name} is damaged: {damage}.", setting=setting)


def find_damage(paths: Iterable[Path]) -> str | None:
    """What is wrong with the first of the safetensors files that is missing or truncated, or None."""
    for path in paths:
        try:
            with safe_open(path, "pt"):  # which compares the file's size with that of its tensors
                pass
        except FileNotFoundError:
            return f"{path.name} is missing"
        except SafetensorError as error:
            return f"{path.name} is truncated or no safetensors file ({error})"
    return None


def _missing_shard(path: Path) -> str | None:
    """The first file that the index of a sharded model names and the directory lacks, or None."""
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return None
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{index.name} does not say which file holds which weights"
    return find_damage(path / name for name in sorted(names))


def _custom_code_error(name: str, setting: str) -> BadInput:
    return BadInput(
        f"The model {name} has code of its own (auto_map), which is never run; use a model type that transformers"
        " supports.",
        setting=setting,
    )


def is_reward_model(source: str) -> bool:
    """Whether a model directory is one of a sequence classifier."""
    path = Path(source) / "config.json"
    if not path.is_file():
        return False
    architectures = json.loads(path.read_text(encoding="utf-8")).get("architectures") or [""]
    return str(architectures[0]).endswith(CLASSIFIER)


def load_policy(source: str, setting: str = "model") -> nn.Module:
    """A causal language model in float32 on the device, dropout off. source: from `resolve_source`."""
    if is_reward_model(source):
        raise BadInput(
            f"The model {source} is a reward model and cannot generate text; choose a policy.",
            setting=setting,
        )
    return _load(AutoModelForCausalLM, source, setting)


def load_trunk(source: str, setting: str = "model") -> nn.Module:
    """The same without the output projection: token ids to hidden states."""
    return _load(AutoModel, source, setting)


def _load(auto: Any, source: str, setting: str) -> nn.Module:
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if getattr(config, "is_encoder_decoder", False):
            raise BadInput(
                f"The model {source} is an encoder-decoder ({config.model_type}); choose a decoder-only model, which reads the"
                " prompt and its response as one text.",
                setting=setting,
            )
        model, report = auto.from_pretrained(
            source,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused below
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise BadInput(f"The model {source} cannot be loaded: {reason}", setting=setting) from None
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise BadInput(
            f"The model {source} is damaged: {name} has the shape {list(stored)} and not {list(expected)}, which config.json"
            " asks for.",
            setting=setting,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInput(f"The model {source} lacks weights, {missing[0]} for one.", setting=setting)
    model.eval()  # throughout: dropout would make policy and reference differ before the first step
    model.stored_dtype = config.dtype or torch.float32
    install_attention(model).to(device())
    for name, weight in model.named_parameters():
        check_finite(weight, name, source, setting)
    return model


def check_finite(weight: Tensor, name: str, source: str, setting: str) -> None:
    """Raise BadInput for a weight of the model `source` that has values that are no numbers, or infinite."""
    if not torch.isfinite(weight).all():
        raise BadInput(
            f"The model {source} has weights that are not finite numbers (NaN or infinite), in {name} for one; the run that"
            " wrote it may have diverged.",
            setting=setting,
        )


def freeze(model: Any, precision: str) -> Any:
    """`model` without gradients, to be run under `autocast(precision)`.

    In bfloat16 its matrices are stored rounded, as autocast would round them for each product: the same numbers to the bit, from
    half of the memory. Embeddings, also those that are the output projection, and norms stay in float32.
    """
    model.requires_grad_(False)
    if precision == "bfloat16":
        embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        for module in model.modules():
            if isinstance(module, nn.Linear | Conv1D) and module.weight not in embeddings:
                module.to(torch.bfloat16)
    return model


def recompute_activations(model: nn.Module) -> None:
    """Make each layer store only its input, and compute its activations again in the backward pass.

    transformers' own option requires training mode, which would turn dropout on. Raises BadInput for a model without layers
    that support it.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise BadInput(
            "This model does not support recomputed activations; turn gradient_checkpointing off.",
            setting="gradient_checkpointing",
        )
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


def load_tokenizer(source: str, setting: str = "model") -> tuple[PreTrainedTokenizerBase, list[str]]:
    """The tokenizer of a model, with a chat template in any case, and warnings about what it lacked."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise BadInput(f"The tokenizer of {source} cannot be loaded: {reason}", setting=setting) from None
    warnings = []
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
        warnings.append(
            "The model has no chat template; a plain one (User: ... Assistant: ...) is used and saved."
        )
    return tokenizer, warnings


def build_encoder(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    setting: str = "model",
    instruction: str = "",
) -> Encoder:
    """An encoder for sequences of `max_length` tokens, or fewer if the model, that of `setting`, has fewer positions.
    instruction: what a policy's prompts begin with (`read_instruction`)."""
    length = max_row_length(model, max_length)
    return Encoder(tokenizer, length, "max_length" if length == max_length else setting, instruction)


def read_instruction(source: str, setting: str = "model") -> str:
    """The instruction that a policy's directory names; empty without one, and for models by hub id."""
    path = Path(source) / INSTRUCTION_FILE
    if not path.is_file():
        return ""
    try:
        instruction = json.loads(path.read_text(encoding="utf-8"))["instruction"]
    except (ValueError, KeyError, TypeError):
        instruction = None
    if not isinstance(instruction, str):
        raise BadInput(f"{INSTRUCTION_FILE} of the model {source} names no instruction.", setting=setting)
    return instruction


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, *, instruction: str) -> None:
    """Write a model directory that `load_policy` and transformers read, and the instruction that its prompts need, if any.

    The weights are converted, in place, to the type that they had where they were loaded from.
    """
    model.to(getattr(model, "stored_dtype", model.dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if instruction:
        (folder / INSTRUCTION_FILE).write_text(json.dumps({"instruction": instruction}), encoding="utf-8")


def max_row_length(model: nn.Module, limit: int) -> int:
    """The model's number of positions, but at most `limit`."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return min(limit, positions) if isinstance(positions, int) else limit

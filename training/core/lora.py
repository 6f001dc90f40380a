"""Low-rank adapters through peft: W + (alpha / rank) B A, of which only B and A are learned (LoRA, Hu et al. 2021).

The adapters are injected into the model in place, so references to the model or its trunk stay valid, and merged into its
matrices at the end, so the output is a plain model. The adapters of the policy, or of a reward model's trunk, are written beside
it as peft reads them. Left out: dropout. A base of 4 bits: `quantization`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.configs import TrainingConfig, split_names
from training.core.errors import BadInput


def add_adapters(model: nn.Module, config: TrainingConfig) -> None:
    """Freeze every transformer within `model` and add adapters to it; what is outside of it (a head) stays trainable.

    Raises BadInput if no matrix has a name in `lora_targets`, or one of them is tied to another.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    names = split_names(config.lora_targets)
    if not names:
        raise BadInput("LoRA needs the names of the matrices to adapt.", setting="lora_targets")
    for transformer in find_transformers(model):
        inputs: Any = transformer.get_input_embeddings()
        outputs: Any = transformer.get_output_embeddings()  # type: ignore[no-untyped-call]
        tied = inputs.weight if outputs is not None and inputs.weight is outputs.weight else None
        adapters = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # peft accepts floats
            target_modules="all-linear" if names == ["all-linear"] else names,
        )
        try:
            inject_adapter_in_model(adapters, transformer)
        except ValueError as error:
            raise BadInput(
                f"LoRA finds no matrices named {config.lora_targets}: {str(error).splitlines()[0]}",
                setting="lora_targets",
            ) from None
        for layer in transformer.modules():
            if (
                isinstance(layer, BaseTunerLayer)
                and tied is not None
                and layer.get_base_layer().weight is tied
            ):
                raise BadInput(
                    "This model's embeddings and output projection are one matrix, and adapting one use would not affect the"
                    " other; leave the embeddings and lm_head out of lora_targets.",
                    setting="lora_targets",
                )


class WithoutAdapters:
    """A policy as it is without its adapters, until they are merged: the reference of a run that starts from it, and no copy."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.config = policy, policy.config

    def base_model(self, **inputs: Any) -> Any:
        with adapters_off(self.policy):
            return self.policy.base_model(**inputs)

    def get_output_embeddings(self) -> Callable[[Tensor], Tensor]:
        def project(hidden: Tensor) -> Tensor:
            with adapters_off(self.policy):
                logits: Tensor = self.policy.get_output_embeddings()(hidden)
                return logits

        return project


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within it the model computes as it does without its adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in layers:
        layer._disable_adapters = True  # peft's own way to do it also changes which parameters are learned
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


class Adapter(NamedTuple):
    """config: peft's LoraConfig. tensors: the matrices of the adapters, under the names that peft writes."""

    config: Any
    tensors: dict[str, Tensor]


def extract_adapter(model: nn.Module, base: str | None) -> Adapter:
    """A copy of the adapters of the first transformer within `model`, for the base model of the name `base`."""
    transformer: Any = find_transformers(model)[0]
    config = transformer.peft_config["default"]
    config.base_model_name_or_path = base
    config.task_type = "CAUSAL_LM" if transformer.get_output_embeddings() else "FEATURE_EXTRACTION"
    config.inference_mode = True
    tensors = {
        f"base_model.model.{name.replace('.default.', '.')}": value.detach().to("cpu", copy=True)
        for name, value in transformer.named_parameters()
        if ".lora_" in name
    }
    return Adapter(config, tensors)


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write a directory that `PeftModel.from_pretrained` reads."""
    adapter.config.save_pretrained(str(folder))
    save_file(adapter.tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def merge_adapters(model: nn.Module) -> None:
    """Add the adapters to their matrices, and remove them from the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    for transformer in find_transformers(model):
        if hasattr(transformer, "peft_config"):
            del transformer.peft_config
    model.requires_grad_(True)


def find_transformers(model: nn.Module) -> list[PreTrainedModel]:
    """The outermost transformers within `model`, or `model` itself if it is one."""
    if isinstance(model, PreTrainedModel):
        return [model]
    return [transformer for child in model.children() for transformer in find_transformers(child)]

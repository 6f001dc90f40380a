"""Low-rank adapters through peft: W + (alpha / rank) B A, of which only B and A are learned (LoRA, Hu et al. 2021).

The adapters are injected into the model in place, so references to the model or its trunk stay valid, and merged into its
matrices at the end, so the output is a plain model. Left out: dropout, quantised models.
"""

from __future__ import annotations

from typing import Any

from torch import nn
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

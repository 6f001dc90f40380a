"""LoRA (Hu et al. 2021) through peft: W + (alpha / rank) B A, of which only B and A are learned.

The adapters are put into the model in place, so whatever holds the model or its trunk goes on as before, and are
added to its matrices at the end, so what is written is a model like any other. Left out: dropout, quantised models.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from training.configs import TrainingConfig
from training.core.errors import BadInput


def add(model: nn.Module, config: TrainingConfig) -> None:
    """Freeze every transformer within `model` and give it adapters; whatever surrounds it (a head) is still learned.

    Raises BadInput, naming lora_targets, where no matrix goes by a name given there, or one serves two purposes.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not config.lora_targets.strip(" ,"):
        raise BadInput("LoRA needs the names of the matrices to correct.", setting="lora_targets")
    names = [name.strip() for name in config.lora_targets.split(",") if name.strip()]
    for transformer in transformers_of(model):
        read: Any = transformer.get_input_embeddings()
        written: Any = transformer.get_output_embeddings()  # type: ignore[no-untyped-call]
        tied = read.weight if written is not None and read.weight is written.weight else None
        adapters = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # any number will do
            target_modules="all-linear" if names == ["all-linear"] else names,
        )
        try:
            inject_adapter_in_model(adapters, transformer)
        except ValueError as error:
            raise BadInput(
                f"LoRA finds no matrices to correct by the name {config.lora_targets}: {str(error).splitlines()[0]}",
                setting="lora_targets",
            ) from None
        for layer in transformer.modules():
            if (
                isinstance(layer, BaseTunerLayer)
                and tied is not None
                and layer.get_base_layer().weight is tied
            ):
                raise BadInput(
                    "This model reads and writes tokens with one matrix, and a correction of one use would be lost on the"
                    " other; leave the embeddings and lm_head out of lora_targets.",
                    setting="lora_targets",
                )


def merge(model: nn.Module) -> None:
    """Add the adapters to the matrices they correct, and take them out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    for transformer in transformers_of(model):
        if hasattr(transformer, "peft_config"):
            del transformer.peft_config
    model.requires_grad_(True)


def transformers_of(model: nn.Module) -> list[PreTrainedModel]:
    """The transformers within `model`, or itself, outermost only."""
    if isinstance(model, PreTrainedModel):
        return [model]
    return [found for child in model.children() for found in transformers_of(child)]

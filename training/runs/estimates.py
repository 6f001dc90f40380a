"""What a run will take, in sentences for the form that starts it: time and money by earlier runs, memory by its model's size."""

from __future__ import annotations

from dataclasses import dataclass, fields

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.logic.durations import duration
from annotation.logic.translation import format_number
from annotation.models import Project
from training.configs import KINDS
from training.models import ModelVersion, Run
from training.registry.model_size import parameter_count
from training.runs.reward_sources import LEARNS_REWARDS

RECENT_RUNS = 5
TRAINED_BYTES = 16
"""Of a weight that is trained: itself, its gradient and AdamW's two moments, each in float32."""
HAVE_REFERENCE = {Run.Kind.DPO, Run.Kind.KTO, *LEARNS_REWARDS}


@dataclass(frozen=True)
class Weights:
    """Bytes of all models of a run, with their gradients and moments. Those of a pass come on top; `batch_tokens` bounds them."""

    full: int
    lora: int
    """With LoRA; as `full` where nothing is trained."""


def weights_of(kind: str, parameters: int, frozen_bytes: int) -> Weights:
    """The memory of a run's models. Reward and value models count as large as the policy.

    Args:
        frozen_bytes: of a weight that is not trained: 2 in bfloat16, 4 in float32.
    """
    trains = any(setting.name == "learning_rate" for setting in fields(KINDS[kind]))
    frozen = parameters * frozen_bytes
    scorers = frozen if kind in LEARNS_REWARDS else 0
    value_model = parameters * TRAINED_BYTES if kind == Run.Kind.PPO else 0
    reference = frozen if kind in HAVE_REFERENCE else 0
    if not trains:
        return Weights(frozen, frozen)
    # with LoRA the policy without its adapters is the reference, not for KTO; adapters and their moments are a hundredth or less
    kept = reference if kind == Run.Kind.KTO else 0
    return Weights(
        full=parameters * TRAINED_BYTES + reference + scorers + value_model,
        lora=frozen + kept + scorers + (frozen if value_model else 0),
    )


def describe_costs(project: Project, kind: str, model: ModelVersion | None) -> list[str]:
    """Sentences on time, money and memory; only of what is known."""
    return [text for text in (_describe_time(project, kind), _describe_memory(kind, model)) if text]


def _describe_time(project: Project, kind: str) -> str:
    done = Run.objects.filter(project=project, kind=kind, state=Run.State.DONE, result__has_key="seconds")
    seconds = list(done.order_by("-pk").values_list("result__seconds", flat=True)[:RECENT_RUNS])
    if not seconds:
        return _("No run of this kind has ended in this project yet, so its time is not known.")
    low, high = min(seconds), max(seconds)
    text = ngettext(
        "The last run of this kind took %(high)s.",
        "The last %(n)s runs of this kind took %(low)s to %(high)s.",
        len(seconds),
    ) % {"n": len(seconds), "low": duration(low), "high": duration(high)}
    if price := describe_price(high):
        text += " " + price
    return text


def describe_price(seconds: float) -> str:
    """A sentence on what runs of that many seconds in all cost on a GPU; "" where no price is set."""
    if not settings.GPU_HOUR_PRICE:
        return ""
    price = format_number(settings.GPU_HOUR_PRICE * seconds / 3600, 2)
    return _("At most %(price)s %(currency)s for each GPU.") % {"price": price, "currency": settings.CURRENCY}


def _describe_memory(kind: str, model: ModelVersion | None) -> str:
    parameters = parameter_count(model.location) if model else None
    if parameters is None:
        return ""
    weights = weights_of(kind, parameters, frozen_bytes=2 if settings.GPUS else 4)
    size = {"full": filesizeformat(weights.full), "lora": filesizeformat(weights.lora)}
    if weights.lora == weights.full:
        return _("Its models need %(full)s of memory; what goes through them at a time comes on top.") % size
    return (
        _(
            "Weights, gradients and moments need %(full)s of memory, with LoRA %(lora)s; what goes through the model at a time"
            " comes on top, as batch_tokens allows."
        )
        % size
    )

"""Memory: the most that a run has taken, and what to lower when there was not enough."""

from __future__ import annotations

import resource

from training.configs import Config, RolloutConfig

MEBIBYTE = 2**20

COMPLAINTS = (
    "out of memory",
    "not enough memory",
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
)


def peak_mb() -> float:
    """The most memory this process has held so far, in MiB: on the accelerator where there is one, else in RAM."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MEBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ran_out(error: BaseException) -> bool:
    """Whether the machine, or its accelerator, had no memory left."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(complaint in words for complaint in COMPLAINTS)


def advice(kind: str, config: Config, *, loaded: bool) -> tuple[str, str]:
    """What to say of a run that ran out of memory, and the setting it names. loaded: whether the models were in."""
    if not loaded:
        return "The memory ran out before the work began; start from a smaller model.", "model"
    longest = getattr(config, "block_length", config.max_length)
    if config.batch_tokens <= longest:
        setting = "block_length" if kind == "pretrain" else "max_length"
        remedy = f"lower {setting}, as batch_tokens is already no more than one row"
    elif kind == "generate":
        setting, remedy = "batch_tokens", "lower batch_tokens, the number of tokens kept at once"
    elif isinstance(config, RolloutConfig) and config.samples * config.max_new_tokens > config.batch_tokens:
        setting = "samples"
        remedy = "lower samples or max_new_tokens, as a prompt's responses go through the model together"
    else:
        setting, remedy = (
            "batch_tokens",
            "lower batch_tokens, the number of tokens put through the model at once",
        )
    if isinstance(config, RolloutConfig):
        remedy += ", or sample_tokens, the number kept while sampling"
    if getattr(config, "gradient_checkpointing", True) is False:
        remedy += ", or turn on gradient_checkpointing"
    return f"The memory ran out; {remedy}.", setting

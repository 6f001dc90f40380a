"""Memory of a run: its peak, which setting to lower when there was not enough, and what the C library does with it."""

from __future__ import annotations

import ctypes
import resource

from training.configs import Config, RolloutConfig

MEBIBYTE = 2**20

OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "not enough memory",
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
)


def peak_mb() -> float:
    """Peak memory of this process so far, in MiB: on the accelerator, if there is one, else resident memory."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MEBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or its accelerator ran out of memory."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(text in message for text in OUT_OF_MEMORY_TEXTS)


def out_of_memory_message(kind: str, config: Config, *, loaded: bool) -> tuple[str, str]:
    """A message for a run that ran out of memory, and the setting that it names. loaded: whether the models were loaded."""
    if not loaded:
        return "Memory ran out while loading; start from a smaller model.", "model"
    max_sequence = getattr(config, "block_length", config.max_length)
    if config.batch_tokens <= max_sequence:
        setting = "block_length" if kind == "pretrain" else "max_length"
        remedy = f"lower {setting}, as batch_tokens is not more than one sequence already"
    elif kind == "generate":
        setting, remedy = "batch_tokens", "lower batch_tokens, the number of tokens in memory"
    elif isinstance(config, RolloutConfig) and config.samples * config.max_new_tokens > config.batch_tokens:
        setting = "samples"
        remedy = "lower samples or max_new_tokens, as a prompt's responses go through the model together"
    else:
        setting, remedy = (
            "batch_tokens",
            "lower batch_tokens, the number of tokens per batch",
        )
    if hasattr(config, "sample_tokens"):
        remedy += ", or sample_tokens, the number of tokens in memory while sampling"
    if getattr(config, "gradient_checkpointing", True) is False:
        remedy += ", or turn on gradient_checkpointing"
    return f"Memory ran out; {remedy}.", setting


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: otherwise the kernel clears new pages for every large tensor."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass  # another C library, which works without

"""The environment variables of the core's libraries, which must be set before they are imported."""

from __future__ import annotations

import os


def set_environment() -> None:
    """Set those that nobody has set."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault(
        "TQDM_DISABLE", "1"
    )  # progress is reported as events; in a log its bars hide the lines
    # threads that wait actively make a busy machine several times slower, and gain little on an idle one; oneDNN compiles
    # a kernel for each shape of batch, and its cache should hold them all
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

"""The core's fork server with more imports done: those of model servers and torchrun, and of the models of tests.

python tests/warm/warm_core.py SOCKET
"""

from __future__ import annotations

import importlib
import sys

from training.core import fork_server

if __name__ == "__main__":
    for name in ("torch.distributed.run", "training.core.serve.app", "uvicorn"):
        importlib.import_module(name)
    del sys.modules["torch.distributed.run"]  # it is run anew each time
    fork_server.main(sys.argv[1], models=(*fork_server.MODELS, "GPT2LMHeadModel"))

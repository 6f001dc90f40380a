"""The training program with its imports done: it forks a process for each run, in a hundredth of the time that importing
torch and transformers takes.

    python tests/warm_core/warm.py SOCKET

A forked process is the program in everything else: the core, a model server, torchrun or the driver of a test runs as
`__main__`, with the arguments, environment, folder and open files of the one that stands in for it (`sitecustomize.py`), in a
session of its own. Nothing is used here before the fork: no thread runs, no tensor was made.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

FAR = 400
"""Descriptors are moved up here before they are put in their places, so that none is in another's place."""


def import_everything() -> None:
    for name in ("AutoModelForCausalLM", "GPT2LMHeadModel", "LlamaForCausalLM", "PreTrainedTokenizerFast"):
        getattr(importlib.import_module("transformers"), name)  # it imports what is asked of it
    importlib.import_module("torch.distributed.run")
    core = importlib.import_module("training.core")
    for module in pkgutil.iter_modules(core.__path__, "training.core."):
        importlib.import_module(module.name)
    importlib.import_module("training.core.serve.app")
    importlib.import_module("uvicorn")
    for program in ("training.core.__main__", "torch.distributed.run"):  # each is run anew
        del sys.modules[program]


def become(started: dict[str, Any], received: list[int]) -> None:
    """Be the program, to its end. Never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the warm core
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        moved = [os.dup2(descriptor, FAR + n) for n, descriptor in enumerate(received)]
        os.closerange(3, FAR)
        for descriptor, place in zip(moved, started["descriptors"], strict=True):
            os.dup2(descriptor, place)
        os.closerange(FAR, FAR + len(moved))
        sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
        os.chdir(started["folder"])
        os.environ.clear()
        os.environ.update(started["environment"])
        program = started["program"]
        sys.argv = [program, *started["arguments"]]
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    finally:
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def read(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, received, _, _ = socket.recv_fds(line, 4, 64)
    size = struct.unpack("!I", head)[0]
    text = line.recv(size, socket.MSG_WAITALL)
    return json.loads(text), received


def serve(address: str) -> None:
    """Fork whenever a stand-in asks, until stdin is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    selector = selectors.DefaultSelector()
    for source in (listener, ended, sys.stdin):
        selector.register(source, selectors.EVENT_READ)
    stand_ins: dict[int, socket.socket] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                line = listener.accept()[0]
                started, received = read(line)
                if not (pid := os.fork()):
                    become(started, received)
                for descriptor in received:
                    os.close(descriptor)
                line.sendall(struct.pack("!i", pid))
                stand_ins[pid] = line
                selector.register(line, selectors.EVENT_READ, pid)
            elif key.fileobj == ended:
                os.read(ended, 4096)
                for pid, status in reaped():
                    if line := stand_ins.pop(pid, None):
                        selector.unregister(line)
                        line.sendall(struct.pack("!i", status))
                        line.close()
            elif key.fileobj is sys.stdin:
                return
            elif stand_ins.pop(key.data, None):  # it was killed
                selector.unregister(key.fileobj)
                os.kill(key.data, signal.SIGKILL)


def reaped() -> Iterator[tuple[int, int]]:
    """The processes that have ended, with their statuses."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


if __name__ == "__main__":
    import_everything()
    gc.collect()
    gc.freeze()
    serve(sys.argv[1])

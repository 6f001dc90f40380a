"""A process with the imports of the core done, which forks a process for each run: torch and transformers take seconds to import.

    python -m training.core.fork_server SOCKET

Whoever connects to the Unix socket sends one request (`read_request`), is told the process's id, and when it has ended its wait
status, as signed 32-bit numbers. The forked process is the program `python -m PROGRAM` in everything: it has the arguments,
environment, folder and open files of the request, in a session of its own. Where the connection ends first, or this process
does, it gets the signal that the request names; 0 is none, and it goes on.

Linux only. Nothing is used here before a fork: no thread runs, no tensor was made, no accelerator was looked for. Only processes
of the same user can connect.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from training.core.environment import set_environment
from training.core.log_lines import time_log_lines

ASKS = 0
"""In place of a process's id: the connection has sent no request yet."""
FAR = 400
"""Descriptors are moved up here before they are put in their places, so that none is in another's place."""
REQUEST_S = 2
"""How long a request may take from its first byte to its last; meanwhile nobody else is served. Who sends nothing is not waited
for."""
MODELS = ("AutoModelForCausalLM", "LlamaForCausalLM", "PreTrainedTokenizerFast")
"""What transformers imports only where it is asked for."""


def import_core(models: Sequence[str] = MODELS) -> None:
    """Import every module of the core, and those of transformers that it always needs."""
    import training.core

    for name in models:
        getattr(import_module("transformers"), name)
    for module in pkgutil.iter_modules(training.core.__path__, "training.core."):
        import_module(module.name)
    import_module("training.core.serve.app")
    del sys.modules["training.core.__main__"]  # it is run anew each time
    gc.collect()
    gc.freeze()


def serve(address: str) -> None:
    """Fork whenever somebody asks, until this process is ended. Prints a line once it listens."""
    listener = socket.socket(socket.AF_UNIX)
    Path(address).unlink(missing_ok=True)  # of one that was killed
    before = os.umask(0o177)
    listener.bind(address)
    os.umask(before)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    selector = selectors.DefaultSelector()
    for source in (listener, ended):
        selector.register(source, selectors.EVENT_READ)
    clients: dict[
        int, tuple[socket.socket, int]
    ] = {}  # by process: its connection, and the signal that ends it
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                client = listener.accept()[0]
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", REQUEST_S, 0))
                selector.register(client, selectors.EVENT_READ, ASKS)
            elif key.data == ASKS:
                client = cast("socket.socket", key.fileobj)
                selector.unregister(client)
                try:
                    request, received = read_request(client)
                except (OSError, ValueError, struct.error):
                    client.close()
                    continue
                if not (pid := os.fork()):
                    become(request, received)
                for descriptor in received:
                    os.close(descriptor)
                clients[pid] = client, request["hangup"]
                selector.register(client, selectors.EVENT_READ, pid)
                with suppress(OSError):
                    client.sendall(struct.pack("!i", pid))
            elif key.fileobj == ended:
                os.read(ended, 4096)
                for pid, status in reaped():
                    if pid in clients:
                        client, _hangup = clients.pop(pid)
                        selector.unregister(client)
                        with suppress(OSError):
                            client.sendall(struct.pack("!i", status))
                        client.close()
            elif key.data in clients:
                client, hangup = clients.pop(key.data)
                selector.unregister(client)
                client.close()
                os.kill(key.data, hangup)


def read_request(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request and its open files: `program`, `arguments`, `environment`, `folder`, the numbers that the open files shall have
    as `descriptors`, and the signal `hangup`; JSON, after its length, with the files beside the length."""
    head, received, _, _ = socket.recv_fds(client, 4, 64)
    try:
        size = struct.unpack("!I", head)[0]
        return json.loads(client.recv(size, socket.MSG_WAITALL)), received
    except Exception:
        for descriptor in received:
            os.close(descriptor)
        raise


def become(request: dict[str, Any], received: list[int]) -> None:
    """Be the program, to its end. Never returns."""
    code = 1
    try:
        die_with_parent(request["hangup"])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        moved = [os.dup2(descriptor, FAR + n) for n, descriptor in enumerate(received)]
        os.closerange(3, FAR)
        for descriptor, place in zip(moved, request["descriptors"], strict=True):
            os.dup2(descriptor, place)
        os.closerange(FAR, FAR + len(moved))
        sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        program = request["program"]
        sys.argv = [program, *request["arguments"]]
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


def reaped() -> Iterator[tuple[int, int]]:
    """The processes that have ended, with their wait statuses."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def die_with_parent(sign: int) -> None:
    """Have Linux send this process a signal when its parent ends (prctl, PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, sign)


def main(address: str, models: Sequence[str] = MODELS) -> None:
    die_with_parent(signal.SIGTERM)
    set_environment()
    time_log_lines()  # before handlers of logs take hold of stderr: the forked programs write through these, too
    import_core(models)
    serve(address)


if __name__ == "__main__":
    main(sys.argv[1])

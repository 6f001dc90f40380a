"""Two sides that take turns: a trainer runs in a process of its own and stops at a gate between two steps.

A `server` is started once in each environment and forks a worker for every connection, so that what it imported is
there at once. The worker runs a real training loop; at the end of each step the loop calls its `Gate`, which reports
what the step took and waits until it is let through again. While one side works the others wait.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Builder = Callable[[dict[str, Any], "Gate"], None]


class Closed(BaseException):
    """The measurement is over; nothing on the way out is to catch this."""


class Gate:
    """What a training loop calls between two steps. `report` holds facts to send along, such as the batch size."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rw", encoding="utf-8")
        self.spec: dict[str, Any] = json.loads(self._file.readline())
        self.report: dict[str, Any] = {}
        self._started: tuple[float, float] | None = None

    def __call__(self) -> None:
        """Send the figures of the step that ended here, if there was one, and wait for the next."""
        wait_for_accelerator()
        if self._started is not None:
            wall, cpu = self._started
            figures = {
                "wall": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "peak": peak_memory(),
            }
            self.send(figures | self.report)
        else:
            gc.collect()
            self.send({"ready": True})
        if not self._file.readline():
            raise Closed
        reset_peak_memory()
        self._started = (time.perf_counter(), time.process_time())

    def send(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


def serve(path: str, builders: dict[str, Builder]) -> None:
    """Listen on the socket `path`, and fork a worker for each who asks for one of the `builders`."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is done is gone
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _work(connection, builders)
            connection.close()


def _work(connection: socket.socket, builders: dict[str, Builder]) -> None:
    gate = Gate(connection)
    try:
        builders[gate.spec["builder"]](gate.spec, gate)
        gate.send({"finished": True})
    except (Closed, BrokenPipeError):
        pass
    except BaseException as error:  # noqa: BLE001 - the other side must hear of it
        gate.send({"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
    os._exit(0)


class Server:
    """A `serve` in another interpreter."""

    def __init__(self, python: Path | str, module: str, folder: Path, environment: dict[str, str]) -> None:
        self._path = str(folder / f"{module.rpartition('.')[2]}-{os.getpid()}-{id(self)}.socket")
        self._log = (folder / f"{module}.log").open("w")
        self._process = subprocess.Popen(
            [str(python), "-m", module, self._path],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "listening":
                break
        else:
            raise RuntimeError(f"{module} did not start; see {self._log.name}")

    def worker(self, **spec: Any) -> Worker:
        return Worker(self._path, spec)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        Path(self._path).unlink(missing_ok=True)


class Worker:
    """One side of a measurement, waiting at its gate."""

    def __init__(self, path: str, spec: dict[str, Any]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._file.write(json.dumps(spec) + "\n")
        self._file.flush()

    def ready(self) -> None:
        """Wait until it stands before its first step."""
        self._answer()

    def step(self) -> dict[str, Any]:
        """Let it take one step. Returns wall and CPU seconds, peak memory in MB, and what the side reports besides."""
        self._file.write("step\n")
        self._file.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._file.readline()
        values = json.loads(line) if line else {"error": "the worker died"}
        if "error" in values:
            sys.stderr.write(values.get("trace", "") + "\n")
            raise RuntimeError(values["error"])
        return values

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def wait_for_accelerator() -> None:
    """Return once it has done what was asked of it, where this process uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory() -> float:
    """Most memory resident since `reset_peak_memory`, in MB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")

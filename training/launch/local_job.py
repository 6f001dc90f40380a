"""The core as a child process of the worker, which ends when its worker does."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.launch.child import GRACE_S, start_core


class LocalJob:
    """A child process whose events come through a pipe."""

    outlives_worker = False

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        locks: Sequence[int],
        environment: Mapping[str, str],
        fork_server: str = "",
    ) -> None:
        self._events = (folder / "events.jsonl").open("ab")
        with (folder / "log.txt").open("ab") as log:
            self._child = start_core(
                command,
                locks=locks,
                stdout=None,
                stderr=log,
                environment=environment,
                fork_server=fork_server,
            )
        assert self._child.stdout is not None
        self._pipe = self._child.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._rest = b""

    def poll(self, timeout_s: float) -> list[bytes] | None:
        if not self._selector.select(timeout=timeout_s):
            return []
        chunk = self._pipe.read(65536)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._events.writelines(line + b"\n" for line in lines)
        self._events.flush()
        return lines

    def cancel(self) -> None:
        self._child.terminate()

    def wait(self) -> int:
        try:
            return self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()
        finally:
            self._close()

    def detach(self) -> None:
        self._child.kill()
        self._close()

    def _close(self) -> None:
        self._selector.close()
        self._pipe.close()
        self._events.close()

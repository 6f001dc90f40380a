"""A program that the core's fork server runs (`training/core/fork_server.py`), with the methods of `subprocess.Popen`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

CONNECT_S = 5.0
STAY = 0
"""In place of a signal: the program outlives this process and the fork server."""
LOST = -signal.SIGKILL
"""The exit code where the fork server has ended before it could say one: it ends its programs."""


class ForkedProcess:
    """A running program. It gets the signal `hangup` when this process or the fork server ends."""

    stdout: IO[bytes] | None = None

    def __init__(
        self,
        address: str,
        program: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        files: Mapping[int, int],
        hangup: int = signal.SIGTERM,
    ) -> None:
        """program: a module, or the path of a script. files: which of our descriptors it has under which number. hangup: a
        signal, or `STAY`.

        Raises:
            OSError: nobody serves at the address.
        """
        self.returncode: int | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.settimeout(CONNECT_S)
        request = {
            "program": program,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "descriptors": list(files),
            "hangup": int(hangup),
        }
        text = json.dumps(request).encode()
        try:
            self._server.connect(address)
            socket.send_fds(self._server, [struct.pack("!I", len(text))], list(files.values()))
            self._server.sendall(text)
            self.pid = self._read_number()
        except OSError:
            self._server.close()
            raise

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended; below 0: the signal that ended it.

        Raises:
            TimeoutExpired: it goes on.
        """
        if self.returncode is None:
            self._server.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(self._read_number())
            except TimeoutError:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0) from None
            except OSError:
                self.returncode = LOST
            self._server.close()
        return self.returncode

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, sign: int) -> None:
        """Send it a signal, unless it has ended: its id may be another process's by then."""
        if self.returncode is None and not select.select([self._server], [], [], 0)[0]:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    def _read_number(self) -> int:
        data = self._server.recv(4, socket.MSG_WAITALL)
        if len(data) < 4:
            raise ConnectionResetError
        return int(struct.unpack("!i", data)[0])

"""Python imports this before anything else where this folder is on PYTHONPATH. `python -m training.core …`, or
`training.core.serve`, then becomes the stand-in of a process that the warm core forks (see `warm.py`); any other program starts
as always.

The stand-in passes on the signals that it is sent, ends as that process ends, and when it is killed, so is that process.
"""

import os
import sys


def stand_in(address: str, module: str) -> None:
    """Have a process forked, and end with it. Never returns."""
    import json
    import signal
    import socket
    import struct
    from contextlib import suppress
    from pathlib import Path

    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    descriptors = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the folder's own is closed by now
            if os.get_inheritable(int(path.name)):
                descriptors.append(int(path.name))
    program = {
        "module": module,
        "arguments": sys.orig_argv[sys.orig_argv.index(module) + 1 :],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "descriptors": descriptors,
    }
    text = json.dumps(program).encode()
    socket.send_fds(line, [struct.pack("!I", len(text))], descriptors)
    line.sendall(text)

    def number() -> int:
        return int(struct.unpack("!i", line.recv(4, socket.MSG_WAITALL))[0])

    pid = number()

    def pass_on(sign: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, sign)

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, pass_on)
    status = number()
    if os.WIFSIGNALED(status):
        with suppress(OSError):  # SIGKILL has no other way to be taken
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def module_to_run() -> str:
    return sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""


if os.environ.get("WARM_CORE") and module_to_run() in ("training.core", "training.core.serve"):
    stand_in(os.environ["WARM_CORE"], module_to_run())

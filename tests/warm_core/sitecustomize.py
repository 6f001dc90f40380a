"""Python imports this before anything else where this folder is on PYTHONPATH. `python -m training.core …`, a model server,
torchrun and the `driver.py` of a test then become the stand-in of a process that the warm core forks (see `warm.py`); any other
program starts as always.

The stand-in passes on the signals that it is sent, ends as that process ends, and when it is killed, so is that process.
"""

import os
import sys


def stand_in(address: str, program: str) -> None:
    """Have a process forked that runs the module or script, and end with it. Returns only if nobody forks any more."""
    import json
    import signal
    import socket
    import struct
    from contextlib import suppress
    from pathlib import Path

    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(address)
    except OSError:  # the warm core has ended: the program starts as always
        return
    descriptors = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the folder's own is closed by now
            if os.get_inheritable(int(path.name)):
                descriptors.append(int(path.name))
    start = {
        "program": program,
        "arguments": sys.orig_argv[sys.orig_argv.index(program) + 1 :],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "descriptors": descriptors,
    }
    text = json.dumps(start).encode()
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


def warm_program() -> str:
    """The module or script that this interpreter is to run, if the warm core has done its imports; else an empty string."""
    words = [word for word in sys.orig_argv[1:] if word not in ("-m", "-u")]
    first = words[0] if words else ""
    modules = ("training.core", "training.core.serve", "torch.distributed.run")
    known = first in modules or os.path.basename(first) == "driver.py"  # noqa: PTH119
    return first if known else ""


if os.environ.get("WARM_CORE") and (program := warm_program()):
    stand_in(os.environ["WARM_CORE"], program)

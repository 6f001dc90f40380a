"""Python imports this before anything else where this folder is on PYTHONPATH. `python -m training.core …`, a model server,
torchrun and the `driver.py` of a test then become the stand-in of a process that the warm core forks (see `warm_core.py`), and
the site's processes and commands that of one that a server of their environment forks (`environment_server.py`), where WARM_CORE
and WARM_SITE name sockets; any other program starts as always.

The stand-in passes on the signals that it is sent, ends as that process ends, and when it is killed, so is that process.
"""

import os
import sys

PROGRAMS_OF_THE_SITE = ("celery", "uvicorn", "manage.py")


def stand_in(address: str, program: str) -> None:
    """Have a process forked that runs the module or script, and end with it. Returns only if nobody forks any more."""
    import signal
    from contextlib import suppress
    from pathlib import Path

    from training.launch.forked_process import ForkedProcess

    files = {}
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the folder's own is closed by now
            if os.get_inheritable(number := int(path.name)):
                files[number] = number
    try:
        if program in PROGRAMS_OF_THE_SITE:
            from environment_server import server_address

            address = server_address(address, program, os.environ, Path.cwd())
        process = ForkedProcess(
            address,
            program,
            sys.orig_argv[sys.orig_argv.index(program) + 1 :],
            folder=Path.cwd(),
            environment=os.environ,
            files=files,
            hangup=signal.SIGKILL,
        )
    except OSError:  # the warm core has ended: the program starts as always
        return
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda sign, _: process.send_signal(sign))
    code = process.wait()
    if code < 0:
        with suppress(OSError):  # SIGKILL has no other way to be taken
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def warm_program() -> tuple[str, str]:
    """The socket of whoever has done the imports of the module or script that this interpreter is to run, and its name; or
    empty strings."""
    words = [word for word in sys.orig_argv[1:] if word not in ("-m", "-u")]
    first = words[0] if words else ""
    if first in ("training.core", "training.core.serve", "torch.distributed.run"):
        return os.environ.get("WARM_CORE", ""), first
    if os.path.basename(first) == "driver.py":  # noqa: PTH119
        return os.environ.get("WARM_CORE", ""), first
    if first in PROGRAMS_OF_THE_SITE:
        return os.environ.get("WARM_SITE", ""), first
    return "", ""


address, program = warm_program()
if address:
    stand_in(address, program)

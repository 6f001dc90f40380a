"""A fork server with the imports of the site done, as far as they read no settings: those of libraries.

    python tests/warm/warm_site.py SOCKET

The site's own modules, and the Django apps of others, depend on settings. What this one forks with two arguments is a server of
processes with one environment, which has imported these too: see `environment_server`.

    tests/warm/warm_site.py SOCKET PROGRAM
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path

from training.core import fork_server

PROGRAMS = (
    "celery.__main__",
    "celery.apps.worker",
    "celery.beat",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "uvicorn.lifespan.on",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
PURE = ("annotation.logic", "training.configs")
"""Packages of the site itself that know of no settings."""
IDLE_S = 20
READ_THE_ENVIRONMENT = ("config", "huggingface_hub", "prometheus_client")


def modules_of_the_site() -> Iterator[str]:
    """The names of what the site's processes import, found out in a process that ends, without what depends on settings."""
    reader, writer = os.pipe()
    if not os.fork():
        from django.conf import settings

        import config.asgi

        for name in PROGRAMS:
            import_module(name)
        config.celery_app.loader.import_default_modules()
        kept_out = {*settings.INSTALLED_APPS, *READ_THE_ENVIRONMENT}
        public = (name for name in sys.modules if not name.startswith("_"))
        names = [name for name in public if is_in(name, PURE) or not is_in(name, kept_out)]
        with os.fdopen(writer, "w") as pipe:
            pipe.write("\n".join(names))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        yield from pipe.read().split()


def is_in(name: str, packages: Collection[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def serve_environment(address: str, program: str) -> None:
    """Serve processes that have this one's environment, and end after a while without any."""
    import django
    from prometheus_client.mmap_dict import MmapedDict

    import config

    fork_server.die_with_parent(signal.SIGKILL)
    django.setup()
    import_module("config.asgi" if program == "uvicorn" else "config.celery")
    if program == "celery":
        config.celery_app.loader.import_default_modules()
    # each process counts in files of its own; it would close these when their numbers are those of other files
    for counts in gc.get_objects():
        if isinstance(counts, MmapedDict):
            counts.close()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGALRM, lambda *_: None if has_processes() else os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, IDLE_S, IDLE_S)
    fork_server.serve(address)


def has_processes() -> bool:
    return bool(Path("/proc/self/task", str(os.getpid()), "children").read_text())


def serve_libraries(address: str) -> None:
    fork_server.die_with_parent(signal.SIGTERM)
    for name in modules_of_the_site():
        import_module(name)
    del sys.modules["celery.__main__"]  # it is run anew each time
    gc.collect()
    gc.freeze()
    fork_server.serve(address)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        serve_environment(*sys.argv[1:])
    else:
        serve_libraries(sys.argv[1])

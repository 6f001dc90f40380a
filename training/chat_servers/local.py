"""Model servers on this machine: `python -m training.core.serve`, started when somebody asks for a model.

Each has a socket below `VAR/serve`, and holds the lock of the file beside it while it lives: it gets the lock from whoever
starts it. A server outlives the process that started it, and ends by itself when nobody has used it for `CHAT_IDLE_S`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from django.conf import settings
from django.utils.translation import gettext as _

from training.chat_servers.client import Endpoint, socket_transport
from training.chat_servers.errors import ChatServerError
from training.launch.child import ROOT
from training.launch.forked_process import STAY, ForkedProcess
from training.launch.job_slots import lock_file

START_S = 300.0
"""How long a model may take to load."""
LEAVE_S = 30.0
"""How long a server that was asked to leave may take to end."""
POLL_S = 0.05
ANSWER_S = 5.0
BAD_INPUT = 2
"""The exit code of the server for a model that it cannot serve."""
MAX_SOCKET_PATH = 107
ATTEMPTS = 5
START_LOCK = "start.lock"
"""The file that is locked while a server is being started, and others leave for it."""

_children: list[subprocess.Popen[bytes]] = []
"""The servers that this process started: they are waited for here, so that none stays as a zombie."""


class Place(NamedTuple):
    """The files of a server."""

    socket: Path

    @property
    def lock(self) -> Path:
        return self.socket.with_suffix(".lock")

    @property
    def log(self) -> Path:
        return self.socket.with_suffix(".log")

    def is_held(self) -> bool:
        """Whether a server lives there."""
        try:
            with self.lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # which others that look may have too
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    async def request(self, method: str, path: str) -> dict[str, Any] | None:
        """The server's answer, as JSON; None if it does not answer, or refuses."""
        async with httpx2.AsyncClient(transport=socket_transport(self.socket), timeout=ANSWER_S) as http:
            try:
                answer = await http.request(method, f"http://model{path}")
                return dict(answer.json()) if answer.status_code == 200 else None
            except (httpx2.TransportError, ValueError):
                return None


async def serve_model(model: Path | str) -> Endpoint:
    """Where a model answers on this machine; its server is started if there is none. model: a folder, or hub:org/name@revision.

    Several processes may ask for the same model at once: one server is started, and all wait for it.

    Raises:
        ChatServerError: it cannot be served; `CHAT_MODELS_LOADED` others are busy; or it has not loaded within `START_S`.
    """
    place = place_of(model)
    endpoint = Endpoint("http://model/v1", Path(model).name, place.socket)
    deadline = time.monotonic() + START_S
    for _attempt in range(ATTEMPTS):
        if await place.request("GET", "/v1/models"):  # which counts as use: it will not leave now
            return endpoint
        child = await _start(model, place)
        if await _answers_before(deadline, place):
            return endpoint
        if child is not None:
            code = await asyncio.to_thread(child.wait)
            text = _("The model %(model)s cannot be served: %(reason)s")
            values = {"model": endpoint.model, "reason": _last_lines(place.log)}
            raise ChatServerError(text % values, retriable=code != BAD_INPUT)
        # the server that another process started, or that was here, has ended
    text = _("The server of the model %(model)s keeps ending: %(reason)s")
    values = {"model": endpoint.model, "reason": _last_lines(place.log)}
    raise ChatServerError(text % values, retriable=True)


def stop_servers() -> None:
    """End all model servers of this machine, with what they are answering."""
    for lock in (settings.VAR / "serve").glob("*.lock"):
        if lock.name != START_LOCK and Place(lock.with_suffix(".sock")).is_held():
            with suppress(ValueError, OSError):
                os.kill(int(lock.read_text()), signal.SIGTERM)


def place_of(model: Path | str) -> Place:
    """The files of the server of a model, as it is now: another if the model's files have changed."""
    name = str(model)
    if not name.startswith("hub:"):
        times = [path.stat().st_mtime_ns for path in Path(model).glob("*") if path.is_file()]
        name = f"{Path(model).resolve()} {max(times, default=0)}"
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    place = Place(settings.VAR / "serve" / f"{digest}.sock")
    if len(os.fsencode(place.socket)) > MAX_SOCKET_PATH:
        text = _("%(path)s is too long for a socket: choose a shorter PALATE_VAR.")
        raise ChatServerError(text % {"path": place.socket}, retriable=False)
    place.socket.parent.mkdir(mode=0o700, exist_ok=True)
    return place


async def _start(model: Path | str, place: Place) -> subprocess.Popen[bytes] | ForkedProcess | None:
    """Start a server; None if there is one by now."""
    _children[:] = [child for child in _children if child.poll() is None]
    async with _exclusively(settings.VAR / "serve" / START_LOCK):
        lock = lock_file(place.lock)
        if lock is None:
            return None
        try:
            await _make_room(place)
            return _launch(_command(model, place, lock), place, lock)
        finally:
            os.close(lock)


def _launch(command: list[str], place: Place, lock: int) -> subprocess.Popen[bytes] | ForkedProcess:
    """The server's process: forked where a process with torch imported waits, which saves the seconds of the imports."""
    environment = os.environ | _environment()
    with place.log.open("wb") as log, Path(os.devnull).open("rb+") as nothing:
        if settings.FORK_SERVER:
            files = {0: nothing.fileno(), 1: nothing.fileno(), 2: log.fileno(), lock: lock}
            with suppress(OSError):  # nobody serves there (any more)
                return ForkedProcess(
                    settings.FORK_SERVER,
                    command[2],
                    command[3:],
                    folder=ROOT,
                    environment=environment,
                    files=files,
                    hangup=STAY,
                )
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=nothing,
            stdout=nothing,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
        )
    _children.append(child)
    return child


def _command(model: Path | str, place: Place, lock: int) -> list[str]:
    options = ["--socket", str(place.socket), "--lock-fd", str(lock), "--idle-s", str(settings.CHAT_IDLE_S)]
    options += ["--name", Path(model).name]
    # one model may answer on both sides of each message
    options += ["--max-sequences", str(2 * settings.CHATS_AT_ONCE)]
    if settings.CHAT_THREADS:
        options += ["--threads", str(settings.CHAT_THREADS)]
    return [sys.executable, "-m", "training.core.serve", str(model), *options]


def _environment() -> dict[str, str]:
    gpus = {}
    if settings.GPUS:  # runs have them for themselves
        count = len(_living())
        names = settings.CHAT_GPUS
        gpus = {"CUDA_VISIBLE_DEVICES": names[count % len(names)] if names else ""}
    return {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"} | gpus


async def _answers_before(deadline: float, place: Place) -> bool:
    """Whether a server that loads its model answers in the end; False if it has ended before that."""
    while not await place.request("GET", "/v1/models"):
        if not place.is_held():
            return False
        if time.monotonic() > deadline:
            text = _("The model has not loaded within %(seconds)g seconds; see %(log)s.")
            raise ChatServerError(text % {"seconds": START_S, "log": place.log}, retriable=True)
        await asyncio.sleep(POLL_S)
    return True


async def _make_room(place: Place) -> None:
    """Have servers leave until there may be one more, the one that was not used for longest first."""
    while len(others := [one for one in _living() if one != place]) >= settings.CHAT_MODELS_LOADED:
        answers = [(one, await one.request("GET", "/health")) for one in others]
        idle = [(answer["used_at"], one) for one, answer in answers if answer and not answer["under_way"]]
        for _used_at, one in sorted(idle):  # by the clock that all processes of a machine share
            if await one.request("POST", "/leave"):
                await _wait_until_left(one)
                break
        else:
            text = _(
                "%(number)s models answer on this machine (CHAT_MODELS_LOADED), and all are busy. Try again later."
            )
            raise ChatServerError(text % {"number": len(others)}, retriable=True)


async def _wait_until_left(place: Place) -> None:
    deadline = time.monotonic() + LEAVE_S
    while place.is_held():
        if time.monotonic() > deadline:
            text = _("A model server does not end, though it was asked to; see %(log)s.")
            raise ChatServerError(text % {"log": place.log}, retriable=True)
        await asyncio.sleep(POLL_S)


def _living() -> list[Place]:
    """The servers that live, those that load their models too."""
    locks = (settings.VAR / "serve").glob("*.lock")
    places = [Place(lock.with_suffix(".sock")) for lock in locks if lock.name != START_LOCK]
    return [place for place in places if place.is_held()]


@asynccontextmanager
async def _exclusively(path: Path) -> AsyncIterator[None]:
    """A context that one task of one process is in at a time."""
    while (lock := lock_file(path)) is None:
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(lock)


def _last_lines(log: Path, count: int = 5) -> str:
    """What a program said last, on one line."""
    try:
        lines = re.split(r"[\r\n]+", log.read_text(errors="replace"))
    except OSError:
        lines = []
    return " ".join(line.strip() for line in lines[-count - 1 :] if line.strip())[-500:] or _(
        "It said nothing."
    )

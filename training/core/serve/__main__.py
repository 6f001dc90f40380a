"""Serve a model: `python -m training.core.serve MODEL --socket PATH`, or `--port`.

MODEL is a folder or `hub:org/name@revision`. The program answers when the model is loaded, and ends by itself when nobody has
used it for a while. A socket belongs to the program that holds the lock of the file beside it, which is free when that program
has ended.

Exit codes: 0 when it ends by itself or after SIGTERM, 2 for a model or arguments that cannot be used, with a sentence on stderr,
3 if another program has the socket or the port.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.core.environment import set_environment
from training.core.errors import BadInput
from training.core.memory import is_out_of_memory, keep_freed_memory

if TYPE_CHECKING:
    from training.core.serve.engine import Engine

DONE, BAD_INPUT, TAKEN = 0, 2, 3
"""Exit codes."""

MAX_LENGTH = 4096
"""Tokens of a conversation, unless the program is told otherwise: a model may read more than its machine has memory for."""
SMALL_MODEL = 10_000_000
"""Weights of a model for which a second thread costs more than it gains, unless the program is told otherwise."""
MAX_SOCKET_PATH = 107
CHECK_S = 0.1
STOP_S = 5
"""How long connections may take to end after SIGTERM."""


class Taken(Exception):
    """Another program serves there."""


def main(arguments: list[str]) -> int:
    """Serve until nobody uses the model, and return the exit code."""
    options = parse_arguments(arguments)
    set_environment()
    keep_freed_memory()
    try:
        listener = lock_and_bind(options)
    except Taken as error:
        return refuse(str(error), TAKEN)
    except BadInput as error:
        return refuse(str(error), BAD_INPUT)
    try:
        engine = load_engine(options)
        asyncio.run(serve(engine, listener, options))
    except BadInput as error:
        return refuse(str(error), BAD_INPUT)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return refuse("Memory ran out; serve a smaller model.", BAD_INPUT)
    finally:
        if options.socket:
            options.socket.unlink(missing_ok=True)
    return DONE


def refuse(sentence: str, code: int) -> int:
    """Write the sentence, and return the exit code."""
    sys.stderr.write(f"{sentence}\n")
    return code


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.core.serve", description="Serve a model.")
    parser.add_argument("model", help="a folder, or hub:org/name@revision")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="path of a unix socket, of at most 107 bytes")
    where.add_argument("--port", type=int, help="a port of 127.0.0.1")
    parser.add_argument("--name", help="what requests call the model; default: the folder's name")
    parser.add_argument("--idle-s", type=positive(float), default=300.0, help="end after so long without use")
    parser.add_argument("--max-sequences", type=positive(int), default=16, help="conversations at once")
    parser.add_argument("--max-new-tokens", type=positive(int), default=16_384, help="of an answer, at most")
    parser.add_argument(
        "--max-length", type=positive(int), default=MAX_LENGTH, help="tokens of a conversation"
    )
    parser.add_argument(
        "--cache-mb", type=positive(float), default=512.0, help="MiB for conversations that may go on"
    )
    parser.add_argument("--precision", choices=["default", "auto", "float32", "bfloat16"], default="default")
    parser.add_argument("--threads", type=positive(int), help="default: all cores, or one for a small model")
    parser.add_argument("--lock-fd", type=int, help="a descriptor that holds the socket's lock already")
    return parser.parse_args(arguments)


def positive(kind: type[Any]) -> Any:
    """A parser of positive numbers of this type."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


def lock_and_bind(options: argparse.Namespace) -> socket.socket:
    """A bound socket, which does not listen yet. Raises Taken, or BadInput for a place where there can be none."""
    if options.port is not None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", options.port))
            listener.listen(1)  # a port without a listener can be bound twice
        except (OSError, OverflowError) as error:
            raise Taken(f"Port {options.port} cannot be used: {error}.") from None
        return listener
    path = options.socket
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise BadInput(f"The path {path} is too long for a socket: it may have {MAX_SOCKET_PATH} bytes.")
    try:
        lock = options.lock_fd
        if lock is None:
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        path.unlink(missing_ok=True)  # of a program that was killed
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except BlockingIOError:
        raise Taken(f"Another program serves at {path}.") from None
    except OSError as error:
        raise BadInput(f"There can be no socket at {path}: {error.strerror}.") from None
    return listener


def load_engine(options: argparse.Namespace) -> Engine:
    """The model, loaded and tried as generation does it. Raises BadInput."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from training.core import model_loading
    from training.core.sampling import check_shared_cache, end_token_ids
    from training.core.serve.engine import Engine

    disable_progress_bar()  # type: ignore[no-untyped-call]
    source = model_loading.resolve_source(options.model, Path.cwd())
    tokenizer, warnings = model_loading.load_tokenizer(source)
    for message in warnings:
        sys.stderr.write(f"{message}\n")
    model: Any = model_loading.load_policy(source)
    is_small = sum(weight.numel() for weight in model.parameters()) < SMALL_MODEL
    if threads := options.threads or is_small:
        torch.set_num_threads(int(threads))
    precision = choose_precision(model, options.precision)
    encoder = model_loading.build_encoder(
        model, tokenizer, options.max_length, instruction=model_loading.read_instruction(source)
    )
    check_shared_cache(model, encoder.max_length)
    return Engine(
        model_loading.freeze(model, precision),
        encoder,
        end_token_ids(model, encoder),
        max_sequences=options.max_sequences,
        precision=precision,
        max_cache_bytes=options.cache_mb * 2**20,
    )


def choose_precision(model: Any, precision: str) -> str:
    """float32 or bfloat16: `default` and `auto` mean what they do in runs."""
    import torch

    from training.core.precision import choose_precision
    from training.core.serve.engine import PROMPT_PART

    is_accelerated = model.device.type != "cpu"
    torch.set_float32_matmul_precision("high" if is_accelerated else "highest")
    if precision in ("float32", "bfloat16"):
        return precision
    config = model.config.get_text_config()
    width = getattr(config, "hidden_size", None)
    if width is None or (precision == "default" and not is_accelerated):
        return "float32"
    inner = getattr(config, "intermediate_size", None) or 4 * width
    return str(choose_precision(width, inner, PROMPT_PART)["precision"])


async def serve(engine: Engine, listener: socket.socket, options: argparse.Namespace) -> None:
    """Answer requests until the model is idle for too long, or SIGTERM or a client asks the program to end."""
    import uvicorn

    from training.core.serve.app import Server

    class Uvicorn(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            self.should_exit = (
                True  # and no more: uvicorn's own would let the signal end the process after that
            )

    def leave() -> None:
        http.should_exit = True

    name = options.name or Path(options.model).resolve().name
    own = Server(engine, name, options.max_new_tokens, leave if options.socket else None)
    config = uvicorn.Config(
        own.app,
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
    )
    http = Uvicorn(config)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    while not serving.done() and not http.should_exit:
        await asyncio.sleep(CHECK_S)
        if own.idle_s > options.idle_s:
            http.should_exit = True
    if options.socket:
        with suppress(OSError):
            options.socket.unlink()  # nobody connects any more; the lock says when the program has ended
    engine.stop("The model server ends.")
    await serving
    engine.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

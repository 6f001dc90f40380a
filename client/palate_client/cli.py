"""The command `palate`."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from palate_client.client import Palate
from palate_client.commands import add_resource_commands
from palate_client.errors import PalateError
from palate_client.labeling import Item, Judgment, Skip
from palate_client.resources import Json

WAITS = 3
"""The exit code if a round waits for a decision."""
COLUMNS = {
    "metadata": "Columns kept as metadata",
    "preference": "Columns of preferences",
    "ignored": "Columns without use here",
    "left out": "Columns left out",
}
SELECTION = (
    *("votes", "split", "tag", "annotator", "account", "model", "guideline", "round", "since", "until"),
    *("agreement", "gold", "imported", "ai", "opinions"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0; 1 with an error message on standard error; or `WAITS`."""
    parsed = _parser().parse_args(arguments)
    try:
        with Palate(parsed.url, parsed.token) as palate:
            code: int | None = parsed.run(palate, parsed)
    except PalateError as error:
        _print_error(error)
        return 1
    except OSError as error:
        print(f"palate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="palate", description="Palate from the command line.")
    parser.add_argument("--url", help="of the site; otherwise PALATE_URL, or http://localhost:8000")
    parser.add_argument("--token", help="from your account page; otherwise PALATE_TOKEN")
    parser.add_argument("--version", action="version", version=f"palate-client {version('palate-client')}")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("import", help="send a file of prompts and responses")
    command.add_argument("project")
    command.add_argument(
        "file", type=Path, help="JSON Lines, a JSON list, CSV or Parquet, optionally compressed with gzip"
    )
    command.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=ROLE",
        help="what a column of a file of no known format is: prompt, answer, system, context, id, tag, preference, annotator,"
        " metadata, left out",
    )
    command.add_argument(
        "--other-columns",
        choices=("stop", "metadata", "leave out"),
        default="stop",
        help="what becomes of columns that the file's format does not have (default stop)",
    )
    command.add_argument(
        "--set-aside",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of invalid rows that may be set aside (default 0)",
    )
    command.add_argument(
        "--judgments",
        choices=["leave out", "import", "queue"],
        default="leave out",
        help="what becomes of the preferences in the file: leave out (default), import them as judgments, or import them and"
        " queue the items too",
    )
    command.add_argument(
        "--judged-by",
        choices=["person", "machine"],
        default="",
        help="who made them, where neither the rows nor the format say it",
    )
    command.set_defaults(run=_import)

    command = commands.add_parser("export", help="save an export of judgments")
    command.add_argument("project")
    command.add_argument("file", type=Path, help=".jsonl, or .parquet for Parquet; - for standard output")
    command.add_argument("--format", default="trl", help="trl, rankings, raw, kto, sft, … (default trl)")
    command.add_argument("--snapshot", type=int, help="of this snapshot; otherwise the current judgments")
    command.add_argument("--origin", action="store_true", help="add each row's origin")
    command.add_argument("--control", action="store_true", help="only the random sample (control)")
    for name in SELECTION:
        command.add_argument(f"--{name}")
    command.set_defaults(run=_export)

    command = commands.add_parser("label", help="let a Python function judge items")
    command.add_argument("project")
    command.add_argument("function", help="file.py:name; it takes an Item and returns a Judgment or a Skip")
    command.add_argument("--limit", type=int, help="the maximum number of items")
    command.set_defaults(run=_label)

    command = commands.add_parser("rounds", help="start a round of a loop, or follow one")
    acts = command.add_subparsers(required=True, metavar="act")
    act = acts.add_parser("start", help="start a round")
    act.add_argument("project")
    act.add_argument("--loop", type=int, help="its id; by default the project's only loop")
    act.add_argument("--watch", action="store_true", help="follow it")
    act.set_defaults(run=_start_round)
    act = acts.add_parser("watch", help="follow a round until it has ended or waits for a decision")
    act.add_argument("round", type=int)
    act.set_defaults(run=_watch_round)
    add_resource_commands(commands)
    return parser


def _import(palate: Palate, arguments: argparse.Namespace) -> None:
    with tqdm(total=100, unit="%", disable=None) as bar:
        counts = palate.import_file(
            arguments.project,
            arguments.file,
            mapping=dict(column.rpartition("=")[::2] for column in arguments.map),
            other_columns=arguments.other_columns,
            set_aside_share=arguments.set_aside,
            judgments=arguments.judgments,
            judged_by=arguments.judged_by,
            on_change=lambda now: bar.update(now["percent"] - bar.n),
        )
    print(
        f"New prompts: {counts['prompts']:,}, responses: {counts['responses']:,}, items: {counts['items']:,}. "
        f"Imported judgments: {counts['judgments']:,}. Unchanged rows: {counts['unchanged']:,}."
    )
    if counts["held_back"]:
        print(f"Left out: {counts['held_back']:,} × near-identical answers")
    for what, number in {**counts["set_aside"], **counts["left_out"]}.items():
        print(f"Left out: {number:,} × {what}")
    for number, sentence in counts["errors"]:
        print(f"Set aside: {counts['unit']} {number:,}: {sentence}")
    if counts["more_errors"]:
        print(f"Set aside: {counts['more_errors']:,} more")
    for use in ("metadata", "preference", "ignored", "left out"):
        if names := [name for name, its_use in counts["columns"].items() if its_use == use]:
            print(f"{COLUMNS[use]}: {', '.join(names)}")


def _export(palate: Palate, arguments: argparse.Namespace) -> None:
    selection: dict[str, Any] = {name: getattr(arguments, name) for name in SELECTION}
    selection |= {
        "format": arguments.format,
        "file": "parquet" if arguments.file.suffix == ".parquet" else None,
        "origin": arguments.origin or None,
        "control": arguments.control or None,
    }
    is_stdout = str(arguments.file) == "-"
    with tempfile.TemporaryDirectory() as folder, _bar(None) as bar:
        file = Path(folder, "export.jsonl") if is_stdout else arguments.file
        palate.export(arguments.project, file, snapshot=arguments.snapshot, on_bytes=bar.update, **selection)
        if is_stdout:
            with file.open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            return
    print(f"{file}: {file.stat().st_size:,} bytes")


def _label(palate: Palate, arguments: argparse.Namespace) -> None:
    function = _load_function(arguments.function)
    with tqdm(total=arguments.limit, unit=" items", disable=None) as bar:
        judged = palate.label(arguments.project, function, limit=arguments.limit, on_item=bar.update)
    print(f"{judged:,} items judged.")


def _start_round(palate: Palate, arguments: argparse.Namespace) -> int:
    loop = arguments.loop
    if loop is None:
        loops = palate.loops(arguments.project)
        if len(loops) != 1:
            raise PalateError(0, f"{arguments.project} has {len(loops)} loops: name one with --loop.")
        loop = loops[0]["id"]
    started = palate.start_round(loop)
    print(f"Round {started['number']} has started (id {started['id']}).")
    return _follow(palate, started["id"]) if arguments.watch else 0


def _watch_round(palate: Palate, arguments: argparse.Namespace) -> int:
    return _follow(palate, arguments.round)


def _follow(palate: Palate, id: int) -> int:
    """Print each step when it starts, and the result of the round. Returns the exit code.

    Raises:
        PalateError: it failed or was cancelled.
    """
    final = palate.watch_round(id, on_change=_print_step)
    name = f"Round {final['number']}"
    if final["state"] == "failed":
        raise PalateError(0, f"{name} failed at “{_step(final)[1]}”: {final['error']}")
    if final["state"] == "cancelled":
        raise PalateError(0, f"{name} was cancelled.")
    if final["state"] == "done":
        print(f"{name} is done: its policy was {'' if final['decision'] == 'promoted' else 'not '}promoted.")
        return 0
    if final["state"] == "awaiting":
        print(f"{name} waits for a decision: promote its policy, or reject it.")
    else:
        no = [
            gate["sentence"]
            for gate in final["gates"]
            if gate["step"] == final["step"] and not gate["passed"]
        ]
        print(f"{name} is held: overrule its gates, do a step again, or cancel it. {' '.join(no)}")
    return WAITS


def _print_step(round: Json) -> None:
    if round["state"] == "working":
        number, title = _step(round)
        print(f"{number} of {len(round['plan'])}: {title}", flush=True)


def _step(round: Json) -> tuple[int, str]:
    """Number and title of its current step."""
    return next(
        (n, step["title"]) for n, step in enumerate(round["plan"], 1) if step["name"] == round["step"]
    )


def _load_function(name: str) -> Callable[[Item], Judgment | Skip]:
    """`file.py:function`."""
    path, _, function = name.rpartition(":")
    if not path or not Path(path).is_file():
        raise PalateError(0, f"{name!r} is not file.py:function.")
    spec = importlib.util.spec_from_file_location("palate_annotator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded: Callable[[Item], Judgment | Skip] | None = getattr(module, function, None)
    if not callable(loaded):
        raise PalateError(0, f"{path} has no function {function!r}.")
    return loaded


def _bar(total: int | None) -> Any:
    """A progress bar, shown only on a terminal."""
    return tqdm(total=total, unit="B", unit_scale=True, disable=None)


def _print_error(error: PalateError) -> None:
    print(f"palate: {error}", file=sys.stderr)
    if isinstance(error.errors, list):
        for line in error.errors[:20]:
            print(f"  {line.get('unit', 'line')} {line['line']}: {line['message']}", file=sys.stderr)

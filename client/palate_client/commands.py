"""The commands of `palate` that list and change a resource: each prints a table, or the API's JSON with `--json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from palate_client.client import Palate
from palate_client.errors import PalateError
from palate_client.resources import Json

COLUMNS = {
    "project": ("slug", "name", "role", "task"),
    "member": ("id", "username", "role", "account", "pseudonym"),
    "snapshot": ("number", "judgments", "pairs", "imported", "note", "created_at"),
    "run": ("id", "kind", "state", "percent", "snapshot", "output"),
    "model": ("id", "name", "kind", "current", "parent"),
    "loop": ("id", "name", "recipe", "active"),
    "round": ("id", "number", "state", "step", "decision"),
    "webhook": ("id", "url", "active", "events"),
    "commit": ("url",),
    "token": ("id", "name", "scope", "created_at", "expires_at", "last_used_at"),
}
"""The columns of a table, by resource."""


def add_resource_commands(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    projects = _group(commands, "projects", "your projects")
    _command(projects, "list", _list_projects, "project")
    act = _command(projects, "create", _create_project, "project", ("name",))
    act.add_argument(
        "--guideline", type=Path, required=True, help="a file with the first guidelines, in Markdown"
    )
    act.add_argument("--set", **_SETTINGS)

    members = _group(commands, "members", "the members of a project")
    _command(members, "list", lambda palate, a: palate.members(a.project), "member", ("project",))
    act = _command(members, "add", _add_member, "member", ("project", "username"))
    act.add_argument("--role", choices=("annotator", "reviewer", "lead"), default="annotator")

    act = _command(commands, "freeze", _freeze, "snapshot", ("project",), "create a snapshot")
    act.add_argument("--note", default="")
    act.add_argument("--licence", default="")
    act.add_argument("--imported", action="store_true", help="with the imported judgments")
    snapshots = _group(commands, "snapshots", "the snapshots of a project")
    _command(snapshots, "list", lambda palate, a: palate.snapshots(a.project), "snapshot", ("project",))

    runs = _group(commands, "runs", "training runs")
    _command(runs, "list", lambda palate, a: palate.runs(a.project), "run", ("project",))
    act = _command(runs, "start", _start_run, "run", ("project", "kind"))
    act.add_argument("--snapshot", type=int, help="its number")
    act.add_argument("--model", type=int, help="its id")
    act.add_argument("--name", help="of the model that the run makes")
    for name, option in _RESOURCES.items():
        act.add_argument(f"--{name}", **option)
    act.add_argument("--set", **_SETTINGS)
    act.add_argument("--watch", action="store_true", help="follow it to its end")
    for verb, method in (("watch", _watch_run), ("cancel", _cancel_run), ("resume", _resume_run)):
        _command(runs, verb, method, "run", ("id",))

    models = _group(commands, "models", "the models of a project")
    _command(models, "list", lambda palate, a: palate.models(a.project), "model", ("project",))
    _command(commands, "promote", _promote, "model", ("id",), "make a model the current one of its kind")

    loops = _group(commands, "loops", "the loops of a project")
    _command(loops, "list", lambda palate, a: palate.loops(a.project), "loop", ("project",))
    act = _command(commands, "overrule", _overrule, "round", ("round",), "overrule the gates of a round")
    act.add_argument("--reason", required=True)

    webhooks = _group(commands, "webhooks", "the webhooks of a project")
    _command(webhooks, "list", lambda palate, a: palate.webhooks(a.project), "webhook", ("project",))
    act = _command(webhooks, "add", _add_webhook, "webhook", ("project", "url"))
    act.add_argument("--event", action="append", required=True, help="may be repeated")

    tokens = _group(commands, "tokens", "your API tokens")
    _command(tokens, "list", lambda palate, _: palate.tokens(), "token")
    _command(tokens, "revoke", _revoke_token, "token", ("id",))

    act = _command(
        commands,
        "push",
        _push,
        "commit",
        ("project", "repository"),
        "upload a snapshot to the Hugging Face hub",
    )
    act.add_argument("--snapshot", type=int, required=True, help="its number")
    act.add_argument("--public", action="store_true", help="make a new repository public")


_RESOURCES: dict[str, dict[str, Any]] = {
    "nodes": {"type": int, "help": "how many do the run together"},
    "gpus": {"type": int, "help": "on each node"},
    "queue": {"help": "of the cluster's scheduler"},
    "priority": {"type": int, "help": "of the runs that wait, higher ones are started first"},
}
_SETTINGS: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "NAME=VALUE",
    "help": "a setting that differs from its default; the value is read as JSON if it is any",
}


def _group(commands: Any, name: str, about: str) -> Any:
    return commands.add_parser(name, help=about).add_subparsers(required=True, metavar="command")


def _command(
    commands: Any, name: str, method: Any, resource: str, arguments: Sequence[str] = (), about: str = ""
) -> argparse.ArgumentParser:
    """Add a command that prints what `method` returns."""

    def run(palate: Palate, parsed: argparse.Namespace) -> None:
        returned = method(palate, parsed)
        if parsed.json:
            print(json.dumps(returned, indent=1, ensure_ascii=False))
        else:
            print_table(returned if isinstance(returned, list) else [returned], COLUMNS[resource])

    command: argparse.ArgumentParser = commands.add_parser(name, help=about or None)
    for argument in arguments:
        command.add_argument(argument, type=int if argument in ("id", "round") else str)
    command.add_argument("--json", action="store_true", help="print what the API returns")
    command.set_defaults(run=run)
    return command


def print_table(rows: Sequence[Json], columns: Sequence[str]) -> None:
    """Print rows under their columns, which are left out where no row has one."""
    columns = [name for name in columns if any(_value(row, name) is not None for row in rows)]
    lines = [columns, *([_text(_value(row, name)) for name in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _value(row: Json, name: str) -> Any:
    return row[name] if name in row else row.get("counts", {}).get(name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _settings(pairs: Sequence[str]) -> Json:
    """Settings from `name=value`.

    Raises:
        PalateError: one has no `=`.
    """
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise PalateError(0, f"--set {pair}: give NAME=VALUE.")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


def _list_projects(palate: Palate, arguments: argparse.Namespace) -> list[Json]:
    return palate.projects()


def _create_project(palate: Palate, arguments: argparse.Namespace) -> Json:
    guideline = arguments.guideline.read_text(encoding="utf-8")
    return palate.create_project(arguments.name, guideline, **_settings(arguments.set))


def _add_member(palate: Palate, arguments: argparse.Namespace) -> Json:
    return palate.add_member(arguments.project, arguments.username, arguments.role)


def _freeze(palate: Palate, arguments: argparse.Namespace) -> Json:
    with tqdm(total=100, unit="%", leave=False, disable=None) as bar:
        return palate.freeze(
            arguments.project,
            note=arguments.note,
            licence=arguments.licence,
            imported=arguments.imported,
            on_change=lambda job: bar.update(job["percent"] - bar.n),
        )


def _start_run(palate: Palate, arguments: argparse.Namespace) -> Json:
    values: Json = {name: getattr(arguments, name) for name in ("snapshot", "model")}
    values = {name: value for name, value in values.items() if value is not None}
    if arguments.name:
        values["inputs"] = {"name": arguments.name}
    resources = {name: getattr(arguments, name) for name in _RESOURCES}
    if resources := {name: value for name, value in resources.items() if value is not None}:
        values["resources"] = resources
    run = palate.start_run(arguments.project, arguments.kind, config=_settings(arguments.set), **values)
    return _follow(palate, run["id"]) if arguments.watch else run


def _watch_run(palate: Palate, arguments: argparse.Namespace) -> Json:
    return _follow(palate, arguments.id)


def _follow(palate: Palate, id: int) -> Json:
    """The run when it has ended.

    Raises:
        PalateError: it failed or was cancelled.
    """
    final = palate.watch_run(
        id,
        on_change=lambda now: print(
            f"Run {id}: {now['state']}, {now['percent']}%", file=sys.stderr, flush=True
        ),
    )
    if final["state"] != "done":
        raise PalateError(0, f"Run {id} is {final['state']}. {final.get('error') or ''}".strip())
    return final


def _cancel_run(palate: Palate, arguments: argparse.Namespace) -> Json:
    return palate.cancel_run(arguments.id)


def _resume_run(palate: Palate, arguments: argparse.Namespace) -> Json:
    return palate.resume_run(arguments.id)


def _promote(palate: Palate, arguments: argparse.Namespace) -> Json:
    return palate.promote_model(arguments.id)


def _overrule(palate: Palate, arguments: argparse.Namespace) -> Json:
    return palate.decide_round(arguments.round, "overrule", reason=arguments.reason)


def _add_webhook(palate: Palate, arguments: argparse.Namespace) -> Json:
    hook = palate.add_webhook(arguments.project, arguments.url, arguments.event)
    if "secret" in hook and not arguments.json:
        print(f"Its secret, which is shown only once: {hook['secret']}")
    return hook


def _revoke_token(palate: Palate, arguments: argparse.Namespace) -> list[Json]:
    """The tokens that are left."""
    palate.revoke_token(arguments.id)
    return palate.tokens()


def _push(palate: Palate, arguments: argparse.Namespace) -> Json:
    url = palate.push_to_hub(
        arguments.project, arguments.repository, snapshot=arguments.snapshot, private=not arguments.public
    )
    return {"url": url}

"""Keys of the judging screens: commands with their default keys, what an annotator changed, and the list of keys.

A command has one key at any number of answers, so a key is never a letter that names an answer, nor a digit. The list of keys,
the hints on buttons, the scripts and the settings page read the commands here; a new command is one entry of `COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from annotation.logic.ranking import LETTERS
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop

RANK, COMPARE, WRITE = "rank", "compare", "write improve"
SEVERAL = f"{RANK} {COMPARE}"
ALL = f"{SEVERAL} {WRITE}"


@dataclass(frozen=True)
class Command:
    """What a key does. `screens` are the kinds of items that have it, `asks` what a project has to ask for: ratings, safety or
    flags."""

    name: str
    key: str
    label: str
    help: str
    screens: str = ALL
    asks: str = ""


@dataclass(frozen=True)
class FixedKeys:
    """Keys that are the same for everybody."""

    keys: tuple[str, ...]
    help: str
    screens: str = ALL
    asks: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the list of keys. An ellipsis in `keys` is no key."""

    keys: tuple[str, ...]
    help: str
    screens: str


# in the order of the list: choices, ratings, everything else
GROUPS: tuple[tuple[Command | FixedKeys, ...], ...] = (
    (
        FixedKeys(
            ("1", "…", "9"),
            gettext_noop("rank the selected answer; 1 is best, the same digit twice is a tie"),
            RANK,
        ),
        FixedKeys(
            ("1", "…", "4"),
            gettext_noop("A is significantly better, better, slightly better, negligibly better / unsure"),
            COMPARE,
        ),
        FixedKeys(
            ("5", "…", "8"),
            gettext_noop("B is negligibly better / unsure, slightly better, better, significantly better"),
            COMPARE,
        ),
        FixedKeys(("A", "B", "…"), gettext_noop("select an answer"), SEVERAL),
        FixedKeys(
            ("←", "→"),
            gettext_noop("select the one before or after it, where one is shown at a time"),
            SEVERAL,
        ),
        FixedKeys(("↑", "↓"), gettext_noop("move it up or down"), RANK),
        Command("tie", "=", gettext_noop("Tie"), gettext_noop("tie it with the one above"), RANK),
        FixedKeys(("0",), gettext_noop("remove its rank"), RANK),
        Command(
            "undo",
            "U",
            gettext_noop("Undo"),
            gettext_noop("undo; within ten seconds of a submit, change it"),
            SEVERAL,
        ),
        FixedKeys(("Enter",), gettext_noop("submit, once all are ranked"), RANK),
        FixedKeys(("Ctrl", "Enter"), gettext_noop("submit"), WRITE),
        FixedKeys(("Escape",), gettext_noop("leave the editor, for the keys below"), WRITE),
    ),
    (
        FixedKeys(
            ("Shift", "1", "…", "9"),
            gettext_noop("rate the selected answer: its first rating that is not given yet"),
            SEVERAL,
            asks="ratings",
        ),
        Command("safe", "Y", gettext_noop("Safe"), gettext_noop("mark it safe"), SEVERAL, asks="safety"),
        Command(
            "unsafe", "N", gettext_noop("Unsafe"), gettext_noop("mark it unsafe"), SEVERAL, asks="safety"
        ),
        Command(
            "flags", "L", gettext_noop("Flags"), gettext_noop("its flags (labels)"), SEVERAL, asks="flags"
        ),
    ),
    (
        Command(
            "differences",
            "W",
            gettext_noop("Differences"),
            gettext_noop("its differences from another answer, word by word"),
            SEVERAL,
        ),
        Command(
            "expand",
            "X",
            gettext_noop("Expand"),
            gettext_noop("expand or collapse the selected answer"),
            SEVERAL,
        ),
        Command(
            "source",
            "V",
            gettext_noop("Source"),
            gettext_noop(
                "the source of the selected answer, or of the last message where that is in focus; again: rendered"
            ),
        ),
        Command("skip", "S", gettext_noop("Skip"), gettext_noop("skip, with a reason")),
        Command("ask", "Q", gettext_noop("Ask"), gettext_noop("ask a reviewer about this item")),
        Command(
            "previous", "P", gettext_noop("Previous judgment"), gettext_noop("back to your previous judgment")
        ),
        Command("guidelines", "M", gettext_noop("Guidelines"), gettext_noop("guidelines (the manual)")),
        Command("view", "T", gettext_noop("View"), gettext_noop("layout and text size")),
        Command("keys", "?", gettext_noop("Keys"), gettext_noop("this list")),
    ),
)
COMMANDS = {entry.name: entry for group in GROUPS for entry in group if isinstance(entry, Command)}


def keys_of(changes: object) -> dict[str, str]:
    """The key of each command, by its name. `changes` is what an account stores: keys that differ from the defaults. Where it
    makes no sense, for example because a later version has a command more, all defaults apply."""
    stored = changes if isinstance(changes, Mapping) else {}
    keys = {name: stored.get(name, command.key) for name, command in COMMANDS.items()}
    return default_keys() if problems(keys) else keys


def default_keys() -> dict[str, str]:
    return {name: command.key for name, command in COMMANDS.items()}


def changed(keys: Mapping[str, str]) -> dict[str, str]:
    """The keys that differ from the defaults, as an account stores them."""
    return {name: key for name, key in keys.items() if key != COMMANDS[name].key}


def normalized(key: str) -> str:
    """A key as it is stored and shown: a letter in upper case."""
    upper = key.upper()  # of "ß" it is two letters
    return upper if len(upper) == 1 else key


def problems(keys: Mapping[str, object]) -> dict[str, str]:
    """Why these keys cannot be used: a sentence by command, none for those whose keys are good."""
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    for name, command in COMMANDS.items():
        key, label = keys.get(name), _(command.label)
        if not isinstance(key, str) or not key:
            found[name] = _("%(command)s has no key.") % {"command": label}
        elif sentence := _unusable(key):
            found[name] = _("%(command)s: %(problem)s") % {"command": label, "problem": sentence}
        elif key in first:
            both = _(
                "“%(key)s” is the key of both %(other)s and %(command)s. Choose another for one of them."
            )
            other = _(COMMANDS[first[key]].label)
            found[name] = both % {"key": key, "other": other, "command": label}
        else:
            first[key] = name
    return found


def _unusable(key: str) -> str:
    if len(key) != 1 or not key.isprintable() or key.isspace():
        return _("a key is one letter or sign.")
    if key != normalized(key):
        return _("“%(key)s” is written %(normalized)s.") % {"key": key, "normalized": normalized(key)}
    values = {"key": key, "last": LETTERS[-1]}
    if key in LETTERS:
        return _("“%(key)s” selects answer %(key)s. Choose a letter after %(last)s, or a sign.") % values
    if key.isdecimal():
        return _("“%(key)s” is a rank or a choice. Choose a letter after %(last)s, or a sign.") % values
    return ""


def list_of_keys(keys: Mapping[str, str], asked: Collection[str]) -> list[list[Line]]:
    """The list of keys in its groups, for a project that asks these questions about each answer."""
    groups = [
        [
            Line(
                (keys[entry.name],) if isinstance(entry, Command) else entry.keys,
                _(entry.help),
                entry.screens,
            )
            for entry in group
            if not entry.asks or entry.asks in asked
        ]
        for group in GROUPS
    ]
    return [group for group in groups if group]

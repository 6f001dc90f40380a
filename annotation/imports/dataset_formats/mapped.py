"""The format of a file whose columns a lead has mapped to their roles, for files that are of no known format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    build_prompt,
    is_empty,
    read_conversation,
)
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import Preference, as_text, choose
from annotation.imports.prompt_schema import ImportedPrompt, read_id, read_messages, read_text
from annotation.logic.ranking import LETTERS
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop

COLUMN_ROLES = {
    "prompt": gettext_noop("Prompt"),
    "answer": gettext_noop("Answer"),
    "system": gettext_noop("System message"),
    "context": gettext_noop("Text before the prompt"),
    "id": gettext_noop("ID"),
    "tag": gettext_noop("Tag"),
    "preference": gettext_noop("The better answer"),
    "annotator": gettext_noop("Who judged"),
    "metadata": gettext_noop("Metadata"),
    "left out": gettext_noop("Leave out"),
}
"""What a column may be, in English. There may be several answers, tags, columns of metadata and columns that are left out. The
better answer is given by its column's name, its letter (A is the first), its number from 1, or `tie`."""
_ONCE = ("prompt", "system", "context", "id", "preference", "annotator")

ColumnMapping = Mapping[str, str]
"""The role of each column, a key of `COLUMN_ROLES`."""


_USUAL_NAMES = {
    "prompt": r"prompt|question|instruction|query|input|user.?message",
    "answer": r"[a-i]|(answer|response|completion|output|reply|candidate|option).?([a-i]|\d)?",
    "preference": r"winner|preference|preferred|better|best|choice|label",
    "annotator": r"annotator|worker|judge|rater|user.?(id|name)?",
    "id": r"id|(row|prompt|item).?id",
    "system": r"system.?(prompt|message)?",
    "context": r"context|passage|document",
}


def guess_role(column: str) -> str:
    """The likely role of a column of this name; empty if it says nothing."""
    name = column.strip().lower()
    return next((role for role, usual in _USUAL_NAMES.items() if re.fullmatch(usual, name)), "")


class MappingError(ValueError):
    """What is wrong with a column mapping, in a sentence."""


@dataclass(frozen=True)
class MappedFormat(DatasetFormat):
    """roles: the mapping. Columns without a role are treated as in any other format."""

    roles: ColumnMapping = field(default_factory=dict)

    def use_of(self, column: str) -> str:
        role = self.roles.get(column, "other")
        if role in ("preference", "annotator"):
            return "preference"
        return role if role in ("metadata", "left out", "other") else "read"


def mapped_format(mapping: ColumnMapping) -> MappedFormat:
    """The format of files with these columns.

    Raises:
        MappingError: it has an unknown role, no prompt, or two columns for what there is one of.
    """
    for column, role in mapping.items():
        if problem := storage_problem(column):
            raise MappingError(_("The name of a column %(problem)s.") % {"problem": problem})
        if not isinstance(role, str) or role not in COLUMN_ROLES:
            raise MappingError(
                _("%(column)s: %(role)s is none of the roles %(roles)s.")
                % {"column": column, "role": repr(str(role)[:40]), "roles": ", ".join(COLUMN_ROLES)}
            )
    columns = {role: [c for c, its_role in mapping.items() if its_role == role] for role in COLUMN_ROLES}
    for role in _ONCE:
        if len(columns[role]) > 1:
            raise MappingError(
                _("%(columns)s: only one column can be the %(role)s.")
                % {"columns": _(" and ").join(columns[role]), "role": role}
            )
    if not columns["prompt"]:
        raise MappingError(_("No column is the prompt."))

    def only(row: JsonObject, role: str) -> object:
        return row.get(columns[role][0]) if columns[role] else None

    def convert(row: JsonObject) -> ImportedPrompt:
        [name] = columns["prompt"]
        prompt = row.get(name)
        messages = read_messages(read_conversation(prompt, name) if isinstance(prompt, list) else prompt)
        if not is_empty(context := only(row, "context")):
            before = read_text(context, columns["context"][0])
            messages[-1]["content"] = f"{before}\n\n{messages[-1]['content']}"
        if not is_empty(system := only(row, "system")):
            messages.insert(0, {"role": "system", "content": read_text(system, columns["system"][0])})
        converted = build_prompt(messages, [Answer(row.get(column)) for column in columns["answer"]])
        tags = [
            read_text(row[column], column, limit=60)
            for column in columns["tag"]
            if not is_empty(row.get(column))
        ]
        id = only(row, "id")
        external_id = converted.external_id if is_empty(id) else read_id(id, columns["id"][0])
        return replace(converted, tags=tags, external_id=external_id)

    def judge(row: JsonObject) -> list[Preference]:
        answers = columns["answer"]
        best = [[1 if other == n else 2 for other in range(len(answers))] for n in range(len(answers))]
        ranks: dict[object, list[int]] = {}
        # a name goes before a letter, a letter before the text of an answer
        for names in (
            map(str.lower, answers),
            LETTERS.lower(),
            map(str, range(1, len(answers) + 1)),
            (as_text(row.get(name)).strip().lower() for name in answers),
        ):
            for name, first in zip(names, best, strict=False):
                ranks.setdefault(name, first)
        ranks.setdefault("tie", [1] * len(answers))
        better = only(row, "preference")
        better = as_text(int(better) if isinstance(better, float) and better.is_integer() else better)
        annotator = as_text(only(row, "annotator"))[:200]
        return [Preference(choose(better.strip().lower(), ranks), annotator=annotator)]

    required = (*columns["prompt"], *columns["answer"])
    return MappedFormat(
        "mapped",
        gettext_noop("Columns mapped by hand"),
        required,
        convert,
        judge=judge if columns["preference"] else None,
        roles=dict(mapping),
    )

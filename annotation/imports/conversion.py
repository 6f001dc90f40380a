"""Conversion of a file's rows from one dataset format, with an account of what becomes of each of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from annotation.imports.dataset_formats import DATASET_FORMATS, PALATE, DatasetFormat, MappedFormat
from annotation.imports.dataset_formats.base import LATER_TURNS, read_author, read_json_text
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import SECOND, NoPreference, Preference, as_text, ranks_by_score
from annotation.imports.prompt_schema import (
    FIELDS,
    ImportedPrompt,
    RowError,
    check_metadata,
    read_prompt,
    read_text,
)
from annotation.logic.limits import MAX_RESPONSES, MAX_TEXT_CHARS
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

OtherColumns = Literal["stop", "metadata", "leave out"]
BESIDE = ("system", "system_prompt", "context")
"""Columns that are read beside any format that does not read them itself: they become a part of the prompt."""


UNEXPECTED = (AttributeError, ArithmeticError, LookupError, RecursionError, TypeError)
"""What a value of another type than a format has raises, where its functions do not look for it."""
MAX_COLUMNS = 2000
"""Of all rows of a file."""


class UnknownJudge(RowError):
    """It is not known who made the preferences of a row."""


@dataclass
class Converter:
    """Converts the rows of one file.

    Args:
        other_columns: what becomes of columns that the format does not declare and that hold texts, lists or objects.
            Numbers and booleans are kept as metadata unless they are to be left out.
        with_judgments: convert the preferences too.
        judged_by: who made them, where neither the row nor the format says it.
    """

    format: DatasetFormat
    min_responses: int = 2
    other_columns: OtherColumns = "stop"
    with_judgments: bool = False
    judged_by: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    """What has become of each column so far: `read`, `metadata`, `preference`, `ignored`, `left out`; or `undecided`."""

    _undecided: list[str] = field(default_factory=list)
    _more_specific: dict[frozenset[str], str] = field(default_factory=dict)
    """By the columns of a row, the title of a format that fits it better than the file's; empty if none does."""

    @property
    def has_unique_ids(self) -> bool:
        """Whether each row has an id of its own, so that no other row may have the same."""
        return self.format is PALATE or (
            isinstance(self.format, MappedFormat) and "id" in self.format.roles.values()
        )

    @property
    def undecided(self) -> list[str]:
        """The columns about which a lead has to decide."""
        return self._undecided

    def convert(self, row: JsonObject) -> ImportedPrompt:
        """A row as a prompt with its responses; the first one, if the row has several.

        Raises:
            RowError: the row is invalid.
            NotComparable: the row is valid, but there is nothing to compare.
        """
        return self.convert_all(row)[0]

    def convert_all(self, row: JsonObject, members: Sequence[JsonObject] = ()) -> list[ImportedPrompt]:
        """All prompts of a row, which stands for `members` of the file if it was joined from these.

        Raises:
            RowError, NotComparable: see `convert`.
        """
        if not members:
            self._check_format(row)
            row = dict.fromkeys(self.format.required) | row
        row = {
            name: None if value != value else value for name, value in row.items()
        }  # NaN is null to pandas
        metadata: JsonObject = {}
        for values in members or [row]:
            for name, value in values.items():
                if self._use(name, value) == "metadata" and value is not None:
                    metadata[name] = value
        try:
            parts = self.format.split(row) if self.format.split else [row]
            return [self._convert_part(part, row, metadata) for part in parts]
        except UNEXPECTED:
            raise RowError(
                _("not a row of the format %(format)s") % {"format": _(self.format.title)}
            ) from None

    def _convert_part(self, part: JsonObject, row: JsonObject, metadata: JsonObject) -> ImportedPrompt:
        if self.format is PALATE:
            known = {name: value for name, value in row.items() if name in FIELDS}
            prompt = read_prompt(known, min_responses=self.min_responses)
        else:
            prompt = self.format.convert(part)
        chosen_first = self._chosen_is_first(part)
        prompt = self._add_judgments(prompt, part)
        prompt = add_origin(self._add_beside(prompt, row), row.get("origin"), chosen_first=chosen_first)
        prompt = add_account(prompt, self.judged_by or self.format.judged_by)
        if self.format.one_response_per_row and prompt.responses:
            [response] = prompt.responses
            metadata = {**response.metadata, **metadata}
            return replace(prompt, responses=[replace(response, metadata=check_metadata(metadata))])
        return replace(prompt, metadata=check_metadata({**prompt.metadata, **metadata}))

    def _chosen_is_first(self, part: JsonObject) -> bool:
        """Whether the first of two answers is the one that `chosen_model` in `origin` wrote."""
        if not is_origin(part.get("origin")) or self.format.judge is None:
            return True
        try:
            return [judgment.ranks for judgment in self.format.judge(part)] != [SECOND]
        except (NoPreference, RowError, *UNEXPECTED):
            return True

    def _add_judgments(self, prompt: ImportedPrompt, row: JsonObject) -> ImportedPrompt:
        """The prompt with the row's preferences, or with the reason why it has none; without any if they are not wanted."""
        if not self.with_judgments:
            return replace(prompt, judgments=[]) if prompt.judgments else prompt
        if self.format.judge is None:
            return prompt
        if _(LATER_TURNS) in prompt.left_out:
            return replace(
                prompt, left_out=(*prompt.left_out, _("preferences between conversations of several turns"))
            )
        details = {name: row[name] for name in self.format.about_preferences if row.get(name) is not None}
        try:
            judgments = [_checked(judgment, prompt, details) for judgment in self.format.judge(row)]
        except NoPreference as reason:
            return replace(prompt, left_out=(*prompt.left_out, str(reason)))
        except RowError as error:
            return replace(
                prompt,
                left_out=(
                    *prompt.left_out,
                    _("preferences that cannot be read (%(error)s)") % {"error": error},
                ),
            )
        except UNEXPECTED:
            return replace(prompt, left_out=(*prompt.left_out, _("preferences that cannot be read")))
        return replace(prompt, judgments=[*prompt.judgments, *judgments])

    def judge_merged(self, prompt: ImportedPrompt) -> ImportedPrompt:
        """A prompt that was merged from rows of one response each, ordered by the score that each row has."""
        if not self.with_judgments or not self.format.score:
            return prompt
        scores = [response.metadata.get(self.format.score) for response in prompt.responses]
        try:
            ranks = ranks_by_score([int(score) if isinstance(score, bool) else score for score in scores])
        except NoPreference as reason:
            return replace(prompt, left_out=(*prompt.left_out, str(reason)))
        annotator, account = prompt.judge[:2]
        judged = replace(prompt, judgments=[Preference(ranks, annotator, account)])
        return add_account(judged, self.judged_by or self.format.judged_by)

    def _check_format(self, row: JsonObject) -> None:
        """
        Raises:
            RowError: the row is of a format that requires more columns than the file's.
        """
        columns = frozenset(row)
        if columns not in self._more_specific:
            needed = len(self.format.required)
            found = (f.title for f in DATASET_FORMATS.values() if len(f.required) > needed and f.matches(row))
            self._more_specific[columns] = next(found, "")
        if title := self._more_specific[columns]:
            raise RowError(
                _("a row of the format %(other)s, but the file begins with %(format)s")
                % {"other": _(title), "format": _(self.format.title)}
            )

    def _use(self, name: str, value: object) -> str:
        use = self.format.use_of(name)
        if use == "other":
            if self._is_beside(name, value):
                use = "read"
            elif self.other_columns == "leave out":
                use = "left out"
            elif self.other_columns == "metadata" or isinstance(value, bool | int | float):
                use = "metadata"
            elif value is None:
                use = self.columns.get(name, "metadata")  # nothing to decide about yet
            else:
                use = "undecided"
        if name not in self.columns:
            if problem := storage_problem(name):
                raise RowError(_("the name of a column %(problem)s") % {"problem": problem})
            if len(self.columns) == MAX_COLUMNS:
                raise RowError(
                    _("%(name)s: the file has more than %(most)s different columns")
                    % {"name": name[:40], "most": format_number(MAX_COLUMNS)}
                )
        if self.columns.get(name) != "undecided":
            self.columns[name] = use
            if use == "undecided":
                self._undecided.append(name)
        return use

    def _is_beside(self, name: str, value: object) -> bool:
        """Whether a column is read beside any format."""
        if name == "origin":
            return is_origin(value)
        return name in BESIDE and (value is None or isinstance(value, str))

    def _add_beside(self, prompt: ImportedPrompt, row: Mapping[str, Any]) -> ImportedPrompt:
        messages = list(prompt.messages)
        for name in BESIDE:
            text = row.get(name)
            if self.format.use_of(name) != "other" or not isinstance(text, str) or not text.strip():
                continue
            text = read_text(text, name)
            if name == "context":
                last = messages[-1]
                messages[-1] = {"role": last["role"], "content": f"{text}\n\n{last['content']}"}
            elif messages[0]["role"] == "system":
                raise RowError(_("%(name)s: the prompt has a system message already") % {"name": name})
            else:
                messages.insert(0, {"role": "system", "content": text})
        return prompt if messages == prompt.messages else prompt.with_messages(messages)


def _checked(judgment: Preference, prompt: ImportedPrompt, details: JsonObject) -> Preference:
    """A judgment of the responses that a prompt has, with further details.

    Raises:
        NoPreference: it is of other answers.
        RowError: it cannot be stored.
    """
    if len(judgment.ranks) != prompt.answer_count:
        raise NoPreference(_("preferences between another number of answers"))
    for name, text in (("annotator", judgment.annotator), ("rationale", judgment.rationale)):
        if text and (problem := storage_problem(text)):
            raise RowError(f"{name}: {problem}")
    return replace(
        judgment.restricted_to(prompt.positions),
        rationale=judgment.rationale[:MAX_TEXT_CHARS],
        details=check_metadata(details | judgment.details, "details"),
    )


def is_origin(value: object) -> bool:
    """Whether a value is the column `origin` of our exports."""
    return isinstance(value, dict) and "prompt_id" in value


def add_origin(prompt: ImportedPrompt, origin: object, *, chosen_first: bool = True) -> ImportedPrompt:
    """The prompt with the id, tags, authors and metadata that the column `origin` of our exports has.

    Raises:
        RowError: one of them is invalid.
    """
    if not isinstance(origin, dict) or not is_origin(origin):
        return prompt
    authors = _list(origin.get("models"))
    if "chosen_model" in origin:
        authors = [origin["chosen_model"], origin.get("rejected_model")][:: 1 if chosen_first else -1]
    annotator, account = (as_text(origin.get(name)) for name in ("annotator", "account"))
    judgments = [
        replace(judgment, annotator=judgment.annotator or annotator, account=judgment.account or account)
        for judgment in prompt.judgments
    ]
    responses = prompt.responses
    if len(authors) == len(responses):
        responses = [
            replace(r, author=read_author(author)) for r, author in zip(responses, authors, strict=True)
        ]
    return replace(
        prompt,
        external_id=read_text(origin["prompt_id"], "origin.prompt_id", limit=200),
        tags=[read_text(tag, "origin.tags", limit=60) for tag in _list(origin.get("tags"))],
        responses=responses,
        judgments=judgments,
        judge=(annotator, account, as_text(origin.get("judgment"))),
        metadata={**prompt.metadata, **as_object(read_json_text(origin.get("metadata"), "origin.metadata"))},
    )


def add_account(prompt: ImportedPrompt, account: str = "") -> ImportedPrompt:
    """The prompt, each of its judgments by a person or a machine: as the file says, or else by `account`.

    Raises:
        UnknownJudge: it is not known whether people or models judged.
    """
    judgments = [replace(j, account=j.account or account) for j in prompt.judgments]
    if not all(judgment.account for judgment in judgments):
        raise UnknownJudge(_("judgments: account missing: say whether a person or a machine judged"))
    return replace(prompt, judgments=judgments) if judgments else prompt


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def as_object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def can_merge(first: ImportedPrompt, second: ImportedPrompt) -> bool:
    """Whether two rows have the same prompt, and their responses fit into one item."""
    return (
        first.messages == second.messages
        and first.judge == second.judge
        and len(first.responses) < MAX_RESPONSES
    )


def merge(first: ImportedPrompt, second: ImportedPrompt) -> ImportedPrompt:
    """Two rows of one prompt as one."""
    return replace(
        first,
        responses=[*first.responses, *second.responses],
        positions=tuple(range(len(first.responses) + len(second.responses))),
        answer_count=len(first.responses) + len(second.responses),
        left_out=(*first.left_out, *second.left_out),
        rows=first.rows + second.rows,
    )

"""Formats in which a row is a tree of messages: each question with several answers is a prompt of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    NotComparable,
    build_prompt,
    objects,
    read_content,
)
from annotation.imports.file_rows import FileRow, JsonObject
from annotation.imports.preferences import (
    NoPreference,
    Preference,
    as_number,
    as_text,
    ranks_by_score,
)
from annotation.imports.prompt_schema import ImportedPrompt, Message, RowError, read_messages, read_text
from annotation.logic.limits import MAX_RESPONSES
from annotation.logic.translation import format_number, gettext_noop
from annotation.logic.translation import gettext as _

# --- OpenAssistant ------------------------------------------------------------------------------------------------

MAX_MESSAGES = 10_000
"""Of one tree, which is held in memory."""
MAX_TURNS = 100
"""Questions further down in a tree are left out."""
_KEPT = (
    "message_id",
    "lang",
    "labels",
    "emojis",
    "review_result",
    "synthetic",
    "created_date",
    "detoxify",
    "user_id",
)
_OF_TREE = ("message_tree_id", "tree_state", "review_count")


def _questions(row: JsonObject) -> list[JsonObject]:
    """The questions of a tree with two or more answers, as rows `{path, replies}`.

    Raises:
        NotComparable: there are none.
        RowError: a message is malformed.
    """
    found: list[JsonObject] = []
    skipped: list[str] = []
    about_tree = {name: row[name] for name in _OF_TREE if row.get(name) is not None}
    open_nodes: list[tuple[JsonObject, _Path]] = [(_node(row["prompt"], "prompt"), _Path())]
    while open_nodes:
        node, before = open_nodes.pop()
        path = before.longer("user", node)
        replies = [reply for reply in _replies(node) if reply.get("role") != "prompter"]
        if 2 <= len(replies) <= MAX_RESPONSES:
            found.append({"path": path, "replies": replies, "question": node, "about_tree": about_tree})
        elif len(replies) > MAX_RESPONSES:
            skipped.append(_("questions with more than %(most)s answers") % {"most": MAX_RESPONSES})
        if path.length + 2 > MAX_TURNS:
            skipped += [_("answers after %(turns)s turns") % {"turns": MAX_TURNS}] * sum(
                bool(_replies(reply)) for reply in replies
            )
        else:
            for reply in reversed(replies):
                answered = path.longer("assistant", reply)
                open_nodes += [(child, answered) for child in reversed(_replies(reply))]
    if not found:
        raise NotComparable(_("trees without a question that has two to nine answers"))
    found[0]["skipped"] = skipped  # the first part of a row stands for the row
    return found


@dataclass(frozen=True)
class _Path:
    """The messages from the root to a node, each with the one before it: a copy of all for each node would be quadratic."""

    role: str = ""
    node: JsonObject = field(default_factory=dict)
    before: _Path | None = None
    length: int = 0

    def longer(self, role: str, node: JsonObject) -> _Path:
        return _Path(role, node, self, self.length + 1)

    def messages(self) -> list[Message]:
        reverse, at = [], self
        while at.before is not None:
            reverse.append({"role": at.role, "content": read_text(at.node.get("text"), "text")})
            at = at.before
        return reverse[::-1]


def _node(value: object, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise RowError(_("%(name)s: not a message") % {"name": name})
    return value


def _replies(node: JsonObject) -> list[JsonObject]:
    return [reply for reply in objects(node.get("replies") or [], "replies") if not reply.get("deleted")]


def _convert_question(row: JsonObject) -> ImportedPrompt:
    answers = [
        Answer(reply.get("text"), reply.get("model_name"), {name: reply.get(name) for name in _KEPT})
        for reply in row["replies"]
    ]
    deleted = sum(bool(reply.get("deleted")) for reply in row["question"]["replies"])
    prompt = build_prompt(
        read_messages(row["path"].messages()),
        answers,
        left_out=[*[_("deleted answers")] * deleted, *row.get("skipped", ())],
    )
    about = row["question"] | row["about_tree"]
    prompt.metadata.update({n: about[n] for n in (*_KEPT, *_OF_TREE) if about.get(n) is not None})
    return prompt


def _judge_question(row: JsonObject) -> list[Preference]:
    """The order in which the answers were ranked, 0 for the best."""
    return [Preference(ranks_by_score([-as_number(reply.get("rank")) for reply in row["replies"]]))]


def join_messages(rows: Iterator[FileRow]) -> Iterator[FileRow]:
    """Consecutive messages of a tree, joined to the tree. A message whose parent is not among them is the root."""

    def tree_of(row: FileRow) -> str:
        return as_text(row.values.get("message_tree_id"))[:80] if row.values else ""

    for tree, group in groupby(rows, tree_of):
        if not tree:
            for row in group:
                error = row.error or _("message_tree_id: missing")
                yield FileRow(row.number, None, row.position, error)
            continue
        members = list(islice(group, MAX_MESSAGES))
        for row in group:  # noqa: B031 - what is left of the same group
            error = _("message_tree_id: more than %(most)s messages") % {"most": format_number(MAX_MESSAGES)}
            yield FileRow(row.number, None, row.position, error)
        root = _tree(members)
        joined = root and {"message_tree_id": tree, "prompt": root}
        error = (
            ""
            if joined
            else _("message_tree_id: the messages of %(tree)s are no tree, or do not stand together")
            % {"tree": repr(tree)}
        )
        rows_of_tree = tuple(row.values for row in members if row.values)
        yield FileRow(members[0].number, joined, members[-1].position, error, rows_of_tree)


def _tree(rows: list[FileRow]) -> JsonObject | None:
    """The root of the messages with all others below it; None if they are not one tree."""
    nodes = {
        as_text(row.values.get("message_id")): {**row.values, "replies": []} for row in rows if row.values
    }
    roots: list[JsonObject] = []
    for node in nodes.values():
        parent = nodes.get(as_text(node.get("parent_id")))
        (roots if parent is None else parent["replies"]).append(node)
    below, reached = roots[:], 0
    while below:
        reached += 1
        below += below.pop()["replies"]
    return roots[0] if len(roots) == 1 and reached == len(rows) else None


# --- Open WebUI ---------------------------------------------------------------------------------------------------


def _open_webui(row: JsonObject) -> ImportedPrompt:
    """The rated answer and the other answers to its question, after the conversation that leads to it."""
    messages, answers = _rated_question(row)
    return build_prompt(
        messages,
        [
            Answer(_content(answer), answer.get("model") or answer.get("modelName"))
            for answer in answers.values()
        ],
    )


def _rated_question(row: JsonObject) -> tuple[list[Message], dict[str, JsonObject]]:
    """The conversation up to the question, and its answers by id.

    Raises:
        RowError: the snapshot of the chat is malformed.
        NotComparable: it has no other answers, or not the rated one.
    """
    nodes: object = row
    for name in ("snapshot", "chat", "chat", "history", "messages"):
        nodes = nodes.get(name) if isinstance(nodes, dict) else None
    if not isinstance(nodes, dict):
        raise RowError(_("snapshot: no chat with a history of messages"))
    meta = row["meta"]
    rated = nodes.get(as_text(meta.get("message_id"))) if isinstance(meta, dict) else None
    if not isinstance(rated, dict):
        raise NotComparable(_("the chat does not have the answer that was rated"))
    path: list[Message] = []
    node = nodes.get(as_text(rated.get("parentId")))
    question = node
    while isinstance(node, dict) and len(path) <= len(nodes):
        path.append({"role": as_text(node.get("role")), "content": _content(node)})
        node = nodes.get(as_text(node.get("parentId")))
    if not isinstance(question, dict):
        raise NotComparable(_("the answer that was rated has no question"))
    children = question.get("childrenIds")
    ids = [as_text(id) for id in children] if isinstance(children, list) else []
    answers = {id: nodes[id] for id in ids if isinstance(nodes.get(id), dict)}
    if len(answers) < 2 or as_text(meta.get("message_id")) not in answers:
        raise NotComparable(_("the question has no other answers than the one that was rated"))
    return read_messages(path[::-1]), answers


def _content(node: JsonObject) -> str:
    return read_content(node.get("content"), "content")


def _judge_open_webui(row: JsonObject) -> list[Preference]:
    """A thumb up: better than the other answers; a thumb down: worse."""
    data, meta = row["data"], row["meta"]
    if not isinstance(data, dict) or data.get("rating") not in (1, -1, "1", "-1"):
        raise NoPreference(_("rows without a thumb up or down"))
    answers = _rated_question(row)[1]
    rank = {1: (1, 2), -1: (2, 1)}[int(data["rating"])]
    ranks = [rank[id != as_text(meta.get("message_id"))] for id in answers]
    return [
        Preference(
            ranks,
            annotator=as_text(row.get("user_id"))[:200],
            rationale="\n\n".join(filter(None, (as_text(data.get(name)) for name in ("reason", "comment")))),
            details={name: data[name] for name in ("details", "tags", "model_id") if data.get(name)},
        )
    ]


TREE_FORMATS = (
    DatasetFormat(
        "oasst-trees",
        gettext_noop("OpenAssistant trees"),
        ("message_tree_id", "prompt"),
        _convert_question,
        split=_questions,
        judge=_judge_question,
        judged_by="person",
        optional=_OF_TREE,
        condition=lambda row: isinstance(row["prompt"], dict),
    ),
    DatasetFormat(
        "oasst-messages",
        gettext_noop("OpenAssistant messages"),
        ("message_id", "parent_id", "message_tree_id", "text", "role"),
        _convert_question,
        split=_questions,
        join=join_messages,
        judge=_judge_question,
        judged_by="person",
        optional=(*_KEPT, *_OF_TREE, "rank", "deleted", "model_name"),
    ),
    DatasetFormat(
        "open-webui",
        gettext_noop("Open WebUI feedback"),
        ("data", "meta", "snapshot"),
        _open_webui,
        judge=_judge_open_webui,
        judged_by="person",
        metadata=("id",),
        preferences=("data", "user_id"),
        ignored=("type", "version", "created_at", "updated_at", "chat_id", "user"),
    ),
)

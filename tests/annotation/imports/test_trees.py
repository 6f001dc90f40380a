"""Trees of messages: each question with several answers is a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.actions.imports import _parse_row
from annotation.imports.conversion import Converter
from annotation.imports.dataset_formats import DATASET_FORMATS, NotComparable, detect_format, trees
from annotation.imports.dataset_formats.trees import join_messages
from annotation.imports.file_rows import FileRow
from annotation.imports.prompt_schema import ImportedPrompt, RowError
from tests.annotation.imports.dataset_rows import ROWS


def message(
    id: str, parent: str | None, role: str, rank: int | None = None, tree: str = "t"
) -> dict[str, Any]:
    return {
        "message_id": id,
        "parent_id": parent,
        "message_tree_id": tree,
        "text": f"text {id}",
        "role": role,
        "rank": rank,
        "lang": "en",
        "tree_state": "ready_for_export",
    }


TREE = [
    message("q", None, "prompter"),
    message("a", "q", "assistant", 1),
    message("b", "q", "assistant", 0),
    message("qa", "a", "prompter"),
    message("qaa", "qa", "assistant", 0),
    message("qb", "b", "prompter"),
    message("qba", "qb", "assistant", 2),
    message("qbb", "qb", "assistant", 0),
    message("qbc", "qb", "assistant", 1),
]


def converted(messages: list[dict[str, Any]]) -> list[ImportedPrompt]:
    rows = [FileRow(n, values, n) for n, values in enumerate(messages, start=1)]
    converter = Converter(detect_format(messages[0]), with_judgments=True)
    parsed = [part for row in join_messages(iter(rows)) for part in _parse_row(row, converter)]
    assert sum(part.prompt.rows if part.prompt else part.rows for part in parsed) == len(messages)
    assert set(converter.columns) == set(messages[0])
    assert not converter.undecided
    return [part.prompt for part in parsed if part.prompt]


@pytest.mark.parametrize("order", [1, -1])
def test_every_question_with_several_answers_is_a_prompt(order: int) -> None:
    prompts = {prompt.messages[-1]["content"]: prompt for prompt in converted(TREE[::order])}
    assert set(prompts) == {"text q", "text qb"}
    assert [m["content"] for m in prompts["text qb"].messages] == ["text q", "text b", "text qb"]
    ranks = {
        response.text: rank
        for response, rank in zip(
            prompts["text qb"].responses, prompts["text qb"].judgments[0].ranks, strict=True
        )
    }
    assert ranks == {"text qba": 3, "text qbb": 1, "text qbc": 2}
    assert prompts["text q"].metadata["message_id"] == "q"


def test_consecutive_trees_are_separate() -> None:
    other = [row | {"message_tree_id": "u"} for row in TREE]
    assert len(converted([*TREE, *other])) == 4


def test_what_was_deleted_and_what_was_not_ranked_is_left_out() -> None:
    gone = [row | {"deleted": row["message_id"] == "qba"} for row in TREE]
    by_question = {prompt.messages[-1]["content"]: prompt for prompt in converted(gone)}
    assert [response.text for response in by_question["text qb"].responses] == ["text qbb", "text qbc"]
    unranked = converted([row | {"rank": None} for row in TREE])
    assert all(prompt.left_out == ("rows without a preference",) for prompt in unranked)


def test_what_is_said_of_a_tree_is_kept_and_what_is_skipped_is_counted() -> None:
    wide = [message(f"w{n}", "qa", "assistant", n) for n in range(10)]
    rows = [row | {"review_count": 0, "score": 2.5} for row in [*TREE, *wide]]
    first, second = converted(rows)
    assert first.metadata["message_tree_id"] == "t"
    assert (first.metadata["review_count"], first.metadata["score"]) == (0, 2.5)
    assert sorted([*first.left_out, *second.left_out]) == ["questions with more than 9 answers"]


def test_messages_that_do_not_stand_together_are_an_error() -> None:
    rows = [FileRow(n, values, n) for n, values in enumerate(TREE[1:3], start=1)]
    [joined] = join_messages(iter(rows))
    assert "do not stand together" in joined.error
    [parsed] = _parse_row(joined, Converter(DATASET_FORMATS["oasst-messages"]))
    assert (parsed.number, parsed.rows) == (1, 2)


def test_a_tree_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_MESSAGES", 3)
    rows = [FileRow(n, values, n) for n, values in enumerate(TREE, start=1)]
    *rest, joined = join_messages(iter(rows))
    assert [row.number for row in rest] == [4, 5, 6, 7, 8, 9]
    assert all("more than 3 messages" in row.error for row in rest)
    assert len(joined.members) == 3


def test_a_long_chain_is_read_in_no_time_and_to_a_depth() -> None:
    chain = [message("0", None, "prompter")]
    for n in range(1, 5000):
        chain.append(message(str(n), str(n - 1), "assistant" if n % 2 else "prompter", 0))
        if n % 2:
            chain.append(message(f"{n}b", str(n - 1), "assistant", 1))
    prompts = converted(chain)
    assert max(len(prompt.messages) for prompt in prompts) == trees.MAX_TURNS - 1
    assert len(prompts) == trees.MAX_TURNS // 2


def test_messages_in_a_circle_are_an_error_and_none_vanishes() -> None:
    circle = [message("x", "y", "prompter"), message("y", "x", "assistant")]
    rows = [FileRow(n, values, n) for n, values in enumerate([*TREE, *circle], start=1)]
    [joined] = join_messages(iter(rows))
    assert "are no tree" in joined.error
    assert len(joined.members) == len(TREE) + 2


def test_a_message_without_a_tree_is_an_error() -> None:
    rows = [FileRow(1, message("a", None, "prompter") | {"message_tree_id": None}, 1)]
    assert [row.error for row in join_messages(iter(rows))] == ["message_tree_id: missing"]


def test_a_tree_without_a_choice_is_set_aside() -> None:
    tree = ROWS["oasst-trees"] | {"prompt": ROWS["oasst-trees"]["prompt"] | {"replies": []}}
    with pytest.raises(NotComparable, match="without a question"):
        Converter(detect_format(tree)).convert(tree)
    with pytest.raises(RowError, match="replies: not a list of objects"):
        Converter(detect_format(tree)).convert(tree | {"prompt": tree["prompt"] | {"replies": 3}})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"meta": {"message_id": "gone"}}, NotComparable),
        ({"meta": {"message_id": ["m2"]}}, NotComparable),
        ({"meta": None}, NotComparable),
        ({"snapshot": {}}, RowError),
    ],
)
def test_feedback_on_nothing_to_compare_is_set_aside(change: dict[str, Any], error: type[Exception]) -> None:
    row = ROWS["open-webui"] | change
    with pytest.raises(error):
        Converter(detect_format(row)).convert(row)


def test_feedback_names_who_gave_it_and_why() -> None:
    row = ROWS["open-webui"]
    [judgment] = Converter(detect_format(row), with_judgments=True).convert(row).judgments
    assert (judgment.annotator, judgment.rationale) == ("u1", "not_factual")

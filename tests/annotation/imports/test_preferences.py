"""Which answers a row prefers, in every format."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.imports import conversion
from annotation.imports.conversion import Converter
from annotation.imports.dataset_formats import DATASET_FORMATS, NotComparable, detect_format, mapped_format
from annotation.imports.preferences import Preference, read_time
from annotation.imports.prompt_schema import ImportedPrompt, RowError
from tests.annotation.imports.dataset_rows import ROWS, USER

FIRST, SECOND, TIE = [1, 2], [2, 1], [1, 1]


def converted(row: dict[str, Any], **changes: Any) -> ImportedPrompt:
    row = row | changes
    return Converter(detect_format(row), with_judgments=True, judged_by="person").convert(row)


def judgment(name: str, **changes: Any) -> Preference:
    [only] = converted(ROWS[name], **changes).judgments
    return only


@pytest.mark.parametrize(
    ("name", "changes", "ranks"),
    [
        ("hh-rlhf", {}, FIRST),
        ("trl", {}, FIRST),
        ("trl-implicit", {}, FIRST),
        ("ultrafeedback-binarized", {}, FIRST),
        ("alpaca-ranking", {}, FIRST),
        ("orca-pairs", {}, FIRST),
        ("sharegpt-ranking", {}, FIRST),
        ("openai-preference", {}, FIRST),
        ("ultrafeedback", {}, SECOND),
        ("nectar", {}, SECOND),
        ("nemo-rl", {}, SECOND),
        ("distilabel", {}, SECOND),
        ("distilabel", {"ratings": [3, 3]}, TIE),
        ("helpsteer3", {}, FIRST),
        ("helpsteer3", {"individual_preference": [], "overall_preference": 3}, SECOND),
        ("helpsteer3", {"individual_preference": None, "overall_preference": 0}, TIE),
        ("helpsteer2-preference", {}, FIRST),
        ("arena", {}, FIRST),
        ("arena", {"winner": "model_b"}, SECOND),
        ("arena", {"winner": "tie (bothbad)"}, TIE),
        ("arena-table", {}, FIRST),
        ("arena-table", {"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, TIE),
        ("arena-table", {"winner": "model_b"}, SECOND),
        ("oasst-trees", {}, SECOND),
        ("open-webui", {}, SECOND),
        ("safe-rlhf", {}, SECOND),
        ("shp", {}, SECOND),
        ("shp", {"labels": 1.0}, FIRST),
        ("webgpt", {}, SECOND),
        ("webgpt", {"score_0": 0.0, "score_1": 0.0}, TIE),
        ("summaries", {}, SECOND),
        ("prometheus", {}, SECOND),
        ("multipref", {"normal_worker_annotations": [{"overall_pref": "B-is-clearly-better"}]}, SECOND),
        ("label-studio", {}, FIRST),
        ("argilla", {}, FIRST),
        ("palate", {"ranks": [2, 1], "tags": None}, SECOND),
        ("palate", {"judgments": [{"ranks": [1, 1], "account": "machine"}]}, TIE),
    ],
)
def test_the_better_answer_is_read(name: str, changes: dict[str, Any], ranks: list[int]) -> None:
    if name == "arena-table":
        one_turn = {"prompt": '["Why?"]', "response_a": '["Air."]', "response_b": '["Light."]'}
        changes = one_turn | {"winner_model_b": 0, "winner_tie": 0, **changes}
    assert judgment(name, **changes).ranks == ranks


def test_every_format_with_preferences_is_read_above() -> None:
    with_preferences = {name for name, format in DATASET_FORMATS.items() if format.judge is not None}
    assert with_preferences - set(ROWS) == {
        "raw",
        "rankings",
        "oasst-messages",
    }  # see the exports' round trip, and trees


def test_who_judged_how_clearly_and_why_is_read() -> None:
    assert judgment("arena").annotator == "arena_user_973"
    assert judgment("summaries").annotator == "w"
    assert judgment("helpsteer3").rationale == "…"
    assert (judgment("helpsteer3").degree, judgment("helpsteer2-preference").degree) == ("better", "slightly")
    assert judgment("safe-rlhf").safe == [True, True]
    assert judgment("safe-rlhf").details == {"safer_response_id": 1}
    assert judgment("trl", margin=2 / 3).degree == "better"
    assert judgment("trl", margin=0.7).details == {"margin": 0.7}
    people = [{"overall_pref": "Tie", "evaluator": "x"}, {"overall_pref": "A-is-slightly-better", "time": 3}]
    two = converted(ROWS["multipref"], normal_worker_annotations=people).judgments
    assert [(one.ranks, one.annotator, one.degree) for one in two] == [
        (TIE, "x", "negligibly"),
        (FIRST, "", "slightly"),
    ]
    assert two[1].details == {"time": 3, "kind": "normal"}


def test_a_winner_that_is_not_imported_leaves_no_tie() -> None:
    roles = {"q": "prompt", "a": "answer", "b": "answer", "c": "answer", "w": "preference"}
    row = {"q": "Why?", "a": "x", "b": "y", "c": "", "w": "c"}
    prompt = Converter(mapped_format(roles), with_judgments=True, judged_by="person").convert(row)
    assert (len(prompt.responses), prompt.judgments) == (2, [])
    assert "preferences for an answer that is not imported" in prompt.left_out


def test_a_column_s_name_goes_before_its_letter() -> None:
    roles = {"q": "prompt", "B": "answer", "A": "answer", "w": "preference"}
    converter = Converter(mapped_format(roles), with_judgments=True, judged_by="person")
    for better, ranks in (("B", FIRST), ("A", SECOND), ("1", FIRST), ("2", SECOND)):
        row = {"q": "Why?", "B": "x", "A": "y", "w": better}
        assert converter.convert(row).judgments[0].ranks == ranks, better


def test_argilla_s_answers_are_those_of_its_format() -> None:
    fields = {"prompt": "Why?", "model_1": "m", "model_2": "n", "response_1": "a", "response_2": "b"}
    answers = {"preference": [{"value": "response_2"}]}
    assert judgment("argilla", fields=fields, responses=answers).ranks == SECOND
    pair = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    assert judgment("argilla", fields=pair, responses={"p": [{"value": "rejected"}]}).ranks == SECOND


RAW = {
    "judgment": 7,
    "prompt_id": "p",
    "messages": [USER],
    "responses": [{"text": "a", "author": "x"}, {"text": "b", "author": "y"}],
    "ranks": [1, 2],
    "account": "person",
}


@pytest.mark.parametrize(
    "change",
    [
        {"degree": "foo"},
        {"degree": ["x"]},
        {"degree": {"a": 1}},
        {"account": "robot"},
        {"ranks": [1, 2, 3]},
        {"shown_order": [5, 6]},
        {"created_at": "0001-01-01T00:00:00+01:00"},
        {"created_at": "9999-12-31T23:59:59-01:00"},
        {"annotator": "x" * 201},
        {"annotator": "a\0"},
        {"rationale": "a\ud800"},
        {"details": json.dumps({"a": 1})[:-1]},
        {"responses": [{"text": "a", "author": "x", "quality": 99}, {"text": "b", "author": "y"}]},
        {"responses": [{"text": "a", "author": "x", "flags": [3]}, {"text": "b", "author": "y"}]},
    ],
)
def test_what_a_raw_row_says_of_its_judgment_is_checked(change: dict[str, Any]) -> None:
    assert converted(RAW).judgments[0].ranks == FIRST
    prompt = converted(RAW, **change)
    assert (len(prompt.responses), prompt.judgments) == (2, [])
    assert prompt.left_out[0].startswith("preferences that cannot be read")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("webgpt", {"score_0": 10**400}),
        ("nectar", {"answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": float("inf")}]}),
        ("helpsteer2-preference", {"preference_statement": "a\0"}),
        ("distilabel", {"ratings": [1, 2, 3]}),
        ("argilla", {"responses": {"q": [{"value": "response1", "user_id": "\ud800"}]}}),
    ],
)
def test_what_cannot_be_stored_is_no_judgment(name: str, change: dict[str, Any]) -> None:
    prompt = converted(ROWS[name], **change)
    assert (len(prompt.responses), prompt.judgments) == (2, [])
    assert len(prompt.left_out) == 1


def test_values_of_another_type_are_errors_of_their_row() -> None:
    origin = {"prompt_id": "p", "models": 5, "tags": 5}
    assert converted(ROWS["trl"], origin=origin).external_id == "p"
    tool = {"data": ROWS["oasst-trees"], "annotations": []}
    with pytest.raises(RowError, match="not a row of the format Label Studio"):
        converted(tool)
    with pytest.raises(RowError, match="the name of a column holds half of a character"):
        converted(ROWS["trl"] | {"\ud800": 1})
    deep: Any = {}
    for _ in range(600):
        deep = {"a": deep}
    with pytest.raises(RowError, match="nested more than 50 levels deep"):
        converted(ROWS["palate"], metadata=deep)


def test_a_file_has_a_bounded_number_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "MAX_COLUMNS", 5)
    converter = Converter(DATASET_FORMATS["trl"])
    converter.convert(ROWS["trl"] | {"x": 1, "y": 2})
    with pytest.raises(RowError, match="more than 5 different columns"):
        converter.convert(ROWS["trl"] | {"z": 1})


def test_numbers_in_a_csv_are_texts() -> None:
    assert judgment("safe-rlhf", better_response_id="0").ranks == FIRST
    assert judgment("shp", labels="1").ranks == FIRST


def test_nobody_is_named_by_an_address() -> None:
    [row] = ROWS["label-studio"]["annotations"]
    for by, name in (({"id": 7, "email": "a@b.c"}, "7"), ({"email": "a@b.c"}, "annotator-"), (3, "3")):
        annotator = judgment("label-studio", annotations=[row | {"completed_by": by}]).annotator
        assert annotator.startswith(name)
        assert "@" not in annotator
    more = {"type": "textarea", "value": {"text": ["why"]}}
    timed = judgment("label-studio", annotations=[row | {"lead_time": 4.5, "result": [*row["result"], more]}])
    assert timed.details == {"seconds": 4.5, "other_results": [more]}


def test_turns_that_are_the_same_belong_to_the_prompt() -> None:
    prompt = converted(
        ROWS["arena-table"],
        response_a='["Air.", "Black."]',
        response_b='["Air.", "Dark."]',
        winner_model_b=0,
        winner_tie=0,
    )
    assert [message["content"] for message in prompt.messages] == [
        "Why is the sky blue?",
        "Air.",
        "And at night?",
    ]
    assert [response.text for response in prompt.responses] == ["Black.", "Dark."]
    assert prompt.judgments[0].ranks == FIRST


def test_a_time_is_read_in_any_of_its_forms() -> None:
    assert judgment("arena", tstamp=0.5).judged_at == "1970-01-01T00:00:00.500000+00:00"
    assert (
        read_time("2026-01-31T12:00:00Z") == read_time("2026-01-31 12:00:00") == "2026-01-31T12:00:00+00:00"
    )
    assert read_time("2026-01-31T12:00:00+23:59") == "2026-01-30T12:01:00+00:00"
    odd = (None, "soon", 1e99, [], {}, "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00")
    assert [read_time(value) for value in odd] == [None] * len(odd)


def test_what_models_preferred_is_theirs() -> None:
    def account(name: str) -> str:
        converter = Converter(DATASET_FORMATS[name], with_judgments=True)
        return converter.convert(ROWS[name]).judgments[0].account

    assert {name: account(name) for name in ("ultrafeedback", "nectar", "prometheus", "distilabel")} == {
        "ultrafeedback": "machine",
        "nectar": "machine",
        "prometheus": "machine",
        "distilabel": "machine",
    }
    assert (account("hh-rlhf"), account("webgpt")) == ("person", "person")
    with pytest.raises(RowError, match="whether a person or a machine judged"):
        account("trl")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("arena", {"winner": "nobody"}, "rows whose preference is 'nobody'"),
        ("arena", {"winner": None}, "rows without a preference"),
        ("safe-rlhf", {"better_response_id": [1]}, r"rows whose preference is '\[1\]'"),
        ("helpsteer3", {"individual_preference": [], "overall_preference": 7}, "none of -3 to 3"),
        ("webgpt", {"score_1": "high"}, "the score 'high'"),
        ("distilabel", {"ratings": [1, None]}, "rows without a preference"),
        ("label-studio", {"annotations": [{"result": [{"type": "rating"}]}]}, "not pairwise choices"),
        ("label-studio", {"annotations": [{"result": 5}]}, "cannot be read .annotations.result"),
        ("argilla", {"responses": {"q": [{"value": 3}]}}, "neither rankings nor"),
        ("palate", {"ranks": [1]}, "ranks are not a list"),
    ],
)
def test_a_row_without_a_preference_keeps_its_answers(
    name: str, changes: dict[str, Any], reason: str
) -> None:
    prompt = converted(ROWS[name], **changes)
    assert len(prompt.responses) == 2
    assert prompt.judgments == []
    [left_out] = prompt.left_out
    assert re.search(reason, left_out)


def test_a_preference_between_longer_conversations_is_none_between_their_first_answers() -> None:
    prompt = converted(ROWS["arena-table"], winner_model_b=0, winner_tie=0)
    assert prompt.judgments == []
    assert "preferences between conversations of several turns" in prompt.left_out


def test_empty_answers_are_left_out_of_the_ranking_too() -> None:
    completions = [{"response": text, "overall_score": n} for n, text in enumerate(["worst", "", "best"])]
    prompt = converted(ROWS["ultrafeedback"], completions=completions)
    assert [response.text for response in prompt.responses] == ["worst", "best"]
    assert prompt.judgments[0].ranks == [2, 1]


def test_rows_of_one_response_each_are_ordered_by_their_score() -> None:
    def merged(rows: list[dict[str, Any]]) -> ImportedPrompt:
        converter = Converter(detect_format(rows[0]), with_judgments=True, judged_by="person")
        first, *rest = (converter.convert(row) for row in rows)
        for other in rest:
            first = conversion.merge(first, other)
        return converter.judge_merged(first)

    scores = [
        {"prompt": "Why?", "response": text, "helpfulness": n} for text, n in (("a", 1), ("b", 4), ("c", 1))
    ]
    assert merged(scores).judgments[0].ranks == [2, 1, 2]
    labels = [
        {"prompt": "Why?", "completion": text, "label": label} for text, label in (("a", False), ("b", True))
    ]
    assert merged(labels).judgments[0].ranks == [2, 1]
    assert merged(labels[:1]).left_out == ("rows with fewer than two scores",)


@pytest.mark.parametrize(
    ("better", "ranks"),
    [
        ("b", SECOND),
        ("B", SECOND),
        (2, SECOND),
        (1.0, FIRST),
        ("answer_a", FIRST),
        ("Y", SECOND),
        ("tie", TIE),
    ],
)
def test_a_mapped_column_may_name_the_better_answer(better: object, ranks: list[int]) -> None:
    roles = {
        "q": "prompt",
        "answer_a": "answer",
        "answer_b": "answer",
        "best": "preference",
        "who": "annotator",
    }
    row = {"q": "Why?", "answer_a": "x", "answer_b": "y", "best": better, "who": "ann"}
    prompt = Converter(mapped_format(roles), with_judgments=True, judged_by="person").convert(row)
    assert [(j.ranks, j.annotator) for j in prompt.judgments] == [(ranks, "ann")]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "ranks: not a list with a rank"),
        ({"ranks": [1, 3]}, "ranks: a rank is a number from 1 to 2"),
        ({"ranks": FIRST, "rank": 1}, "unknown field 'rank'"),
        ({"ranks": FIRST, "degree": "much"}, "degree: 'much' is none of"),
        ({"ranks": FIRST, "quality": [8, 1]}, "quality: not a list with a number from 1 to 7"),
        ({"ranks": FIRST, "safe": [True]}, "safe: not a list"),
        ({"ranks": FIRST, "flags": [["Odd one"], []]}, "flags: not a list"),
        ({"ranks": FIRST, "ratings": [[{"question": "honesty", "value": 11}], []]}, "ratings: not a list"),
        ({"ranks": FIRST, "ratings": [[{"question": "Honesty", "value": 1}], []]}, "ratings: not a list"),
        ({"ranks": FIRST, "comments": [[{"quote": "a"}], []]}, "comments: not a list"),
        ({"ranks": FIRST, "comments": [[{"text": "a", "start": 10**30}], []]}, "comments: not a list"),
        ({"ranks": FIRST, "comments": [[{"text": "a", "more": 1}], []]}, "comments: not a list"),
        ({"ranks": FIRST, "shown_order": [1, 1]}, "shown_order: not the positions 0 to 1"),
        ({"ranks": FIRST, "judged_at": "yesterday"}, "judged_at: not a time"),
        ({"ranks": FIRST, "account": "alien"}, "account: 'alien' is none of"),
        ({"ranks": FIRST, "details": [1]}, "details: not an object"),
    ],
)
def test_an_invalid_judgment_names_its_field(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RowError, match=rf"judgments\[1\].*{sentence}|judgments\[1\].{sentence}"):
        converted(ROWS["palate"], judgments=[fields])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3)
    ),
    max_leaves=5,
)


@given(data=st.data(), value=ANYTHING)
def test_no_preference_costs_a_row(data: st.DataObject, value: object) -> None:
    """Whatever the columns of a preference hold, the row is converted as without them, and says what became of them."""
    name = data.draw(st.sampled_from(sorted(set(ROWS) - {"palate"})))
    format = DATASET_FORMATS[name]
    column = data.draw(st.sampled_from([*format.preferences, *format.about_preferences, "nothing"]))
    row = ROWS[name] | ({column: value} if column != "nothing" else {})
    if not format.matches(row):
        return
    try:
        plain = Converter(format).convert(row)
    except (RowError, NotComparable):
        return
    judged = Converter(format, with_judgments=True, judged_by="person").convert(row)
    assert (judged.messages, judged.responses) == (plain.messages, plain.responses)
    assert all(sorted(set(j.ranks)) == list(range(1, len(set(j.ranks)) + 1)) for j in judged.judgments)


def test_our_columns_are_declared_once() -> None:
    for format in DATASET_FORMATS.values():
        assert not set(format.preferences) & set(format.about_preferences), format.name

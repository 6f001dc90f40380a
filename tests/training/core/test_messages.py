"""Conversations: turns that are left out of long prompts, and tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tests.training.core.conftest import write_job
from tests.training.core.in_process import do_here
from training.core.data import read_conversations, read_prompts
from training.core.errors import BadInput, TooLong
from training.core.messages import Message, without_oldest_turn
from training.core.tokenization import PLAIN_TEMPLATE, Encoder
from training.core.train_pretrain import CHAT_TEMPLATE, train_tokenizer

CALL = {"id": "c1", "type": "function", "function": {"name": "ferry_times", "arguments": {"day": "monday"}}}
RESULT = 'nine "and" ten\nå'
TOOLS: list[Message] = [
    {"role": "user", "content": "when does the ferry leave"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": RESULT, "tool_call_id": "c1"},
]
TOOL_TEMPLATE = CHAT_TEMPLATE.replace(
    "+ message['content']",
    "+ message['content'] + (message['tool_calls'] | tojson if message['tool_calls'] else '')",
)


def conversation_of(text: str) -> list[Message]:
    """One message for each letter: s system, u user, a assistant, t tool. Its content is its place."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[letter], "content": str(place)} for place, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("conversation", "left"),
    [
        ("u", None),
        ("su", None),
        ("suat", None),
        ("uau", "2"),
        ("suau", "03"),
        ("suatau", "05"),
        ("suasu", "034"),
        ("suuau", "0234"),
        ("saua", "023"),
        ("sa", None),
        ("s", None),
        ("uu", "1"),
    ],
)
def test_the_oldest_turn_goes_with_its_replies_and_system_messages_stay(
    conversation: str, left: str | None
) -> None:
    found = without_oldest_turn(conversation_of(conversation))
    assert (None if found is None else "".join(message["content"] for message in found)) == left


def test_as_few_turns_go_as_must(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = Encoder(tokenizer, 200)
    messages = conversation_of("suauau")

    def length(kept: list[Message]) -> int:
        return len(encoder.encode_prompt(kept, max_tokens=200, line=1))

    whole, two, one = (length([messages[0], *messages[start:]]) for start in (1, 3, 5))
    assert whole > two > one
    for limit, start, shortened in (
        (whole, 1, 0),
        (whole - 1, 3, 1),
        (two, 3, 2),
        (two - 1, 5, 3),
        (one, 5, 4),
    ):
        expected = encoder.encode_prompt([messages[0], *messages[start:]], max_tokens=200, line=1)
        assert encoder.encode_prompt(messages, max_tokens=limit, line=1) == expected
        assert encoder.truncated == shortened
    with pytest.raises(TooLong, match=r"Line 7 of data.jsonl: the last turn of the prompt") as caught:
        encoder.encode_prompt(messages, max_tokens=one - 1, line=7)
    assert (caught.value.line, caught.value.setting) == (7, "max_length")
    assert encoder.truncated == 4


def test_prompts_whose_last_turn_is_too_long_are_left_out_of_what_is_generated(
    source: Path, tmp_path: Path
) -> None:
    long = {"role": "user", "content": "the ferry leaves at nine " * 40}
    rows: list[dict[str, Any]] = [
        {"id": "short", "prompt": [{"role": "user", "content": "please"}]},
        {"id": "long", "prompt": [long]},
        {"id": "turns", "prompt": [long, {"role": "assistant", "content": "no"}, *conversation_of("u")]},
    ]
    config = {"samples": 2, "max_new_tokens": 8, "max_length": 64}
    result, events = do_here(write_job(tmp_path / "job", "generate", rows, model=str(source), config=config))
    lines = (tmp_path / "job" / "output" / "responses.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["short", "short", "turns", "turns"]
    assert result is not None
    assert result["truncated_prompts"] == 1
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert any("1 of 3 prompts are left out" in text and "on line 2" in text for text in warnings)
    with pytest.raises(TooLong, match=r"Line 1 of data.jsonl"):
        do_here(write_job(tmp_path / "all", "generate", rows[1:2], model=str(source), config=config))


def test_tool_messages_reach_the_chat_template(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["the ferry leaves at nine and ten"], 320)
    tokenizer.chat_template = TOOL_TEMPLATE
    (tmp_path / "data.jsonl").write_text(json.dumps({"id": 1, "prompt": TOOLS}) + "\n")
    [prompt] = read_prompts(tmp_path / "data.jsonl")
    assert prompt.prompt == TOOLS
    text = tokenizer.decode(Encoder(tokenizer, 400).encode_prompt(prompt.prompt, max_tokens=400, line=1))
    assert '"name": "ferry_times"' in text
    assert f"<|tool|>{RESULT}<|end|>" in text
    tokenizer.chat_template = TOOL_TEMPLATE.replace("message['content']", "message['content'] | tojson", 1)
    escaped = Encoder(tokenizer, 400).encode_prompt(prompt.prompt, max_tokens=400, line=1)
    assert f"<|tool|>{json.dumps(RESULT, ensure_ascii=False)}" in tokenizer.decode(escaped)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (CHAT_TEMPLATE, "leaves out tool calls or their results ('ferry_times' for one)"),
        (PLAIN_TEMPLATE, "leaves out tool calls or their results ('ferry_times' for one)"),
        (
            TOOL_TEMPLATE.replace("{% for", "{{ raise_exception('no tools here') }}{% for", 1),
            "refuses the conversation: no tools here",
        ),
    ],
)
def test_a_template_that_cannot_take_tools_names_the_row(template: str, words: str) -> None:
    tokenizer = train_tokenizer(["the ferry leaves at nine and ten"], 320)
    tokenizer.chat_template = template
    with pytest.raises(BadInput) as caught:
        Encoder(tokenizer, 400).encode_prompt(TOOLS, max_tokens=400, line=5)
    assert str(caught.value).startswith("Line 5 of data.jsonl: the model's chat template ")
    assert words in str(caught.value)
    assert caught.value.line == 5


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "assistant", "content": None}, "needs a text as its content"),
        ({"role": "user", "content": "a", "tool_calls": [CALL]}, "only the assistant's messages"),
        ({"role": "assistant", "tool_calls": "ferry_times"}, "'tool_calls' must be a list"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "'function' that has a 'name'"),
        ({"role": "tool", "content": "a", "tool_call_id": 3}, "'tool_call_id' of a tool's message"),
        ("hello", "needs a role of system, user, assistant, tool"),
    ],
)
def test_a_bad_message_names_its_line(message: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"id": 1, "prompt": [message]}) + "\n")
    with pytest.raises(BadInput) as caught:
        read_prompts(tmp_path / "data.jsonl")
    assert str(caught.value).startswith("Line 1 of data.jsonl: ")
    assert words in str(caught.value)


def test_a_call_is_not_learned_as_an_answer(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": TOOLS[:2]}) + "\n")
    with pytest.raises(BadInput, match="the last message calls tools, and only a text can be learned"):
        read_conversations(tmp_path / "data.jsonl")

"""Messages to token ids, the same way for training and generation.

A prompt is what the chat template renders up to the assistant's turn; a response is its own tokens and the end token. So
training reads exactly the ids that generation produces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from training.core.errors import BadInput, TooLong
from training.core.events import Events
from training.core.messages import Message, tool_texts, with_instruction, without_oldest_turn

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Chat template for base models that have none."""


class EncodedGroup(NamedTuple):
    """A prompt and its k responses, as token ids."""

    prompt: list[int]
    responses: list[list[int]]

    @property
    def tokens(self) -> int:
        """Number of tokens, with the prompt counted once."""
        return len(self.prompt) + sum(map(len, self.responses))

    @property
    def longest(self) -> int:
        """Number of tokens of the prompt and its longest response."""
        return len(self.prompt) + max(map(len, self.responses))


class Encoder:
    """A tokenizer with its end token and a maximum sequence length.

    limit_source: the setting that the limit comes from: `max_length`, or that of a model with fewer positions.
    truncated: the number of prompts that lost turns so far. instruction: what is put before the last message of the user in every
    prompt, or nothing.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        limit_source: str = "max_length",
        instruction: str = "",
    ) -> None:
        self.tokenizer, self.instruction = tokenizer, instruction
        self.max_length, self.limit_source = max_length, limit_source
        self.end_id = find_end_token(tokenizer)
        self.truncated = 0

    @property
    def limit_text(self) -> str:
        """The limit as part of a message."""
        if self.limit_source == "max_length":
            return f"max_length = {self.max_length}"
        return f"the {self.limit_source.replace('_', ' ')}'s limit of {self.max_length} tokens"

    def encode_prompt(self, messages: list[Message], *, max_tokens: int, line: int) -> list[int]:
        """Ids of the prompt. If there are more than `max_tokens`, whole turns are left out, the oldest first, but no system
        message and never the last turn.

        Raises BadInput, naming the `line`, if the chat template cannot render the messages; TooLong, if the last turn with the
        system messages is too long.
        """
        ids = self._render(messages, line)
        if len(ids) <= max_tokens:
            return ids
        while shorter := without_oldest_turn(messages):
            messages = shorter
            ids = self._render(messages, line)
            if len(ids) <= max_tokens:
                self.truncated += 1
                return ids
        raise TooLong(
            f"Line {line} of data.jsonl: the last turn of the prompt, with the system message, has {len(ids)} tokens, and"
            f" there is room for {max_tokens} beside a response in {self.limit_text}.",
            setting=self.limit_source,
            line=line,
            tokens=len(ids) + self.max_length - max_tokens,
        )

    def _render(self, messages: list[Message], line: int) -> list[int]:
        try:
            return self.encode_conversation(messages)
        except BadInput as error:
            raise BadInput(f"Line {line} of data.jsonl: {error}", line=line) from None

    def encode_conversation(self, messages: list[Message]) -> list[int]:
        """Ids of all the messages, up to the assistant's turn, however many. Raises BadInput if the chat template cannot render
        them."""
        try:
            rendered = str(
                self.tokenizer.apply_chat_template(
                    with_instruction(messages, self.instruction), add_generation_prompt=True, tokenize=False
                )
            )
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            raise BadInput(f"the model's chat template refuses the conversation: {error}") from None
        for text in tool_texts(messages):
            if text not in rendered:
                raise BadInput(
                    f"the model's chat template leaves out tool calls or their results ({text!r} for one); choose a model whose"
                    " template takes tools."
                )
        ids: list[int] = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:1] != [bos] and _adds_bos(self.tokenizer):
            ids = [bos, *ids]
        while len(ids) > 1 and ids[0] == ids[1] == bos:
            ids = ids[1:]
        return ids

    def encode_response(self, text: str, token_ids: list[int] | None = None) -> list[int]:
        """Ids of a response and the end token; `token_ids`, as sampled, if this tokenizer decodes them to `text`."""
        if token_ids and max(token_ids) < len(self.tokenizer) and self.decode(token_ids) == text:
            return list(token_ids)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.end_id]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a sampled response, without special tokens and surrounding space."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def encode_group(
        self,
        messages: list[Message],
        responses: Sequence[str],
        token_ids: Sequence[list[int] | None] | None = None,
        *,
        line: int,
    ) -> EncodedGroup:
        """A prompt with its responses. Responses are never cut; the prompt may lose turns, alike for all of them.

        Raises TooLong, naming the `line`, if a response exceeds the limit, alone or with the last turn of the prompt.
        """
        sampled = token_ids or [None] * len(responses)
        encoded = [self.encode_response(text, ids) for text, ids in zip(responses, sampled, strict=True)]
        longest = max(map(len, encoded))
        if longest >= self.max_length:
            raise TooLong(
                f"Line {line} of data.jsonl: a response of {longest} tokens exceeds the maximum sequence length,"
                f" {self.limit_text}.",
                setting=self.limit_source,
                line=line,
                tokens=longest,
            )
        prompt = self.encode_prompt(messages, max_tokens=self.max_length - longest, line=line)
        return EncodedGroup(prompt, encoded)


def warn_of_truncation(encoder: Encoder, events: Events) -> None:
    """Report how many prompts lost their oldest turns, if any did."""
    if encoder.truncated:
        events.warning(
            f"{encoder.truncated} prompts did not fit into {encoder.limit_text} and lost their oldest turns."
        )


def find_end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first special token that the template puts after its content."""
    probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ZZZ"}]
    try:
        rendered = str(tokenizer.apply_chat_template(probe, tokenize=False))
    except Exception:  # noqa: BLE001 - a template may want another shape of conversation; then the eos is used
        rendered = ""
    tail = rendered.rpartition("ZZZ")[2]
    special = set(tokenizer.all_special_ids)
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []:
        if token in special:
            return int(token)
    if tokenizer.eos_token_id is None:
        raise BadInput("The model's tokenizer has no end-of-text token.", setting="model")
    return int(tokenizer.eos_token_id)


def find_padding_token(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A token that can pad a batch, as no response ends in it: the tokenizer's own for that, if that is not the end token too; or
    None."""
    end = find_end_token(tokenizer)
    tokens = (tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token)
    return next((token for token in tokens if token and tokenizer.convert_tokens_to_ids(token) != end), None)


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]

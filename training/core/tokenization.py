"""Messages to token ids, the same way for training and generation.

A prompt is what the chat template renders up to the assistant's turn; a response is its own tokens and the end token. So
training reads exactly the ids that generation produces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from training.core.data import Message
from training.core.errors import BadInput, TooLong
from training.core.events import Events

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
    truncated: the number of prompts that were cut so far. instruction: what is put before the last message of the user in every
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

    def encode_prompt(self, messages: list[Message], *, max_tokens: int) -> list[int]:
        """Ids of the prompt; if there are more than `max_tokens`, the oldest are cut, but never the BOS."""
        try:
            rendered = self.tokenizer.apply_chat_template(
                with_instruction(messages, self.instruction), add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            raise BadInput(f"The model's chat template refuses a conversation: {error}") from None
        ids: list[int] = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:1] != [bos] and _adds_bos(self.tokenizer):
            ids = [bos, *ids]
        while len(ids) > 1 and ids[0] == ids[1] == bos:
            ids = ids[1:]
        if len(ids) <= max_tokens:
            return ids
        self.truncated += 1
        return [bos, *ids[-(max_tokens - 1) :]] if ids[0] == bos and max_tokens > 1 else ids[-max_tokens:]

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
        """A prompt with its responses. Responses are never cut; the prompt is, alike for all of them.

        Raises TooLong, naming the `line`, if a response alone exceeds the limit.
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
        return EncodedGroup(self.encode_prompt(messages, max_tokens=self.max_length - longest), encoded)


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """The messages, with the instruction as a line before the last message of the user; without one, before the last message."""
    if not instruction:
        return messages
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    place = places[-1] if places else len(messages) - 1
    changed = messages[place] | {"content": f"{instruction}\n{messages[place]['content']}"}
    return [*messages[:place], changed, *messages[place + 1 :]]


def warn_of_truncation(encoder: Encoder, events: Events) -> None:
    """Report how many prompts lost their oldest tokens, if any did."""
    if encoder.truncated:
        events.warning(
            f"{encoder.truncated} prompts did not fit into {encoder.limit_text} and lost their oldest tokens."
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

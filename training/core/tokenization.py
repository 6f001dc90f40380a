"""From messages to token ids, in the one way that training and generation share.

A prompt is what the chat template renders up to the point where the assistant speaks; a response is its own tokens and
then the end token. Training thus sees exactly the ids that generation produces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from training.core.data import Message
from training.core.errors import BadInput

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For base models that bring no chat template."""


class Group(NamedTuple):
    """A prompt and its k responses, as token ids."""

    prompt: list[int]
    responses: list[list[int]]

    @property
    def tokens(self) -> int:
        """Tokens with the prompt counted once."""
        return len(self.prompt) + sum(map(len, self.responses))

    @property
    def longest(self) -> int:
        """Tokens of the prompt and its longest response."""
        return len(self.prompt) + max(map(len, self.responses))


class Encoder:
    """A tokenizer with its end token and length limit. `truncated` counts prompts that were cut.

    bound_by: where the limit comes from, the setting `max_length` or a model that reads no more.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, max_length: int, bound_by: str = "max_length"
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length, self.bound_by = max_length, bound_by
        self.end_id = _end_of_turn(tokenizer)
        self.truncated = 0

    @property
    def limit(self) -> str:
        """The limit in words."""
        if self.bound_by == "max_length":
            return f"max_length = {self.max_length}"
        return f"the {self.max_length} tokens that the {self.bound_by.replace('_', ' ')} reads"

    def prompt(self, messages: list[Message], *, room: int) -> list[int]:
        """Ids of the prompt, its oldest tokens cut (but never the BOS) where it is longer than `room`."""
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # noqa: BLE001 - templates raise what they please
            raise BadInput(f"The model's chat template refuses a conversation: {error}") from None
        ids: list[int] = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:1] != [bos] and _adds_bos(self.tokenizer):
            ids = [bos, *ids]
        while len(ids) > 1 and ids[0] == ids[1] == bos:
            ids = ids[1:]
        if len(ids) <= room:
            return ids
        self.truncated += 1
        return [bos, *ids[-(room - 1) :]] if ids[0] == bos and room > 1 else ids[-room:]

    def response(self, text: str, token_ids: list[int] | None = None) -> list[int]:
        """Ids of a response and the end token; `token_ids`, as sampled, where this tokenizer reads them as `text`."""
        if token_ids and max(token_ids) < len(self.tokenizer) and self.text(token_ids) == text:
            return list(token_ids)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.end_id]

    def text(self, token_ids: Sequence[int]) -> str:
        """What people read of a sampled response."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def group(
        self,
        messages: list[Message],
        responses: Sequence[str],
        token_ids: Sequence[list[int] | None] | None = None,
        *,
        line: int,
    ) -> Group:
        """A prompt with its responses. No response is ever cut; the prompt is, for all of them alike."""
        given = token_ids or [None] * len(responses)
        answers = [self.response(text, ids) for text, ids in zip(responses, given, strict=True)]
        longest = max(len(answer) for answer in answers)
        if longest >= self.max_length:
            raise BadInput(
                f"Line {line} of data.jsonl: a response of {longest} tokens does not fit in the longest row,"
                f" {self.limit}.",
                setting=self.bound_by,
                line=line,
            )
        return Group(self.prompt(messages, room=self.max_length - longest), answers)


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first special token the template puts after its content."""
    probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ZZZ"}]
    try:
        rendered = str(tokenizer.apply_chat_template(probe, tokenize=False))
    except Exception:  # noqa: BLE001 - a template that wants another shape of conversation: the eos will do
        rendered = ""
    tail = rendered.rpartition("ZZZ")[2]
    special = set(tokenizer.all_special_ids)
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []:
        if token in special:
            return int(token)
    if tokenizer.eos_token_id is None:
        raise BadInput("The model's tokenizer has no end-of-text token.", setting="model")
    return int(tokenizer.eos_token_id)


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]

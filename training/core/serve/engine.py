"""The thread that runs the model: it answers several conversations at once, one token of each at a time.

All responses under way go through the model together (`kv_cache`), each as a cohort of one. Prompts are read a part at a time
between two tokens of the others, so that a long one does not interrupt them. Every response has its own random numbers, so it
does not depend on what else is answered: with the same seed it is that of `sampling.sample_responses`.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
import torch
from torch import Tensor
from transformers import DynamicCache

from training.core.kv_cache import Cohort, SharedPromptCache
from training.core.logprobs import vocabulary_logits
from training.core.memory import is_out_of_memory
from training.core.model_loading import autocast
from training.core.sampling import pick_tokens
from training.core.serve.prefix_cache import PrefixCache
from training.core.serve.text_stream import TextStream
from training.core.tokenization import Encoder

PROMPT_PART = 256
"""Tokens of a prompt that are read between two tokens of the responses under way."""


@dataclass(frozen=True)
class Sampling:
    """How a response is sampled. seed: of its random numbers; top_p: the share of the distribution that it is drawn from."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


class Piece(NamedTuple):
    """A part of a response's text."""

    text: str


class End(NamedTuple):
    """The end of a response. cached_tokens: of the prompt, those whose keys and values were there."""

    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class Failure(NamedTuple):
    """Why a response was not finished. status: the one of HTTP for that."""

    sentence: str
    status: int


Event = Piece | End | Failure


class Full(Exception):
    """As many conversations as the engine takes are under way."""


class Stopping(Exception):
    """The engine takes no more conversations."""


class Conversation:
    """A conversation under way. deliver: called with each event, from the engine's thread."""

    def __init__(
        self, prompt: list[int], sampling: Sampling, stream: TextStream, deliver: Callable[[Event], None]
    ) -> None:
        self.prompt, self.sampling, self.stream, self.deliver = prompt, sampling, stream, deliver
        self.draws = numpy.random.default_rng(sampling.seed).random(sampling.max_new_tokens)
        self.cached = 0
        self.cache: DynamicCache | None = None  # while the prompt is read
        self.read = 0  # tokens of the prompt that were
        self.cancelled = False  # by the client
        self.ended = False

    @property
    def token_ids(self) -> list[int]:
        return self.stream.token_ids


class Engine:
    """A policy that answers up to `max_sequences` conversations at once. end_ids: tokens that end a response."""

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        end_ids: Sequence[int],
        *,
        max_sequences: int,
        precision: str = "float32",
        max_cache_bytes: float = 512 * 2**20,
    ) -> None:
        self.model, self.encoder, self.end_ids = model, encoder, frozenset(end_ids)
        self.max_sequences, self.precision = max_sequences, precision
        self.prefixes = PrefixCache(2 * max_sequences, max_cache_bytes)
        self._changed = threading.Condition()
        self._submitted: list[Conversation] = []
        self._under_way = 0
        self._stopping = ""
        # of the thread alone
        self._reading: list[Conversation] = []
        self._active: list[Conversation] = []  # those with rows in `_cache`, in the same order
        self._cache = SharedPromptCache(model, 1, 0)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> int:
        """The number of conversations that are being answered."""
        return self._under_way

    def submit(self, prompt: list[int], sampling: Sampling, deliver: Callable[[Event], None]) -> Conversation:
        """Answer a prompt. `deliver` gets pieces of text, and last an End or a Failure. Raises Full or Stopping."""
        conversation = Conversation(prompt, sampling, TextStream(self.encoder.tokenizer), deliver)
        with self._changed:
            if self._stopping:
                raise Stopping(self._stopping)
            if self._under_way >= self.max_sequences:
                raise Full
            self._under_way += 1
            self._submitted.append(conversation)
            self._changed.notify()
        return conversation

    def cancel(self, conversation: Conversation) -> None:
        """Generate no more for this conversation; nothing if it has ended."""
        conversation.cancelled = True

    def stop(self, sentence: str) -> None:
        """Take no more conversations, and end those under way with a Failure."""
        with self._changed:
            self._stopping = sentence
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread has ended, after `stop`."""
        self._thread.join()

    @torch.no_grad()
    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._submitted or self._reading or self._active or self._stopping):
                    self._changed.wait()
                self._reading += self._submitted
                self._submitted.clear()
                stopping = self._stopping
            if stopping:
                self._fail_all(stopping, 503)
                return
            try:
                with autocast(self.precision):
                    self._step()
            except Exception as error:  # noqa: BLE001 - one conversation's error must not end the server
                self._recover(error)

    def _step(self) -> None:
        """Read a part of one prompt, and sample one token of every response."""
        self._drop_cancelled()
        hidden = []
        if self._active:
            last = torch.tensor([one.token_ids[-1] for one in self._active], device=self.model.device)
            hidden.append(self._cache.decode(last))
        if self._reading and (of_prompt := self._read_part(self._reading[0])) is not None:
            self._activate(self._reading.pop(0))
            hidden.append(of_prompt)
        if not hidden:
            return
        logits = vocabulary_logits(self.model, torch.cat(hidden)).float()
        for conversation, token in zip(self._active, self._pick(logits), strict=True):
            self._push(conversation, token)
        self._remove_ended()

    def _read_part(self, conversation: Conversation) -> Tensor | None:
        """Run the next tokens of a prompt. Returns (1, D) hidden states of its last token, or None if there are more."""
        if conversation.cache is None:
            conversation.cache = DynamicCache()
            conversation.cached, layers = self.prefixes.find(conversation.prompt)
            for number, (keys, values) in enumerate(layers):
                conversation.cache.update(keys, values, number)
            conversation.read = conversation.cached
        part = conversation.prompt[conversation.read : conversation.read + PROMPT_PART]
        hidden: Tensor = self.model.base_model(
            input_ids=torch.tensor([part], device=self.model.device),
            past_key_values=conversation.cache,
            use_cache=True,
        ).last_hidden_state
        conversation.read += len(part)
        return hidden[:, -1] if conversation.read == len(conversation.prompt) else None

    def _activate(self, conversation: Conversation) -> None:
        """Give a conversation whose prompt was read a row."""
        assert conversation.cache is not None
        layers: list[Any] = conversation.cache.layers
        cohort = Cohort([conversation.prompt], 1, conversation.sampling.max_new_tokens, self.model.device)
        cohort.adopt([(layer.keys, layer.values) for layer in layers])
        conversation.cache = None
        self._cache.cohorts.append(cohort)
        self._active.append(conversation)

    def _pick(self, logits: Tensor) -> list[int]:
        """A token for each of the active conversations from their (B, V) logits."""
        picked = [0] * len(self._active)
        for temperature in {one.sampling.temperature for one in self._active}:
            places = [
                place for place, one in enumerate(self._active) if one.sampling.temperature == temperature
            ]
            own = [self._active[place] for place in places]
            rows = logits[places]
            draws = [one.draws[len(one.token_ids)] for one in own]
            if temperature and any(one.sampling.top_p < 1 for one in own):
                top_p = torch.tensor([one.sampling.top_p for one in own], device=rows.device)
                rows = within_nucleus(rows, temperature, top_p)
            tokens, _ = pick_tokens(rows, torch.tensor(draws, device=rows.device), temperature)
            for place, token in zip(places, tokens.tolist(), strict=True):
                picked[place] = token
        return picked

    def _push(self, conversation: Conversation, token: int) -> None:
        """Deliver what a token adds to the text, and the end of the response if it is the last."""
        piece = conversation.stream.push(token)
        is_end = token in self.end_ids
        count = len(conversation.token_ids)
        is_last = is_end or count == conversation.sampling.max_new_tokens
        if is_last:
            piece += conversation.stream.finish()
        if piece:
            conversation.deliver(Piece(piece))
        if is_last:
            reason: Literal["stop", "length"] = "stop" if is_end else "length"
            self._end(conversation, End(reason, len(conversation.prompt), conversation.cached, count))

    def _drop_cancelled(self) -> None:
        for conversation in (*self._reading, *self._active):
            if conversation.cancelled:
                self._end(conversation)
        self._reading = [one for one in self._reading if not one.ended]
        self._remove_ended()

    def _end(self, conversation: Conversation, last: Event | None = None) -> None:
        """Count a conversation as ended, and deliver its last event."""
        conversation.ended = True
        with self._changed:
            self._under_way -= 1
        if last is not None:
            conversation.deliver(last)

    def _remove_ended(self) -> None:
        """Remove the active conversations that have ended. Their keys and values stay for the next turn of their chats."""
        rows = list(zip(self._active, self._cache.cohorts, strict=True))
        for conversation, cohort in rows:
            if conversation.ended:
                # the last token was not run
                tokens = [*conversation.prompt, *conversation.token_ids[: cohort.written]]
                self.prefixes.add(tokens, cohort.keys_and_values())
        self._active = [conversation for conversation, _ in rows if not conversation.ended]
        self._cache.cohorts = [cohort for conversation, cohort in rows if not conversation.ended]

    def _fail_all(self, sentence: str, status: int) -> None:
        with self._changed:
            failed = [*self._submitted, *self._reading, *self._active]
            self._submitted.clear()
        self._reading, self._active, self._cache.cohorts = [], [], []
        for conversation in failed:
            if not conversation.ended:
                self._end(conversation, Failure(sentence, status))

    def _recover(self, error: Exception) -> None:
        """End the conversations under way after an error of the model; the next ones start afresh."""
        self.prefixes.clear()
        if is_out_of_memory(error):
            self._fail_all("Memory ran out: ask for fewer conversations at once, or shorter ones.", 503)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return
        traceback.print_exception(error)
        self._fail_all(f"The model failed: {type(error).__name__}: {error}", 500)


def within_nucleus(logits: Tensor, temperature: float, top_p: Tensor) -> Tensor:
    """(B, V) logits without tokens outside the smallest set of likely ones that has the (B,) probability `top_p`; at least one
    stays, and all where it is 1."""
    chances, order = torch.softmax(logits / temperature, -1).sort(-1, descending=True)
    top_p = top_p[:, None]
    outside = (chances.cumsum(-1) - chances >= top_p) & (top_p < 1)
    return logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), float("-inf"))

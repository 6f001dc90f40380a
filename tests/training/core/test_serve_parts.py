"""The parts of the model server, in this process: pieces of text, the prefix cache, and the engine on every kind of model."""

from __future__ import annotations

import queue
import random
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.patience import HANGS_S
from tests.training.core.conftest import ARCHITECTURES
from training.core.sampling import sample_responses
from training.core.serve import engine as engine_module
from training.core.serve.engine import (
    End,
    Engine,
    Event,
    Failure,
    Full,
    Piece,
    Sampling,
    Stopping,
    within_nucleus,
)
from training.core.serve.prefix_cache import PrefixCache
from training.core.serve.text_stream import TextStream
from training.core.tokenization import Encoder

GREETING = "Grüße, 你好 👩‍👩‍👧 naïve — ça va?  two  spaces\n\nand a line \t end "


def pieces_of(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> list[str]:
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in token_ids]
    return [*pieces, stream.finish()]


def test_characters_come_whole(tokenizer: PreTrainedTokenizerBase):
    ids = tokenizer(GREETING, add_special_tokens=False)["input_ids"]
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == GREETING.strip()
    assert not any("�" in piece for piece in pieces)
    assert len(ids) > len(GREETING), "characters are of several tokens"
    assert sum(map(bool, pieces)) > 20


@pytest.fixture(scope="module")
def as_llama() -> PreTrainedTokenizerBase:
    """A tokenizer whose decoder drops the space before the first token, and that spells unknown characters as bytes."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghi"]
    vocabulary = {name: number for number, name in enumerate(names)}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@given(st.lists(st.integers(0, 319), max_size=60))
def test_pieces_are_together_what_a_run_decodes(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]):
    assert "".join(pieces_of(tokenizer, token_ids)) == Encoder(tokenizer, 128).decode(token_ids)


E_ACUTE = [0xC3 + 3, 0xA9 + 3]


@given(st.lists(st.sampled_from([[2], E_ACUTE, [259], [259], [260], [261]]), max_size=20))
@example([[260], [2], [2], [259], [261]])
def test_pieces_of_a_decoder_that_drops_the_first_space(
    as_llama: PreTrainedTokenizerBase, characters: list[list[int]]
):
    token_ids = [token for character in characters for token in character]
    whole = as_llama.decode(token_ids, skip_special_tokens=True).strip()
    assert "".join(pieces_of(as_llama, token_ids)) == whole


def test_words_come_with_the_space_between_them(as_llama: PreTrainedTokenizerBase):
    ids = as_llama("ab é cd", add_special_tokens=False)["input_ids"]
    assert [piece for piece in pieces_of(as_llama, ids) if piece] == ["a", "b", " é", " c", "d"]


def test_special_tokens_and_the_space_around_are_not_shown(tokenizer: PreTrainedTokenizerBase):
    ids = tokenizer("  nine ", add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    assert "".join(pieces_of(tokenizer, [end, *ids, end])) == "nine"


def layers(tokens: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    part = torch.arange(float(tokens)).view(1, 1, tokens, 1)
    return [(part, -part)]


def test_the_longest_prefix_is_found():
    cache = PrefixCache(8, 1e9)
    cache.add([1, 2, 3], layers(3))
    cache.add([1, 2, 9, 9], layers(4))
    length, found = cache.find([1, 2, 9, 4, 5])
    assert length == 3
    assert found[0][1].flatten().tolist() == [0, -1, -2]
    assert cache.find([7, 1, 2]) == (0, [])


def test_the_last_token_of_a_prompt_is_always_run():
    cache = PrefixCache(8, 1e9)
    cache.add([1, 2, 3], layers(3))
    assert cache.find([1, 2, 3])[0] == 2
    assert cache.find([1]) == (0, [])


def test_a_longer_conversation_takes_the_place_of_its_beginning():
    cache = PrefixCache(8, 1e9)
    cache.add([1, 2], layers(2))
    cache.add([1, 2, 3], layers(3))
    cache.add([1, 5], layers(2))
    assert len(cache) == 2


def test_what_was_not_used_for_longest_goes_first():
    cache = PrefixCache(2, 1e9)
    for token in (1, 2):
        cache.add([token, 0, 0], layers(3))
    cache.find([1, 0, 5])
    cache.add([3, 0, 0], layers(3))
    assert [cache.find([token, 0, 0])[0] for token in (1, 2, 3)] == [2, 0, 2]


def test_the_bytes_are_bounded():
    cache = PrefixCache(100, 100)
    for token in range(10):
        cache.add([token, 0, 0], layers(3))  # of 24 bytes
    assert cache.size <= 100
    assert len(cache) == 4
    cache.add([50] * 40, layers(40))
    assert len(cache) == 0


def test_a_nucleus_has_at_least_the_probability_asked_for():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]))
    kept = within_nucleus(logits, 1.0, torch.tensor([0.6, 1.0, 0.1])).isfinite()
    assert kept.tolist() == [[True, True, False, False], [True] * 4, [False, False, False, True]]


class Answers:
    """An engine on a model, and what it delivers."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, **more: Any) -> None:
        self.engine = Engine(model, Encoder(tokenizer, 128), (2,), **{"max_sequences": 4} | more)

    def submit(
        self, prompt: list[int], seed: int, tokens: int = 12, temperature: float = 1.0
    ) -> queue.Queue[Event]:
        events: queue.Queue[Event] = queue.Queue()
        self.last = self.engine.submit(prompt, Sampling(tokens, temperature, 1.0, seed), events.put)
        return events

    def stop(self) -> None:
        self.engine.stop("The end.")
        self.engine.join()


def last_of(events: queue.Queue[Event]) -> Event:
    while isinstance(event := events.get(timeout=HANGS_S), Piece):
        pass
    return event


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_prompt_read_in_parts_and_from_the_cache_gives_the_same_tokens(
    name: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
):
    """Parts of three tokens, with one of a single token at the end; several conversations of different length at once."""
    monkeypatch.setattr(engine_module, "PROMPT_PART", 3)
    model = ARCHITECTURES[name]()
    rng = random.Random(4)
    prompts = [[1, *(rng.randrange(6, 320) for _ in range(length))] for length in (3, 12, 27)]

    def expected(prompts: list[list[int]]) -> list[list[int]]:
        sampled = sample_responses(
            model, prompts, range(len(prompts)), samples=1, max_new_tokens=12, temperature=1.0, end_ids=(2,)
        )
        return [one.token_ids for one in sampled]

    answers = Answers(model, tokenizer)

    def sampled(prompts: list[list[int]]) -> tuple[list[list[int]], list[Any]]:
        events, conversations = [], []
        for seed, prompt in enumerate(prompts):
            events.append(answers.submit(prompt, seed))
            conversations.append(answers.last)
        ends = [last_of(one) for one in events]
        return [one.token_ids for one in conversations], ends

    first, ends = sampled(prompts)
    assert first == expected(prompts)
    assert [end.cached_tokens for end in ends] == [0, 0, 0]
    turns = [[*prompt, *reply, 40, 41, 42, 43] for prompt, reply in zip(prompts, first, strict=True)]
    second, ends = sampled(turns)
    assert second == expected(turns)
    assert [end.cached_tokens for end in ends] == [
        len(prompt) + len(reply) - 1 for prompt, reply in zip(prompts, first, strict=True)
    ]
    answers.stop()


def test_the_engine_takes_so_many_and_no_more(tokenizer: PreTrainedTokenizerBase):
    answers = Answers(ARCHITECTURES["llama"](), tokenizer, max_sequences=1)
    events = answers.submit([1, 9], 0, tokens=100)
    with pytest.raises(Full):
        answers.submit([1, 9], 0)
    answers.engine.cancel(answers.last)
    while answers.engine.under_way:
        pass
    assert isinstance(last_of(answers.submit([1, 9], 0)), End)
    assert not [event for event in events.queue if not isinstance(event, Piece)]
    answers.stop()
    with pytest.raises(Stopping, match="The end"):
        answers.submit([1, 9], 0)


def test_an_error_of_the_model_ends_what_is_under_way_and_nothing_else(
    tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
):
    answers = Answers(ARCHITECTURES["llama"](), tokenizer)
    assert isinstance(last_of(answers.submit([1, 8], 0)), End)
    failure = last_of(answers.submit([1, 100_000], 0))  # no such token
    assert isinstance(failure, Failure)
    assert failure.sentence.startswith("The model failed: IndexError")
    assert "Traceback" in capsys.readouterr().err
    assert isinstance(last_of(answers.submit([1, 9], 0)), End)
    assert answers.engine.under_way == 0
    answers.stop()
    assert len(answers.engine.prefixes) == 1, "what was there before the error may be why"


def test_what_runs_out_of_memory_is_told_so(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
):
    answers = Answers(ARCHITECTURES["llama"](), tokenizer)

    def decode(tokens: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(answers.engine._cache, "decode", decode)
    failure = last_of(answers.submit([1, 9], 0))
    assert failure == Failure("Memory ran out: ask for fewer conversations at once, or shorter ones.", 503)
    answers.stop()

"""Log-probs of words after texts: how a judge's letters, digits and comments are read from a model without sampling.

A word is spelled in one way or several (with and without a leading space), each in one token or several; its probability is
the sum over its spellings of the product over the tokens. All words after a text are read in one pass of the text, and their
first tokens at one position of it; only for a word of n tokens the text is read once more with its first n - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.core.batching import Passes, hidden_states
from training.core.errors import BadInput
from training.core.logprobs import candidate_logprobs
from training.core.model_loading import autocast
from training.core.rollout_groups import CheckStop
from training.core.tokenization import EncodedGroup


class Words:
    """Words by their spellings in tokens, and where their log-probs are read.

    tails: the beginnings of words that must be read besides the text, at least the empty one. reads: by tail and number of
    its tokens read, the ids of the tokens whose log-probs are needed there.
    """

    def __init__(self, spellings: Sequence[Sequence[Sequence[int]]]) -> None:
        """spellings: for each word at least one, of at least one token."""
        self.spellings = [[tuple(tokens) for tokens in word] for word in spellings]
        beginnings = {tokens[:-1] for word in self.spellings for tokens in word}
        self.tails = sorted(
            one
            for one in beginnings
            if not any(other != one and other[: len(one)] == one for other in beginnings)
        )
        self.reads: dict[tuple[int, int], list[int]] = {}
        for word in self.spellings:
            for tokens in word:
                for depth in range(len(tokens)):
                    ids = self.reads.setdefault((self._tail(tokens[:depth]), depth), [])
                    if tokens[depth] not in ids:
                        ids.append(tokens[depth])

    @property
    def longest_tail(self) -> int:
        return max(map(len, self.tails))

    def _tail(self, beginning: tuple[int, ...]) -> int:
        """The first tail that begins so."""
        return next(n for n, tail in enumerate(self.tails) if tail[: len(beginning)] == beginning)

    def logprobs(self, read: dict[tuple[int, int], Tensor]) -> Tensor:
        """(K, W) log-probs of the words. read: for each entry of `reads` the (K, C) log-probs of its tokens."""
        by_word = []
        for word in self.spellings:
            sums = []
            for tokens in word:
                places = [(self._tail(tokens[:depth]), depth) for depth in range(len(tokens))]
                parts = [
                    read[place][:, self.reads[place].index(token)]
                    for place, token in zip(places, tokens, strict=True)
                ]
                sums.append(torch.stack(parts).sum(0))
            by_word.append(torch.logsumexp(torch.stack(sums), 0))
        return torch.stack(by_word, -1)

    def without_longer(self, logprobs: Tensor) -> Tensor:
        """(K, W) log-probs of the words alone: that of 1 less that of 10, where 10 is spelled as 1 and 0. logprobs: (K, W)."""
        probabilities = logprobs.double().exp()
        alone = probabilities.clone()
        for one, word in enumerate(self.spellings):
            for other, longer in enumerate(self.spellings):
                if any(a != b and b[: len(a)] == a for a in word for b in longer):
                    alone[:, one] -= probabilities[:, other]
        return alone.clamp(min=0).log().to(logprobs.dtype)


class Texts(NamedTuple):
    """Texts with the same beginning, and the words whose log-probs are wanted after each."""

    encoded: EncodedGroup
    words: Words

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads."""
        tails = sum(map(len, self.words.tails))
        suffixes = sum(map(len, self.encoded.responses)) * len(self.words.tails)
        return len(self.encoded.prompt) + suffixes + tails * len(self.encoded.responses)


class _Laid(NamedTuple):
    """Some of a text's branches, one for each tail, for a pass of the model. position: of the first text among all."""

    encoded: EncodedGroup
    position: int


def shared_beginning(texts: Sequence[list[int]]) -> EncodedGroup:
    """The texts' longest common beginning as the prompt, and what follows in each, at least one token, as the responses. Texts
    are tokenized whole, so that no token at the border differs from that of the text alone."""
    shortest = min(map(len, texts))
    common = 0
    while common < shortest - 1 and all(ids[common] == texts[0][common] for ids in texts):
        common += 1
    return EncodedGroup(texts[0][:common], [ids[common:] for ids in texts])


@torch.no_grad()
def word_logprobs(
    policy: Any, passes: Passes, texts: Sequence[Texts], precision: str, check_stop: CheckStop
) -> list[Tensor]:
    """For each of the texts' groups the (K, W) log-probs of its words after its K texts, in float32 on the CPU."""
    results = [torch.empty(len(one.encoded.responses), len(one.words.spellings)) for one in texts]
    by_words: dict[int, list[tuple[int, Texts]]] = {}
    for place, one in enumerate(texts):
        by_words.setdefault(id(one.words), []).append((place, one))
    for group in by_words.values():
        words = group[0][1].words
        owners = [(place, k) for place, one in group for k in range(len(one.encoded.responses))]
        for micro, inputs in passes(_lay_out(group, words, passes.max_tokens)):
            check_stop()
            width = len(words.tails)
            own = [item.position + k for item in micro for k in range(len(item.encoded.responses) // width)]
            with autocast(precision):
                hidden = hidden_states(policy.base_model, inputs)
                read = {}
                for (tail, depth), ids in words.reads.items():
                    last = inputs.last[tail::width]
                    states = hidden[last - (len(words.tails[tail]) - depth)]
                    candidates = torch.tensor(ids, device=states.device).expand(len(states), -1)
                    read[tail, depth] = candidate_logprobs(policy, states, candidates).float().cpu()
            for number, row in zip(own, words.logprobs(read), strict=True):
                place, k = owners[number]
                results[place][k] = row
    return results


def _lay_out(group: Sequence[tuple[int, Texts]], words: Words, max_tokens: int) -> list[_Laid]:
    """Every text once for each tail, those of a group in parts of at most `max_tokens` tokens where that is possible."""
    laid: list[_Laid] = []
    position = 0
    for _, one in group:
        branches: list[list[int]] = []
        tokens = len(one.encoded.prompt)
        count = 0
        for suffix in one.encoded.responses:
            own = [[*suffix, *tail] for tail in words.tails]
            size = sum(map(len, own))
            if branches and tokens + size > max_tokens:
                laid.append(_Laid(EncodedGroup(one.encoded.prompt, branches), position))
                position, count = position + count, 0
                branches, tokens = [], len(one.encoded.prompt)
            branches += own
            tokens += size
            count += 1
        laid.append(_Laid(EncodedGroup(one.encoded.prompt, branches), position))
        position += count
    return laid


def spellings(tokenizer: PreTrainedTokenizerBase, before: str, forms: Sequence[str]) -> list[list[int]]:
    """The tokens of the forms of a word as they follow the text `before`, without duplicates. Raises BadInput if the tokenizer
    has none for any of them."""
    start: list[int] = tokenizer(before, add_special_tokens=False)["input_ids"]
    found: list[list[int]] = []
    for form in forms:
        whole: list[int] = tokenizer(before + form, add_special_tokens=False)["input_ids"]
        tokens = whole[len(start) :]
        if whole[: len(start)] != start or not tokens or tokenizer.unk_token_id in tokens:
            continue
        if tokens not in found:
            found.append(tokens)
    if not found:
        raise BadInput(
            f"The judge's tokenizer cannot express {forms[0]!r} after {before[-40:]!r}, so its probability cannot be read.",
            setting="principles",
        )
    return found

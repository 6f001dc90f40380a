"""Log-probs of words after texts, against the model's own forward one token at a time, and the scores made of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from training.core.batching import Passes
from training.core.errors import BadInput
from training.core.judge_local import comment_scores, letter_probabilities, rating_scores
from training.core.word_logprobs import Texts, Words, shared_beginning, spellings, word_logprobs


def logprob(model: Any, ids: list[int], after: list[int]) -> float:
    """The log-prob of `ids` after other ids, one token at a time, by the model's own forward."""
    total = 0.0
    for place in range(len(ids)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*after, *ids[:place]]])).logits[0, -1]
        total += float(torch.log_softmax(logits, -1)[ids[place]])
    return total


def never() -> None:
    pass


@pytest.mark.parametrize("layout", ["shared", "rows"])
@pytest.mark.parametrize("max_tokens", [64, 4096])
def test_words_of_one_token_and_of_several_have_the_probability_of_their_spellings(
    policy, layout: str, max_tokens: int
):
    words = Words([[[40], [50]], [[60, 70]], [[60, 71, 72], [80]]])
    assert words.tails == [(60, 71)], "the beginning 60 is read with it"
    groups = [[[1, 5, 6, 7], [1, 5, 6, 8, 9]], [[1, 9, 4]], [[1, *range(20, 50)], [1, *range(20, 45)]]]
    passes = Passes(policy.base_model, layout, max_tokens, 128)
    texts = [Texts(shared_beginning(group), words) for group in groups]
    found = word_logprobs(policy, passes, texts, "float32", never)
    for group, values in zip(groups, found, strict=True):
        for ids, row in zip(group, values, strict=True):
            expected = [
                math.log(math.exp(logprob(policy, [40], ids)) + math.exp(logprob(policy, [50], ids))),
                logprob(policy, [60, 70], ids),
                math.log(math.exp(logprob(policy, [60, 71, 72], ids)) + math.exp(logprob(policy, [80], ids))),
            ]
            assert row.tolist() == pytest.approx(expected, abs=1e-3)


def test_words_of_single_tokens_need_one_pass_of_each_text():
    texts = Texts(shared_beginning([[1, 2, 3], [1, 2, 4, 5]]), Words([[[40]], [[50]], [[60]]]))
    assert texts.tokens == 2 + 1 + 2


def test_a_one_that_goes_on_to_ten_is_no_one():
    words = Words([[[5]], [[5, 6]]])
    alone = words.without_longer(torch.tensor([[0.5, 0.2]]).log()).exp()
    assert alone[0].tolist() == pytest.approx([0.3, 0.2])


def test_scores_by_hand():
    logprobs = torch.tensor([[0.5, 0.1, 0.2]]).log()
    expected = math.log(5) + 0.5 * (math.log(0.2) - math.log(0.8))
    assert comment_scores(logprobs, 0.5).item() == pytest.approx(expected, abs=1e-6)
    assert comment_scores(logprobs, 0.0).item() == pytest.approx(math.log(5), abs=1e-6)
    assert comment_scores(torch.tensor([[-1.0, -2.0, 0.0]]), 0.5).isfinite().all()
    # 0.3 for a 4, 0.1 for a 10: a mean of 5.5, the middle of the scale
    rating = torch.full((2, 10), 1e-12)
    rating[0, 3], rating[0, 9] = 0.3, 0.1
    rating[1, 3] = 0.05
    middle, none = rating_scores(rating.log()).tolist()
    assert middle == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(none)
    choice, none = letter_probabilities(torch.tensor([[0.6, 0.2], [0.02, 0.01]]).log()).tolist()
    assert choice == pytest.approx(0.75)
    assert math.isnan(none)


def test_a_word_without_tokens_of_its_own_is_refused(tokenizer):
    assert spellings(tokenizer, "\n\nThat was", [" please"])
    with pytest.raises(BadInput, match="cannot express") as caught:
        spellings(tokenizer, "That was", [""])
    assert caught.value.setting == "principles"

from __future__ import annotations

import random

import pytest

from training.demo import word_lists
from training.demo.language import (
    SHARES_OF_MANNERS,
    exchanges,
    is_held_out,
    parse_prompt,
    sft_conversations,
    take,
)


def test_the_same_seed_writes_the_same_language():
    assert sft_conversations(3, 50) == sft_conversations(3, 50)
    assert sft_conversations(3, 50) != sft_conversations(4, 50)


def test_training_and_held_out_prompts_never_meet_and_are_plenty():
    held_out = {exchange.prompt for exchange in take(1, 1200, held_out=True)}
    training = {exchange.prompt for exchange in take(2, 6000, held_out=False)}
    assert len(held_out) == 1200
    assert len(training) == 6000
    assert not held_out & training
    assert all(is_held_out(prompt) for prompt in held_out)


def test_every_prompt_is_understood_from_its_text_alone():
    stream = exchanges(5)
    forms = set()
    for _ in range(2000):
        exchange = next(stream)
        assert parse_prompt(exchange.prompt) == exchange.request
        forms.add(exchange.request.form)
    assert forms == {"facts", "compare", "how to", "harmful", "chat", "gift", "plan"}


def test_text_from_elsewhere_is_not_understood():
    assert parse_prompt("Tell me about quarks.") is None
    assert parse_prompt("") is None


def test_a_facts_question_knows_what_it_asked():
    prompt = "The ferry to Orla leaves at 9, takes 3 hours and costs 12 crowns. "
    request = parse_prompt(prompt + "What does the ferry cost, and when does it leave?")
    assert request is not None
    assert set(request.expected) == {"at 9", "12 crowns"}


def test_answers_come_in_every_quality():
    rng = random.Random(0)
    chosen = take(1, 300, held_out=False)
    answers = [exchange.any_answer(rng, rng.choice(chosen)) for exchange in chosen]
    rude = sum(any(text in answer for text in word_lists.RUDE_CLOSINGS) for answer in answers)
    assert rude / 300 == pytest.approx(SHARES_OF_MANNERS[2] / 100, abs=0.1)
    assert 0.2 < sum(any(text in answer for text in word_lists.FILLERS) for answer in answers) / 300 < 0.4
    assert any("**" in answer for answer in answers)
    assert any("\n1. " in answer for answer in answers)

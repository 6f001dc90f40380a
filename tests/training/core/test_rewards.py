from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.core import tastes
from tests.training.core.conftest import sentence
from training.configs import GRPOConfig
from training.core.batching import rows_layout
from training.core.data import RolloutPrompt, read_rollout_prompts
from training.core.errors import BadInput
from training.core.job_directory import Job
from training.core.rewards import Rewards, combine_rewards, compare_with_baseline
from training.core.rollout_groups import RolloutGroup
from training.core.tokenization import EncodedGroup, Encoder
from training.core.train_pretrain import train_tokenizer

USER = [{"role": "user", "content": "when does the ferry leave?"}]
PROMPT = RolloutPrompt(1, "a", USER, False, False, "at nine.", None, None, None)


def test_the_safety_model_counts_for_safety_prompts_and_for_what_it_calls_unsafe():
    # sigmoid(-2) = 0.119 and sigmoid(-1.7) = 0.154; chosen on these, what comes out are the logits themselves
    helpful, safety = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-2.0, -1.7, -1.7])
    asks = torch.tensor([False, False, True])
    assert combine_rewards(helpful, safety, asks).tolist() == pytest.approx([-2.0, 2.0, -1.7])


def test_the_binary_reward_is_one_where_the_response_is_preferred_and_soft_its_probability():
    rewards, baselines = torch.tensor([1.0, 2.0, 0.0]), torch.ones(3)
    assert compare_with_baseline(rewards, baselines, soft=False).tolist() == [0.0, 1.0, 0.0], (
        "a tie is no preference"
    )
    soft = compare_with_baseline(rewards, baselines, soft=True).tolist()
    assert soft == pytest.approx([0.5, 0.731059, 0.268941], abs=1e-6)


@pytest.fixture
def build(tmp_path: Path, tokenizer):
    """Rewards whose model has the hand-made taste, with the policy's tokenizer or another."""

    def build(
        *, theirs: Any = tokenizer, safety: Any = None, prompt: RolloutPrompt = PROMPT, **config: Any
    ) -> Rewards:
        models = {"reward_model": tastes.reward_model(len(theirs)), "safety_reward_model": safety}
        paths: dict[str, str | None] = {}
        for name, model in models.items():
            paths[name] = name if model else None
            if model:
                (tmp_path / name).mkdir()
                model.save(theirs, tmp_path / name)
        settings = GRPOConfig(max_length=100, max_new_tokens=16, **config)
        job = Job(folder=tmp_path, kind="grpo", config=settings, model="m", reference=None, **paths)
        return Rewards(job, settings, Encoder(tokenizer, 100), [prompt])

    return build


def rollout_group(
    encoder: Encoder, responses: list[list[int]], finished: list[bool], **changes: Any
) -> RolloutGroup:
    prompt = dataclasses.replace(PROMPT, **changes)
    return RolloutGroup(
        prompt, EncodedGroup(encoder.encode_prompt(USER, max_tokens=80, line=1), responses), finished
    )


def scores_of(model: Any, prompt: list[int], responses: list[list[int]]) -> list[float]:
    with torch.no_grad():
        return model(rows_layout([EncodedGroup(prompt, responses)])).tolist()


def never() -> None:
    pass


def test_with_one_tokenizer_the_very_ids_sampled_are_scored(build, tokenizer):
    rewards, encoder = build(), Encoder(tokenizer, 100)
    apart = [token for part in ("t", "h", "e train") for token in tokenizer(part)["input_ids"]]
    assert apart != tokenizer("the train")["input_ids"]
    one = rollout_group(
        encoder, [[*apart, encoder.end_id], encoder.encode_response("the train")], [True, True]
    )
    found = rewards([one], never).tolist()
    expected = scores_of(tastes.reward_model(len(tokenizer)), one.encoded.prompt, one.encoded.responses)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[0] != pytest.approx(found[1], abs=1e-3), "the same text, other ids"


def test_with_two_tokenizers_the_text_is_scored(build, tokenizer):
    theirs = train_tokenizer([sentence(random.Random(number)) for number in range(200)], 300)
    rewards, ours = build(theirs=theirs), Encoder(tokenizer, 100)
    other = Encoder(theirs, 100)
    assert not rewards.scorers[0].shares_tokens
    responses = [ours.encode_response("the train leaves"), ours.encode_response("at ten")[:-1]]
    found = rewards([rollout_group(ours, responses, [True, False])], never).tolist()
    read = [other.encode_response("the train leaves"), other.encode_response("at ten")[:-1]]
    expected = scores_of(
        tastes.reward_model(len(theirs)), other.encode_prompt(USER, max_tokens=80, line=1), read
    )
    expected[1] -= 1.0  # it never ended
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_response_that_never_ended_is_penalised_by_a_constant(build, tokenizer):
    encoder = Encoder(tokenizer, 100)
    responses = [encoder.encode_response("at ten")] * 2
    ended, cut = build(missing_end_penalty=2.5)(
        [rollout_group(encoder, responses, [True, False])], never
    ).tolist()
    assert ended - cut == pytest.approx(2.5)


def test_two_models_are_combined_by_prompt(build, tokenizer):
    """A safety model that likes what the other does not, and is alarmed by nothing."""
    safety = tastes.reward_model(len(tokenizer), sign=-0.2)
    rewards, encoder = build(safety=safety), Encoder(tokenizer, 100)
    responses = [encoder.encode_response("at ten"), encoder.encode_response("the train")]
    plain, asking = (rollout_group(encoder, responses, [True, True], safety=asks) for asks in (False, True))
    found = rewards([plain, asking], never).tolist()
    ours = scores_of(tastes.reward_model(len(tokenizer)), plain.encoded.prompt, responses)
    theirs = scores_of(safety, plain.encoded.prompt, responses)
    assert all(torch.sigmoid(torch.tensor(theirs)) > 0.15)
    assert found == pytest.approx([*ours, *theirs], abs=1e-6)


@pytest.mark.parametrize("reward", ["binary", "probability"])
def test_the_baseline_is_the_prompts_own(build, tokenizer, reward: str):
    rewards, encoder = build(reward=reward), Encoder(tokenizer, 100)
    responses = [
        encoder.encode_response(text) for text in ("at nine.", "at ten and costs twelve", "the train leaves")
    ]
    one = rollout_group(encoder, responses, [True] * 3)
    scores = scores_of(tastes.reward_model(len(tokenizer)), one.encoded.prompt, responses)
    baseline = torch.tensor(scores[0])  # the first response is the baseline, word for word
    found = rewards([one], never)
    expected = compare_with_baseline(torch.tensor(scores), baseline, soft=reward == "probability")
    assert torch.allclose(found, expected, atol=1e-6)
    assert found[0] == (0.5 if reward == "probability" else 0.0)
    assert torch.equal(rewards([one, one], never)[3:], found), "scored once, the same ever after"


def test_a_missing_baseline_or_reward_model_is_refused(build, tmp_path: Path, tokenizer):
    with pytest.raises(BadInput, match=r"Line 7 .* this prompt has none") as caught:
        build(reward="binary", prompt=dataclasses.replace(PROMPT, baseline=None, line=7))
    assert (caught.value.setting, caught.value.line) == ("reward", 7)
    config = GRPOConfig()
    job = Job(tmp_path, "grpo", config, model="m", reference=None, reward_model=None)
    with pytest.raises(BadInput, match="needs a reward_model") as caught:
        Rewards(job, config, Encoder(tokenizer, 100), [PROMPT])
    assert caught.value.setting == "reward_model"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ('{"id": 1, "prompt": PROMPT}', "the id 1 occurs twice"),
        ('{"id": 2, "prompt": PROMPT, "split": "held_out"}', "both splits"),
        ('{"id": 2, "prompt": PROMPT, "answer": "a"}', "only a rejection job"),
        ('{"id": 2, "prompt": PROMPT, "baseline": 3}', "'baseline' must be a text"),
        ('{"id": 2, "prompt": PROMPT, "safety": 1}', "'safety' must be true or false"),
        ('{"id": 2, "prompt": PROMPT, "reward": "1"}', "'reward' must be a number"),
        ('{"id": 2, "prompt": PROMPT, "token_ids": [-1]}', "'token_ids' must be"),
    ],
)
def test_a_bad_row_is_named(second: str, words: str, tmp_path: Path):
    prompt = '[{"role": "user", "content": "a"}]'
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"id": 1, "prompt": PROMPT}\n'.replace("PROMPT", prompt) + second.replace("PROMPT", prompt)
    )
    with pytest.raises(BadInput, match=words) as caught:
        read_rollout_prompts(path)
    assert caught.value.line == 2


def test_an_answer_to_a_held_out_prompt_is_never_learned(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"id": 1, "prompt": [{"role": "user", "content": "a"}], "answer": "b", "split": "held_out"}\n'
    )
    with pytest.raises(BadInput, match="must not be trained on"):
        read_rollout_prompts(path, with_answers=True)

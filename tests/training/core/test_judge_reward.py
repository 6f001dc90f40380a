"""A judge as the reward of the kinds that sample: its scores, its tokenizer, refusals, and what a policy learns from it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.training.core import tastes
from tests.training.core.conftest import sentence
from tests.training.core.test_word_logprobs import logprob
from training.configs import GRPOConfig
from training.core.data import RolloutPrompt
from training.core.errors import BadInput
from training.core.job_directory import Job
from training.core.model_loading import load_policy
from training.core.principles import read_principles
from training.core.rewards import Rewards
from training.core.rollout_groups import RolloutGroup
from training.core.tokenization import EncodedGroup, Encoder
from training.core.train_pretrain import train_tokenizer

USER = [{"role": "user", "content": "when does the ferry leave?"}]
PROMPT = RolloutPrompt(1, "a", USER, False, False, "at nine.", None, None, None)


def never() -> None:
    pass


@pytest.mark.parametrize("own_tokenizer", [False, True])
def test_the_reward_is_the_comment_on_the_text_in_the_judges_tokens(
    tmp_path: Path, tokenizer, *, own_tokenizer: bool
):
    theirs = (
        train_tokenizer([sentence(random.Random(number)) for number in range(200)], 300)
        if own_tokenizer
        else tokenizer
    )
    tastes.save_judge(tmp_path / "judge", theirs)
    settings = GRPOConfig(max_length=100, max_new_tokens=16, missing_end_penalty=2.0, judge_mode="comment")
    job = Job(
        folder=tmp_path,
        kind="grpo",
        config=settings,
        model="m",
        reference=None,
        reward_model=None,
        judge="judge",
        principles=tuple(read_principles([tastes.PRINCIPLE])),
    )
    policy = Encoder(tokenizer, 100)
    rewards = Rewards(job, settings, policy, [PROMPT])
    texts = ["at ten please", "the train leaves"]
    responses = [policy.encode_response(text) for text in texts]
    prompt = policy.encode_prompt(USER, max_tokens=80, line=1)
    found = rewards([RolloutGroup(PROMPT, EncodedGroup(prompt, responses), [True, False])], never).tolist()
    model: Any = load_policy(str(tmp_path / "judge"))
    expected = []
    for text in texts:
        asked = f"{USER[0]['content']}\n\n{text}\n\nThat was"
        ids = [1, *theirs(asked, add_special_tokens=False)["input_ids"]]
        good, bad = (theirs(word, add_special_tokens=False)["input_ids"] for word in (" please", " no"))
        expected.append(logprob(model, good, ids) - logprob(model, bad, ids))
    expected[1] -= 2.0
    assert found == pytest.approx(expected, abs=1e-4)


KINDS = {
    "grpo": {"samples": 6, "beta": 0.0, "max_steps": 20},
    "reinforce": {"samples": 6, "beta": 0.0, "max_steps": 20},
    "ppo": {"samples": 4, "beta": 0.0, "max_steps": 2, "updates": 1},
    "rejection": {"samples": 4, "max_steps": 2},
    "rest": {"samples": 4, "max_steps": 2},
    "hindsight": {"samples": 3, "max_steps": 2},
}


def learn(folder: Path, kind: str, tokenizer: Any, models: Path, **more: Any) -> tuple[Any, Any]:
    tastes.save_judge(folder / "judge", tokenizer, strength=20.0)
    values = {"reward_model": None, "judge": str(folder / "judge"), "principles": [tastes.PRINCIPLE]}
    job = tastes.job(
        folder / "job",
        kind,
        models,
        tastes.prompts(10),
        KINDS[kind] | {"judge_mode": "comment"} | more.pop("config", {}),
        **values | more,
    )
    return tastes.here(job)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_samples_learns_from_a_judge(kind: str, models: Path, tmp_path: Path, tokenizer):
    _, events = learn(tmp_path, kind, tokenizer, models)
    rewards = tastes.values(events, "reward")
    assert rewards
    if kind in ("grpo", "reinforce"):
        assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.5, "it learns what the judge likes"


def refusal(*arguments: Any, **more: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        learn(*arguments, **more)
    return caught.value


def test_what_does_not_go_together_is_refused(models: Path, tmp_path: Path, tokenizer):
    both = {"reward_model": str(models / "taste")}
    assert refusal(tmp_path / "both", "grpo", tokenizer, models, **both).setting == "judge"
    none = refusal(tmp_path / "none", "grpo", tokenizer, models, judge=None)
    assert none.setting == "reward_model"
    assert refusal(tmp_path / "no", "grpo", tokenizer, models, principles=[]).setting == "principles"
    start = {"value_start": "reward_model"}
    assert refusal(tmp_path / "ppo", "ppo", tokenizer, models, config=start).setting == "value_start"
    mode = {"judge_mode": "score"}
    assert refusal(tmp_path / "mode", "grpo", tokenizer, models, config=mode).setting == "principles"
    score = [tastes.PRINCIPLE | {"compare": "Which is better?"}]
    short = refusal(tmp_path / "short", "grpo", tokenizer, models, config=mode, principles=score)
    assert (short.setting, short.line) == ("max_length", 1)
    tagged = [tastes.PRINCIPLE | {"tag": "harmful"}]
    error = refusal(tmp_path / "tag", "grpo", tokenizer, models, principles=tagged)
    assert (error.setting, error.line) == ("principles", 1)

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core import tastes
from training.core import scored_samples
from training.core.batching import rows_layout
from training.core.errors import BadInput
from training.core.logprobs import token_logprobs
from training.core.model_loading import load_policy, load_tokenizer
from training.core.rollout_groups import RolloutGroup
from training.core.tokenization import Encoder
from training.core.train_rejection import best_of_k_divergence


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tastes.save_models(folder, tokenizer)
    return folder


TINY = {"batch_size": 4, "samples": 4, "epochs": 1}


def test_the_divergence_of_the_best_of_k():
    assert best_of_k_divergence(1) == 0.0
    assert best_of_k_divergence(4) == pytest.approx(math.log(4) - 0.75)
    assert best_of_k_divergence(64) == pytest.approx(3.174508, abs=1e-5)


def test_the_best_of_every_prompts_responses_is_learned(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[list[RolloutGroup], torch.Tensor]] = []
    real = scored_samples._sample_chunk
    config = TINY | {"missing_end_penalty": 0.25, "sample_tokens": 200}

    def sampled(setup: Any, chunk: list[int], loop: Any, choose: Any) -> Any:
        scorer = setup.rewards

        class Listening:
            def __call__(self, answered: Any, check_stop: Any) -> torch.Tensor:
                seen.append((answered, scorer(answered, check_stop)))
                return seen[-1][1]

        setup.rewards = Listening()
        try:
            return real(setup, chunk, loop, choose)
        finally:
            setup.rewards = scorer

    monkeypatch.setattr(scored_samples, "_sample_chunk", sampled)
    asked = tastes.prompts(10)
    result, events = tastes.here(tastes.job(tmp_path, "rejection", models, asked, config))
    assert len(seen) > 1, "in several chunks"
    best = {row["id"]: row for row in tastes.lines(tmp_path / "output" / "best.jsonl")}
    assert list(best) == [row["id"] for row in asked if row["split"] == "train"]
    for answered, rewards in seen:
        for one in answered:
            own = rewards[: len(one.encoded.responses)].tolist()
            rewards = rewards[len(one.encoded.responses) :]
            assert best[one.source.id]["reward"] == pytest.approx(max(own), abs=1e-6)
            assert best[one.source.id]["token_ids"] == one.encoded.responses[own.index(max(own))]
    every = torch.cat([rewards for _, rewards in seen])
    assert result["metrics"]["reward"] == pytest.approx(float(every.mean()), rel=1e-5)
    assert result["metrics"]["reward_best"] > result["metrics"]["reward"]
    assert tastes.values(events, "kl_bon") == pytest.approx([math.log(4) - 0.75], abs=1e-5)
    assert len(tastes.values(events, "held_out_reward")) == 2


def test_the_best_of_one_round_are_rows_of_the_next(models: Path, tmp_path: Path, tokenizer):
    first = tastes.job(tmp_path / "first", "rejection", models, tastes.prompts(5), TINY)
    tastes.here(first)
    kept = tastes.lines(first / "output" / "best.jsonl")
    data = [*tastes.prompts(12)[5:], *kept]
    second = tastes.job(tmp_path / "second", "rejection", models, data, TINY)
    result, _ = tastes.here(second)
    assert (result["prompts"], result["remembered"]) == (6, 4)
    carried = tastes.lines(second / "output" / "best.jsonl")
    assert len(carried) == 10
    assert carried[6:] == kept, "as they were, ids and all"
    encoder = Encoder(load_tokenizer(str(models / "policy"))[0], 100)
    retold = [encoder.encode_response(row["answer"]) for row in kept]
    assert retold != [row["token_ids"] for row in kept], "read again, the text would be other ids"


def test_what_is_remembered_is_learned(models: Path, tmp_path: Path):
    """With one prompt to sample for and an answer said forty times over, the answer becomes likely."""
    prompt = [{"role": "user", "content": "when?"}]
    memory = [
        {"id": number, "prompt": prompt, "answer": "thank you kindly.", "reward": 1.0} for number in range(40)
    ]
    config = TINY | {"batch_size": 8, "epochs": 6}
    tastes.here(tastes.job(tmp_path, "rejection", models, [tastes.prompts(1)[0], *memory], config))
    likely = []
    for at in (models / "policy", tmp_path / "output"):
        encoder = Encoder(load_tokenizer(str(at))[0], 100)
        group = encoder.encode_group(prompt, ["thank you kindly."], line=1)
        with torch.no_grad():
            likely.append(token_logprobs(load_policy(str(at)), rows_layout([group])).mean().item())
    assert likely[0] < -4
    assert likely[1] > -1


def test_there_must_be_something_to_sample_for(models: Path, tmp_path: Path):
    data = [{"id": 1, "prompt": [{"role": "user", "content": "a"}], "answer": "b"}]
    with pytest.raises(BadInput, match="to be sampled for"):
        tastes.here(tastes.job(tmp_path, "rejection", models, data, TINY))


def test_it_learns_what_the_reward_model_likes(models: Path, tmp_path: Path, do: tastes.Do):
    config = {"samples": 16, "epochs": 6, "batch_size": 8}
    code, events = do(tastes.job(tmp_path, "rejection", models, tastes.prompts(40), config))
    assert code == 0
    before, after = tastes.values(events, "held_out_reward")
    assert after > before + 0.15
    ours, theirs = (load_file(at / "model.safetensors") for at in (tmp_path / "output", models / "policy"))
    assert not all(ours[name].equal(theirs[name]) for name in theirs)

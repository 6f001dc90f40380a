"""A Python function as the reward of the kinds that sample: what it reads, what a policy learns from it, and refusals."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.core import tastes
from tests.training.core.conftest import ROOT
from training.configs import ConfigError, GRPOConfig, from_dict
from training.core.data import RolloutPrompt
from training.core.errors import BadInput
from training.core.function_reward import load_function
from training.core.job_directory import Job
from training.core.rewards import Rewards
from training.core.rollout_groups import RolloutGroup
from training.core.tokenization import EncodedGroup, Encoder

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module with a reward function, allow it, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    load_function.cache_clear()

    def write(module: str, code: str, function: str = "reward") -> str:
        (tmp_path / f"{module}.py").write_text(code)
        name = f"{module}:{function}"
        monkeypatch.setenv("REWARD_FUNCTIONS", f"other:reward, {name}")
        return name

    return write


def job(folder: Path, kind: str, models: Path, name: str, config: dict[str, Any], **more: Any) -> Path:
    rows = [row | {"metadata": {"answer": "Please"}} for row in tastes.prompts(10)]
    settings = {"reward_function": name, "missing_end_penalty": 0.0} | config
    return tastes.job(folder, kind, models, rows, settings, **{"reward_model": None} | more)


def refusal(*arguments: Any, **more: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        tastes.here(job(*arguments, **more))
    assert caught.value.setting == "reward_function"
    return caught.value


def documented_example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    [code] = [block for block in blocks if "\ndef " in f"\n{block}"]
    return str(code)


def test_it_reads_text_and_metadata_and_a_cut_response_loses_the_penalty(
    tmp_path: Path, tokenizer, write: Write
):
    code = """
seen = []
def reward(prompts, responses, metadata):
    seen.append((prompts, responses, metadata))
    return [len(response) for response in responses]
"""
    config = GRPOConfig(reward_function=write("reads", code), missing_end_penalty=2.0, max_new_tokens=16)
    folders = {"folder": tmp_path, "kind": "grpo", "config": config, "model": "m"}
    policy = Encoder(tokenizer, 100)
    message = [{"role": "user", "content": "when?"}]
    prompt = RolloutPrompt(1, "a", message, False, False, None, None, None, None, metadata={"answer": 9})
    rewards = Rewards(Job(**folders, reference=None, reward_model=None), config, policy, [prompt])
    encoded = EncodedGroup([1, 2], [policy.encode_response(text) for text in ("at nine", "ten")])
    found = rewards([RolloutGroup(prompt, encoded, [True, False])], lambda: None)
    assert found.tolist() == [7.0, 1.0]
    [seen] = load_function("reads:reward").call.__globals__["seen"]
    assert seen == ([message, message], ["at nine", "ten"], [{"answer": 9}, {"answer": 9}])


KINDS = {
    "grpo": {"samples": 8, "beta": 0.0, "max_steps": 30},
    "reinforce": {"samples": 8, "beta": 0.0, "max_steps": 30},
    "ppo": {"samples": 4, "beta": 0.0, "max_steps": 2, "updates": 1},
    "online": {"max_steps": 2},
    "rejection": {"samples": 4, "max_steps": 2},
    "rest": {"samples": 4, "max_steps": 2},
    "hindsight": {"samples": 3, "max_steps": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_samples_learns_from_the_documented_function(
    kind: str, models: Path, tmp_path: Path, write: Write
):
    code = documented_example()
    name = write("verifiable", code, "has_answer")
    result, events = tastes.here(job(tmp_path / "job", kind, models, name, KINDS[kind]))
    assert result["reward_function"] == {"name": name, "sha256": hashlib.sha256(code.encode()).hexdigest()}
    rewards = tastes.values(events, "reward")
    assert rewards
    if kind in ("grpo", "reinforce"):
        assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.3, "it learns to give the expected answer"


FAULTS = {
    "raises": ("raise KeyError('answer')", r"failed: KeyError: 'answer'\. The run's log has the traceback"),
    "exits": ("raise SystemExit(3)", "failed: SystemExit: 3"),
    "returns_none": ("pass", "failed: TypeError"),
    "too_few": ("return [1.0]", "returned 1 rewards for "),
    "not_numbers": ("return ['good' for _ in responses]", "failed: ValueError"),
    "not_finite": ("return [float('nan') for _ in responses]", "returned nan for the response '"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_function_ends_the_run_with_a_sentence_that_names_it(
    fault: str, models: Path, tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
):
    body, expected = FAULTS[fault]
    name = write(fault, f"def reward(prompts, responses, metadata):\n    {body}\n")
    error = refusal(tmp_path / "job", "grpo", models, name, KINDS["grpo"])
    assert re.match(f"The reward function {name} {expected}", str(error)), error
    logged = "Traceback" in capsys.readouterr().err
    assert logged == expected.startswith("failed"), "what it raised is in the log"


def test_only_allowed_functions_are_imported(
    models: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
):
    allowed = write("allowed", "reward = 3\n")
    marker = tmp_path / "imported"
    write("elsewhere", f"open({str(marker)!r}, 'w')\ndef reward(*_): return []\n")
    monkeypatch.setenv("REWARD_FUNCTIONS", f"{allowed},absent:reward,broken:reward,{allowed}s")
    write_broken = tmp_path / "broken.py"
    write_broken.write_text("import no_such_module\n")
    for name, words in (
        ("elsewhere:reward", "is none of the functions in REWARD_FUNCTIONS: allowed:reward, absent"),
        (allowed, "does not exist: allowed has no function reward"),
        (f"{allowed}s", "does not exist"),
        ("absent:reward", "cannot be imported: ModuleNotFoundError: No module named 'absent'"),
        ("broken:reward", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        assert words in str(refusal(tmp_path / "job", "grpo", models, name, KINDS["grpo"]))
    assert not marker.exists()
    monkeypatch.delenv("REWARD_FUNCTIONS")
    assert "of which there are none" in str(refusal(tmp_path / "job", "grpo", models, allowed, KINDS["grpo"]))


def test_a_job_has_one_source_of_rewards(models: Path, tmp_path: Path, write: Write):
    name = write("one_source", "def reward(*_): return []\n")
    refusal(tmp_path / "job", "grpo", models, name, KINDS["grpo"], reward_model=str(models / "taste"))
    with pytest.raises(ConfigError, match="must be module:function"):
        from_dict("grpo", {"reward_function": "os.system"})


def test_a_value_model_cannot_start_from_a_reward_model_that_is_not_there(
    models: Path, tmp_path: Path, write: Write
):
    name = write("zeros", "def reward(prompts, responses, metadata): return [0] * len(responses)\n")
    config = KINDS["ppo"] | {"value_start": "reward_model"}
    with pytest.raises(BadInput, match="as there is none") as caught:
        tastes.here(job(tmp_path / "job", "ppo", models, name, config))
    assert caught.value.setting == "value_start"


def test_metadata_is_an_object(models: Path, tmp_path: Path, write: Write):
    name = write("unused", "def reward(*_): return []\n")
    rows = [row | {"metadata": ["Please"]} for row in tastes.prompts(10)]
    folder = tastes.job(tmp_path / "job", "grpo", models, rows, {"reward_function": name}, reward_model=None)
    with pytest.raises(BadInput, match="'metadata' must be an object"):
        tastes.here(folder)

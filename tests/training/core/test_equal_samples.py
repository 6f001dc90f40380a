"""The warning about samples that are all equal, which teach nothing and leave nothing to rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.core import tastes
from tests.training.core.chat_server import Http, as_a_plain_server
from tests.training.core.conftest import write_job
from tests.training.core.in_process import Recorded
from training.core.diagnostics import count_equal_samples, warn_of_equal_samples

GREEDY = {"temperature": 0.01, "max_new_tokens": 1, "max_steps": 2}
KINDS = {
    "grpo": {"samples": 4, "beta": 0.0},
    "reinforce": {"samples": 4, "beta": 0.0},
    "ppo": {"samples": 4, "beta": 0.0, "updates": 1},
    "online": {},
    "hindsight": {"samples": 3},
    "rejection": {"samples": 4},
    "rest": {"samples": 4},
}


def warnings(events: list[dict[str, Any]]) -> list[str]:
    messages = [event["message"] for event in events if event["event"] == "warning"]
    return [message for message in messages if "equal samples only" in message]


def test_only_two_samples_or_more_can_be_equal() -> None:
    assert count_equal_samples([["a"], ["b", "b"], ["c", "c", "d"], [[1, 2], [1, 2]], []]) == 2


@pytest.mark.parametrize(("equal", "expected"), [(5, False), (6, True)])
def test_more_than_half_is_too_many(equal: int, *, expected: bool) -> None:
    events = Recorded()
    for _ in range(2):
        warn_of_equal_samples(equal, 10, 0.3, events)
    assert len(warnings(events.seen)) == expected, "and it is said once"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_samples_warns_once_of_a_temperature_that_is_too_low(
    kind: str, models: Path, tmp_path: Path
):
    job = tastes.job(tmp_path / "low", kind, models, tastes.prompts(10), KINDS[kind] | GREEDY)
    [warning] = warnings(tastes.here(job)[1])
    assert "at the temperature 0.01" in warning
    job = tastes.job(tmp_path / "usual", kind, models, tastes.prompts(10), KINDS[kind] | {"max_steps": 2})
    assert not warnings(tastes.here(job)[1])


@pytest.mark.parametrize(("temperature", "expected"), [(0.01, 1), (1.0, 0)])
def test_generation_by_a_model_warns(models: Path, tmp_path: Path, temperature: float, expected: int):
    config = {"samples": 3, "temperature": temperature, "max_new_tokens": 6, "max_length": 100}
    job = write_job(
        tmp_path / "job", "generate", tastes.prompts(6), model=str(models / "policy"), config=config
    )
    found = warnings(tastes.here(job)[1])
    assert len(found) == expected
    assert all("the temperature is too low" in warning for warning in found)


def served(folder: Path, http: Http, samples: int) -> list[str]:
    config = {"samples": samples, "server": http.url, "server_model": "m"}
    job = write_job(folder, "generate", tastes.prompts(6), config=config)
    return warnings(tastes.here(job)[1])


def test_generation_by_a_server_warns_if_it_is_greedy(tmp_path: Path, http: Http):
    assert not served(tmp_path / "differ", http, 3)
    http.answer = as_a_plain_server
    [warning] = served(tmp_path / "equal", http, 3)
    assert "the server seems to ignore the temperature" in warning
    assert not served(tmp_path / "single", http, 1), "one sample a prompt equals nothing"

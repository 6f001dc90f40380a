"""Rollouts that a serving engine samples: what it is sent, that it has the last version, and what is said when it has not."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from tests.training.core import tastes
from tests.training.core.conftest import tiny_llama
from tests.training.core.engine_server import EngineServer
from tests.training.core.in_process import stored
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.serving import served_policy
from training.core.serving.agreement import Agreement, compare, importance_weights

LORA = {"lora_rank": 4, "learning_rate": 3e-2, "samples": 3, "batch_size": 4, "max_steps": 4}
KINDS = ("grpo", "ppo", "reinforce", "online", "rejection", "rest", "hindsight")


@pytest.fixture
def engine(models: Path) -> Iterator[EngineServer]:
    server = EngineServer(models / "policy")
    yield server
    server.stop()


def served(engine: EngineServer, sampler: str = "vllm-lora") -> dict[str, Any]:
    path = "/v1" if sampler == "vllm-lora" else ""
    return {"sampler": sampler, "sampler_server": engine.url + path, "sampler_wait_minutes": 0.01}


def job(folder: Path, kind: str, models: Path, config: dict[str, Any], count: int = 20) -> Path:
    return tastes.job(folder, kind, models, tastes.prompts(count), LORA | config)


def refusal(folder: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        tastes.here(folder)
    assert not (folder / "output").exists()
    return caught.value


# --- the comparison of log-probs ----------------------------------------------------------------------------------------------


def test_agreement_by_hand():
    served, current = torch.tensor([-1.0, -2.0]), torch.tensor([-1.1, -1.8])
    result = compare(served, current, current)
    assert result.gap == pytest.approx(0.15)
    assert result.ratio == pytest.approx((math.exp(-0.1) + math.exp(0.2)) / 2)
    assert result.error == math.inf
    assert not result.is_stale
    assert result.is_another_model
    assert not result._replace(gap=0.1).is_another_model
    assert result._replace(gap=math.nan).is_another_model
    half = compare(torch.tensor([-1.5, -1.0]), torch.tensor([-1.0, -1.0]), torch.tensor([-2.0, -1.0]))
    assert (half.update, half.error) == (0.5, 0.0)
    assert not half.is_stale
    assert Agreement(0.0, 1.0, 0.1, 0.03).is_stale
    assert not Agreement(0.0, 1.0, 0.1, 0.04).is_stale


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 3e-2])
@pytest.mark.parametrize("size", [0.01, 0.5, 3.0, 1000.0])
def test_a_stale_version_shows_by_the_size_of_its_update_beside_the_noise(noise: float, size: float):
    """The update of a token's log-prob is `size` times the noise of the engine; a current engine is never taken for stale."""
    torch.manual_seed(0)
    caught = 0
    for _ in range(50):
        previous = -torch.rand(4000, dtype=torch.float64) * 3
        current = previous + noise * size * torch.randn(4000, dtype=torch.float64)
        rounding = noise * torch.randn(4000, dtype=torch.float64)
        assert not compare(current + rounding, current, previous).is_stale
        caught += compare(previous + rounding, current, previous).is_stale
    assert caught == (50 if size >= 0.5 else 0)


def test_rounding_in_the_trainer_is_no_stale_version():
    """Where the last update is lost in the rounding of the trainer's own passes, nothing is said."""
    torch.manual_seed(0)
    for _ in range(50):
        true = -torch.rand(4000, dtype=torch.float64)
        passes = [true + 1e-3 * torch.randn(4000, dtype=torch.float64) for _ in range(3)]
        assert not compare(*passes).is_stale


def test_importance_weights_are_truncated():
    served, current = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -0.5, -3.0])
    expected = torch.tensor([1.0, 1.5, math.exp(-2)])
    assert torch.allclose(importance_weights(served, current, 1.5), expected)


# --- whole runs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_version_is_an_adapter_of_its_own(kind: str, models: Path, tmp_path: Path, engine: EngineServer):
    config = served(engine) | ({"updates": 1} if kind == "ppo" else {})
    folder = job(tmp_path, kind, models, config)
    _, events = tastes.here(folder)
    assert max(tastes.values(events, "sampler_gap")) < 1e-4
    assert tastes.values(events, "sampler_ratio") == pytest.approx(
        [1.0] * len(tastes.values(events, "sampler_gap")), abs=1e-4
    )
    loaded = [
        (fields["lora_name"], fields["lora_path"])
        for path, fields in engine.requests
        if path.endswith("/load_lora_adapter")
    ]
    assert len(loaded) == len(set(loaded)) == {"rejection": 1, "rest": 1}.get(kind, 4)
    if len(loaded) > 2:
        third = engine.paths().index("/v1/load_lora_adapter", 1)
        third = engine.paths().index("/v1/load_lora_adapter", third + 1)
        after = [(path, fields.get("lora_name")) for path, fields in engine.requests[third + 1 :]]
        assert after[0] == ("/v1/unload_lora_adapter", loaded[0][0]), "the version before the last"
    assert not engine.adapters, "all are unloaded at the end"
    assert not (folder / "sampler").exists()
    assert (folder / "output" / "model.safetensors").exists()


def test_sglang_gets_the_whole_weights_between_two_rollouts(
    models: Path, tmp_path: Path, engine: EngineServer
):
    config = served(engine, "sglang-disk") | {"lora_rank": 0, "learning_rate": 1e-2}
    folder = job(tmp_path, "grpo", models, config)
    _, events = tastes.here(folder)
    assert max(tastes.values(events, "sampler_gap")) < 1e-4
    update = ["/pause_generation", "/update_weights_from_disk", "/continue_generation"]
    assert engine.paths() == (update + ["/generate"] * 4) * 4
    assert not (folder / "sampler").exists()


@pytest.mark.parametrize(("shift", "cap", "scale"), [(0.05, 2.0, math.exp(-0.05)), (-0.08, 1.0, 1.0)])
def test_losses_are_weighted_by_the_truncated_ratio(
    shift: float, cap: float, scale: float, models: Path, tmp_path: Path, engine: EngineServer
):
    """An engine whose log-probs are all `shift` too high: each token's ratio is exp(-shift), at most the cap."""
    norms = {}
    for kind in ("grpo", "reinforce"):
        for name, value in (("plain", 0.0), ("shifted", shift)):
            engine.shift = value
            config = served(engine) | {"max_steps": 1, "beta": 0.0, "importance_cap": cap}
            _, events = tastes.here(job(tmp_path / f"{kind}-{name}", kind, models, config))
            norms[name] = tastes.values(events, "grad_norm")[0]
        assert norms["shifted"] == pytest.approx(scale * norms["plain"], rel=2e-3)
        assert tastes.values(events, "sampler_capped") == [float(scale == 1.0)]


# --- a stale version, and another model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [3e-2, 1e-4])
@pytest.mark.parametrize("sampler", ["vllm-lora", "sglang-disk"])
def test_a_stale_version_ends_the_run_which_can_be_resumed(
    sampler: str, learning_rate: float, models: Path, tmp_path: Path, engine: EngineServer
):
    config = served(engine, sampler) | {"learning_rate": learning_rate}
    if sampler == "sglang-disk":
        config["lora_rank"] = 0
    folder = job(tmp_path, "grpo", models, config)
    engine.fault = "stale"
    error = refusal(folder)
    assert "samples from an earlier version of the weights" in str(error)
    assert error.setting == "sampler_server"
    assert (folder / "checkpoint").is_dir()
    engine.fault = ""
    _, events = tastes.here(folder)
    assert events[0]["resumed_from"] == 1
    assert events[-1]["event"] != "error"


def test_after_a_resumption_an_engine_without_the_adapter_is_caught(
    models: Path, tmp_path: Path, engine: EngineServer, monkeypatch: pytest.MonkeyPatch
):
    folder = job(tmp_path, "grpo", models, served(engine))
    engine.fault = "stale"
    refusal(folder)
    engine.fault = ""
    monkeypatch.setattr(
        "tests.training.core.engine_server.PeftModel.from_pretrained", lambda base, folder: Unadapted(base)
    )
    assert "an earlier version" in str(refusal(folder))


class Unadapted:
    """A model that ignores its adapter."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def merge_and_unload(self) -> Any:
        return self.base


FAULTS = {
    "no updates": ("sampler_server", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
    "no files": ("sampler_server", "SAMPLER_DIR"),
    "no token ids": ("sampler_server", "without its token ids"),
    "no logprobs": ("sampler_server", "without a log-prob for each"),
    "another name": ("sampler_server", "answered with the model policy in place of palate-"),
    "short": ("sampler_server", "max_length = 100"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unsupported_engine_is_refused_before_training(
    fault: str, models: Path, tmp_path: Path, engine: EngineServer
):
    setting, words = FAULTS[fault]
    engine.fault = fault
    if fault == "short":
        engine.max_length, engine.get = 12, lambda path: (200, {"data": [{"id": "policy"}]})  # type: ignore[method-assign]
    error = refusal(job(tmp_path, "grpo", models, served(engine)))
    assert words in str(error)
    assert error.setting == setting
    assert not (tmp_path / "checkpoint").exists(), "nothing was learned yet"
    assert not (tmp_path / "sampler").exists()


@pytest.mark.parametrize(("fault", "words"), [("no files", "SAMPLER_DIR"), ("no version", "newer SGLang")])
def test_an_unsupported_sglang_setting_is_refused(
    fault: str, words: str, models: Path, tmp_path: Path, engine: EngineServer
):
    engine.fault = fault
    assert words in str(
        refusal(job(tmp_path, "grpo", models, served(engine, "sglang-disk") | {"lora_rank": 0}))
    )
    assert engine.paths()[2] == "/continue_generation", "it is not left paused"


def test_a_rank_or_a_length_beyond_the_engines_names_the_setting(
    models: Path, tmp_path: Path, engine: EngineServer
):
    engine.max_rank = 2
    error = refusal(job(tmp_path / "rank", "grpo", models, served(engine)))
    assert (error.setting, "max_lora_rank 2" in str(error)) == ("lora_rank", True)
    engine.max_length = 50
    error = refusal(job(tmp_path / "length", "grpo", models, served(engine)))
    assert (error.setting, "at most 50 tokens" in str(error)) == ("max_length", True)


@pytest.mark.parametrize("vocabulary", [320, 100])
def test_another_base_model_is_refused(
    vocabulary: int, models: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
):
    torch.manual_seed(3)
    other = tiny_llama()
    other.resize_token_embeddings(vocabulary)
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    engine = EngineServer(tmp_path / "other")
    try:
        config = served(engine) | {"lora_targets": "q_proj", "temperature": 0.9}
        error = refusal(job(tmp_path / "job", "grpo", models, config))
    finally:
        engine.stop()
    if vocabulary == 320:
        assert "does not serve the model that the run starts from" in str(error)
        assert "--logprobs-mode processed_logprobs" in str(error)
    else:
        assert "another vocabulary" in str(error)
    assert error.setting == "sampler_server"


def test_several_processes_are_refused(
    models: Path, tmp_path: Path, engine: EngineServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(served_policy, "world_size", lambda: 2)
    error = refusal(job(tmp_path, "grpo", models, served(engine)))
    assert (error.setting, "several processes" in str(error)) == ("sampler", True)


# --- a server that is away ----------------------------------------------------------------------------------------------------


class AtStep(Events):
    """Calls `act` once, when the first warning is written or the given step was taken."""

    def __init__(self, act: Any, step: int | None = None) -> None:
        super().__init__(io.StringIO())
        self.act, self.step = act, step

    def _write(self, event: str, **values: Any) -> None:
        super()._write(event, **values)
        is_due = event == "warning" if self.step is None else values.get("step") == self.step
        if is_due and self.act:
            act, self.act = self.act, None
            act(self)


def test_a_server_that_stays_away_ends_the_run_with_a_checkpoint(
    models: Path, tmp_path: Path, engine: EngineServer
):
    folder = job(tmp_path, "grpo", models, served(engine))
    with pytest.raises(BadInput) as caught:
        tastes.here(folder, AtStep(lambda events: engine.stop(), step=2))
    assert caught.value.setting == "sampler_wait_minutes"
    assert "sampler_wait_minutes = 0.01" in str(caught.value)
    assert engine.url in str(caught.value)
    engine.start()
    _, events = tastes.here(folder)
    assert events[0]["resumed_from"] == 2


def test_a_missing_server_fails_at_once(models: Path, tmp_path: Path, engine: EngineServer):
    engine.stop()
    assert "was not available" in str(refusal(job(tmp_path, "grpo", models, served(engine))))
    engine.start()


def test_a_server_that_comes_back_gets_the_weights_again(models: Path, tmp_path: Path, engine: EngineServer):
    def restart(events: Events) -> None:
        engine.stop()
        engine.start()

    folder = job(tmp_path, "grpo", models, served(engine) | {"sampler_wait_minutes": 1.0})
    _, events = tastes.here(folder, AtStep(restart, step=2))
    assert engine.paths().count("/v1/load_lora_adapter") == 4
    assert max(tastes.values(events, "sampler_gap")) < 1e-4

    shutil.rmtree(folder / "output")
    real, lost = engine.post, []

    def forget_once(path: str, fields: dict[str, Any]) -> Any:
        if path == "/v1/completions" and not lost:
            lost.append(fields["model"])
            engine.adapters.clear()
        return real(path, fields)

    engine.post = forget_once  # type: ignore[method-assign]
    engine.requests.clear()
    tastes.here(folder)
    assert lost
    assert engine.paths().count("/v1/load_lora_adapter") == 5, "once again in the middle of a rollout"


def test_a_run_that_is_stopped_while_it_waits_has_a_checkpoint(
    models: Path, tmp_path: Path, engine: EngineServer
):
    def stop(events: Events) -> None:
        events.stop_requested = True

    folder = job(tmp_path, "grpo", models, served(engine) | {"sampler_wait_minutes": 10.0})
    events = AtStep(lambda events: engine.stop(), step=2)
    events.warning = lambda message: stop(events)  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        tastes.here(folder, events)
    assert (folder / "checkpoint").is_dir()
    engine.start()


def test_a_run_that_is_stopped_during_the_comparison_keeps_its_own_weights(
    models: Path, tmp_path: Path, engine: EngineServer, monkeypatch: pytest.MonkeyPatch
):
    """The policy has the weights of the version before meanwhile; they must not get into the checkpoint."""
    events, own = Events(io.StringIO()), []
    real = served_policy.ServedPolicy.previous_weights

    @contextmanager
    def previous_weights(self: served_policy.ServedPolicy) -> Iterator[None]:
        own[:] = [parameter.detach().clone() for parameter in self._trained()]
        events.stop_requested = self._step == 2
        with real(self):
            yield

    monkeypatch.setattr(served_policy.ServedPolicy, "previous_weights", previous_weights)
    folder = job(tmp_path, "grpo", models, served(engine))
    with pytest.raises(Stopped):
        tastes.here(folder, events)
    saved = [tensor for name, tensor in stored(folder, "model").items() if "lora_" in name]
    assert len(saved) == len(own) > 0
    assert {tensor.double().sum().item() for tensor in saved} == {
        tensor.double().sum().item() for tensor in own
    }


def test_versions_are_written_to_the_shared_folder(
    models: Path, tmp_path: Path, engine: EngineServer, monkeypatch: pytest.MonkeyPatch
):
    shared = tmp_path / "shared"
    monkeypatch.setenv("SAMPLER_DIR", str(shared))
    folder = job(tmp_path / "job", "grpo", models, served(engine) | {"max_steps": 1})
    assert "which is no folder" in str(refusal(folder))
    shared.mkdir()
    tastes.here(folder)
    path = next(fields["lora_path"] for path, fields in engine.requests if path.endswith("load_lora_adapter"))
    assert Path(path).parent.parent == shared
    assert not list(shared.iterdir())

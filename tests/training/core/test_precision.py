"""The precisions `default` and `auto` are resolved once for a run, `auto` by times that it reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.training.core.conftest import judgments, write_job
from tests.training.core.in_process import Recorded, do_here
from tests.training.core.processes import tensors
from training.core import batching, precision
from training.core.job_directory import read_job


@pytest.mark.parametrize(("seconds", "chosen"), [(0.004, "bfloat16"), (0.0099, "float32"), (0.03, "float32")])
def test_bfloat16_must_be_clearly_faster(seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch):
    times = {"float32": 0.01, "bfloat16": seconds}
    monkeypatch.setattr(precision, "time_product", lambda hidden, weight, name: times[name])
    choice = precision.choose_precision(32, 48, 64)
    assert choice == {"precision": chosen, "float32_ms": 10.0, "bfloat16_ms": 1000 * seconds}


def job(folder: Path, source: Path, precision: str) -> Path:
    config = {"batch_size": 4, "max_steps": 2, "max_length": 100, "precision": precision}
    return write_job(folder, "reward", judgments(12), model=str(source), config=config)


def choices(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "precision"]


def test_a_run_measures_reports_and_uses_what_it_chose(source: Path, tmp_path: Path):
    _, events = do_here(job(tmp_path / "auto", source, "auto"))
    [choice] = choices(events)
    assert events[0] == choice, "before the run starts"
    assert choice["float32_ms"] > 0
    assert choice["bfloat16_ms"] > 0
    output = tmp_path / "auto" / "output"
    assert json.loads((output / "palate.json").read_text())["config"]["precision"] == choice["precision"]
    _, events = do_here(job(tmp_path / "set", source, choice["precision"]))
    assert not choices(events)
    ours, theirs = tensors(output), tensors(tmp_path / "set" / "output")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs), (
        "the measurement draws no random numbers"
    )
    assert not (tmp_path / "auto" / "precision.json").exists()


def test_a_resumed_run_goes_on_with_what_was_chosen(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    chosen = {"precision": "bfloat16", "tf32": False, "float32_ms": 2.0, "bfloat16_ms": 1.0}
    monkeypatch.setattr(precision, "choose_precision", lambda *_: chosen)
    folder = job(tmp_path, source, "auto")
    assert do_here(folder, Recorded(3))[0] is None
    monkeypatch.setattr(precision, "choose_precision", lambda *_: pytest.fail("measured again"))
    _, events = do_here(folder)
    assert choices(events) == [{"event": "precision"} | chosen]
    assert used(folder) == "bfloat16"


def used(folder: Path) -> str:
    config = json.loads((folder / "output" / "palate.json").read_text())["config"]
    return str(config["precision"])


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that says it has one, on which bfloat16 is faster. The run itself is computed on the processor."""
    measured = {"precision": "bfloat16", "float32_ms": 2.0, "bfloat16_ms": 1.0}
    monkeypatch.setattr(precision, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(precision, "choose_precision", lambda *_: measured)
    yield
    torch.set_float32_matmul_precision("highest")


def test_the_default_of_a_processor_is_float32_unmeasured(source: Path, tmp_path: Path):
    _, events = do_here(job(tmp_path, source, "default"))
    assert not choices(events)
    assert used(tmp_path) == "float32"
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_default_of_an_accelerator_is_measured_and_tf32(source: Path, tmp_path: Path, accelerator: None):
    _, events = do_here(job(tmp_path, source, "default"))
    [choice] = choices(events)
    assert (choice["precision"], choice["tf32"]) == ("bfloat16", True)
    assert used(tmp_path) == "bfloat16"
    assert torch.get_float32_matmul_precision() == "high"


def test_float32_stays_exact_on_an_accelerator(source: Path, tmp_path: Path, accelerator: None):
    _, events = do_here(job(tmp_path, source, "float32"))
    assert not choices(events)
    assert used(tmp_path) == "float32"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("with_folder", [True, False], ids=["same folder", "checkpoint only"])
def test_a_run_of_a_processor_stays_in_float32_where_an_accelerator_resumes_it(
    with_folder: bool, source: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    """The checkpoint alone is what another machine has."""
    folder = job(tmp_path, source, "default")
    assert do_here(folder, Recorded(2, gently=True))[0] is None
    assert json.loads((folder / "checkpoint" / "manifest.json").read_text())["step"] == 1
    if not with_folder:
        (folder / "precision.json").unlink()
    request.getfixturevalue("accelerator")
    assert do_here(folder)[0] is not None
    assert used(folder) == "float32"
    assert torch.get_float32_matmul_precision() == "highest"


def test_models_are_tried_without_tf32(source: Path, tmp_path: Path, accelerator: None, monkeypatch):
    """Its rounding would have large models refused."""
    compare, tried = batching._are_close, []

    def recorded(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
        tried.append(torch.get_float32_matmul_precision())
        return compare(ours, theirs)

    monkeypatch.setattr(batching, "_are_close", recorded)
    do_here(job(tmp_path, source, "default"))
    assert set(tried) == {"highest"}
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize(
    ("kind", "values", "shape"),
    [
        ("pretrain", {"config": {"hidden_size": 64, "intermediate_size": 96}}, (64, 96)),
        ("reward", {"model": "policy"}, (32, 48)),
        ("reward", {"model": "empty"}, None),
        ("generate", {"config": {"server": "http://localhost:1/v1", "server_model": "m"}}, None),
    ],
)
def test_the_shape_is_the_models(
    kind: str, values: dict[str, Any], shape: tuple[int, int] | None, models: Path, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text(json.dumps({"model_type": "of no kind"}))
    save_file({"weight": torch.ones(1)}, tmp_path / "empty" / "model.safetensors")
    (tmp_path / "policy").symlink_to(models / "policy")
    folder = write_job(tmp_path, kind, judgments(2), **values)
    assert precision.layer_shape(read_job(folder)) == shape

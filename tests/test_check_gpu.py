"""The checks of a GPU, made on a processor: each is right as things are, and wrong where something is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from benchmarks import results
from benchmarks.check_gpu import __main__ as program
from benchmarks.check_gpu import checks, runner, speed
from benchmarks.check_gpu.arithmetic import (
    activation_bytes,
    forward_flops,
    layer_weights,
    parameters,
    peak_flops,
    training_bytes,
    work_of,
)
from benchmarks.check_gpu.outcomes import (
    TITLE,
    Outcome,
    Skipped,
    around,
    at_most,
    measured,
    section,
)
from benchmarks.check_gpu.runner import Check, run_checks
from benchmarks.check_gpu.setup import SIZES, Recorder, Setup
from benchmarks.workloads import PLACE, ROOT, Shape, make_models
from tests.patience import HANGS_S
from training.core import attention, batching, checkpoints, distributed, precision
from training.core.reward_model import load_reward_model
from training.core.tokenization import EncodedGroup

pytestmark = pytest.mark.slow(60)
TINY = SIZES["tiny"]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("jobs")))
        yield Setup("cpu", TINY, make_models(TINY.shape, tmp_path_factory.mktemp("models")))


def wrong(figures: list[Any]) -> set[str]:
    return {figure.name for figure in figures if figure.right is False}


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.check_gpu", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS_S)


@pytest.mark.live
def test_all_of_it_runs_on_a_processor() -> None:
    report = results.REPORT.read_text()
    done = run_program("--device", "cpu", "--size", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert {name: line[name]["state"] for name in runner.CHECKS} == dict.fromkeys(runner.CHECKS, "right") | {
        "TRL": "skipped"
    }
    assert line["right"] is True
    assert line["reward step"]["mfu"] is None, "the peak rate of a processor is not known"
    assert line["reward step"]["tokens_per_s"] > 0
    assert line["resume"]["difference"] == "equal"
    assert "| layouts: loss in float32, shared against rows |" in done.stdout
    assert results.REPORT.read_text() == report
    assert not list(PLACE.glob("check-gpu-*"))


@pytest.mark.live
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = run_program()
    assert done.returncode == 2
    assert done.stdout == "There is no GPU here; --device cpu --size tiny tries the checks on a processor.\n"


def test_a_wrong_gradient_of_the_shared_layout_is_seen(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    backward = attention._backward

    def perturbed(*arguments: Any, **values: Any) -> tuple[torch.Tensor, ...]:
        query, key, value = backward(*arguments, **values)
        return query, 1.1 * key, value

    monkeypatch.setattr(attention, "_backward", perturbed)
    assert wrong(checks.check_layouts(setup)) == {"gradients"}


def test_a_comparison_that_would_not_see_a_leak_is_wrong(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "leaking_mask", nullcontext)
    assert wrong(checks.check_layouts(setup)) == {"leaking_mask"}


def test_a_moment_that_is_not_restored_is_seen(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = checkpoints._restore

    def forgetful(state: dict[str, torch.Tensor], *rest: Any) -> dict[str, torch.Tensor]:
        return restore(
            {name: 0 * value if name.endswith(".exp_avg") else value for name, value in state.items()}, *rest
        )

    monkeypatch.setattr(checkpoints, "_restore", forgetful)
    assert wrong(checks.check_resume(setup)) == {"difference"}


def test_a_run_that_does_not_resume_is_seen(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "load", lambda *_, **__: None)
    assert wrong(checks.check_resume(setup)) == {"resumed_at"}


@pytest.mark.live
def test_gradients_that_are_not_summed_are_seen(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "sum_gradients", lambda parameters: None)
    assert wrong(checks.check_processes(setup)) == {"grad_norm_1", "grad_norm_2"}


def test_a_default_that_is_not_float32_on_a_processor_is_seen(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"precision": "bfloat16", "float32_ms": 1.0, "bfloat16_ms": 2.0}
    monkeypatch.setattr(precision, "new_choice", lambda job: chosen)
    assert wrong(checks.check_precision(setup)) == {"default"}


def test_rates_are_of_the_median_step(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100-SXM4-80GB")
    recorder = Recorder()
    recorder.seconds = [90.0, 80.0, 2.0, 1.0, 9.0]  # the first two are not timed
    figures = speed.rates(replace(setup, device="cuda"), recorder, tokens=100, flops=156e12)
    assert {figure.name: figure.value for figure in figures} == {
        "step_seconds": 2.0,
        "tokens_per_s": 50.0,
        "flops": 78e12,
        "mfu": 0.25,
    }


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", None),
        ("Graphics of tomorrow", None),
    ],
)
def test_the_peak_rate_is_that_of_the_device(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_work_counts_every_token_once_and_the_pairs_that_are_visible() -> None:
    """A prompt of 2 sees 1 + 2 tokens; a response of 1 sees 3, one of 2 sees 3 + 4."""
    group = EncodedGroup([5, 6], [[7], [8, 9]])
    assert work_of([group], policy=False) == (5, 0, 3 + 3 + 7)
    assert work_of([group, group], policy=True) == (10, 6, 26)


def test_flops_are_those_of_the_products_that_torch_counts(setup: Setup) -> None:
    model = load_reward_model(str(setup.models / "reward"))
    group = EncodedGroup([3] * 20, [[4] * 12])  # 32 tokens: no padding
    work = work_of([group], policy=False)
    with FlopCounterMode(display=False) as counter:
        model(batching.shared_layout([group])).sum().backward()
    products = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    shown = 4.0 * TINY.shape.layers * TINY.shape.hidden * work.visible
    assert 3 * (forward_flops(TINY.shape, work) - shown) == products
    assert shown == 4 * 2 * 64 * (32 * 33 // 2)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_the_models(tied: bool, tmp_path: Path) -> None:
    shape = Shape(96, 32, 48, 3, 4, kv_heads=2, tied=tied)
    folder = make_models(shape, tmp_path)
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    reward = load_reward_model(str(folder / "reward"))
    assert parameters(shape, policy=True) == sum(one.numel() for one in policy.parameters())
    assert parameters(shape, policy=False) == sum(one.numel() for one in reward.parameters())


def test_activations_are_about_what_autograd_stores(tmp_path: Path) -> None:
    shape = Shape(96, 64, 128, 6, 4)
    model = load_reward_model(str(make_models(shape, tmp_path) / "reward"), precision="bfloat16")
    batch = batching.shared_layout([EncodedGroup([3] * 100, [[4] * 90, [5] * 66])])
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    stored: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            stored[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(batch)
    rounded = 2 * shape.layers * layer_weights(shape)
    found = sum(storage.nbytes() for storage in stored.values()) - rounded
    assert activation_bytes(shape, 256, attention=4) == pytest.approx(found, rel=0.03)


def test_memory_is_state_and_activations() -> None:
    shape = Shape(100, 10, 20, 1, 1)
    weights = 10 * (2 * 10 + 2 * 10 + 3 * 20)
    count = 100 * 10 + weights + 2 * 10 + 10 + 10
    stored = 7 * (28 * 10 + 2 * 2 * 20 + 4 + 8 * 20 + 8 * 10)
    assert training_bytes(shape, 7) == 16 * count + 2 * weights + stored + 4 * 1000


@pytest.mark.parametrize(("ratio", "right"), [(0.69, False), (0.71, True), (1.29, True), (1.31, False)])
def test_memory_must_be_about_that_of_the_arithmetic(ratio: float, right: bool) -> None:
    assert around("peak", "peak", ratio, *speed.MEMORY).right is right


def test_a_number_that_is_none_is_wrong_and_null(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("layouts", [at_most("loss", "loss", float("nan"), 1.0)])
    assert program.report([outcome], "cpu", "tiny") == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["layouts"]["loss"] is None


def test_a_check_of_no_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_gpu", "--only", "layouts,speed"])
    with pytest.raises(SystemExit):
        program.main()
    assert "there is no check 'speed', only models, precision, layouts," in capsys.readouterr().err


def good(setup: Setup) -> list[Any]:
    return [measured("answer", "answer", 42)]


def bad(setup: Setup) -> list[Any]:
    return [at_most("error", "error", 2.0, 1.0)]


def crashing(setup: Setup) -> list[Any]:
    raise ValueError("a number is odd")


def dying(setup: Setup) -> list[Any]:
    os._exit(7)


def hanging(setup: Setup) -> list[Any]:
    time.sleep(HANGS_S)
    return []


def unfit(setup: Setup) -> list[Any]:
    raise Skipped("There is one GPU.")


def test_one_check_hides_no_other(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    made = (bad, crashing, dying, hanging, unfit, good)
    outcomes = run_checks([Check(make.__name__, make, 0, 1) for make in made], setup, HANGS_S)
    assert {outcome.check: (outcome.state, *outcome.wrong, outcome.skipped) for outcome in outcomes} == {
        "bad": ("wrong", "error: 2.0e+00, and it should be at most 1.0e+00.", ""),
        "crashing": ("wrong", "ValueError: a number is odd", ""),
        "dying": ("wrong", "Its process died, with the exit code 7.", ""),
        "hanging": ("wrong", "It had not ended after 1 seconds.", ""),
        "unfit": ("skipped", "There is one GPU."),
        "good": ("right", ""),
    }
    assert program.report(outcomes, "cpu", "tiny") == 1
    printed = capsys.readouterr().out
    assert "\nWrong: crashing. ValueError: a number is odd\n" in printed
    line = json.loads(printed.splitlines()[-1])
    assert line["right"] is False
    assert line["good"]["answer"] == 42
    assert line["hanging"]["why"] == "It had not ended after 1 seconds."
    assert program.report(outcomes[-2:], "cpu", "tiny") == 0, "what was skipped is not wrong"


def test_a_missing_model_is_named_by_each_check(setup: Setup, tmp_path: Path) -> None:
    outcomes = run_checks(
        [runner.CHECKS["reward step"], runner.CHECKS["GRPO step"]], replace(setup, models=tmp_path), HANGS_S
    )
    assert [outcome.state for outcome in outcomes] == ["wrong", "wrong"]
    assert all("There is no model at" in outcome.failed for outcome in outcomes)


def test_what_no_longer_fits_is_skipped(setup: Setup) -> None:
    outcomes = run_checks([Check("long", hanging, 0, 9), Check("late", good, 20)], setup, 1)
    assert [outcome.skipped for outcome in outcomes] == [
        "The time was over before it had ended; --minutes gives more.",
        "There was no time left for it; --minutes gives more.",
    ]


def test_the_section_takes_the_place_of_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "RESULTS.md"
    report.write_text("# Results\n\n## Learning\n\nWords.\n")
    monkeypatch.setattr(results, "REPORT", report)
    about = results.about({})
    for value in (1, 2):
        outcomes = [
            Outcome("reward step", [measured("mfu", "MFU", value)]),
            Outcome("TRL", skipped="No network."),
        ]
        results.write_sections([section(outcomes, about, "GPU of the test")])
    text = report.read_text()
    assert text.startswith("# Results\n")
    assert "## Learning\n\nWords.\n\n## On a GPU\n" in text
    assert "| reward step: MFU | 2 |  |  |" in text
    assert "| reward step: MFU | 1 |" not in text
    assert "**GPU of the test.**" in text
    assert text.endswith("Skipped: TRL. No network.\n")


def test_other_benchmarks_leave_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "RESULTS.md"
    report.write_text(f"# Results\n\n## Old\n\nWords.\n\n{TITLE}\n\nMeasured there.\n\n## Later\n\nMore.\n")
    monkeypatch.setattr(results, "REPORT", report)
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    results.write_report()
    assert report.read_text().endswith(
        f"## Old\n\nWords.\n\n{TITLE}\n\nMeasured there.\n\n## Later\n\nMore.\n"
    )
    results.write_sections(["## Later\n\nLess.\n", "## New\n\nFirst.\n"])
    assert report.read_text().endswith(
        f"{TITLE}\n\nMeasured there.\n\n## Later\n\nLess.\n\n## New\n\nFirst.\n"
    )


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("PEERS"), reason="needs TRL: make test PEERS=1 installs it")
def test_trl_takes_turns_with_ours(setup: Setup) -> None:
    figures = {figure.name: figure.value for figure in speed.check_trl(setup)}
    assert figures.keys() == {"reward_ratio", "grpo_ratio"}
    assert all(value > 0 for value in figures.values())

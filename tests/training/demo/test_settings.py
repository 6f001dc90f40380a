from __future__ import annotations

from pathlib import Path

import pytest

from training.configs import from_dict
from training.demo import run_settings


@pytest.mark.parametrize("kind", ["pretrain", "sft", "generate", "reward", "dpo"])
def test_the_demo_runs_with_settings_that_exist(kind: str):
    values = getattr(run_settings, kind.upper())
    assert from_dict(kind, values).to_dict().items() >= values.items()


def test_the_precision_is_one_that_the_processor_multiplies(tmp_path: Path) -> None:
    for flags, expected in (("fpu avx2 avx512f avx512dq", "bfloat16"), ("fpu avx2", "float32")):
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags} \n")
        assert run_settings.fastest_precision(tmp_path / "cpuinfo") == expected
    assert run_settings.fastest_precision(tmp_path / "nothing") == "float32"

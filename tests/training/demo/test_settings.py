from __future__ import annotations

import pytest

from training.configs import from_dict
from training.demo import run_settings


@pytest.mark.parametrize("kind", ["pretrain", "sft", "generate", "reward", "dpo"])
def test_the_demo_runs_with_settings_that_exist(kind: str):
    values = getattr(run_settings, kind.upper())
    assert from_dict(kind, values).to_dict().items() >= values.items()

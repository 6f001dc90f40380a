"""The lengths of a run that sets none: those of its model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings

from tests.training.round_case import RoundTestCase
from training.configs import ConfigError
from training.models import ModelVersion, Run
from training.runs.actions import start_run
from training.runs.forms import RunForm


class DefaultLengthTests(RoundTestCase):
    def config(self, positions: int | None, kind: str = "generate", **config: Any) -> dict[str, Any]:
        folder = settings.ARTIFACTS / "model"
        folder.mkdir(parents=True, exist_ok=True)
        ModelVersion.objects.update(location=f"file:{folder}")
        known = {} if positions is None else {"max_position_embeddings": positions}
        (folder / "config.json").write_text(json.dumps(known))
        return start_run(project=self.policy_project, kind=kind, creator=self.alice, config=config).config

    def test_they_are_what_the_model_reads_up_to_a_limit(self) -> None:
        for positions, length in ((256, 256), (2048, 2048), (131_072, 4096), (None, 1024)):
            assert self.config(positions)["max_length"] == length

    def test_a_response_leaves_room_for_its_prompt(self) -> None:
        assert self.config(64)["max_new_tokens"] == 32
        assert self.config(2048, max_new_tokens=2000)["max_new_tokens"] == 2000

    def test_what_a_run_sets_is_kept_and_checked(self) -> None:
        assert self.config(2048, max_length=300)["max_length"] == 300
        with pytest.raises(ConfigError, match="must be below the maximum sequence length, 2048"):
            self.config(2048, max_new_tokens=3000)

    def test_the_form_shows_them(self) -> None:
        self.config(2048)
        form = RunForm(self.policy_project, Run.Kind.DPO)
        assert form["setting_max_length"].value() == 2048

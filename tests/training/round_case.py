"""A project with a policy, in which a round can be started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.test import override_settings

from annotation.models import User
from tests.base import PalateTestCase
from tests.training.round_helpers import (
    judge_items,
    make_loop,
    project_with_policy,
)
from training.models import Loop, Round
from training.rounds import transitions


class RoundTestCase(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        self.policy_project = project_with_policy(self.alice, "hub:somewhere/policy@main", name="Asked")
        self.first = self.policy_project.model_versions.get()

    def make_loop(self, recipe: str = "dpo", **changes: Any) -> Loop:
        return make_loop(self.policy_project, self.alice, recipe, **changes)

    def start_round(
        self, recipe: str = "dpo", judgments: int = 30, by: User | None = None, **options: Any
    ) -> Round:
        """A round whose judgments are in."""
        judge_items(self.policy_project, by or self.alice, judgments)
        return transitions.start_round(loop=self.make_loop(recipe, options=options), creator=self.alice)

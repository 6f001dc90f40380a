from __future__ import annotations

import tempfile
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from annotation.models import AuditEntry
from tests.access_cases import policy
from tests.base import PalateTestCase
from training.errors import RunError
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import add_model, promote, remove_files, retire


class CleaningTests(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        self.first = policy(self.project)
        run = Run.objects.create(project=self.project, kind="dpo", config={}, created_by=self.alice)
        self.output = run.folder / "output"
        self.output.mkdir(parents=True)
        for name in ("model.safetensors", "report.json", "best.jsonl"):
            (self.output / name).write_text("12345678")
        self.made = add_model(
            project=self.project,
            kind="policy",
            name="made",
            location=f"runs/{run.pk}/output",
            run=run,
            parent=self.first,
        )

    def test_a_retired_model_s_weights_go_and_what_tells_of_it_stays(self) -> None:
        retire(self.made, self.alice)
        assert remove_files(self.made, self.alice) == 8
        assert sorted(path.name for path in self.output.iterdir()) == ["best.jsonl", "report.json"]
        self.made.refresh_from_db()
        with pytest.raises(RunError, match="were removed"):
            promote(self.made, self.alice)
        assert AuditEntry.objects.filter(verb="model.removed", actor=self.alice).exists()

    def test_what_is_in_use_stays(self) -> None:
        with pytest.raises(RunError, match="is not retired"):
            remove_files(self.made)
        with pytest.raises(RunError, match="is current"):
            retire(self.first, self.alice)
        retire(self.made, self.alice)
        loop = Loop.objects.create(
            project=self.project, name="a", recipe="dpo", first_policy=self.made, created_by=self.alice
        )
        with pytest.raises(RunError, match="a loop begins from it"):
            remove_files(self.made)
        loop.delete()
        reading = Run.objects.create(
            project=self.project, kind="generate", config={}, model=self.made, created_by=self.alice
        )
        with pytest.raises(RunError, match="an open run reads it"):
            remove_files(self.made)
        reading.delete()
        assert remove_files(self.made) == 8

    def test_what_an_open_round_is_about_stays(self) -> None:
        retire(self.made, self.alice)
        loop = Loop.objects.create(
            project=self.project, name="a", recipe="dpo", first_policy=self.first, created_by=self.alice
        )
        for before, after in ((self.made, None), (self.first, self.made)):
            round = Round.objects.create(
                loop=loop,
                number=1,
                plan=[],
                step="collect",
                step_since=timezone.now(),
                recipe="dpo",
                options={},
                policy_before=before,
                policy_after=after,
            )
            with pytest.raises(RunError, match="an open round is about it"):
                remove_files(self.made)
            round.delete()

    def test_what_an_open_run_reads_stays(self) -> None:
        retire(self.made, self.alice)
        for part in ("reward_model", "safety_reward_model", "reference"):
            run = Run.objects.create(
                project=self.project, kind="grpo", config={}, created_by=self.alice, **{part: self.made}
            )
            with pytest.raises(RunError, match="an open run reads it"):
                remove_files(self.made)
            run.delete()

    def test_models_from_elsewhere_are_not_ours_to_remove(self) -> None:
        added = policy(self.project, "added")
        retire(added, self.alice)
        with pytest.raises(RunError, match="not made here"):
            remove_files(added)

    def test_promoting_brings_a_retired_model_back(self) -> None:
        retire(self.made, self.alice)
        promote(self.made, self.alice)
        self.made.refresh_from_db()
        assert (self.made.current, self.made.retired_at) == (True, None)

    def test_the_command_says_first_and_removes_when_told(self) -> None:
        nothing = StringIO()
        call_command("clean_models", "--remove", stdout=nothing)
        assert nothing.getvalue() == ""
        retire(self.made, self.alice)
        said = StringIO()
        call_command("clean_models", stdout=said)
        assert "made: 24 bytes" in said.getvalue()
        assert (self.output / "model.safetensors").exists()
        call_command("clean_models", "--remove", stdout=said)
        assert "8 bytes freed" in said.getvalue()
        assert ModelVersion.objects.get(name="made").removed_at is not None

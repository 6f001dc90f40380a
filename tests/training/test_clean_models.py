from __future__ import annotations

import tempfile
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from annotation.models import AuditEntry
from annotation.store import MissingObject
from tests.access_cases import policy
from tests.base import PalateTestCase
from training.chat_servers.endpoints import model_on_this_machine
from training.errors import RunError
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import add_model, promote, remove_files, retire
from training.runs.outputs import output_file, store_output


class CleanModelsTests(PalateTestCase):
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
            (self.output / name).write_text(name[:8].ljust(8))
        (self.output / "adapter").mkdir()
        (self.output / "adapter" / "adapter_model.safetensors").write_text("12")
        store_output(run)
        run.save()
        self.made = add_model(
            project=self.project,
            kind="policy",
            name="made",
            location=run.files["output"],
            run=run,
            parent=self.first,
        )

    def test_only_the_weights_of_a_retired_model_are_removed(self) -> None:
        retire(self.made, self.alice)
        served = model_on_this_machine(self.made)
        assert isinstance(served, Path)
        assert (served / "model.safetensors").is_file()
        assert remove_files(self.made, self.alice) == 10, "those of an adapter too"
        assert not served.exists()
        left = sorted(path.name for path in self.output.rglob("*") if path.is_file())
        assert left == ["best.jsonl", "report.json"]
        assert self.made.run is not None
        assert output_file(self.made.run, "best.jsonl").read_text() == "best.jso"
        with pytest.raises(MissingObject):
            output_file(self.made.run, "model.safetensors")
        self.made.refresh_from_db()
        with pytest.raises(RunError, match="were removed"):
            promote(self.made, self.alice)
        assert AuditEntry.objects.filter(verb="model.removed", actor=self.alice).exists()

    def test_models_in_use_are_kept(self) -> None:
        with pytest.raises(RunError, match="is not retired"):
            remove_files(self.made)
        with pytest.raises(RunError, match="is current"):
            retire(self.first, self.alice)
        retire(self.made, self.alice)
        loop = Loop.objects.create(
            project=self.project, name="a", recipe="dpo", first_policy=self.made, created_by=self.alice
        )
        with pytest.raises(RunError, match="a loop starts from it"):
            remove_files(self.made)
        loop.first_policy = policy(self.project, "second")
        loop.first_policy.parent = self.made
        loop.first_policy.save()
        loop.save()
        with pytest.raises(RunError, match="a loop starts from it"):
            remove_files(self.made)  # reward models may start from the base of the first policy
        loop.delete()
        run = Run.objects.create(
            project=self.project, kind="generate", config={}, model=self.made, created_by=self.alice
        )
        with pytest.raises(RunError, match="an open run uses it"):
            remove_files(self.made)
        run.delete()
        assert remove_files(self.made) == 10

    def test_the_policies_of_an_open_round_are_kept(self) -> None:
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
            with pytest.raises(RunError, match="an open round uses it"):
                remove_files(self.made)
            round.delete()

    def test_the_models_of_an_open_run_are_kept(self) -> None:
        retire(self.made, self.alice)
        for part in ("reward_model", "safety_reward_model", "second_reward_model", "reference"):
            run = Run.objects.create(
                project=self.project, kind="grpo", config={}, created_by=self.alice, **{part: self.made}
            )
            with pytest.raises(RunError, match="an open run uses it"):
                remove_files(self.made)
            run.delete()

    def test_imported_models_are_not_removed(self) -> None:
        added = policy(self.project, "added")
        retire(added, self.alice)
        with pytest.raises(RunError, match="not trained here"):
            remove_files(added)

    def test_promoting_brings_a_retired_model_back(self) -> None:
        retire(self.made, self.alice)
        promote(self.made, self.alice)
        self.made.refresh_from_db()
        assert (self.made.current, self.made.retired_at) == (True, None)

    def test_the_command_lists_and_with_remove_removes(self) -> None:
        output = StringIO()
        call_command("clean_models", "--remove", stdout=output)
        assert output.getvalue() == ""
        retire(self.made, self.alice)
        output = StringIO()
        call_command("clean_models", stdout=output)
        assert "made: 10 bytes" in output.getvalue()
        assert (self.output / "model.safetensors").exists()
        call_command("clean_models", "--remove", stdout=output)
        assert "10 bytes freed" in output.getvalue()
        assert ModelVersion.objects.get(name="made").removed_at is not None

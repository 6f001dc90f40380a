from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from django.test import override_settings
from django.urls import reverse
from django.utils.html import strip_tags

from annotation.actions import import_rows
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint, policy, snapshot
from tests.training.round_helpers import make_loop
from training.models import ModelVersion, Run
from training.registry.actions import add_model, current_model
from training.rounds.transitions import start_round
from training.runs.actions import start_run

NEW = {"name": "smol", "kind": "policy", "location": "hub:org/smol@v1"}


class ModelTests(AccessTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.first = policy(cls.project)
        cls.snapshot = snapshot(cls.project, cls.alice, cls.bob)

    def url(self, name: str, *args: object) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def child(self, parent: ModelVersion, name: str, kind: str = "dpo") -> ModelVersion:
        run = start_run(
            project=self.project,
            kind=kind,
            creator=self.alice,
            model=parent,
            snapshot=self.snapshot,
        )
        made = "reward" if kind == "reward" else "policy"
        return add_model(
            project=self.project, kind=made, name=name, location=f"runs/{run.pk}", parent=parent, run=run
        )

    def test_leads_act_and_reviewers_read(self) -> None:
        self.check(Endpoint("models", get=200, post=422, reviewer_get=200))
        self.check(Endpoint("model", (self.first.pk,), get=200, reviewer_get=200))
        self.check(Endpoint("model-promote", (self.first.pk,), post=302))

    def test_the_registry_shows_the_parent_and_the_judgments_of_each_model(self) -> None:
        second = self.child(self.child(self.first, "dpo-1"), "dpo-2")
        self.sign_in(self.dana)
        page = self.client.get(self.url("models"))
        counts = {
            version.name: judgments
            for version, judgments in (
                (row.version, row.judgments) for row in page.context["listing"].page.rows
            )
        }
        assert counts == {"policy-0": 0, "dpo-1": 20, "dpo-2": 20}
        self.assertContains(page, self.url("model", second.pk))
        self.assertContains(page, self.url("run", second.run.pk))  # type: ignore[union-attr]

    def test_the_registry_is_sorted_filtered_and_downloaded(self) -> None:
        second = self.child(self.first, "=taste", "reward")
        ModelVersion.objects.filter(pk=second.pk).update(metrics={"accuracy": 0.75})
        self.sign_in(self.dana)

        def names(**query: str) -> list[str]:
            rows = self.client.get(self.url("models"), query).context["listing"].page.rows
            return [row.version.name for row in rows]

        assert names() == ["=taste", "policy-0"]
        assert names(sort="added") == names(sort="kind") == ["policy-0", "=taste"]
        assert names(sort="accuracy") == names(sort="-accuracy") == ["=taste", "policy-0"], "none is last"
        assert names(kind="policy") == names(name="POLICY") == ["policy-0"]
        assert names(state="retired") == []
        text = b"".join(self.client.get(self.url("models"), {"format": "csv"})).decode()  # type: ignore[arg-type]
        assert text.splitlines()[1].startswith("'=taste,reward,")
        self.sign_in(self.bob)
        assert self.client.get(self.url("models"), {"format": "csv"}).status_code == 403

    def test_an_accuracy_says_what_it_was_counted_on(self) -> None:
        model = self.child(self.first, "taste", "reward")
        ModelVersion.objects.filter(pk=model.pk).update(metrics={"accuracy": 0.75, "pairs": 1017})
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("models")), "of 1,017 pairs")
        page = self.client.get(self.url("model", model.pk))
        self.assertContains(page, "Counted on the judgments of its snapshot that it was not trained on.")
        self.assertNotContains(page, "A gate of its round")
        loop = make_loop(self.project, self.alice)
        Run.objects.filter(output=model).update(round=start_round(loop=loop, creator=self.alice))
        self.assertContains(
            self.client.get(self.url("model", model.pk)), "A gate of its round may show another"
        )

    def test_its_queries_do_not_grow_with_the_models(self) -> None:
        version = self.first
        for n in range(1, 6):
            version = self.child(version, f"dpo-{n}")
        self.sign_in(self.alice)
        # user; membership; models; views
        with self.assertNumQueries(4):
            self.client.get(self.url("models"))
        # user; membership; models; those behind them; samples, children; the form: current policy, whether the
        # project is large, prompts waiting, policies; the chosen model and its kind's latest runs
        with self.assertNumQueries(11):
            self.client.get(self.url("model", version.pk))

    def test_a_model_s_page_draws_its_lineage(self) -> None:
        second = self.child(self.child(self.first, "dpo-1"), "dpo-2")
        self.sign_in(self.alice)
        page = self.client.get(self.url("model", second.pk))
        graph = page.context["graph"]
        assert [node.name for node in graph.nodes] == ["policy-0", "Snapshot 1", "dpo-1", "dpo-2"]
        text = " ".join(strip_tags(page.content.decode()).split())
        assert "dpo-1 DPO from policy-0, Snapshot 1" in text
        assert "Snapshot 1 20 judgments" in text
        self.assertContains(page, reverse("snapshot", args=[self.project.slug, 1]))
        assert page.content.count(b'class="rail"') == 4, "parent and snapshot of each of two"

    def test_a_model_is_downloaded_with_its_card(self) -> None:
        with tempfile.TemporaryDirectory() as name, override_settings(ARTIFACTS=Path(name)):
            self.sign_in(self.dana)
            url = self.url("model-download", self.first.pk)
            assert self.client.get(url).status_code == 404
            self.assertNotContains(self.client.get(self.url("model", self.first.pk)), url)
            folder = Path(name) / "model"
            folder.mkdir()
            ModelVersion.objects.filter(pk=self.first.pk).update(location=f"file:{folder}")
            (folder / "model.safetensors").write_bytes(b"w" * 700_001)
            (folder / "config.json").write_text("{}")
            (folder / "optimizer.pt").write_text("nobody's")
            (folder / "linked.json").symlink_to("/etc/passwd")
            self.check(Endpoint("model-download", (self.first.pk,), get=200, reviewer_get=200))
            self.sign_in(self.dana)
            self.assertContains(self.client.get(self.url("model", self.first.pk)), url)
            self.assertContains(self.client.get(self.url("model", self.first.pk)), f"{url}?file=config.json")
            assert b"".join(self.client.get(f"{url}?file=config.json")) == b"{}"  # type: ignore[arg-type]
            for other in ("optimizer.pt", "linked.json", "../model/config.json"):
                assert self.client.get(url, {"file": other}).status_code == 404
            response = self.client.get(url)
            sent = b"".join(response)  # type: ignore[arg-type]
        assert int(response["Content-Length"]) == len(sent)
        assert response["Content-Disposition"] == 'attachment; filename="policy-0.tar"'
        with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
            names = [f"policy-0/{name}" for name in ("README.md", "config.json", "model.safetensors")]
            assert archive.getnames() == names
            assert archive.extractfile(names[2]).read() == b"w" * 700_001  # type: ignore[union-attr]
            assert archive.extractfile(names[0]).read().startswith(b"# policy-0")  # type: ignore[union-attr]

    def test_a_reward_model_shows_its_metrics_with_descriptions(self) -> None:
        reward = self.child(self.first, "reward-1", kind="reward")
        reward.metrics = {
            "accuracy": 0.7123,
            "accuracy_by_degree": {"none": {"accuracy": 0.7123, "pairs": 80}},
        }
        reward.save()
        self.sign_in(self.alice)
        page = self.client.get(self.url("model", reward.pk))
        self.assertContains(page, "71.2%")
        self.assertContains(page, "50% is chance")
        self.assertContains(page, "Rankings (no degree)")
        self.assertNotContains(page, "Send answers for annotation")

    def test_a_policy_shows_sample_responses_and_text_is_not_markup(self) -> None:
        prompt = self.project.prompts.first()
        sample = import_rows.SampledResponse(prompt.pk, "**Well**, <script>alert(1)</script>")
        import_rows.add_responses(author=self.first.author, samples=[sample])
        self.sign_in(self.alice)
        page = self.client.get(self.url("model", self.first.pk))
        self.assertContains(page, "<strong>Well</strong>")
        self.assertNotContains(page, "<script>alert")

    def test_its_form_sends_responses_for_annotation(self) -> None:
        second = self.child(self.first, "dpo-1")
        self.sign_in(self.alice)
        page = self.client.get(self.url("model", second.pk))
        self.assertContains(page, f'<input type="hidden" name="model" value="{second.pk}">')
        data = {"model": second.pk, "publish": "on", "prompts": "5", "setting_samples": "4"}
        self.client.post(self.url("run-new", "generate"), data)
        run = Run.objects.get(kind="generate")
        assert (run.model, run.inputs["publish"], run.inputs["prompts"]) == (second, True, 5)

    def test_promoting_makes_it_the_one_current_policy(self) -> None:
        second = self.child(self.first, "dpo-1")
        self.sign_in(self.alice)
        self.assertRedirects(
            self.client.post(self.url("model-promote", second.pk)), self.url("model", second.pk)
        )
        assert current_model(self.project, "policy") == second
        assert ModelVersion.objects.filter(kind="policy", current=True).count() == 1
        self.assertNotContains(self.client.get(self.url("model", second.pk)), "Promote</button>")

    def test_it_adds_a_model_by_its_location(self) -> None:
        self.sign_in(self.alice)
        self.assertRedirects(self.client.post(self.url("models"), NEW), self.url("models"))
        version = ModelVersion.objects.get(name="smol")
        assert (version.location, version.kind, version.current) == ("hub:org/smol@v1", "policy", False)
        assert version.author is not None

    def test_a_taken_or_wrong_name_is_refused_beside_its_field(self) -> None:
        self.sign_in(self.alice)
        for data, field in (
            (NEW | {"name": "policy-0"}, "name"),
            (NEW | {"name": "two words"}, "name"),
            (NEW | {"location": " "}, "location"),
            (NEW | {"kind": "oracle"}, "kind"),
        ):
            response = self.client.post(self.url("models"), data)
            assert response.status_code == 422
            assert list(response.context["form"].errors) == [field]
        assert ModelVersion.objects.count() == 1

    def test_another_project_s_model_is_not_found(self) -> None:
        theirs = policy(builders.project(self.charlie, "Other"), "theirs")
        self.sign_in(self.alice)
        assert self.client.get(self.url("model", theirs.pk)).status_code == 404
        assert self.client.post(self.url("model-promote", theirs.pk)).status_code == 404

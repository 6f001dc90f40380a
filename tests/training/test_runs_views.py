from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from django.test import override_settings
from django.urls import reverse

from annotation.models import Snapshot
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint, finished, policy, snapshot
from training.models import ModelVersion, Run, RunLog
from training.runs.actions import (
    MAX_LOG_CHARS,
    Metric,
    claim_run,
    finish_run,
    record_log,
    record_metrics,
    record_progress,
    record_warning,
    start_run,
)

REPORT = {
    "prompts": 9,
    "pairs": 212,
    "accuracy": 0.684,
    "ece": 0.071,
    "accuracy_by_degree": {
        "significantly": {"accuracy": 0.9, "pairs": 40},
        "better": {"accuracy": None, "pairs": 0},
        "none": {"accuracy": None, "pairs": 0},
    },
    "accuracy_by_length": {"shorter_preferred": {"accuracy": 0.61, "pairs": 80}},
    "reliability": [
        {"confidence": 0.62, "accuracy": 0.6, "pairs": 80},
        {"confidence": None, "accuracy": None, "pairs": 0},
    ],
}


class RunTestCase(AccessTestCase):
    policy: ModelVersion
    snapshot: Snapshot

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.policy = policy(cls.project)
        cls.snapshot = snapshot(cls.project, cls.alice, cls.bob)

    def url(self, name: str, *args: object) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def start(self, kind: str = "reward", **values: object) -> Run:
        given = {"snapshot": self.snapshot} if kind in ("reward", "dpo") else {}
        return start_run(project=self.project, kind=kind, creator=self.alice, **given | values)  # type: ignore[arg-type]


class AccessTests(RunTestCase):
    def test_leads_act_and_reviewers_read(self) -> None:
        run = self.start()
        reading = {"get": 200, "reviewer_get": 200}
        self.check(Endpoint("project", **reading))
        self.check(Endpoint("project-loop", **reading))
        self.check(Endpoint("runs", **reading))
        self.check(Endpoint("run", (run.pk,), **reading))
        self.check(Endpoint("run-live", (run.pk,), **reading))
        self.check(Endpoint("run-new", ("dpo",), get=200, post=302, data={"snapshot": self.snapshot.pk}))
        ModelVersion.objects.create(
            project=self.project, kind="reward", name="taste", location="r", current=True
        )
        self.check(Endpoint("run-new", ("grpo",), get=200, post=302))
        self.check(Endpoint("run-cancel", (run.pk,), post=302))
        self.check(Endpoint("run-resume", (run.pk,), post=302))

    def test_a_run_of_another_project_is_not_found(self) -> None:
        other = builders.project(self.charlie, "Other")
        policy(other)
        theirs = start_run(project=other, kind="generate", creator=self.charlie, inputs={"prompts": 1})
        self.sign_in(self.alice)
        assert self.client.get(self.url("run", theirs.pk)).status_code == 404
        assert self.client.post(self.url("run-cancel", theirs.pk)).status_code == 404
        theirs.refresh_from_db()
        assert theirs.state == Run.State.QUEUED


class StartTests(RunTestCase):
    def setUp(self) -> None:
        self.sign_in(self.alice)

    def test_with_nothing_but_the_defaults_it_starts_on_the_newest_snapshot_and_the_current_policy(
        self,
    ) -> None:
        response = self.client.post(self.url("run-new", "reward"), {"snapshot": self.snapshot.pk})
        run = Run.objects.get()
        self.assertRedirects(response, self.url("run", run.pk))
        assert (run.kind, run.snapshot, run.model, run.created_by) == (
            "reward",
            self.snapshot,
            self.policy,
            self.alice,
        )
        assert run.config["learning_rate"] == 1e-5, "the size of this model is not known"

    def test_the_page_has_every_setting_with_its_label_help_and_bounds(self) -> None:
        page = self.client.get(self.url("run-new", "dpo"))
        self.assertContains(
            page, "Strength of the KL constraint; higher values stay closer to the reference policy."
        )
        self.assertContains(page, 'name="setting_label_smoothing"')
        self.assertContains(page, 'max="0.5"')
        self.assertContains(page, "Fraction of judgments assumed to be wrong (cDPO).")

    def test_settings_reach_the_run(self) -> None:
        data = {
            "snapshot": self.snapshot.pk,
            "setting_epochs": "3",
            "setting_learning_rate": "5e-6",
            "setting_margin": "large",
            "setting_seed": "",
            "name": "careful",
        }
        self.client.post(self.url("run-new", "reward"), data)
        run = Run.objects.get()
        assert (run.config["epochs"], run.config["learning_rate"], run.config["margin"]) == (3, 5e-6, "large")
        assert (run.config["seed"], run.inputs) == (0, {"name": "careful"})

    def test_a_wrong_setting_is_an_error_at_its_field_and_starts_nothing(self) -> None:
        for kind, field, value, sentence in (
            ("reward", "setting_epochs", "0", "greater than or equal to 1"),
            ("reward", "setting_learning_rate", "fast", "Enter a number"),
            ("reward", "setting_margin", "huge", "huge is not one of the available choices"),
            ("dpo", "setting_label_smoothing", "0.6", "less than or equal to 0.5"),
        ):
            data = {"snapshot": self.snapshot.pk, field: value}
            response = self.client.post(self.url("run-new", kind), data)
            assert list(response.context["form"].errors) == [field]
            self.assertContains(response, sentence, status_code=422)
        assert not Run.objects.exists()

    def test_contradicting_settings_are_errors_too(self) -> None:
        data = {
            "snapshot": self.snapshot.pk,
            "setting_loss": "ipo",
            "setting_label_smoothing": "0.1",
        }
        response = self.client.post(self.url("run-new", "dpo"), data)
        assert list(response.context["form"].errors) == ["setting_label_smoothing"]
        self.assertContains(response, "Must be 0 with IPO, which has no label smoothing.", status_code=422)
        self.assertContains(response, '<details class="advanced" open>', status_code=422)

    def test_a_missing_snapshot_or_model_is_an_error(self) -> None:
        response = self.client.post(self.url("run-new", "reward"), {})
        self.assertContains(response, "Choose a snapshot: freeze one on the Data page", status_code=422)
        response = self.client.post(self.url("run-new", "evaluate"), {"snapshot": self.snapshot.pk})
        self.assertContains(response, "This project has no reward model yet", status_code=422)
        assert not Run.objects.exists()

    def test_another_project_s_model_cannot_be_chosen(self) -> None:
        theirs = policy(builders.project(self.charlie, "Other"), "theirs")
        data = {"snapshot": self.snapshot.pk, "model": theirs.pk}
        response = self.client.post(self.url("run-new", "reward"), data)
        assert "model" in response.context["form"].errors
        assert not Run.objects.exists()

    def test_it_starts_a_generation(self) -> None:
        data = {
            "prompts": "7",
            "split": "held_out",
            "publish": "on",
            "setting_samples": "3",
            "setting_temperature": "0.8",
        }
        self.client.post(self.url("run-new", "generate"), data)
        run = Run.objects.get()
        assert run.inputs == {"prompts": 7, "split": "held_out", "publish": True}
        assert (run.config["samples"], run.config["temperature"]) == (3, 0.8)

    def test_items_have_at_most_nine_responses(self) -> None:
        response = self.client.post(
            self.url("run-new", "generate"), {"prompts": 5, "publish": "on", "setting_samples": 10}
        )
        self.assertContains(response, "An item of the queue has 2 to 9 answers.", status_code=422)
        self.client.post(self.url("run-new", "generate"), {"prompts": 5, "setting_samples": 10})
        assert Run.objects.get().inputs["publish"] is False

    def test_training_texts_come_from_one_folder_only(self) -> None:
        with tempfile.TemporaryDirectory() as folder, override_settings(ARTIFACTS=folder):
            (Path(folder) / "secret.jsonl").write_text("{}")
            (Path(folder) / "texts").mkdir()
            (Path(folder) / "texts" / "chats.jsonl").write_text("{}")
            for name in ("../secret.jsonl", "/etc/passwd", "missing.jsonl"):
                response = self.client.post(self.url("run-new", "sft"), {"data": name})
                assert list(response.context["form"].errors) == ["data"]
            assert not Run.objects.exists()
            self.client.post(self.url("run-new", "sft"), {"data": "chats.jsonl", "model": self.policy.pk})
            self.client.post(self.url("run-new", "pretrain"), {"data": "chats.jsonl", "setting_layers": 2})
        pretrain, sft = Run.objects.all()
        assert (sft.inputs, sft.model) == ({"data": "chats.jsonl"}, self.policy)
        assert (pretrain.config["layers"], pretrain.model) == (2, None)

    def test_a_similar_run_starts_with_the_same_settings(self) -> None:
        run = self.start("dpo", config={"beta": 0.3, "seed": 7}, inputs={"name": "bold"})
        page = self.client.get(self.url("run-new", "dpo") + f"?like={run.pk}")
        form = page.context["form"]
        assert (form["setting_beta"].value(), form["setting_seed"].value()) == (0.3, 7)
        assert form["snapshot"].value() == self.snapshot.pk
        assert not form["name"].value()
        assert self.client.get(self.url("run-new", "reward") + f"?like={run.pk}").status_code == 404

    def test_an_unknown_kind_is_not_found(self) -> None:
        assert self.client.get(self.url("run-new", "alchemy")).status_code == 404


class RunPageTests(RunTestCase):
    def setUp(self) -> None:
        self.sign_in(self.dana)

    def page(self, run: Run) -> str:
        return self.client.get(self.url("run", run.pk)).content.decode()

    def test_a_running_run_shows_its_steps_and_its_latest_metrics(self) -> None:
        run = claim_run(self.start().pk)
        assert run is not None
        record_metrics(run, step=5, values={"loss": 0.7, "accuracy": 0.5})
        record_metrics(run, step=10, values={"loss": 0.6132, "accuracy": 0.55})
        record_progress(run, step=12, total=40, eta_s=95.0)
        record_warning(run, "3 prompts lost their oldest tokens.")
        page = self.page(run)
        for text in (
            "about 1 minute 35 seconds left",
            "3 prompts lost",
            "0.613",
            "55.0%",
            '"loss": [[5, 0.7]',
        ):
            assert text in page, text
        assert "Cancel</button>" not in page  # a reviewer only looks

    def test_a_finished_run_describes_its_metrics(self) -> None:
        run = self.start()
        finished(
            run,
            result={
                "output": "/srv/secret/place",
                "seconds": 341.2,
                "rankings": 17,
                "metrics": {"loss": 0.41},
                "report": REPORT,
            },
        )
        page = self.page(run)
        for text in (
            "Took 5 minutes 41 seconds.",
            "68.4%",
            "50% is chance",
            "Significantly better",
            "90.0%",
            "The shorter answer was preferred",
            "62.0%",
        ):
            assert text in page, text
        assert page.count("68.4%") == 1
        assert "Negligibly" not in page  # it has no pairs
        assert "/srv/secret/place" not in page

    def test_a_finished_run_has_charts_where_a_metric_has_several_values_and_each_number_once(self) -> None:
        run = self.start()
        claimed = claim_run(run.pk)
        assert claimed is not None
        record_metrics(claimed, step=320, values={"finished": 0.995})
        hidden = '<section aria-labelledby="curves" hidden>'
        page = self.client.get(self.url("run", run.pk))
        self.assertContains(page, "Latest metrics")
        self.assertNotContains(page, hidden)
        result = {"metrics": {"finished": 0.995}, "responses": 640, "answers": 640}
        finish_run(claimed, state=Run.State.DONE, result=result)
        page = self.client.get(self.url("run", run.pk))
        self.assertContains(page, '<span class="result-value">640</span>', 1)
        self.assertContains(page, '<span class="result-value">99.5%</span>', 1)
        self.assertContains(page, hidden)
        self.assertContains(page, "99.5%")
        self.assertNotContains(page, "Latest metrics")
        run.metrics.create(step=640, values={"finished": 1.0})
        self.assertNotContains(self.client.get(self.url("run", run.pk)), hidden)

    def test_a_failed_run_shows_its_error_and_can_be_resumed_by_a_lead(self) -> None:
        run = self.start()
        finished(run, state=Run.State.FAILED, error="The loss is no longer a number at step 35.")
        assert "The loss is no longer a number at step 35." in self.page(run)
        self.sign_in(self.alice)
        assert "Resume</button>" in self.page(run)
        self.assertRedirects(self.client.post(self.url("run-resume", run.pk)), self.url("run", run.pk))
        run.refresh_from_db()
        assert (run.state, run.error) == ("queued", "")

    def test_a_queued_run_is_cancelled_at_once_and_a_running_one_after_its_step(self) -> None:
        self.sign_in(self.alice)
        queued, running = self.start(), claim_run(self.start().pk)
        assert running is not None
        for run in (queued, running):
            self.client.post(self.url("run-cancel", run.pk))
            run.refresh_from_db()
        assert (queued.state, running.state, running.cancel_requested) == ("cancelled", "running", True)
        page = self.page(running)
        assert "stopping after this step" in page
        assert "Cancel</button>" not in page

    def test_finished_runs_cannot_be_cancelled_nor_open_ones_resumed(self) -> None:
        self.sign_in(self.alice)
        over, queued = self.start(), self.start()
        finished(over)
        response = self.client.post(self.url("run-cancel", over.pk), follow=True)
        self.assertContains(response, "This run is over.")
        response = self.client.post(self.url("run-resume", queued.pk), follow=True)
        self.assertContains(response, "Only a cancelled or failed run can be resumed.")
        over.refresh_from_db()
        assert over.state == Run.State.DONE

    def test_text_of_a_run_is_not_markup(self) -> None:
        run = self.start()
        finished(run, state=Run.State.FAILED, error="<script>alert(1)</script>")
        Metric.objects.create(run=run, step=1, values={"</script><b>": 1.0})
        page = self.page(run)
        assert "<script>alert" not in page
        assert "</script><b>" not in page

    def test_its_queries_do_not_grow_with_the_steps(self) -> None:
        run = claim_run(self.start().pk)
        assert run is not None
        for step in range(1, 20):
            record_metrics(run, step=step, values={"loss": 1 / step})
        # user; membership; run with model, snapshot, output, creator; metrics; log
        with self.assertNumQueries(5):
            self.client.get(self.url("run", run.pk))

    def test_a_failed_run_says_what_to_do_and_shows_its_log(self) -> None:
        run = claim_run(self.start("dpo").pk)
        assert run is not None
        record_log(run, "x" * 30_000 + "\nIndexError: 7 <b>")
        record_progress(run, step=40, total=100, eta_s=None)
        finish_run(run, state=Run.State.FAILED, result={"setting": "batch_tokens"}, error="Too much.")
        self.sign_in(self.dana)
        page = self.client.get(self.url("run", run.pk))
        self.assertContains(page, "IndexError: 7 &lt;b&gt;")
        tokens = run.config["batch_tokens"]
        self.assertContains(page, f"another value of “Tokens per batch”, which was {tokens}.")
        self.assertContains(page, "Resume, which goes on from the last checkpoint before step 40.")
        assert len(page.context["log"]) == MAX_LOG_CHARS
        done = self.start("dpo")
        finished(done)
        self.assertNotContains(self.client.get(self.url("run", done.pk)), "What you can do")

    def test_a_worker_that_lost_its_claim_writes_no_log(self) -> None:
        run = claim_run(self.start("dpo").pk)
        assert run is not None
        Run.objects.filter(pk=run.pk).update(claim=uuid.uuid4())
        record_log(run, "late")
        assert not RunLog.objects.exists()

    def test_the_list_is_sorted_filtered_and_downloaded(self) -> None:
        first, second, third = self.start(), self.start("dpo"), self.start()
        finished(second, state=Run.State.FAILED, error="=1+1")

        def runs(**query: str) -> list[Run]:
            return list(self.client.get(self.url("runs"), query).context["listing"].page.rows)

        assert runs() == [third, second, first]
        assert runs(sort="kind") == [second, first, third]
        assert runs(sort="-state") == [third, first, second]
        assert runs(kind="dpo") == runs(state="failed") == [second]
        assert runs(who="bob") == []
        text = b"".join(self.client.get(self.url("runs"), {"format": "csv", "kind": "dpo"})).decode()  # type: ignore[arg-type]
        assert "'=1+1" in text
        assert len(text.splitlines()) == 2

    def test_the_list_is_paged_and_its_queries_do_not_grow_with_it(self) -> None:
        for _ in range(30):
            self.start()
        # user; membership; how many, runs; the filters' kinds, people; views
        with self.assertNumQueries(7):
            page = self.client.get(self.url("runs"))
        listing = page.context["listing"]
        assert len(listing.page.rows) == 25
        assert len(self.client.get(self.url("runs") + listing.older).context["listing"].page.rows) == 5
        for query in ("?after=nonsense", "?before=1,2", "?sort=nonsense"):
            page = self.client.get(self.url("runs") + query)
            assert page.context["listing"].page.rows == listing.page.rows

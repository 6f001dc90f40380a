from __future__ import annotations

from django.urls import reverse

from tests import builders
from tests.access_cases import AccessTestCase, Endpoint, policy, snapshot
from training.models import Run
from training.runs.actions import claim_run, record_metrics, start_run


class CurvesTests(AccessTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        policy(cls.project)
        cls.snapshot = snapshot(cls.project, cls.alice, cls.bob)

    def run_with(self, curves: dict[int, dict[str, float]]) -> Run:
        run = start_run(project=self.project, kind="reward", creator=self.alice, snapshot=self.snapshot)
        claimed = claim_run(run.pk)
        assert claimed is not None
        for step, values in curves.items():
            record_metrics(claimed, step=step, values=values)
        return run

    def url(self, name: str, *runs: int, more: str = "") -> str:
        query = "&".join(f"run={run}" for run in runs)
        return f"{reverse(name, args=[self.project.slug])}?{query}{more}"

    def test_leads_and_reviewers_see_the_curves(self) -> None:
        self.check(Endpoint("run-curves", get=200, reviewer_get=200))
        self.check(Endpoint("run-curves-csv", get=200, reviewer_get=200))

    def test_the_csv_has_the_points_of_the_runs_in_order_and_of_the_metrics_asked_for(self) -> None:
        first = self.run_with({1: {"loss": 0.5, "kl": 0.1}, 2: {"loss": 0.25}})
        second = self.run_with({3: {"loss": 1.5}})
        self.sign_in(self.dana)
        text = self.client.get(
            self.url("run-curves-csv", second.pk, first.pk, more="&metric=loss")
        ).content.decode()
        name = f"Reward model run {first.pk}, of policy-0"
        assert text.splitlines() == [
            "run,name,metric,step,value",
            f'{second.pk},"Reward model run {second.pk}, of policy-0",loss,3,1.5',
            f'{first.pk},"{name}",loss,1,0.5',
            f'{first.pk},"{name}",loss,2,0.25',
        ]
        everything = self.client.get(self.url("run-curves-csv", first.pk)).content.decode()
        assert f'{first.pk},"{name}",kl,1,0.1' in everything.splitlines()

    def test_another_project_s_runs_and_what_is_no_run_are_left_out(self) -> None:
        other = builders.project(self.alice, "Other")
        policy(other)
        theirs = start_run(
            project=other, kind="reward", creator=self.alice, snapshot=snapshot(other, self.alice, self.alice)
        )
        ours = self.run_with({1: {"loss": 0.5}})
        self.sign_in(self.alice)
        page = self.client.get(self.url("run-curves", theirs.pk, ours.pk, 10**18, more="&run=x&run="))
        assert [one.run for one in page.context["drawn"]] == [ours]

    def test_at_most_six_runs_are_drawn_and_the_page_says_so(self) -> None:
        runs = [self.run_with({1: {"loss": 0.5}}) for _ in range(7)]
        self.sign_in(self.alice)
        page = self.client.get(self.url("run-curves", *(run.pk for run in runs)))
        assert [one.run for one in page.context["drawn"]] == runs[:6]
        self.assertContains(page, "Only the first 6 runs are shown.")
        # user; membership; the runs; their curves, one each; the runs to choose from
        with self.assertNumQueries(10):
            self.client.get(self.url("run-curves", *(run.pk for run in runs)))

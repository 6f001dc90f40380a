from __future__ import annotations

import pytest
from django.test import override_settings
from django.urls import reverse

from tests.access_cases import finished, policy
from tests.base import PalateTestCase
from training.configs import KINDS
from training.models import Run
from training.runs.actions import start_run
from training.runs.estimates import Weights, describe_costs, weights_of

MILLION = 10**6


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_estimate_and_lora_needs_no_more(kind: str) -> None:
    weights = weights_of(kind, MILLION, 2)
    assert weights.full >= weights.lora >= 2 * MILLION


@pytest.mark.parametrize(
    ("kind", "full", "lora"),
    [
        ("generate", 2, 2),
        ("sft", 16, 2),
        ("reward", 16, 2),
        ("dpo", 18, 2),
        ("kto", 18, 4),
        ("grpo", 20, 4),
        ("ppo", 36, 6),
    ],
)
def test_what_a_run_keeps_in_memory(kind: str, full: int, lora: int) -> None:
    assert weights_of(kind, MILLION, 2) == Weights(full * MILLION, lora * MILLION)


class CostTests(PalateTestCase):
    def run_of(self, seconds: float) -> None:
        run = start_run(project=self.project, kind="generate", creator=self.alice)
        finished(run)
        Run.objects.filter(pk=run.pk).update(result={"seconds": seconds})

    def test_time_comes_from_earlier_runs(self) -> None:
        policy(self.project)
        assert describe_costs(self.project, "generate", None) == [
            "No run of this kind has ended in this project yet, so its time is not known."
        ]
        for seconds in (900.0, 90.0, 30.0, 60.0, 45.0, 120.0):  # the first is too long ago
            self.run_of(seconds)
        with override_settings(GPU_HOUR_PRICE=3.0, CURRENCY="EUR"):
            (text,) = describe_costs(self.project, "generate", None)
        assert text == (
            "The last 5 runs of this kind took 30 seconds to 2 minutes. At most 0.10 EUR for each GPU."
        )

    def test_the_form_shows_what_is_known(self) -> None:
        policy(self.project)
        self.run_of(75.0)
        self.sign_in(self.alice)
        page = self.client.get(reverse("run-new", args=[self.project.slug, "generate"])).content.decode()
        assert "The last run of this kind took" in page
        assert 'hx-select-oob="#costs"' in page

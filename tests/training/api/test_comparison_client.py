"""The client's comparisons, leaderboard, reminders and orders, against a real server."""

from __future__ import annotations

import asyncio

import pytest
from django.test import TransactionTestCase
from palate_client import AsyncPalate, Palate, PalateError

from annotation.models import ApiToken, Notification
from tests import builders
from tests.annotation.api.test_client import answers
from tests.processes import free_port, process, until
from tests.training.comparison_helpers import compare
from training.comparisons.pairs import Pair
from training.models import Run
from training.registry.actions import add_model

pytestmark = pytest.mark.live


class ComparisonClientTests(TransactionTestCase):
    def test_it_compares_ranks_and_reminds(self) -> None:
        alice = builders.user("alice", is_staff=True)
        project = builders.project(alice)
        builders.join(project, builders.user("bob"), "annotator")
        old, new = (
            add_model(project=project, kind="policy", name=name, location=f"hub:some/{name}@main")
            for name in ("old", "new")
        )
        both = ("helpfulness", new.pk, old.pk)
        comparison = compare(Pair(policy=new, baseline=old), alice, [1.0, -1.0, 2.0])
        token = ApiToken.issue(user=alice, name="t", scope="lead")[1]
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with process("web", port=port), Palate(url, token) as palate:
            until(lambda: answers(palate), "the site to answer")
            (judge,) = palate.comparison(*both)["judges"]
            assert (judge["judge"], judge["all"]["prompts"]) == ("judge", 3)
            rows = list(palate.compared_prompts(*both, order="gains"))
            assert [row["gain"] for row in rows] == [2.0, 1.0, -1.0]
            answers_of = [rows[0][side][0]["response"] for side in ("policy", "baseline")]
            item = palate.queue_answers(*both, answers_of)
            assert [row["id"] for row in palate.items("helpfulness", ordering="-item")] == [item]
            runs = palate.start_comparison(*both)
            assert [run["id"] for run in palate.runs("helpfulness", ordering="-started")] == [
                *runs[::-1],
                comparison.run_id,
            ]
            with pytest.raises(PalateError, match="wait until it is done"):
                palate.start_comparison(*both, scorer=comparison.scorer_id)
            assert palate.leaderboard("helpfulness", tag="web") == []
            assert [row["judge"] for row in palate.leaderboard_pairs("helpfulness")] == ["judge"]
            names = [model["name"] for model in palate.models("helpfulness", ordering="name")]
            assert names == ["judge", "new", "old"]
            people = [row["username"] for row in palate.members("helpfulness", ordering="-person")]
            assert people == ["bob", "alice"]
            assert [row["may_be_reminded"] for row in palate.reminders("helpfulness")] == [True]
            assert palate.remind("helpfulness", ["bob"]) == {"sent": ["bob"], "left_out": []}

            async def prompts() -> list[str]:
                async with AsyncPalate(url, token) as palate:
                    return [row["prompt_id"] async for row in palate.compared_prompts(*both)]

            assert asyncio.run(prompts()) == ["p1", "p0", "p2"]
        assert Run.objects.filter(kind="generate").count() == 2
        assert Notification.objects.filter(kind="reminder").count() == 1

"""Review of items in the API."""

from __future__ import annotations

from annotation.models import Item, Judgment, Slot
from tests import builders
from tests.annotation.api.base import ApiTestCase


class ReviewTests(ApiTestCase):
    def setUp(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 1, k=3)
        self.judgment: Judgment = builders.judgment(self.project, self.bob)
        self.item = self.judgment.item
        self.here = f"projects/{self.project.slug}/items/{self.item.pk}/"
        self.responses = sorted(self.item.responses.values_list("pk", flat=True))

    def test_an_item_tells_what_was_said_of_it(self) -> None:
        seen = self.get(self.here, self.dana).json()
        assert (seen["responses"], seen["wanted"], seen["done"]) == (self.responses, 2, 1)
        assert [said["id"] for said in seen["judgments"]] == [self.judgment.pk]
        assert seen["verdict"] is None

    def test_a_verdict_is_given_by_id_or_in_order(self) -> None:
        first, second, third = self.responses
        for ranks in ({str(first): 2, str(second): 1, str(third): 3}, [2, 1, 3]):
            decided = self.post(f"{self.here}verdict/", self.dana, {"ranks": ranks, "note": "So it is."})
            assert decided.status_code == 200, decided.content
            verdict = decided.json()["verdict"]
            assert verdict["ranks"] == {str(first): 2, str(second): 1, str(third): 3}
            assert verdict["note"] == "So it is."
        self.refused(self.post(f"{self.here}verdict/", self.dana, {"ranks": [1, 2]}), 400, "ranks", "Every")
        self.refused(self.post(f"{self.here}verdict/", self.dana, {}), 400, "ranks", "Every answer")

    def test_an_item_leaves_the_queue_and_comes_back(self) -> None:
        self.refused(self.post(f"{self.here}retire/", self.dana, {}), 400, "reason", "Say why")
        gone = self.post(f"{self.here}retire/", self.dana, {"reason": "All the same."}).json()
        assert (gone["state"], gone["retired_reason"], gone["wanted"]) == ("retired", "All the same.", 1)
        back = self.post(f"{self.here}reopen/", self.dana).json()
        assert (back["state"], back["wanted"], back["done"]) == ("open", 2, 1)

    def test_an_answer_is_made_known(self) -> None:
        self.refused(self.post(f"{self.here}gold/", self.dana, {"ranks": [1, 2, 3]}), 400, "explanation")
        known = {"ranks": [1, 2, 2], "explanation": "Only the first is right."}
        assert self.post(f"{self.here}gold/", self.dana, known).json()["gold"] is True
        item = Item.objects.get(pk=self.item.pk)
        assert item.gold == dict(zip(map(str, self.responses), [1, 2, 2], strict=True))
        assert not Slot.objects.filter(item=item, state="open").exists()

    def test_what_is_no_deed_is_refused(self) -> None:
        self.refused(self.post(f"{self.here}burn/", self.dana, {}), 400, "verb", "verdict, gold")
        self.refused(self.get(f"projects/{self.project.slug}/items/{2**63}/", self.dana), 404, "detail")

"""Rules in the API."""

from __future__ import annotations

from tests.annotation.api.base import ApiTestCase


class RuleTests(ApiTestCase):
    def test_one_is_set_replaced_and_removed(self) -> None:
        here = f"projects/{self.project.slug}/rules/"
        default = self.get(here, self.dana).json()[0]
        assert (default["measure"], default["action"]) == ("checks", "warn")
        assert self.call("DELETE", f"{here}{default['id']}/", self.alice).status_code == 204
        rule = {"measure": "gold", "below": 0.6, "after": 20, "action": "pause"}
        first = self.post(here, self.alice, rule).json()
        assert {name: first[name] for name in rule} == rule
        second = self.post(here, self.alice, rule | {"below": 0.5}).json()
        assert (second["id"], second["below"]) == (first["id"], 0.5)
        assert self.get(here, self.dana).json() == [second]
        for change, field in (
            ({"below": 60}, "below"),
            ({"after": 0}, "after"),
            ({"action": "fire"}, "action"),
            ({"measure": "checks"}, "below"),
        ):
            self.refused(self.post(here, self.alice, rule | change), 400, field)
        checks = self.post(here, self.alice, {"measure": "checks", "action": "pause"}).json()
        assert (checks["below"], checks["after"]) == (0, 10)
        for one in (first, checks):
            assert self.call("DELETE", f"{here}{one['id']}/", self.alice).status_code == 204
        assert self.get(here, self.dana).json() == []

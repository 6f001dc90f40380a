from __future__ import annotations

from annotation.models import Project, Snapshot
from training.models import ModelVersion, Run
from training.registry.lineage import RAIL, ROW, draw

PROJECT = Project(pk=1, slug="help", name="Help")


class Family:
    """Models and snapshots that no database knows, as after rounds of a loop."""

    def __init__(self) -> None:
        self.versions: dict[int, ModelVersion] = {}
        self.first = self.model("first")

    def model(self, name: str, kind: str = "policy", run: Run | None = None, **fields: int) -> ModelVersion:
        version = ModelVersion(
            pk=len(self.versions) + 1, project=PROJECT, kind=kind, name=name, run=run, **fields
        )
        self.versions[version.pk] = version
        return version

    def round(self, number: int, before: ModelVersion) -> ModelVersion:
        """A snapshot, a reward model from the first policy, and a policy that learns from it."""
        frozen = Snapshot(pk=number, project=PROJECT, number=number, counts={"judgments": 100 * number})
        learned = Run(pk=10 * number, kind="reward", project=PROJECT, snapshot=frozen)
        reward = self.model(f"reward-{number}", "reward", learned, parent_id=self.first.pk)
        taught = Run(pk=10 * number + 1, kind="ppo", project=PROJECT, reward_model=reward)
        return self.model(f"policy-{number}", run=taught, parent_id=before.pk)


def played(rounds: int) -> tuple[Family, ModelVersion]:
    family = Family()
    policy = family.first
    for number in range(1, rounds + 1):
        policy = family.round(number, policy)
    return family, policy


def test_every_generation_stands_after_what_it_was_made_from() -> None:
    family, policy = played(3)
    lines = draw(policy, family.versions).lines
    assert [line.name for line in lines] == [
        "first",
        *("Snapshot 1", "reward-1", "policy-1"),
        *("Snapshot 2", "reward-2", "policy-2"),
        *("Snapshot 3", "reward-3", "policy-3"),
    ]
    assert [source.name for source in lines[9].sources] == ["policy-2", "reward-3"]
    assert [source.name for source in lines[8].sources] == ["first", "Snapshot 3"]
    assert [line.is_this for line in lines] == [False] * 9 + [True]


def test_no_rail_is_used_by_two_at_once() -> None:
    family, policy = played(6)
    drawing = draw(policy, family.versions)
    uses: dict[int, int] = {}
    for line in drawing.lines:
        for source in line.sources:
            uses[source.place] = max(uses.get(source.place, 0), line.place)
    for one in drawing.lines:
        for other in drawing.lines[one.place + 1 :]:
            if other.rail == one.rail:
                assert other.place >= uses[one.place], (one.name, other.name)
    assert drawing.rails <= 5, "however many rounds there were"
    assert len(drawing.paths) == 6 * 4
    assert (drawing.width, drawing.height) == (RAIL * drawing.rails, ROW * 19)


def test_a_long_line_of_descent_is_no_deeper_than_a_short_one() -> None:
    family, policy = played(600)
    assert len(draw(policy, family.versions).lines) == 1801


def test_what_the_reader_s_family_does_not_hold_is_left_out() -> None:
    family = Family()
    lone = family.model("lone", parent_id=99)
    drawing = draw(lone, family.versions)
    assert [line.name for line in drawing.lines] == ["lone"]
    assert drawing.paths == []

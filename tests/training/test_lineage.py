from __future__ import annotations

from annotation.models import Project, Snapshot
from training.models import ModelVersion, Run
from training.registry.lineage import RAIL_WIDTH, ROW_HEIGHT, lineage_graph

PROJECT = Project(pk=1, slug="help", name="Help")


class Family:
    """Unsaved models and snapshots, as after rounds of a loop."""

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


def family_after(rounds: int) -> tuple[Family, ModelVersion]:
    family = Family()
    policy = family.first
    for number in range(1, rounds + 1):
        policy = family.round(number, policy)
    return family, policy


def test_every_model_comes_after_what_it_was_made_from() -> None:
    family, policy = family_after(3)
    nodes = lineage_graph(policy, family.versions).nodes
    assert [node.name for node in nodes] == [
        "first",
        *("Snapshot 1", "reward-1", "policy-1"),
        *("Snapshot 2", "reward-2", "policy-2"),
        *("Snapshot 3", "reward-3", "policy-3"),
    ]
    assert [parent.name for parent in nodes[9].parents] == ["policy-2", "reward-3"]
    assert [parent.name for parent in nodes[8].parents] == ["first", "Snapshot 3"]
    assert [node.is_subject for node in nodes] == [False] * 9 + [True]


def test_no_rail_is_used_by_two_nodes_at_once() -> None:
    family, policy = family_after(6)
    graph = lineage_graph(policy, family.versions)
    uses: dict[int, int] = {}
    for node in graph.nodes:
        for parent in node.parents:
            uses[parent.row] = max(uses.get(parent.row, 0), node.row)
    for node in graph.nodes:
        for other in graph.nodes[node.row + 1 :]:
            if other.rail == node.rail:
                assert other.row >= uses[node.row], (node.name, other.name)
    assert graph.rails <= 5, "however many rounds there were"
    assert len(graph.paths) == 6 * 4
    assert (graph.width, graph.height) == (RAIL_WIDTH * graph.rails, ROW_HEIGHT * 19)


def test_a_long_lineage_needs_no_deep_recursion() -> None:
    family, policy = family_after(600)
    assert len(lineage_graph(policy, family.versions).nodes) == 1801


def test_an_ancestor_that_is_not_among_the_related_models_is_left_out() -> None:
    family = Family()
    lone = family.model("lone", parent_id=99)
    graph = lineage_graph(lone, family.versions)
    assert [node.name for node in graph.nodes] == ["lone"]
    assert graph.paths == []

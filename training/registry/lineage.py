"""The lineage graph of a model: the models and snapshots behind it, laid out for the page.

Each is a row of text, the oldest first. Beside the rows each has a rail that runs down to the last row that was made from
it; a rail is reused once it has ended, so that the graph fits on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from annotation.models import Snapshot
from training.models import ModelVersion, Run

ROW_HEIGHT = 52
"""In pixels; the stylesheet has it as 3.25rem."""
RAIL_WIDTH = 18
MARK_RADIUS = 5

Source = ModelVersion | Snapshot


@dataclass(frozen=True)
class LineageNode:
    """A model or a snapshot, with the nodes that it was made from and its position; `is_subject`: the model whose page it is."""

    model: ModelVersion | None
    snapshot: Snapshot | None
    parents: list[LineageNode]
    rail: int
    row: int
    is_subject: bool

    @property
    def kind(self) -> str:
        return self.model.kind if self.model else "snapshot"

    @property
    def name(self) -> str:
        return str(self.model or self.snapshot)

    @property
    def parent_names(self) -> str:
        return ", ".join(parent.name for parent in self.parents)

    @property
    def run(self) -> Run | None:
        return self.model.run if self.model else None

    @property
    def x(self) -> int:
        return RAIL_WIDTH // 2 + RAIL_WIDTH * self.rail

    @property
    def y(self) -> int:
        return ROW_HEIGHT // 2 + ROW_HEIGHT * self.row

    @property
    def left(self) -> int:
        return self.x - MARK_RADIUS

    @property
    def top(self) -> int:
        return self.y - MARK_RADIUS


@dataclass(frozen=True)
class LineageGraph:
    """`paths` are the edges from parents to children: the parent's kind, and an SVG path."""

    nodes: list[LineageNode]
    paths: list[tuple[str, str]]
    rails: int
    snapshots: int

    @property
    def width(self) -> int:
        return RAIL_WIDTH * self.rails

    @property
    def height(self) -> int:
        return ROW_HEIGHT * len(self.nodes)

    @property
    def size(self) -> tuple[str, str]:
        """Width and height as CSS lengths, which scale with the reader's font size."""
        return f"{self.width / 16:g}rem", f"{self.height / 16:g}rem"


def lineage_graph(version: ModelVersion, related: Mapping[int, ModelVersion]) -> LineageGraph:
    """The graph of a model. related: the versions that may be its ancestors, by id (`queries.related_models`)."""
    order = _topological_order(version, related)
    rows = {_key(source): row for row, source in enumerate(order)}
    last_use = dict.fromkeys(range(len(order)), -1)
    for row, source in enumerate(order):
        for parent in _parents(source, related):
            last_use[rows[_key(parent)]] = row
    rails = _assign_rails(len(order), last_use)
    nodes: list[LineageNode] = []
    for row, source in enumerate(order):
        nodes.append(
            LineageNode(
                model=source if isinstance(source, ModelVersion) else None,
                snapshot=source if isinstance(source, Snapshot) else None,
                parents=[nodes[rows[_key(parent)]] for parent in _parents(source, related)],
                rail=rails[row],
                row=row,
                is_subject=source == version,
            )
        )
    paths = [(parent.kind, _path(parent, node)) for node in nodes for parent in node.parents]
    snapshots = sum(node.snapshot is not None for node in nodes)
    return LineageGraph(nodes, paths, max(rails) + 1, snapshots)


def _topological_order(version: ModelVersion, related: Mapping[int, ModelVersion]) -> list[Source]:
    """The model after everything it was made from. With a stack of its own: a lineage can be deeper than Python's."""
    order: list[Source] = []
    seen = {_key(version)}
    stack: list[tuple[Source, Iterator[Source]]] = [(version, iter(_parents(version, related)))]
    while stack:
        source, parents = stack[-1]
        parent = next(parents, None)
        if parent is None:
            order.append(source)
            stack.pop()
        elif _key(parent) not in seen:
            seen.add(_key(parent))
            stack.append((parent, iter(_parents(parent, related))))
    return order


def _parents(source: Source, related: Mapping[int, ModelVersion]) -> list[Source]:
    """What it was made from: its parent, the models that gave its rewards or chose its weights, and its snapshot."""
    if isinstance(source, Snapshot):
        return []
    run = source.run
    scorers = (
        (run.reward_model_id, run.safety_reward_model_id, run.second_reward_model_id, run.judge_id)
        if run
        else ()
    )
    ids = [source.parent_id, *scorers]
    models: list[Source] = [related[pk] for pk in ids if pk in related]
    return [*models, run.snapshot] if run and run.snapshot else models


def _key(source: Source) -> tuple[str, int]:
    return type(source).__name__, source.pk


def _assign_rails(count: int, last_use: Mapping[int, int]) -> list[int]:
    """The leftmost free rail for each row. A rail is free again after the last use of the row that had it."""
    taken_until: list[int] = []
    rails = []
    for row in range(count):
        free = (rail for rail, until in enumerate(taken_until) if until <= row)
        rail = next(free, len(taken_until))
        taken_until[rail : rail + 1] = [max(last_use[row], row + 1)]
        rails.append(rail)
    return rails


def _path(parent: LineageNode, node: LineageNode) -> str:
    """An SVG path down the parent's rail, which bends to the node's mark above its row."""
    if parent.rail == node.rail:
        return f"M{parent.x} {parent.y}V{node.y}"
    bend = node.y - ROW_HEIGHT
    down = f"M{parent.x} {parent.y}V{bend}" if bend > parent.y else f"M{parent.x} {parent.y}"
    middle = (max(bend, parent.y) + node.y) // 2
    return f"{down}C{parent.x} {middle} {node.x} {middle} {node.x} {node.y}"

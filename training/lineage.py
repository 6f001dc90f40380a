"""A model's line of descent as a drawing: models on the right from the first down to this one, and beside each step the
snapshot that it learned from. The template holds the widths, this module the heights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from annotation.models import Snapshot
from training.models import ModelVersion, Run

WIDTH = 372
ROW = 124
MODEL_HEIGHT = 56
SNAPSHOT_HEIGHT = 48
LONGEST_NAME = 23


@dataclass(frozen=True)
class Node:
    """One model. `y` is its upper edge, in the drawing's units."""

    version: ModelVersion
    y: int
    snapshot: Snapshot | None
    run: Run | None
    is_this: bool

    @property
    def parent_bottom(self) -> int:
        return self.y - ROW + MODEL_HEIGHT

    @property
    def snapshot_middle(self) -> int:
        """Half way between this model and its parent."""
        return (self.parent_bottom + self.y) // 2

    @property
    def snapshot_y(self) -> int:
        return self.snapshot_middle - SNAPSHOT_HEIGHT // 2

    @property
    def label_y(self) -> int:
        return self.snapshot_middle + 4

    @property
    def name(self) -> str:
        name = self.version.name
        return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


@dataclass(frozen=True)
class Drawing:
    nodes: list[Node]
    height: int
    sentence: str
    """The same in words, for those who do not see it."""
    width: int = WIDTH


def draw(version: ModelVersion) -> Drawing:
    """The drawing of a model whose ancestors are loaded, or are fetched one by one."""
    nodes = [
        Node(
            version=ancestor,
            y=2 + ROW * place,
            snapshot=ancestor.run.learned_from if ancestor.run else None,
            run=ancestor.run,
            is_this=ancestor.pk == version.pk,
        )
        for place, ancestor in enumerate(version.lineage()[::-1])
    ]
    return Drawing(nodes, height=nodes[-1].y + MODEL_HEIGHT + 2, sentence=_sentence(nodes))


def _sentence(nodes: list[Node]) -> str:
    parts = [f"It begins with {nodes[0].version}."]
    for before, node in pairwise(nodes):
        how = f" by {node.run}" if node.run else ""
        learned = (
            f" on {node.snapshot} ({node.snapshot.counts['judgments']:,} judgments)" if node.snapshot else ""
        )
        parts.append(f"From {before.version} came {node.version}{how}{learned}.")
    return " ".join(parts)

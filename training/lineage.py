"""A model's line of descent as a drawing: models on the right from the first down to this one, and beside each step the
snapshot that it learned from."""

from __future__ import annotations

from dataclasses import dataclass

from annotation.models import Snapshot
from training.models import ModelVersion, Run

WIDTH = 372
ROW = 104
BOX = 56
MODEL_X, MODEL_WIDTH = 180, 190
SNAPSHOT_X, SNAPSHOT_WIDTH = 2, 132


@dataclass(frozen=True)
class Node:
    """One model. `y` is its upper edge; `snapshot_y` is that of the snapshot that it learned from."""

    version: ModelVersion
    y: int
    snapshot: Snapshot | None
    run: Run | None
    is_this: bool
    is_last: bool

    @property
    def middle(self) -> int:
        return self.y + BOX // 2

    @property
    def bottom(self) -> int:
        return self.y + BOX

    @property
    def snapshot_y(self) -> int:
        """Between this model and its parent."""
        return self.y - (ROW + BOX) // 2 + BOX // 2 - 4

    @property
    def snapshot_middle(self) -> int:
        return self.snapshot_y + BOX // 2 - 4

    @property
    def label_y(self) -> int:
        return self.y - (ROW - BOX) // 2 + 4

    @property
    def name(self) -> str:
        name = self.version.name
        return name if len(name) <= 24 else f"{name[:23]}…"


@dataclass(frozen=True)
class Drawing:
    nodes: list[Node]
    height: int
    width: int = WIDTH
    sentence: str = ""
    """The same in words, for those who do not see it."""


def draw(version: ModelVersion) -> Drawing:
    chain = version.lineage()[::-1]
    nodes = [
        Node(
            version=one,
            y=2 + ROW * place,
            snapshot=one.run.snapshot if one.run else None,
            run=one.run,
            is_this=one.pk == version.pk,
            is_last=place == len(chain) - 1,
        )
        for place, one in enumerate(chain)
    ]
    return Drawing(nodes, ROW * (len(chain) - 1) + BOX + 4, sentence=_sentence(nodes))


def _sentence(nodes: list[Node]) -> str:
    parts = [f"It begins with {nodes[0].version}."]
    for before, node in zip(nodes, nodes[1:], strict=False):
        how = f" by {node.run}" if node.run else ""
        learned = (
            f" on {node.snapshot} ({node.snapshot.counts['judgments']:,} judgments)" if node.snapshot else ""
        )
        parts.append(f"From {before.version} came {node.version}{how}{learned}.")
    return " ".join(parts)

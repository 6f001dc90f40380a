"""Where a model comes from, as a drawn graph: one line of text for every model and snapshot behind it, the oldest first, and
beside the lines a rail for each, which runs down to the last that was made from it. The rails fit on a phone, as a rail that
has ended is used again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from annotation.models import Snapshot
from training.models import ModelVersion, Run

ROW = 52
"""Height of a line; the stylesheet knows it too, as 3.25rem."""
RAIL = 18
RADIUS = 5

Source = ModelVersion | Snapshot


@dataclass(frozen=True)
class Line:
    """A model or a snapshot. `sources` are the lines that it was made from, `x` and `y` its mark in the drawing."""

    model: ModelVersion | None
    snapshot: Snapshot | None
    sources: list[Line]
    rail: int
    place: int
    is_this: bool

    @property
    def kind(self) -> str:
        return self.model.kind if self.model else "snapshot"

    @property
    def name(self) -> str:
        return str(self.model or self.snapshot)

    @property
    def run(self) -> Run | None:
        return self.model.run if self.model else None

    @property
    def x(self) -> int:
        return RAIL // 2 + RAIL * self.rail

    @property
    def y(self) -> int:
        return ROW // 2 + ROW * self.place

    @property
    def left(self) -> int:
        return self.x - RADIUS

    @property
    def top(self) -> int:
        return self.y - RADIUS


@dataclass(frozen=True)
class Drawing:
    """`paths` lead from what was learned from to what was made of it: the kind of the former, and an SVG path."""

    lines: list[Line]
    paths: list[tuple[str, str]]
    rails: int
    snapshots: int

    @property
    def width(self) -> int:
        return RAIL * self.rails

    @property
    def height(self) -> int:
        return ROW * len(self.lines)

    @property
    def size(self) -> tuple[str, str]:
        """Width and height as CSS lengths, which grow with the reader's text."""
        return f"{self.width / 16:g}rem", f"{self.height / 16:g}rem"


def draw(version: ModelVersion, family: Mapping[int, ModelVersion]) -> Drawing:
    """family: the versions that may be behind it, by id (`queries.related_models`)."""
    order: list[Source] = []
    _visit(version, family, order)
    places = {_key(one): place for place, one in enumerate(order)}
    last_use = dict.fromkeys(range(len(order)), -1)
    for place, one in enumerate(order):
        for source in _sources(one, family):
            last_use[places[_key(source)]] = place
    rails = _rails(len(order), last_use)
    lines: list[Line] = []
    for place, one in enumerate(order):
        lines.append(
            Line(
                model=one if isinstance(one, ModelVersion) else None,
                snapshot=one if isinstance(one, Snapshot) else None,
                sources=[lines[places[_key(source)]] for source in _sources(one, family)],
                rail=rails[place],
                place=place,
                is_this=one == version,
            )
        )
    paths = [(source.kind, _path(source, line)) for line in lines for source in line.sources]
    snapshots = sum(line.snapshot is not None for line in lines)
    return Drawing(lines, paths, max(rails) + 1, snapshots)


def _visit(one: Source, family: Mapping[int, ModelVersion], order: list[Source]) -> None:
    """Append it after all that it was made from. An order of its own, as a long line of descent is deeper than Python's stack."""
    seen: set[tuple[str, int]] = set()
    waiting: list[tuple[Source, Iterator[Source]]] = [(one, iter(_sources(one, family)))]
    seen.add(_key(one))
    while waiting:
        now, sources = waiting[-1]
        source = next(sources, None)
        if source is None:
            order.append(now)
            waiting.pop()
        elif _key(source) not in seen:
            seen.add(_key(source))
            waiting.append((source, iter(_sources(source, family))))


def _sources(one: Source, family: Mapping[int, ModelVersion]) -> list[Source]:
    """What it was made from: its parent first, then what taught it."""
    if isinstance(one, Snapshot):
        return []
    run = one.run
    ids = [one.parent_id, *((run.reward_model_id, run.safety_reward_model_id) if run else ())]
    models: list[Source] = [family[pk] for pk in ids if pk in family]
    return [*models, run.snapshot] if run and run.snapshot else models


def _key(one: Source) -> tuple[str, int]:
    return type(one).__name__, one.pk


def _rails(count: int, last_use: Mapping[int, int]) -> list[int]:
    """The leftmost free rail for each line. A rail is free again below the last line that its own was used for."""
    taken_until: list[int] = []
    rails = []
    for place in range(count):
        free = (rail for rail, until in enumerate(taken_until) if until <= place)
        rail = next(free, len(taken_until))
        taken_until[rail : rail + 1] = [max(last_use[place], place + 1)]
        rails.append(rail)
    return rails


def _path(source: Line, line: Line) -> str:
    """Down the source's rail, and over to the line's mark in the last row."""
    if source.rail == line.rail:
        return f"M{source.x} {source.y}V{line.y}"
    bend = line.y - ROW
    down = f"M{source.x} {source.y}V{bend}" if bend > source.y else f"M{source.x} {source.y}"
    start = max(bend, source.y)
    middle = (start + line.y) // 2
    return f"{down}C{source.x} {middle} {line.x} {middle} {line.x} {line.y}"

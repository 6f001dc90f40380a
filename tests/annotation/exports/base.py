from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.models import Judgment, Placement
from tests.base import PalateTestCase


class ExportTestCase(PalateTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = self.settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)

    def bytes_of(self, selection: Selection | None = None, **given: str) -> bytes:
        return b"".join(stream.export_project(self.project, selection or Selection.from_parameters(given)))

    def lines(self, **given: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.bytes_of(**given).decode().split("\n") if line]

    def raw(self, **given: str) -> list[dict[str, Any]]:
        return self.lines(format="raw", **given)


def revise(judgment: Judgment, ranks: list[int]) -> Judgment:
    """A later revision: the same item, another order."""
    newer = Judgment.objects.create(
        item=judgment.item,
        project_id=judgment.item.project_id,
        slot=judgment.slot,
        annotator=judgment.annotator,
        shown_order=judgment.shown_order,
        seconds=1,
        supersedes=judgment,
        idempotency_key=uuid.uuid4(),
    )
    for response, rank in zip(sorted(judgment.shown_order), ranks, strict=True):
        Placement.objects.create(judgment=newer, response_id=response, rank=rank)
    return newer

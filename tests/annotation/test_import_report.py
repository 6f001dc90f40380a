"""Whatever a file holds, its report accounts for each row, and a refused file leaves nothing."""

from __future__ import annotations

import json
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from annotation.actions import imports, uploads, worker_jobs
from annotation.actions.uploads import UploadError
from annotation.models import Import, ImportedJudgment, Item, Prompt, Response
from tests import builders

TEXT = st.sampled_from(["Why?", "How?", "", " ", "a", "A", "a.", "\0", "\ud800", None, 3, ["x"]])
PAIR = st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}, optional={"margin": TEXT})
RANKING = st.fixed_dictionaries(
    {"prompt": TEXT, "responses": st.lists(TEXT, max_size=4) | TEXT},
    optional={
        "id": TEXT,
        "judgments": st.lists(
            st.fixed_dictionaries({"ranks": st.lists(st.integers(0, 3), max_size=3), "account": TEXT}),
            max_size=2,
        ),
    },
)
LABEL = st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT, "label": st.booleans() | TEXT})
ROWS = st.lists(PAIR, max_size=8) | st.lists(RANKING, max_size=8) | st.lists(LABEL, max_size=8)


class ReportTests(TestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(ARTIFACTS=folder))
        self.enterContext(patch.object(worker_jobs.Heartbeat, "_beat"))
        self.alice = builders.user("alice", is_staff=True)
        self.project = builders.project(self.alice)

    @given(
        rows=ROWS,
        share=st.sampled_from([0.0, 0.3, 1.0]),
        judgments=st.sampled_from(Import.Judgments.values),
        again=st.booleans(),
    )
    @settings(max_examples=60)
    def test_it_accounts_for_every_row(
        self, rows: list[dict[str, Any]], share: float, judgments: str, *, again: bool
    ) -> None:
        done = self.read(rows, share, judgments)
        if done is None:
            return
        report = done.report
        if done.state == "refused":
            assert report["errors"] or report["reason"]
            assert not any(table.objects.exists() for table in (Prompt, Response, Item, ImportedJudgment))
            return
        assert done.state == "done", report
        errors = len(report["errors"]) + report["more_errors"]
        assert report["rows"] == len(rows) == report["kept"] + sum(report["set_aside"].values()) + errors
        assert errors <= share * len(rows)
        assert set(report["columns"]) >= {name for row in rows for name in row}
        assert report["judgments"] == ImportedJudgment.objects.count()
        assert judgments != "leave out" or not report["judgments"]
        for judgment in ImportedJudgment.objects.select_related("item"):
            assert set(judgment.responses) == set(judgment.item.responses.values_list("pk", flat=True))
            assert len(judgment.ranks) == len(judgment.responses)
        if again:
            second = self.read(rows, share, judgments)
            assert second is not None
            counts = {name: second.report[name] for name in ("prompts", "responses", "items", "judgments")}
            assert not any(counts.values()), counts

    def read(self, rows: list[dict[str, Any]], share: float, judgments: str) -> Import | None:
        """The import, as a worker left it; None if the file was not accepted."""
        content = "\n".join(map(json.dumps, rows)).encode()
        try:
            upload = uploads.save_upload(
                project=self.project, name="rows.jsonl", file=BytesIO(content), creator=self.alice
            )
            imports.start(upload, set_aside_share=share, judgments=judgments, judged_by="person")
        except UploadError:
            return None
        claimed = imports.claim(upload.pk)
        assert claimed is not None
        imports.run_import(claimed)
        return claimed

"""Each export goes into the newest TRL's own trainer as it is, and a step is taken."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

import pytest
from datasets import load_dataset

from annotation.actions import export_files, snapshots
from annotation.store import store
from tests import builders
from tests.annotation.bulk import fill
from tests.annotation.exports.base import ExportTestCase
from tests.opinions import opinion_set
from tests.peers import needs_trl, run_with_trl

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[3]


class TrainerTests(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        fill(self.project, self.bob, 6)
        builders.imported(self.project, {"prompt": "Two?", "responses": ["Because.", "Why not?"]})
        builders.judgment(self.project, self.dana)
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    @needs_trl
    def test_every_training_format_takes_a_step(self) -> None:
        opinion_set(self.project, self.alice, lambda first, second: 0.8)
        for name in ("trl", "trl-implicit", "trl-text", "ultrafeedback", "kto", "sft", "prompts"):
            for file in ("jsonl", "parquet"):
                (self.folder / f"{name}.{file}").write_bytes(self.bytes_of(format=name, file=file))
        for file in ("jsonl", "parquet"):
            (self.folder / f"trl-origin.{file}").write_bytes(self.bytes_of(origin="true", file=file))
            (self.folder / f"trl-ai.{file}").write_bytes(self.bytes_of(ai="only", file=file))
        said = run_with_trl(Path(__file__).with_name("train.py"), self.folder)
        assert len(re.findall(r"Trainer -?\d", said)) == 24, said

    @needs_trl
    def test_the_ten_lines_of_the_docs_run(self) -> None:
        """The block of docs/datasets.md, on a file that its first line would have fetched."""
        text = (ROOT / "docs" / "datasets.md").read_text()
        block = re.findall(r"```python\n(.*?)```", text.partition("in ten lines")[2], re.DOTALL)[0]
        assert 0 < len([line for line in block.splitlines() if line.strip()]) <= 10
        (self.folder / "pairs.jsonl").write_bytes(self.bytes_of())
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from pathlib import Path; from tiny_model import tiny; tiny(Path('my-model'))\n{block}"
        )
        (self.folder / "ten.py").write_text(code)
        run_with_trl(self.folder / "ten.py")
        assert (self.folder / "reward" / "config.json").exists()

    def test_the_hub_folder_is_a_dataset(self) -> None:
        snapshot = snapshots.create_snapshot(project=self.project, creator=self.alice, licence="cc-by-4.0")
        with zipfile.ZipFile(store().path(export_files.hub_zip(snapshot))) as archive:
            archive.extractall(self.folder)
        place = str(self.folder / "helpfulness-1")
        pairs = load_dataset(place, cache_dir=str(self.folder / "cache"))
        assert sum(len(split) for split in pairs.values()) == 37
        raw = load_dataset(place, "raw", cache_dir=str(self.folder / "cache"))
        assert sum(len(split) for split in raw.values()) == 7
        card = (Path(place) / "README.md").read_text()
        assert 'license: "cc-by-4.0"' in card
        assert "> Prefer the **better** answer." in card
        first = store().path(export_files.hub_zip(snapshot))
        before = first.read_bytes()
        first.unlink()
        assert store().path(export_files.hub_zip(snapshot)).read_bytes() == before

"""Each export goes into the newest TRL's own trainer as it is, and a step is taken. TRL lives in an environment of its own,
under var/bench, which takes minutes to install: `make test PEERS=1` installs it where it is missing and runs these tests."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from datasets import load_dataset

from annotation.actions import export_files, snapshots
from annotation.store import store
from benchmarks.environments import NEWEST, peer
from tests import builders
from tests.annotation.bulk import fill
from tests.annotation.exports.base import ExportTestCase

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[3]
needs_trl = pytest.mark.skipif(not os.environ.get("PEERS"), reason="needs TRL: make test PEERS=1 installs it")


class TrainerTests(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        fill(self.project, self.bob, 6)
        builders.imported(self.project, {"prompt": "Two?", "responses": ["Because.", "Why not?"]})
        builders.judgment(self.project, self.dana)
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    @needs_trl
    def test_every_training_format_takes_a_step(self) -> None:
        for name in ("trl", "trl-implicit", "trl-text", "ultrafeedback", "kto", "sft", "prompts"):
            for file in ("jsonl", "parquet"):
                (self.folder / f"{name}.{file}").write_bytes(self.bytes_of(format=name, file=file))
        for file in ("jsonl", "parquet"):
            (self.folder / f"trl-origin.{file}").write_bytes(self.bytes_of(origin="true", file=file))
        said = run_with_trl(Path(__file__).with_name("train.py"), self.folder)
        assert len(re.findall(r"Trainer -?\d", said)) == 20, said

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


def run_with_trl(script: Path, *arguments: Path) -> str:
    # the interpreter's own path stays out: TRL's environment has everything
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [peer("trl-new", NEWEST), script, *arguments],
        cwd=script.parent if not arguments else arguments[0],
        capture_output=True,
        text=True,
        env=environment
        | {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

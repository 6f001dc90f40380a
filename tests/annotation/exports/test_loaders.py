"""What reads datasets reads our exports: `datasets`, polars, pandas, and the loaders of OpenRLHF and axolotl."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas
import polars
import pytest
from datasets import load_dataset

from benchmarks.environments import packages
from tests import builders
from tests.annotation.exports.base import ExportTestCase

FIRST_BLOCK = 10 * 2**20
"""`datasets` takes the types of a JSON file from its first 10 MB."""


class LoaderTests(ExportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_a_column_of_floats_may_begin_with_ten_megabytes_of_whole_numbers(self) -> None:
        texts = [f"{word} " * 20_000 for word in ("air", "sea", "ice")]
        rankings = [
            {"prompt": f"Long {n}?", "responses": [f"{n} {text}" for text in texts]} for n in range(30)
        ]
        builders.imported(self.project, *rankings)
        for _ in rankings:
            builders.judgment(self.project, self.bob)
        builders.imported(self.project, {"prompt": "Short?", "responses": ["Because.", "Why not?"]})
        builders.judgment(self.project, self.bob, degree="slightly")
        path = self.folder / "trl.jsonl"
        path.write_bytes(self.bytes_of())
        assert path.read_bytes().index(b"0.333") > FIRST_BLOCK

        rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(self.folder / "cache"))
        assert (rows.features["margin"].dtype, round(rows[-1]["margin"], 3)) == ("float64", 0.333)
        frame = polars.read_ndjson(path)
        assert (frame.schema["margin"], round(frame["margin"][-1], 3)) == (polars.Float64, 0.333)
        assert pandas.read_json(path, lines=True)["margin"].dtype.name == "float64"

    @pytest.mark.live
    @pytest.mark.skipif(not os.environ.get("PEERS"), reason="needs peers: make test PEERS=1 installs them")
    def test_openrlhf_and_axolotl_take_every_format_for_them(self) -> None:
        builders.imported(self.project, {"prompt": "Why?", "responses": ["Because.", "Why not?", "No idea."]})
        builders.judgment(self.project, self.bob, [1, 2, 2])
        for name in ("trl", "trl-implicit", "trl-text", "ultrafeedback", "sft", "prompts"):
            (self.folder / f"{name}.jsonl").write_bytes(self.bytes_of(format=name))
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("load_with_peers.py"), self.folder],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(packages("loaders", "openrlhf", "axolotl", "pylatexenc", "colorama")),
                "HF_HUB_OFFLINE": "1",
                "HF_DATASETS_CACHE": str(self.folder / "cache"),
            },
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(done.stdout.splitlines()) == 13, done.stdout

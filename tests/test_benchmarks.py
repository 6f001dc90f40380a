"""The job directories of the benchmarks are whole and run, and the parts of the benchmark that need no peer are right."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results, workloads
from benchmarks.jobs.write import CONFIGS, rows
from training.configs import KINDS
from training.core.__main__ import run
from training.core.events import Events
from training.core.job_directory import read_job

JOBS = Path(__file__).resolve().parents[1] / "benchmarks" / "jobs"


def test_every_kind_of_run_has_a_job_directory() -> None:
    assert {path.parent.name for path in JOBS.glob("*/job.json")} == set(KINDS) == set(CONFIGS)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_job_directory_is_what_its_script_writes(kind: str) -> None:
    written = [json.loads(line) for line in (JOBS / kind / "data.jsonl").read_text().splitlines()]
    job = json.loads((JOBS / kind / "job.json").read_text())
    assert written == rows(kind)
    assert job["config"] == CONFIGS[kind]
    assert read_job(JOBS / kind).kind == kind


def test_the_job_directories_run_one_after_the_other(tmp_path: Path) -> None:
    for kind in CONFIGS:
        folder = tmp_path / kind
        folder.mkdir()
        for name in ("job.json", "data.jsonl"):
            shutil.copy(JOBS / kind / name, folder / name)
        run(read_job(folder), Events(StringIO()))
        assert (folder / "output" / "palate.json").exists(), kind


def test_pairs_are_all_those_that_are_not_ties() -> None:
    row: dict[str, Any] = {"responses": [[5], [6], [7]], "ranks": [2, 1, 1]}
    assert workloads.pairs(row) == [([6], [5]), ([7], [5])]


def test_tokens_saved_count_every_pair_on_one_side_and_every_response_on_the_other() -> None:
    row = {"prompt": [3] * 10, "responses": [[4] * 4, [5] * 4, [6] * 4], "ranks": [1, 2, 3]}
    # three pairs of two times 10 + 4 + an end token; 10 + three times 4 + an end token
    assert workloads.tokens_saved([row]) == 3 * 2 * 15 / (10 + 3 * 5)


def test_a_case_is_the_same_to_both_sides() -> None:
    case = workloads.Case("reward", 4, 64, 16, 3)
    assert workloads.rankings(case, 512) == workloads.rankings(workloads.Case(**case.to_dict()), 512)


def test_words_and_ids_are_the_same_thing() -> None:
    tokenizer = workloads.word_tokenizer(64)
    ids = [3, 17, 63]
    assert tokenizer(workloads.text(ids), add_special_tokens=False)["input_ids"] == ids


def test_ratios_are_of_the_best_peer_of_the_same_precision() -> None:
    def side(label: str, seconds: float, precision: str = "float32", peer: bool = False) -> dict[str, Any]:
        figures = [{"wall": seconds, "cpu": seconds, "peak": 100.0}]
        return {"label": label, "peer": peer, "precision": precision, "figures": figures}

    table = results.case_table(
        {
            "sides": [
                side("slow", 9.0, peer=True),
                side("fast", 6.0, peer=True),
                side("narrow", 3.0, "bfloat16", peer=True),
                side("ours", 2.0),
            ]
        }
    )
    ratio = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in table.splitlines()[2:]}
    assert ratio == {"slow": "0.67", "fast": "1.00", "narrow": "1.00", "ours": "3.00"}

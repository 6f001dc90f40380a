"""The files that describe schedulers: those of the documentation are sound, and wrong ones are refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.training.conftest import ROOT
from training.launch.job import Resources
from training.launch.scheduler import Scheduler, SchedulerError, read_scheduler

FILES = sorted((ROOT / "docs" / "cluster").glob("*.toml"))
GOOD = """
submit = ["submit", "{argv}"]
status = ["status", "{name}"]
cancel = ["cancel", "{name}"]
alive = ["RUNNING"]
ended = ["DONE"]
"""
ECHO = '#!/bin/sh\nfor word in "$@"; do printf \'%s\\n\' "$word"; done > submitted\n'


def submitted(scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments with which a job of two nodes is submitted, by a program of the same name that notes them."""
    program = tmp_path / scheduler.submit[0]
    program.write_text(ECHO.replace("submitted", str(tmp_path / "submitted")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    scheduler.submit_job(tmp_path, Resources(2, 8, next(iter(scheduler.queues), ""), 5, 60), "palate-1-ab")
    return (tmp_path / "submitted").read_text().splitlines()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_of_the_documentation_submit_the_program_of_a_node(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = read_scheduler(path)
    words = submitted(scheduler, tmp_path, monkeypatch)
    text = "\n".join(words)
    if scheduler.manifest:
        manifest = yaml.safe_load((tmp_path / "manifest.yaml").read_text())
        assert str(tmp_path / "manifest.yaml") in text
        text += yaml.safe_dump(manifest)
    assert "palate-1-ab" in text
    assert "training.launch.node" in text
    assert str(tmp_path) in text
    assert "{" not in "".join(words)


def test_the_manifest_for_kubernetes_has_what_a_job_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = read_scheduler(ROOT / "docs" / "cluster" / "kubernetes.toml")
    submitted(scheduler, tmp_path, monkeypatch)
    job = yaml.safe_load((tmp_path / "manifest.yaml").read_text())
    assert job["metadata"] == {"name": "palate-1-ab", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}}
    assert (job["spec"]["parallelism"], job["spec"]["completions"]) == (2, 2)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][1:] == ["-m", "training.launch.node", str(tmp_path), "palate-1-ab"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}


def test_the_documentation_names_every_file_and_says_what_was_run() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    for path in FILES:
        assert f"cluster/{path.name}" in page
    assert "is run by tests against Slurm itself" in page
    assert "The others have not been run" in page


def test_an_argument_without_a_value_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "launcher.toml"
    file.write_text(GOOD.replace('"submit", ', '"submit", "--queue={queue}", "--nodes={nodes}", '))
    words = submitted(read_scheduler(file), tmp_path, monkeypatch)
    assert words[0] == "--nodes=2"
    assert words[2:4] == ["-m", "training.launch.node"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", False),
        ("RUNNING\n", True),
        ("DONE\n", False),
        ("RUNNING DONE\n", False),
        ("DONE\nRUNNING\n", True),
        ('{"status": "RUNNING"}', True),
        ("<html>", "its answer was '<html>'"),
    ],
)
def test_the_words_of_an_answer_say_whether_a_job_goes_on(
    answer: str, expected: object, tmp_path: Path
) -> None:
    file = tmp_path / "launcher.toml"
    file.write_text(GOOD)
    scheduler = replace(read_scheduler(file), status=["printf", "%s", answer])
    if isinstance(expected, str):
        with pytest.raises(SchedulerError, match=expected):
            scheduler.poll_job("palate-1-ab")
    else:
        assert scheduler.poll_job("palate-1-ab") is expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("submit = [", "is not TOML"),
        (GOOD + 'colour = "red"', "unknown keys: colour"),
        (GOOD.replace("cancel", "canzel"), "unknown keys: canzel"),
        (GOOD.replace('["cancel", "{name}"]', '"cancel"'), "cancel of .* must be a list of texts"),
        (GOOD.replace('["DONE"]', "[]"), "ended of .* must be a list of texts"),
        (GOOD + "nodes = 0", "nodes of .* must be a number of at least 1"),
        (GOOD.replace("{argv}", "{gpu}"), r"submit of .* has an unknown placeholder \{gpu\}"),
        (GOOD.replace('"cancel", "{name}"', '"cancel", "{folder}"'), r"cancel of .* placeholder \{folder\}"),
        (GOOD.replace("{argv}", "{manifest}"), r"placeholder \{manifest\}"),
        (GOOD + 'manifest = "none.yaml"', "the manifest of .* cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "launcher.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"LAUNCHER: .*{sentence}"):
        read_scheduler(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_scheduler(tmp_path / "none.toml")

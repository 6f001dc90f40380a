from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from django.test import TestCase

from annotation.store import folder_files
from tests import builders
from tests.annotation.api.base import EndpointTests
from tests.training.api.test_runs import TrainingTestCase
from training.models import ModelVersion, Run
from training.registry.actions import add_model
from training.runs.outputs import store_output

PATH = "projects/helpfulness/models/"
HUB = {"kind": "policy", "name": "smollm", "location": "hub:HuggingFaceTB/SmolLM2-135M-Instruct@main"}


class AccessTests(EndpointTests, TrainingTestCase, TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ENDPOINTS = (
            ("GET", PATH, "lead reviewer", None),
            ("POST", PATH, "lead", HUB),
            ("POST", f"models/{self.policy.pk}/promote/", "lead", None),
            ("GET", f"models/{self.policy.pk}/lineage/", "lead reviewer", None),
            ("GET", f"models/{self.policy.pk}/file/", "lead reviewer", None),
        )
        self.artifacts.joinpath("base").mkdir()
        self.artifacts.joinpath("base", "model.safetensors").write_bytes(b"weights")
        ModelVersion.objects.update(location=f"file:{self.artifacts / 'base'}")

    def test_an_unknown_model_is_not_found(self) -> None:
        unknown = self.get(f"models/{2**62}/lineage/", self.charlie)
        self.refused(unknown, 404, "detail", "No such model")
        assert self.get(f"models/{self.policy.pk}/lineage/", self.charlie).content == unknown.content


class ModelTests(TrainingTestCase):
    def folder(self, name: str, *files: str, config: Any = None) -> str:
        folder = self.artifacts / name
        folder.mkdir()
        for file in files:
            (folder / file).write_text("x")
        (folder / "config.json").write_text(json.dumps(config or {"model_type": "llama"}))
        return f"file:{folder}"

    def test_it_adds_one_from_a_hub_and_one_from_a_folder(self) -> None:
        answer = self.post(PATH, self.alice, HUB)
        assert answer.status_code == 201
        assert answer.json()["current"] is False
        location = self.folder("own", "model.safetensors")
        answer = self.post(PATH, self.alice, {"kind": "reward", "name": "own", "location": location})
        assert answer.json()["current"] is True
        listed = self.get(PATH, self.dana).json()["results"]
        assert [model["name"] for model in listed] == ["own", "smollm", "base"]

    def test_models_are_paginated_newest_first(self) -> None:
        for number in range(120):
            add_model(project=self.project, **HUB | {"name": f"copy-{number}"})
        pages = self.pages(PATH, self.dana)
        assert [len(page) for page in pages] == [100, 21]
        assert (pages[0][0]["name"], pages[1][-1]["name"]) == ("copy-119", "base")

    def test_unsafe_models_are_refused(self) -> None:
        remote = self.folder("remote", "model.safetensors", config={"auto_map": {"AutoModel": "x.Y"}})
        pickled = self.folder("pickled", "pytorch_model.bin")
        bare = self.artifacts / "bare"
        bare.mkdir()
        for location, sentence in (
            (remote, "has custom code"),
            (pickled, "no safetensors"),
            (f"file:{bare}", "no config.json"),
            ("file:/nowhere/at/all", "There is no folder"),
            ("file:../../etc", "There is no folder"),
            ("file:" + "x" * 256, "There is no folder"),  # longer than a file system's names
            ("file:/x/" + "é" * 200, "There is no folder"),
            (f"{remote}/config.json", "is a file"),
            (str(bare), "no config.json"),
            ("org/name", "hub:org/name@revision"),
            ("hub:org/name", "hub:org/name@revision"),
            ("hub:a/b/c@main", "hub:org/name@revision"),
            ("https://a.example/model", "hub:org/name@revision"),
            ("", "blank"),
            ("x" * 501, "500"),
            ("a\0b", "Null characters"),
        ):
            answer = self.post(PATH, self.alice, HUB | {"location": location})
            self.refused(answer, 400, "location", sentence)
        assert ModelVersion.objects.count() == 1

    def test_the_output_of_another_project_s_run_is_not_found(self) -> None:
        theirs, ours = self.run_of(state="done"), self.run_of(state="done")
        Run.objects.filter(pk=theirs.pk).update(project=builders.project(self.charlie, "Theirs"))
        for run in (theirs, ours):
            run.folder.mkdir(parents=True)
            self.folder(f"runs/{run.pk}/output", "model.safetensors")
            store_output(run)
            Run.objects.filter(pk=run.pk).update(files=run.files)
        for location in (
            theirs.files["output"],
            folder_files(ours.files["output"])["config.json"].uri,
            f"store:runs/{ours.pk}/{64 * '0'}",
            "store:",
        ):
            answer = self.post(PATH, self.alice, HUB | {"location": location})
            self.refused(answer, 400, "location", "There is no folder")
        assert ModelVersion.objects.count() == 1
        made = self.post(PATH, self.alice, HUB | {"location": ours.files["output"]})
        assert made.status_code == 201
        path = f"models/{made.json()['id']}/file/"
        assert self.get(path, self.alice).status_code == 200
        assert b"".join(self.get(f"{path}?file=model.safetensors", self.dana)) == b"x"  # type: ignore[arg-type]
        self.refused(
            self.get(f"{path}?file=data.jsonl", self.dana), 404, "detail", "has no file 'data.jsonl'"
        )

    def test_names_and_kinds_are_checked(self) -> None:
        for changes, field, sentence in (
            ({"name": "base"}, "name", "called 'base' already"),
            ({"name": "not a slug"}, "name", "slug"),
            ({"kind": "critic"}, "kind", "not a valid choice"),
        ):
            self.refused(self.post(PATH, self.alice, HUB | changes), 400, field, sentence)

    def test_promoting_makes_it_the_only_current_one(self) -> None:
        newer = self.model("newer", "policy")
        assert self.post(f"models/{newer.pk}/promote/", self.alice).json()["current"] is True
        assert list(ModelVersion.objects.filter(current=True)) == [newer]

    def test_lineage_goes_back_to_the_judgments(self) -> None:
        run = self.run_of(state="done")
        child = self.model("child", "policy", parent=self.policy, run=run)
        said = self.get(f"models/{child.pk}/lineage/", self.dana).json()
        assert [model["name"] for model in said] == ["child", "base"]
        assert (said[0]["run"], said[0]["snapshot"], said[0]["judgments"]) == (run.pk, 1, 12)
        assert said[0]["sha256"] == self.snapshot.sha256
        assert (said[1]["run"], said[1]["snapshot"], said[1]["sha256"], said[1]["judgments"]) == (None,) * 4

    def test_a_model_is_downloaded_as_one_archive(self) -> None:
        path = f"models/{self.policy.pk}/file/"
        self.refused(self.get(path, self.dana), 404, "detail", "The files of base are not on this server")
        ModelVersion.objects.update(location=self.folder("base", "model.safetensors"))
        answer = self.get(path, self.dana)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-tar")
        with tarfile.open(fileobj=io.BytesIO(b"".join(answer))) as archive:
            assert archive.getnames() == ["base/README.md", "base/config.json", "base/model.safetensors"]

"""Learning rates that follow from the size of the model that a run starts from."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse

from tests.training.round_case import RoundTestCase
from training.configs import KINDS, TrainingConfig
from training.configs.size_defaults import (
    SIZE_DEFAULTS,
    SMALL,
    default_learning_rate,
    lora_rate,
)
from training.models import Run
from training.registry.actions import add_model
from training.registry.model_size import parameter_count
from training.rounds.plan import describe_learning_rates, draft_round
from training.runs.actions import start_run
from training.runs.forms import RunForm

DOCS = Path(__file__).resolve().parents[2] / "docs"
LARGE = 7_600_000_000


def write_weights(folder: Path, *shards: dict[str, list[int]]) -> None:
    """Headers of safetensors files with tensors of these shapes, which take no room."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, shapes in enumerate(shards):
        tensors = {
            name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()
        }
        header = json.dumps({"__metadata__": {"format": "pt"}} | tensors).encode()
        file = folder / f"model-{number}.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header)


def test_every_kind_that_trains_has_a_rate_for_large_models() -> None:
    training = {kind for kind, config in KINDS.items() if issubclass(config, TrainingConfig)}
    assert {kind for row in SIZE_DEFAULTS for kind in row.kinds} == training
    for kind in training:
        own: Any = next(item.default for item in fields(KINDS[kind]) if item.name == "learning_rate")
        rows = [row for row in SIZE_DEFAULTS if kind in row.kinds]
        assert rows[0].parameters == SMALL
        rates = [own, *(row.learning_rate for row in rows)]
        assert rates == sorted(set(rates), reverse=True), "larger models have lower rates"
        assert [row.parameters for row in rows] == sorted({row.parameters for row in rows})


@pytest.mark.parametrize(
    ("kind", "parameters", "config", "expected"),
    [
        ("dpo", SMALL - 1, {}, None),
        ("dpo", SMALL - 1, {"lora_rank": 8}, None),
        ("dpo", SMALL, {}, 1e-6),
        ("dpo", 6_738_415_616, {}, 5e-7),
        ("dpo", 70_000_000_000, {}, 2e-7),
        ("dpo", 6_738_415_616, {"lora_rank": 8}, 5e-6),
        ("reward", SMALL, {"lora_rank": 0}, 1e-5),
        ("grpo", None, {}, 1e-6),
        ("generate", LARGE, {}, None),
    ],
)
def test_the_rate_follows_from_the_size(
    kind: str, parameters: int | None, config: dict[str, Any], expected: float | None
) -> None:
    found = default_learning_rate(kind, parameters, config)
    assert found == ({} if expected is None else {"learning_rate": expected})


def test_the_documented_table_is_the_one_in_use() -> None:
    rows = re.findall(
        r"^\| (`.*`) \| ([\d.]+) billion \| (\S+) \| (\S+) \| (.*) \|$",
        (DOCS / "training.md").read_text(),
        re.MULTILINE,
    )
    documented = [
        (tuple(re.findall(r"`(\w+)`", kinds)), float(size) * 1e9, float(rate), float(lora), source)
        for kinds, size, rate, lora, source in rows
    ]
    assert documented == [(*row[:3], lora_rate(row.learning_rate), row.source) for row in SIZE_DEFAULTS]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 500_000_000),
        ("meta-llama/Llama-2-7b-hf", 7_000_000_000),
        ("Qwen/Qwen3-30B-A3B", 30_000_000_000),
        ("HuggingFaceTB/SmolLM2-135M", 135_000_000),
        ("openai-community/gpt2", None),
        ("mistralai/Mixtral-8x7B-v0.1", None),
    ],
)
def test_the_name_of_a_model_on_a_hub_tells_its_size(name: str, expected: int | None) -> None:
    assert parameter_count(f"hub:{name}@main") == expected


def test_the_files_of_a_model_tell_its_size(tmp_path: Path) -> None:
    write_weights(tmp_path / "sharded-7b", {"a": [1000, 20], "b": [5]}, {"c": [3, 3, 3]})
    location = f"file:{tmp_path / 'sharded-7b'}"
    assert parameter_count(location) == 20_032
    for content in (b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]", b"\x09\0\0\0\0\0\0\0" + b'{"a": {}}'):
        (tmp_path / "sharded-7b" / "model-0.safetensors").write_bytes(content)
        assert parameter_count(location) is None


class SizeTestCase(RoundTestCase):
    def grow(self, parameters: int) -> None:
        """Give the first policy files with so many weights."""
        folder = settings.ARTIFACTS / "first"
        write_weights(folder, {"all": [parameters]})
        self.first.location = f"file:{folder}"
        self.first.save()

    def rate(self, kind: str = "generate", **config: Any) -> float:
        run = start_run(
            project=self.policy_project,
            kind=kind,
            creator=self.alice,
            config=config,
            inputs={"demonstrations": True},
        )
        return float(run.config["learning_rate"])


class StartTests(SizeTestCase):
    def test_the_run_has_the_number(self) -> None:
        for parameters, expected in ((2_000_000, 2e-4), (LARGE, 2e-5)):
            self.grow(parameters)
            assert self.rate("sft") == expected
        assert self.rate("sft", lora_rank=16) == 2e-4
        assert self.rate("sft", learning_rate=3e-6) == 3e-6

    def test_a_model_of_unknown_size_does_not_count_as_small(self) -> None:
        assert self.rate("sft") == 2e-5

    def test_a_new_model_is_small(self) -> None:
        (settings.ARTIFACTS / "texts").mkdir()
        (settings.ARTIFACTS / "texts" / "a.jsonl").touch()
        run = start_run(
            project=self.policy_project, kind="pretrain", creator=self.alice, inputs={"data": "a.jsonl"}
        )
        assert run.config["learning_rate"] == 1e-3


class FormTests(SizeTestCase):
    def note(self, kind: str = "dpo", query: str = "") -> str:
        self.sign_in(self.alice)
        page = self.client.get(f"{reverse('run-new', args=[self.policy_project.slug, kind])}{query}")
        [note] = re.findall(r'id="id_setting_learning_rate_default">(.*?)</p>', page.content.decode())
        assert (
            'aria-describedby="id_setting_learning_rate_helptext id_setting_learning_rate_default"'
            in page.content.decode()
        )
        return str(note)

    def test_a_line_says_the_default_of_the_chosen_model_and_its_source(self) -> None:
        self.grow(2_100_000)
        assert self.note() == (
            "5e-5 by default, as for all models below 500 million. first has 2.1 million parameters."
        )
        folder = settings.ARTIFACTS / "large"
        write_weights(folder, {"all": [LARGE]})
        (folder / "config.json").write_text("{}")
        large = add_model(project=self.policy_project, kind="policy", name="large", location=f"file:{folder}")
        assert self.note(query=f"?model={large.pk}") == (
            "5e-7 by default, 5e-6 with LoRA: Zephyr (arXiv 2310.16944), section 4.4, 7B. large has 7.6 billion parameters."
        )

    def test_the_field_is_empty_so_that_the_default_follows_the_model(self) -> None:
        form = RunForm(self.policy_project, Run.Kind.DPO)
        assert form["setting_learning_rate"].value() is None
        assert (
            "is not known: it does not count as small." in form.fields["setting_learning_rate"].default_note
        )
        attributes = form.fields["model"].widget.attrs
        assert attributes["hx-select-oob"] == "#costs,#id_setting_learning_rate_default"
        assert self.note("pretrain") == "1e-3 by default, as for all models below 500 million."

    def test_kinds_that_train_nothing_have_no_such_line(self) -> None:
        attributes = RunForm(self.policy_project, Run.Kind.GENERATE).fields["model"].widget.attrs
        assert attributes["hx-select-oob"] == "#costs"


class RoundTests(SizeTestCase):
    def test_the_round_form_names_the_rates_of_its_runs(self) -> None:
        self.grow(LARGE)
        loop = self.make_loop("llama2")
        lines = describe_learning_rates(draft_round(loop))
        assert [title for title, _ in lines] == [
            "Train the reward models",
            "Improve the policy by rejection sampling",
            "Improve the policy by PPO",
        ]
        assert lines[0][1].startswith("1e-5 by default")
        loop.configs = {"ppo": {"learning_rate": 3e-6}}
        loop.save()
        self.sign_in(self.alice)
        page = self.client.get(reverse("round-new", args=[self.policy_project.slug]))
        self.assertContains(page, "3e-6, by the settings of the loop&#x27;s runs.")
        self.assertContains(page, "section 3.2.2, below 70B. first has 7.6 billion parameters.")

"""Several rankings of the same responses: they go through the model once, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.core.conftest import in_float64, tiny_gpt2, tiny_llama, write_job
from tests.training.core.in_process import curve, do_here
from training.configs import RewardConfig
from training.core.batching import shared_layout
from training.core.data import Ranking, read_rankings
from training.core.preference_groups import PreferenceGroup, group_rankings
from training.core.reward_model import RewardModel
from training.core.tokenization import Encoder
from training.core.train_reward import micro_batch_loss

HELLO = [{"role": "user", "content": "hello"}]


def read(folder: Path, rows: list[dict[str, Any]]) -> list[Ranking]:
    path = folder / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"id": n, "prompt": HELLO} | row) + "\n" for n, row in enumerate(rows))
    )
    return read_rankings(path)


PEOPLE = [
    {
        "responses": ["the ferry.", "the train leaves.", "no."],
        "ranks": [1, 2, 3],
        "safe": [True, False, None],
    },
    {
        "responses": ["no.", "the ferry.", "the train leaves."],
        "ranks": [1, 1, 2],
        "safe": [False, True, True],
    },
    {"responses": ["the ferry.", "the train leaves.", "no."], "ranks": [3, 1, 2]},
    {"responses": ["yes.", "at nine."], "ranks": [2, 1], "degree": "better", "safe": [True, None]},
    {"responses": ["at nine.", "yes."], "probability": 0.25},
    {"responses": ["at nine.", "yes."], "ranks": [1, 1]},
    {"responses": ["at nine.", "no."], "ranks": [1, 2], "degree": "slightly"},
]


def merged_and_not(folder: Path, tokenizer) -> tuple[list[PreferenceGroup], list[PreferenceGroup]]:
    rankings, encoder = read(folder, PEOPLE), Encoder(tokenizer, 64)
    apart = [replace(group_rankings([one], encoder)[0], index=index) for index, one in enumerate(rankings)]
    return group_rankings(rankings, encoder), apart


def test_rankings_of_the_same_responses_share_a_group(tmp_path: Path, tokenizer):
    merged, apart = merged_and_not(tmp_path, tokenizer)
    assert [len(one.rankings) for one in merged] == [3, 3, 1]
    assert merged[0].places == [[0, 1, 2], [2, 0, 1], [0, 1, 2]]
    assert merged[1].places == [[0, 1], [1, 0], [1, 0]]
    assert sum(one.k for one in merged) == 7
    assert sum(one.k for one in apart) == 17
    assert (sum(one.ties for one in merged), [one.pair_counts for one in merged]) == (
        2,
        [[3, 2, 3], [1, 1, 0], [1]],
    )


def test_twins_within_a_ranking_keep_their_ranks(tmp_path: Path, tokenizer):
    rows = [
        {"responses": texts, "ranks": [1, 2, 3]}
        for texts in (["yes.", "no.", "yes."], ["no.", "yes.", "yes."])
    ]
    [one] = group_rankings(read(tmp_path, rows), Encoder(tokenizer, 64))
    assert one.places == [[0, 1, 2], [1, 0, 2]]


def test_other_prompts_and_other_token_ids_are_not_the_same(tmp_path: Path, tokenizer):
    row = {"responses": ["yes.", "no."], "ranks": [1, 2]}
    rows = [
        row,
        row | {"prompt": [{"role": "user", "content": "hi"}]},
        row | {"token_ids": [[5, 6], None]},
        row,
    ]
    found = group_rankings(read(tmp_path, rows), Encoder(tokenizer, 64))
    assert [len(one.rankings) for one in found] == [2, 1, 1]


@pytest.mark.parametrize("reduction", ["prompt", "pair"])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_merging_changes_neither_loss_nor_gradients(make, reduction: str, tmp_path: Path, tokenizer):
    """Seven rankings in three groups, in two passes, against seven rows in one; float64."""
    model = in_float64(RewardModel(make().base_model, seed=1))
    config = RewardConfig(margin="large", reduction=reduction, safety_weight=0.7)
    merged, apart = merged_and_not(tmp_path, tokenizer)
    losses, gradients = [], []
    for whole, parts in ((merged, [merged[:1], merged[1:]]), (apart, [apart])):
        found = sum(
            micro_batch_loss(model(shared_layout([one.encoded for one in part])), part, whole, config)
            for part in parts
        )
        losses.append(found.item())
        gradients.append(torch.autograd.grad(found, list(model.parameters())))
    assert abs(losses[0] - losses[1]) < 1e-9
    assert all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(*gradients, strict=True))


def test_a_run_on_merged_rows_is_one_on_rows_apart(source: Path, tmp_path: Path, tokenizer):
    """Token ids that say what the text says anyway keep rows apart."""
    together = [{"id": n, "prompt": HELLO} | row for n, row in enumerate(PEOPLE)]
    encoder = Encoder(tokenizer, 64)
    apart = [dict(row) for row in together]
    for number in (1, 2, 4, 5):
        apart[number]["token_ids"] = [encoder.encode_response(text) for text in apart[number]["responses"]]
        apart[number]["token_ids"][: number % 2] = [None] * (number % 2)
    found = []
    for name, rows in (("together", together), ("apart", apart)):
        config = {"batch_size": 7, "max_steps": 1, "max_length": 64}
        result, events = do_here(write_job(tmp_path / name, "reward", rows, model=str(source), config=config))
        assert (result["rankings"], result["pairs"]) == (6, 11)
        found.append([curve(events, figure)[1] for figure in ("loss", "accuracy", "grad_norm")])
    assert len(group_rankings(read_rankings(tmp_path / "apart" / "data.jsonl"), encoder)) == 7
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_every_row_is_scored_in_its_own_order(source: Path, tmp_path: Path, tokenizer):
    reward = tmp_path / "reward"
    reward.mkdir()
    RewardModel(tiny_llama().base_model, seed=2).save(tokenizer, reward)
    rows = [{"id": n, "prompt": HELLO} | row for n, row in enumerate(PEOPLE)]
    rows.insert(2, {"id": "only", "prompt": HELLO, "responses": ["no.", "the train leaves.", "the ferry."]})
    config = {"max_length": 64, "split": "all"}
    folder = write_job(tmp_path / "job", "evaluate", rows, model=str(reward), config=config)
    result, _ = do_here(folder)
    lines = [json.loads(line) for line in (folder / "output" / "scores.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [0, 1, "only", 2, 3, 4, 5, 6]
    for row, line in zip(rows, lines, strict=True):
        for text, reward_of_text in zip(row["responses"], line["rewards"], strict=True):
            [same] = {
                r for one, found in zip(rows, lines, strict=True)
                for t, r in zip(one["responses"], found["rewards"], strict=True)
                if t == text and (t != "no." or len(one["responses"]) == len(row["responses"]))
            }  # fmt: skip
            assert reward_of_text == same
    assert result["report"]["annotator_comparisons"] == 8
    assert result["report"]["annotator_agreement"] == pytest.approx(2 / 8)

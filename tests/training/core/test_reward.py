from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.core.conftest import in_float64, judgments, sentence, tiny_gpt2, tiny_llama, write_job
from tests.training.core.in_process import Recorded, curve, do_here
from training.configs import ConfigError, RewardConfig, from_dict
from training.core.data import Ranking, read_rankings
from training.core.early_stopping import EarlyStopping
from training.core.encoding import Encoder, Group
from training.core.errors import BadInput
from training.core.jobs import read_job
from training.core.judgments import Judged, encode, safety_labels, unsafe_over_safe
from training.core.loop import Loop
from training.core.reward_model import RewardModel, load_reward_model
from training.core.scoring import Passes, shared
from training.core.train_reward import correct, held_out_loss, loss_share, score

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    tiny_llama().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def read(folder: Path, rows: list[dict[str, Any]]) -> list[Ranking]:
    path = folder / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"id": n, "prompt": HELLO} | row) + "\n" for n, row in enumerate(rows))
    )
    return read_rankings(path)


# --- soft labels ------------------------------------------------------------------------------------------------


def test_a_soft_label_says_what_the_ranks_are(tmp_path: Path):
    rows = [{"responses": ["a", "b"], "probability": share} for share in (0.75, 0.5, 0.25, 1, 0.0)]
    assert [ranking.ranks for ranking in read(tmp_path, rows)] == [[1, 2], [1, 1], [2, 1], [1, 2], [2, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability": 1.5}, "from 0 to 1, not 1.5"),
        ({"probability": True}, "from 0 to 1"),
        ({"probability": "0.5"}, "from 0 to 1"),
        ({"probability": float("nan")}, "from 0 to 1"),
        ({"probability": 0.7, "ranks": [2, 1]}, r"makes the ranks \[1, 2\]"),
        ({"probability": 0.5, "ranks": [1, 2]}, r"makes the ranks \[1, 1\]"),
        ({"probability": 0.7, "responses": ["a", "b", "c"], "ranks": [1, 2, 3]}, "between two"),
        ({"ranks": [1, 2], "safe": [True]}, "1 labels of 'safe'"),
        ({"ranks": [1, 2], "safe": [1, 0]}, "true, false or null"),
        ({"ranks": [1, 2], "safe": True}, "true, false or null"),
        ({"ranks": [1, 2], "token_ids": [[1, "x"], None]}, "'token_ids' must"),
        ({"ranks": [1, 2], "token_ids": 7}, "'token_ids' must"),
    ],
)
def test_a_bad_label_is_refused(change: dict[str, Any], words: str, tmp_path: Path):
    with pytest.raises(BadInput, match=words) as caught:
        read(tmp_path, [{"responses": ["a", "b"]} | change])
    assert caught.value.line == 1


def judged_by_hand(*rankings: Ranking) -> list[Judged]:
    """Each ranking a group of its own."""
    return [
        Judged(index, [one], Group([1], [[2]] * len(one.responses)), [list(range(len(one.responses)))])
        for index, one in enumerate(rankings)
    ]


def ranking(ranks: list[int], **more: Any) -> Ranking:
    empty: dict[str, Any] = {"degree": None, "held_out": True, "token_ids": [None] * len(ranks)}
    return Ranking(1, 1, HELLO, ["a"] * len(ranks), ranks, **empty | more)


def test_the_loss_of_soft_labels_margins_and_rankings_by_hand():
    """Pairs at differences 1, 0 (p = 0.5), 2 (p = 0.25 for the first, so 0.75 for the second, which scores 2 less)."""
    found = judged_by_hand(
        ranking([1, 2], degree="significantly"),
        ranking([1, 1], probability=0.5),
        ranking([2, 1], probability=0.25),
        ranking([1, 1]),
    )
    rewards = [[1.0, 0.0], [3.0, 3.0], [2.0, 0.0], [9.0, 5.0]]
    one, two, three = math.log(2), math.log(2), 0.25 * 0.1269280 + 0.75 * 2.1269280
    loss = held_out_loss(found, rewards, RewardConfig(margin="small"))
    assert loss == pytest.approx((one + two + three) / 3)
    without = held_out_loss(found, rewards, RewardConfig(margin="none"))
    assert without == pytest.approx((0.3132617 + two + three) / 3)
    assert correct(torch.tensor([1.0, 0, 3, 3, 2, 0, 9, 5]), found) == 1, (
        "one half is a tie, and p = 0.25 prefers the second"
    )


def test_a_soft_label_of_one_half_pulls_rewards_together():
    rewards = torch.tensor([1.0, 0.0], requires_grad=True)
    found = judged_by_hand(ranking([1, 1], probability=0.5, degree="significantly"))
    loss_share(rewards, found, found, RewardConfig(margin="large")).backward()
    assert rewards.grad.tolist() == pytest.approx([0.5 * math.tanh(0.5), -0.5 * math.tanh(0.5)])
    level = torch.zeros(2, requires_grad=True)
    loss_share(level, found, found, RewardConfig(margin="large")).backward()
    assert level.grad.tolist() == [0, 0]


# --- safety ------------------------------------------------------------------------------------------------------


def test_the_safety_loss_is_the_mean_over_labels_beside_the_preference_loss():
    found = judged_by_hand(
        ranking([1, 2], safe=[True, None]), ranking([1, 1, 1], safe=[False, False, True]), ranking([1, 2])
    )
    rewards = [[1.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0]]
    preferences = (0.3132617 + math.log(2)) / 2
    labels = (0.3132617 + 1.3132617 + 0.1269280 + math.log(2)) / 4
    for weight in (0.0, 0.5, 2.0):
        config = RewardConfig(margin="none", safety_weight=weight)
        assert held_out_loss(found, rewards, config) == pytest.approx(preferences + weight * labels)
    assert held_out_loss(found[1:2], rewards[1:2], RewardConfig()) is None
    assert safety_labels(found).place.tolist() == [0, 2, 3, 4]


def test_unsafe_answers_preferred_to_safe_ones_are_counted():
    found = judged_by_hand(
        ranking([2, 1, 3], safe=[True, False, True]),
        ranking([1, 2], safe=[True, False]),
        ranking([1, 2], safe=[False, None]),
    )
    assert unsafe_over_safe(found) == 2


def test_a_safety_model_parts_safe_from_unsafe_at_zero(source: Path, tmp_path: Path):
    """A word that is safe, one that is not: the scalar's sign learns it, and no shift spoils it."""
    rng = random.Random(5)
    rows = []
    for number in range(32):
        responses = [f"thank you {sentence(rng, 4)}", f"no {sentence(rng, 4)}"]
        order = [True, False] if number % 2 else [False, True]
        rows.append(
            {
                "id": number,
                "prompt": [{"role": "user", "content": sentence(rng)}],
                "responses": responses if order[0] else responses[::-1],
                "ranks": [1, 2] if order[0] else [2, 1],
                "safe": order if number % 3 else [None, None],
                "split": "held_out" if number % 4 == 0 else "train",
            }
        )
    reports = {}
    for weight in (0.0, 1.0):
        config = {
            "epochs": 6,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "max_length": 100,
            "safety_weight": weight,
        }
        folder = write_job(tmp_path / str(weight), "reward", rows, model=str(source), config=config)
        result, _ = do_here(folder)
        reports[weight] = result["report"]
    assert reports[1.0]["unsafe_recall"] > 0.8
    assert reports[1.0]["safe_recall"] > 0.8
    assert reports[1.0]["bias"] == 0
    assert reports[0.0]["bias"] != 0
    assert reports[1.0]["unsafe_labels"] == reports[1.0]["safe_labels"] == 5


def test_safety_without_labels_is_refused_and_contradictions_are_warned_of(source: Path, tmp_path: Path):
    config = {"safety_weight": 1.0, "max_length": 100, "max_steps": 1}
    with pytest.raises(BadInput, match="says what is safe"):
        do_here(write_job(tmp_path / "a", "reward", judgments(4), model=str(source), config=config))
    rows = [
        row | {"safe": [row["ranks"][place] > 1 for place in range(len(row["ranks"]))]}
        for row in judgments(4)
    ]
    _, events = do_here(write_job(tmp_path / "b", "reward", rows, model=str(source), config=config))
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "prefer an unsafe response to a safe one" in warning


# --- several rankings of the same responses -----------------------------------------------------------------------

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


def merged_and_not(folder: Path, tokenizer) -> tuple[list[Judged], list[Judged]]:
    rankings, encoder = read(folder, PEOPLE), Encoder(tokenizer, 64)
    apart = [replace(encode([one], encoder)[0], index=index) for index, one in enumerate(rankings)]
    return encode(rankings, encoder), apart


def test_rankings_of_the_same_responses_share_a_group(tmp_path: Path, tokenizer):
    merged, apart = merged_and_not(tmp_path, tokenizer)
    assert [len(one.rankings) for one in merged] == [3, 3, 1]
    assert merged[0].places == [[0, 1, 2], [2, 0, 1], [0, 1, 2]]
    assert merged[1].places == [[0, 1], [1, 0], [1, 0]]
    assert sum(one.k for one in merged) == 7
    assert sum(one.k for one in apart) == 17
    assert (sum(one.ties for one in merged), [one.pairs for one in merged]) == (
        2,
        [[3, 2, 3], [1, 1, 0], [1]],
    )


def test_twins_within_a_ranking_keep_their_ranks(tmp_path: Path, tokenizer):
    rows = [
        {"responses": texts, "ranks": [1, 2, 3]}
        for texts in (["yes.", "no.", "yes."], ["no.", "yes.", "yes."])
    ]
    [one] = encode(read(tmp_path, rows), Encoder(tokenizer, 64))
    assert one.places == [[0, 1, 2], [1, 0, 2]]


def test_other_prompts_and_other_token_ids_are_not_the_same(tmp_path: Path, tokenizer):
    row = {"responses": ["yes.", "no."], "ranks": [1, 2]}
    rows = [
        row,
        row | {"prompt": [{"role": "user", "content": "hi"}]},
        row | {"token_ids": [[5, 6], None]},
        row,
    ]
    found = encode(read(tmp_path, rows), Encoder(tokenizer, 64))
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
            loss_share(model(shared([one.group for one in part])), part, whole, config) for part in parts
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
        apart[number]["token_ids"] = [encoder.response(text) for text in apart[number]["responses"]]
        apart[number]["token_ids"][: number % 2] = [None] * (number % 2)
    found = []
    for name, rows in (("together", together), ("apart", apart)):
        config = {"batch_size": 7, "max_steps": 1, "max_length": 64}
        result, events = do_here(write_job(tmp_path / name, "reward", rows, model=str(source), config=config))
        assert (result["rankings"], result["pairs"]) == (6, 11)
        found.append([curve(events, figure)[1] for figure in ("loss", "accuracy", "grad_norm")])
    assert len(encode(read_rankings(tmp_path / "apart" / "data.jsonl"), encoder)) == 7
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


# --- early stopping -----------------------------------------------------------------------------------------------

OVERFITTING = {
    "batch_size": 6, "epochs": 12, "learning_rate": 3e-3, "schedule": "constant", "warmup_min_steps": 0,
    "max_length": 100, "evaluate_every": 2, "patience": 3, "checkpoint_every": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped_early(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, list[dict]]:
    folder = tmp_path_factory.mktemp("early")
    write_job(folder, "reward", judgments(24), model=str(source), config=OVERFITTING)
    return folder, *do_here(folder)


def test_a_run_stops_after_so_many_checks_without_a_lower_loss(stopped_early):
    _, result, events = stopped_early
    losses = curve(events, "held_out_loss")
    assert list(losses) == list(range(2, max(losses) + 1, 2))
    last, best = max(losses), min(losses, key=losses.__getitem__)
    assert last < events[0]["total"]
    assert result["best_step"] == best == last - 6
    assert all(losses[step] >= losses[best] for step in losses)
    assert max(event["step"] for event in events if event["event"] == "progress") == last


def test_the_best_weights_are_the_ones_kept(stopped_early, source: Path, tmp_path: Path):
    """They are those of a run that was never meant to go any further."""
    folder, result, events = stopped_early
    config = OVERFITTING | {"max_steps": result["best_step"], "patience": 0}
    shorter = write_job(tmp_path, "reward", judgments(24), model=str(source), config=config)
    do_here(shorter)
    assert_same_weights(shorter, folder)
    report = json.loads((folder / "output" / "report.json").read_text())
    best = curve(events, "held_out_loss")[result["best_step"]]
    assert report["held_out_loss"] == pytest.approx(best, rel=1e-5)


def assert_same_weights(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "head.safetensors"):
        ours, theirs = (load_file(folder / "output" / name) for folder in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in ours)


def test_misses_are_counted_from_the_best(source: Path, tmp_path: Path):
    """An equal loss is a miss, a lower one ends the count, and no step is counted twice."""
    folder = write_job(tmp_path, "reward", judgments(4), model=str(source))
    model = RewardModel(tiny_llama().base_model)
    loop = Loop(read_job(folder), RewardConfig(), model, examples=4, events=Recorded())
    best = EarlyStopping(loop, patience=2)
    seen = []
    for loop.done, loss in enumerate([3.0, 2.0, 2.5, 1.0, 1.0, 1.0, math.nan], start=1):
        with torch.no_grad():
            model.weight.fill_(loop.done)
        best.note(loss)
        best.note(loss)
        seen.append((best.best_step, best.exhausted))
    assert [step for step, _ in seen] == [1, 2, 2, 4, 4, 4, 4]
    assert [exhausted for _, exhausted in seen] == [False] * 5 + [True] * 2
    best.restore()
    assert model.weight.tolist() == [4.0] * 32


def test_a_run_that_goes_to_its_end_keeps_the_best_weights_too(source: Path, tmp_path: Path):
    """The last weights are looked at as well, though no check is due there."""
    for steps, best in ((3, 3), (7, None)):
        config = OVERFITTING | {"max_steps": steps, "patience": 50, "learning_rate": 1e-3}
        folder = write_job(tmp_path / str(steps), "reward", judgments(24), model=str(source), config=config)
        result, events = do_here(folder)
        losses = curve(events, "held_out_loss")
        assert list(losses) == [*range(2, steps, 2), steps]
        assert result["best_step"] == min(losses, key=losses.__getitem__)
        assert best is None or result["best_step"] == best


@pytest.mark.parametrize("gently", [False, True], ids=["killed", "asked to stop"])
def test_a_run_ended_anywhere_stops_at_the_same_step_with_the_same_weights(
    gently: bool, stopped_early, source: Path, tmp_path: Path
):
    """Between a checkpoint and its check, right after a check, before the last one and after it."""
    whole, result, events = stopped_early
    checks = [n for n, event in enumerate(events) if "held_out_loss" in event.get("values", {})]
    saved = [n for n, event in enumerate(events) if event["event"] == "progress" and event["step"] % 4 == 0]
    for place in (saved[0], saved[0] + 1, checks[1], checks[-1] - 1, checks[-1]):
        folder = write_job(
            tmp_path / str(place), "reward", judgments(24), model=str(source), config=OVERFITTING
        )
        first, _ = do_here(folder, Recorded(place, gently=gently))
        assert first is None
        assert not (folder / "output").exists()
        again, _ = do_here(folder)
        assert again["best_step"] == result["best_step"]
        assert again["report"] == result["report"]
        assert_same_weights(folder, whole)


def test_adapters_are_put_back_before_they_are_merged(source: Path, tmp_path: Path):
    """LoRA: the best weights are the adapters of the best step, and a stopped run ends with the same."""
    more = {"lora_rank": 2, "learning_rate": 1e-2}
    whole = write_job(tmp_path / "a", "reward", judgments(24), model=str(source), config=OVERFITTING | more)
    result, events = do_here(whole)
    losses = curve(events, "held_out_loss")
    best = result["best_step"]
    assert best == min(losses, key=losses.__getitem__) < max(losses) < events[0]["total"]
    assert result["report"]["held_out_loss"] == pytest.approx(losses[best], rel=1e-4)

    stopped = write_job(tmp_path / "b", "reward", judgments(24), model=str(source), config=OVERFITTING | more)
    last = max(n for n, event in enumerate(events) if "held_out_loss" in event.get("values", {}))
    assert do_here(stopped, Recorded(last, gently=True))[0] is None
    assert do_here(stopped)[0]["best_step"] == best
    assert_same_weights(stopped, whole)


def test_patience_needs_checks_and_held_out_judgments(source: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="needs checks") as caught:
        from_dict("reward", {"patience": 2})
    assert caught.value.field == "patience"
    rows = [row | {"split": "train"} for row in judgments(4)]
    config = {"patience": 2, "evaluate_every": 1}
    with pytest.raises(BadInput, match="no held-out judgments") as refused:
        do_here(write_job(tmp_path, "reward", rows, model=str(source), config=config))
    assert refused.value.setting == "patience"


# --- the shift ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"precision": "bfloat16"}], ids=["float32", "bfloat16"])
def test_reference_responses_score_zero_on_average(more: dict, source: Path, tmp_path: Path, tokenizer):
    config = OVERFITTING | {"max_steps": 8, "patience": 1} | more
    folder = write_job(tmp_path, "reward", judgments(24), model=str(source), config=config)
    result, _ = do_here(folder)
    model = load_reward_model(str(folder / "output"), precision=config.get("precision", "float32"))
    rankings = [one for one in read_rankings(folder / "data.jsonl") if not one.held_out]
    passes = Passes(model.trunk, "shared", 8192, 100)
    judged = encode(rankings, Encoder(tokenizer, 100))
    rewards = [reward for found in score(model, judged, passes, lambda: None) for reward in found]
    assert abs(result["report"]["bias"]) > 1e-3
    assert sum(rewards) / len(rewards) == pytest.approx(0, abs=1e-6)


def test_a_reward_model_that_is_trained_on_is_shifted_anew(stopped_early, tmp_path: Path, tokenizer):
    """Its old bias is not counted twice."""
    folder = stopped_early[0]
    config = OVERFITTING | {"max_steps": 1, "patience": 0, "learning_rate": 1e-9}
    again = write_job(tmp_path, "reward", judgments(24), model=str(folder / "output"), config=config)
    result, _ = do_here(again)
    assert result["report"]["bias"] == pytest.approx(stopped_early[1]["report"]["bias"], abs=1e-4)

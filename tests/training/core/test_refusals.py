"""Everything a person can get wrong comes back as a sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.training.core import tastes
from tests.training.core.conftest import judgments, tiny_llama, write_job
from training.configs import GRPOConfig, SFTConfig
from training.core.data import read_conversations, read_prompts, read_rankings, read_texts
from training.core.errors import BadInput
from training.core.job_directory import read_job
from training.core.memory import is_out_of_memory, out_of_memory_message
from training.core.model_loading import build_encoder, load_policy, load_tokenizer, resolve_source
from training.core.reward_model import RewardModel, load_reward_model
from training.core.tokenization import Encoder

USER = [{"role": "user", "content": "hello"}]


@pytest.fixture
def saved(tmp_path: Path, tokenizer) -> Path:
    folder = tmp_path / "model"
    tiny_llama().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def refusal(call, *arguments) -> BadInput:
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    return caught.value


def test_a_whole_model_is_taken(saved: Path, tmp_path: Path):
    assert resolve_source("model", tmp_path) == str(saved)
    assert load_policy(str(saved)).dtype == torch.float32


def test_a_missing_model_is_refused(tmp_path: Path):
    assert (
        str(refusal(resolve_source, "/nowhere/at/all", tmp_path)) == "There is no model at /nowhere/at/all."
    )
    assert "no config.json" in str(refusal(resolve_source, ".", tmp_path))


def test_a_missing_directory_is_not_looked_for_on_a_hub(tmp_path: Path):
    for name in ("org/name", "runs/3/output", "name"):
        assert str(refusal(resolve_source, name, tmp_path)) == f"There is no model at {name}."
    for name in ("hub:org/name", "hub:../name@main", "hub:org/name@"):
        assert "is not of the form hub:org/name@revision" in str(refusal(resolve_source, name, tmp_path))
    assert "The hub did not give hub:org/name@main" in str(
        refusal(resolve_source, "hub:org/name@main", tmp_path)
    )


def test_pickled_weights_are_refused(saved: Path, tmp_path: Path):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    error = refusal(resolve_source, "model", tmp_path)
    assert "only pickled weights" in str(error)
    assert error.setting == "model"


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code_of_its_own_is_refused(file: str, saved: Path, tmp_path: Path):
    values = json.loads((saved / file).read_text())
    (saved / file).write_text(json.dumps(values | {"auto_map": {"AutoModelForCausalLM": "mine.Model"}}))
    assert "has code of its own (auto_map)" in str(refusal(resolve_source, "model", tmp_path, "reference"))


def test_a_model_without_some_of_its_weights_is_refused(saved: Path):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "lacks weights" in str(refusal(load_policy, str(saved)))


def test_policies_and_reward_models_are_distinguished(saved: Path, tmp_path: Path, tokenizer):
    assert "is not a reward model" in str(refusal(load_reward_model, str(saved)))
    RewardModel(tiny_llama().model).save(tokenizer, tmp_path / "reward")
    assert "cannot generate text" in str(refusal(load_policy, str(tmp_path / "reward")))


def test_a_reward_model_loads_as_it_was_saved(tmp_path: Path, tokenizer):
    model = RewardModel(tiny_llama().model, seed=3)
    model.bias += 1.5
    (tmp_path / "reward").mkdir()
    model.save(tokenizer, tmp_path / "reward")
    again = load_reward_model(str(tmp_path / "reward"))
    assert torch.equal(again.weight, model.weight)
    assert again.bias.item() == 1.5
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_a_model_without_a_chat_template_gets_one_and_says_so(saved: Path):
    (saved / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((saved / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (saved / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer, warnings = load_tokenizer(str(saved))
    assert "no chat template" in warnings[0]
    encoder = Encoder(tokenizer, 64)
    ids = encoder.encode_prompt(USER, max_tokens=60, line=1)
    assert ids[0] == tokenizer.bos_token_id
    assert ids[1] != tokenizer.bos_token_id
    assert encoder.encode_response("yes")[-1] == tokenizer.eos_token_id


def test_there_is_one_bos_and_the_end_token_is_the_templates(tokenizer):
    encoder = Encoder(tokenizer, 64)
    assert encoder.encode_prompt(USER, max_tokens=60, line=1).count(tokenizer.bos_token_id) == 1
    assert encoder.encode_response("yes")[-1] == tokenizer.convert_tokens_to_ids("<|end|>")
    whole = tokenizer.apply_chat_template([*USER, {"role": "assistant", "content": "yes"}], tokenize=False)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert [*encoder.encode_prompt(USER, max_tokens=60, line=1), *encoder.encode_response("yes")] == ids


def test_a_long_prompt_loses_its_oldest_turns_for_all_responses_alike(tokenizer):
    encoder = Encoder(tokenizer, 40)
    first = [
        {"role": "user", "content": "the ferry leaves at nine " * 20},
        {"role": "assistant", "content": "no"},
    ]
    answers = ["no.", "the train leaves at ten and costs twelve crowns."]
    group = encoder.encode_group([*first, *USER], answers, line=1)
    assert group == encoder.encode_group(USER, answers, line=1)
    assert group.responses == [encoder.encode_response(answer) for answer in answers]
    assert encoder.truncated == 1


def test_a_last_turn_that_does_not_fit_beside_the_responses_is_refused_not_cut(tokenizer):
    long = [{"role": "user", "content": "the ferry leaves at nine " * 20}]
    error = refusal(lambda: Encoder(tokenizer, 40).encode_group(long, ["no."], line=7))
    assert (error.line, error.setting) == (7, "max_length")
    assert "the last turn of the prompt, with the system message, has" in str(error)


def test_a_response_that_does_not_fit_is_refused_not_cut(tokenizer):
    error = refusal(
        lambda: Encoder(tokenizer, 16).encode_group(USER, ["no.", "the train leaves " * 20], line=7)
    )
    assert (error.line, error.setting) == (7, "max_length")
    assert "exceeds the maximum sequence length, max_length = 16" in str(error)


def test_sampled_ids_are_used_where_they_read_as_the_text(tokenizer):
    encoder = Encoder(tokenizer, 64)
    ids = [token for part in ("t", "h", "e train") for token in tokenizer(part)["input_ids"]]
    assert ids != tokenizer("the train")["input_ids"]
    assert encoder.encode_response("the train", ids) == ids
    assert encoder.encode_response("the ferry", ids) == encoder.encode_response("the ferry")
    assert encoder.encode_response("the train", [10**6]) == encoder.encode_response("the train")


GOOD = {"id": 1, "prompt": USER, "responses": ["a", "b"], "ranks": [1, 2], "degree": None, "split": "train"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ranks": [1]}, "2 responses but 1 ranks"),
        ({"ranks": [0, 1]}, "whole numbers from 1"),
        ({"ranks": None}, "'ranks' is missing"),
        ({"responses": ["a"]}, "at least two"),
        ({"responses": ["a", 3]}, "list of texts"),
        ({"prompt": []}, "at least one message"),
        ({"prompt": [{"role": "robot", "content": ""}]}, "needs a role"),
        ({"prompt": [{"role": "user"}]}, "needs a text"),
        ({"degree": "hugely"}, "'degree' must be"),
        ({"responses": ["a", "b", "c"], "ranks": [1, 2, 3], "degree": "better"}, "between two"),
        ({"split": "test"}, "'split' must be"),
        ({"split": "held_out"}, "both splits"),
        ({"id": 1.5}, "'id' must be"),
    ],
)
def test_a_bad_judgment_names_its_line(change: dict, words: str, tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(GOOD | change) + "\n")
    error = refusal(read_rankings, path)
    assert error.line == 3
    assert str(error).startswith("Line 3 of data.jsonl: ")
    assert words in str(error)


@pytest.mark.parametrize(
    ("read", "line", "words"),
    [
        (read_texts, '{"text": ""}', "'text' must be"),
        (read_texts, '{"text": "a"', "not JSON"),
        (read_texts, "[1]", "one JSON object"),
        (read_prompts, '{"prompt": [{"role": "user", "content": "a"}]}', "'id' must be"),
        (read_conversations, '{"messages": [{"role": "user", "content": "a"}]}', "must be the assistant's"),
        (
            read_conversations,
            '{"messages": [{"role": "assistant", "content": "a"}]}',
            "needs a message before",
        ),
    ],
)
def test_other_bad_lines_are_named_too(read, line: str, words: str, tmp_path: Path):
    (tmp_path / "data.jsonl").write_text(line + "\n")
    error = refusal(read, tmp_path / "data.jsonl")
    assert error.line == 1
    assert words in str(error)


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "data.jsonl").write_text("\n")
    assert str(refusal(read_texts, tmp_path / "data.jsonl")) == "data.jsonl is empty."


def test_a_bad_setting_is_named(tmp_path: Path):
    error = refusal(read_job, write_job(tmp_path, "dpo", judgments(1), model="m", config={"beta": -1.0}))
    assert error.setting == "beta"
    assert "beta" in str(error)


def test_a_job_needs_its_files(tmp_path: Path):
    assert "no job.json" in str(refusal(read_job, tmp_path))
    assert "needs a model" in str(refusal(read_job, write_job(tmp_path, "dpo", [])))
    write_job(tmp_path, "dpo", [], model="m")
    (tmp_path / "data.jsonl").unlink()
    assert "no data.jsonl" in str(refusal(read_job, tmp_path))


def test_running_out_of_memory_is_recognised():
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


REFERENCES = {
    "other tokens": ({"vocab_size": 400}, "reference", "has 400 tokens and the policy 320"),
    "a shorter memory": ({"max_position_embeddings": 60}, "max_length", "reads at most 60 tokens"),
    "position biases": ({"alibi": True}, "layout", "position biases"),
}


@pytest.mark.parametrize("kind", ["dpo", "grpo"])
@pytest.mark.parametrize(("changes", "setting", "words"), REFERENCES.values(), ids=REFERENCES)
def test_a_reference_that_reads_otherwise_is_refused(
    changes: dict, setting: str, words: str, kind: str, models: Path, tmp_path: Path, tokenizer
):
    reference = tmp_path / "reference"
    tiny_llama(vocab=changes.get("vocab_size", 320)).save_pretrained(reference)
    tokenizer.save_pretrained(reference)
    config = json.loads((reference / "config.json").read_text())
    (reference / "config.json").write_text(json.dumps(config | changes))
    rows = judgments(6) if kind == "dpo" else tastes.prompts(6)
    settings = {"max_length": 100} | ({} if kind == "dpo" else {"max_new_tokens": 8, "beta": 0.1})
    values = {"model": str(models / "policy"), "reward_model": str(models / "taste")}
    if kind == "dpo":
        del values["reward_model"]
    job = write_job(tmp_path / kind, kind, rows, config=settings, reference=str(reference), **values)
    with pytest.raises(BadInput, match=words) as caught:
        tastes.here(job)
    assert caught.value.setting == setting


def test_a_reward_model_that_cannot_read_a_whole_response_is_refused(models: Path, tmp_path: Path):
    config = {"max_new_tokens": 150, "max_length": 200}
    (tmp_path / "long").mkdir()
    long = tiny_llama()
    long.config.max_position_embeddings = 256
    long.save_pretrained(tmp_path / "long")
    load_tokenizer(str(models / "policy"))[0].save_pretrained(tmp_path / "long")
    job = tastes.job(tmp_path, "grpo", models, tastes.prompts(6), config, model=str(tmp_path / "long"))
    with pytest.raises(
        BadInput, match="reward model reads at most 128 tokens; lower max_new_tokens"
    ) as caught:
        tastes.here(job)
    assert caught.value.setting == "max_new_tokens"


def test_a_limit_is_named_after_what_it_comes_from(tokenizer):
    model = tiny_llama()
    model.config.max_position_embeddings = 20
    long = ["word " * 30]
    for wanted, setting, words in (
        (20, "max_length", "max_length = 20"),
        (64, "model", "the model's limit of 20 tokens"),
    ):
        encoder = build_encoder(model, tokenizer, wanted)
        error = refusal(lambda: encoder.encode_group(USER, long, line=7))  # noqa: B023
        assert (error.setting, words in str(error)) == (setting, True), str(error)


def test_pretraining_goes_on_from_a_model_only_within_what_it_reads(models: Path, tmp_path: Path):
    texts = [{"text": "the ferry leaves at nine"}] * 20
    job = write_job(tmp_path, "pretrain", texts, model=str(models / "policy"), config={"block_length": 512})
    with pytest.raises(BadInput, match="lower block_length") as caught:
        tastes.here(job)
    assert caught.value.setting == "block_length"


def test_what_to_lower_when_memory_runs_out_while_sampling():
    sentence, setting = out_of_memory_message("grpo", GRPOConfig(), loaded=True)
    assert ("sample_tokens" in sentence, setting) == (True, "batch_tokens")
    many = GRPOConfig(samples=64, max_new_tokens=256, max_length=1024, batch_tokens=4096)
    sentence, setting = out_of_memory_message("grpo", many, loaded=True)
    assert ("lower samples or max_new_tokens" in sentence, setting) == (True, "samples")
    assert "sample_tokens" not in out_of_memory_message("sft", SFTConfig(), loaded=True)[0]

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from tests.training.core.conftest import tiny_gpt2, tiny_llama, write_job
from training.core.__main__ import run
from training.core.batching import rows_layout
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.kv_cache import Cohort, SharedPromptCache
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast, save_policy
from training.core.sampling import (
    BLOCK,
    _invert_cumulative,
    check_shared_cache,
    pick_tokens,
    response_seed,
    sample_responses,
)
from training.core.tokenization import EncodedGroup, Encoder

PROMPTS = [[1, 40, 50, 60, 70, 80], [1, 90], [1, *range(100, 140)]]


def sample(policy, prompts=PROMPTS, *, samples=3, temperature=1.0, seeds=None, ends=(2,), most=24, **more):
    seeds = seeds or [
        response_seed(5, str(prompt), number) for prompt in prompts for number in range(samples)
    ]
    return sample_responses(
        policy,
        prompts,
        seeds,
        samples=samples,
        max_new_tokens=most,
        temperature=temperature,
        end_ids=ends,
        **more,
    )


MODELS = {
    "rotary": tiny_llama,
    "shared heads": lambda: tiny_llama(kv_heads=1),
    "learned positions": tiny_gpt2,
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def softer(request):
    """A policy whose next token is uncertain, so that samples differ and some responses end early."""
    policy = request.param()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.dim() > 1:
                parameter *= 0.6
    return policy


ENDS = tuple(range(200, 240))  # an eighth of the vocabulary ends a response, so that many do


def test_logprobs_equal_a_forward_over_what_was_sampled(softer):
    sampled = sample(softer, ends=ENDS)
    lengths = {len(one.token_ids) for one in sampled}
    assert len(lengths) > 2, "responses of several lengths leave the batch at different times"
    with torch.no_grad():
        for number, one in enumerate(sampled):
            expected = token_logprobs(
                softer, rows_layout([EncodedGroup(PROMPTS[number // 3], [one.token_ids])])
            )
            assert torch.allclose(torch.tensor(one.logprobs), expected, rtol=0, atol=1e-4)


def test_a_response_ends_with_the_end_token_and_keeps_it(softer):
    for one in sample(softer, ends=ENDS):
        ends = [token in ENDS for token in one.token_ids]
        assert not any(ends[:-1])
        assert ends[-1] == one.finished
        assert one.finished or len(one.token_ids) == 24
        assert len(one.logprobs) == len(one.token_ids)


def test_the_same_seeds_give_the_same_tokens_in_any_company(softer):
    together = sample(softer)
    assert [one.token_ids for one in sample(softer)] == [one.token_ids for one in together]
    for index, prompt in enumerate(PROMPTS):
        alone = sample(softer, [prompt])
        assert [one.token_ids for one in alone] == [
            one.token_ids for one in together[3 * index : 3 * index + 3]
        ]


def test_other_seeds_give_other_tokens(softer):
    one, other = sample(softer, seeds=list(range(9))), sample(softer, seeds=list(range(100, 109)))
    assert all(a.token_ids != b.token_ids for a, b in zip(one, other, strict=True))


def test_logprobs_are_of_the_tempered_distribution(softer):
    [one] = sample(softer, [PROMPTS[0]], samples=1, temperature=0.5, most=1)
    logits = softer(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    assert one.logprobs[0] == pytest.approx(
        torch.log_softmax(logits / 0.5, -1)[one.token_ids[0]].item(), abs=1e-4
    )


def test_at_temperature_zero_the_likeliest_token_is_taken(softer):
    [one] = sample(softer, [PROMPTS[0]], samples=1, temperature=0.0, ends=(), most=8)
    ids = list(PROMPTS[0])
    for token in one.token_ids:
        assert softer(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_samples_follow_the_distribution():
    policy = tiny_llama()
    with torch.no_grad():
        policy.lm_head.weight *= 0.3
    sampled = sample(policy, [PROMPTS[0]], samples=4000, most=1, ends=(), seeds=list(range(4000)))
    logits = policy(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    expected = torch.softmax(logits, -1)
    counted = torch.bincount(torch.tensor([one.token_ids[0] for one in sampled]), minlength=320) / 4000
    top = expected.topk(5).indices
    assert torch.allclose(counted[top], expected[top], atol=0.03)


MANY = [[1, *range(30 + number, 33 + 3 * number)] for number in range(9)]


def test_prompts_that_waited_for_room_get_the_responses_they_would_have_had(softer, monkeypatch):
    together = sample(softer, MANY, ends=ENDS)
    cohorts, held = [], []
    decode = SharedPromptCache.decode

    def watched(cache, tokens):
        cohorts.append(len(cache.cohorts))
        held.append(cache.tokens)
        assert len(tokens) == sum(cohort.rows for cohort in cache.cohorts)
        return decode(cache, tokens)

    monkeypatch.setattr(SharedPromptCache, "decode", watched)
    most = 4 * (max(map(len, MANY)) + 3 * 24)
    told: list[int] = []
    waited = sample(softer, MANY, ends=ENDS, batch_tokens=most, on_progress=told.append)
    assert [one.token_ids for one in waited] == [one.token_ids for one in together]
    for one, other in zip(waited, together, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert max(cohorts) > 1, "new prompts joined while others went on"
    assert max(held) <= most
    assert told == sorted(told)
    assert told[-1] == 27


def test_a_prompt_too_large_for_the_memory_allowed_goes_alone(softer):
    alone = sample(softer, batch_tokens=64, ends=ENDS)
    assert [one.token_ids for one in alone] == [one.token_ids for one in sample(softer, ends=ENDS)]


def test_memory_is_released_once_half_of_the_responses_have_ended():
    policy = tiny_llama()
    cohort = Cohort([[1, 5, 6], [1, 7]], 4, 10, policy.device)
    with torch.no_grad():
        cohort.prefill(policy)
    assert cohort.tokens == 2 * 3 + 8 * 10
    order = cohort.retain(torch.tensor([True, False, False, False, False, False, True, False]))
    assert sorted(order.tolist()) == [0, 6]
    assert cohort.tokens == 2 * 3 + 2 * 10
    assert cohort.slots == 1
    cohort.retain(torch.tensor([False, True]))
    assert cohort.tokens == 3 + 10
    assert cohort.lengths.tolist() == [2 if order[1] == 6 else 3]


def test_tokens_are_drawn_by_inverting_the_cumulative_distribution():
    # weights 1, 2, 0, 5 at four entries of the vocabulary: cumulative 1/8, 3/8, 3/8, 1
    logits = torch.full((8, 2 * BLOCK + 7), float("-inf"))
    places = [3, BLOCK, BLOCK + 1, 2 * BLOCK + 5]
    logits[:, places] = torch.tensor([1.0, 2.0, 0.0, 5.0]).log()
    draws = torch.tensor([0.0, 0.124, 0.126, 0.374, 0.376, 0.7, 0.9999, 1 - 2**-53], dtype=torch.float64)
    picked, logprobs = pick_tokens(logits, draws, 1.0)
    assert picked.tolist() == [3, 3, BLOCK, BLOCK, *[2 * BLOCK + 5] * 4]
    expected = torch.tensor([1 / 8, 1 / 8, 2 / 8, 2 / 8, *[5 / 8] * 4]).log()
    assert torch.allclose(logprobs, expected, atol=1e-6)


def test_a_draw_that_rounding_puts_past_the_end_still_finds_a_token():
    weights = torch.tensor([[0.0, 0.3, 0.7, 0.0]], dtype=torch.float64)
    place, rest = _invert_cumulative(weights, torch.tensor([1.5], dtype=torch.float64))
    assert place.item() == 2
    assert 0 <= rest.item() <= 0.7
    place, rest = _invert_cumulative(weights, torch.zeros(1, dtype=torch.float64))
    assert (place.item(), rest.item()) == (1, 0.0)


def test_in_bfloat16_logprobs_stay_near_those_of_a_forward_in_float32():
    policy = tiny_llama(kv_heads=1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter *= 0.6
    with autocast("bfloat16"):
        sampled = sample(policy, ends=ENDS)
    with torch.no_grad():
        for number, one in enumerate(sampled):
            expected = token_logprobs(
                policy, rows_layout([EncodedGroup(PROMPTS[number // 3], [one.token_ids])])
            )
            assert torch.allclose(torch.tensor(one.logprobs), expected, rtol=0, atol=0.25)


def test_a_model_that_attends_in_a_way_of_its_own_is_refused():
    check_shared_cache(tiny_llama(), 64)
    stranger = tiny_llama()
    stranger.config._attn_implementation = "eager"
    with pytest.raises(BadInput, match="with a shared prompt cache"):
        check_shared_cache(stranger, 64)


class StopsAfter(Events):
    """Asks to stop once so many prompts were answered."""

    def __init__(self, prompts: int) -> None:
        super().__init__(io.StringIO())
        self.prompts = prompts

    def progress(self, step: int, total: int) -> None:
        super().progress(step, total)
        self.stop_requested = step >= self.prompts


@pytest.mark.parametrize("prompts", [1, 6])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tokenizer, tmp_path: Path, prompts: int):
    save_policy(tiny_llama(), tokenizer, tmp_path, instruction="")
    rows = [{"id": n, "prompt": [{"role": "user", "content": "ferry " * n}]} for n in range(1, 9)]
    config = {"samples": 2, "max_new_tokens": 12, "max_length": 100, "batch_tokens": 64}
    whole, stopped = (
        read_job(write_job(tmp_path / name, "generate", rows, model=str(tmp_path), config=config))
        for name in ("whole", "stopped")
    )
    run(whole, Events(io.StringIO()))
    with pytest.raises(Stopped):
        run(stopped, StopsAfter(prompts))
    parts = (stopped.checkpoint / "responses").glob("*.jsonl")
    kept = sum(len(part.read_text().splitlines()) for part in parts) // 2
    assert kept in range(1, 8) if prompts > 1 else kept == 0
    said = io.StringIO()
    result = run(stopped, Events(said))
    assert result["responses"] == 16
    assert json.loads(said.getvalue().splitlines()[0])["resumed_from"] == (kept or None)
    one, other = ((job.output / "responses.jsonl").read_bytes() for job in (whole, stopped))
    assert one == other


def divergence_of(reference: Path, policy: Path, folder: Path) -> tuple[float, list[dict]]:
    rows = [{"id": n, "prompt": [{"role": "user", "content": "ferry " * n}]} for n in range(1, 6)]
    config = {"samples": 3, "max_new_tokens": 12, "max_length": 100, "batch_tokens": 200}
    models = {"model": str(policy), "reference": str(reference)}
    job = read_job(write_job(folder, "generate", rows, config=config, **models))
    kl = run(job, Events(io.StringIO()))["kl"]
    return kl, [json.loads(line) for line in (job.output / "responses.jsonl").open()]


def test_responses_report_their_kl_from_a_reference(tokenizer, tmp_path: Path):
    policy, other = tiny_llama(), tiny_gpt2()
    save_policy(policy, tokenizer, tmp_path / "policy", instruction="")
    save_policy(other, tokenizer, tmp_path / "other", instruction="")
    kl, answers = divergence_of(tmp_path / "other", tmp_path / "policy", tmp_path / "far")
    encoder = Encoder(tokenizer, 100)
    apart = []
    with torch.no_grad():
        for answer in answers:
            prompt = encoder.encode_prompt(
                [{"role": "user", "content": "ferry " * answer["id"]}], max_tokens=88, line=1
            )
            alone = rows_layout([EncodedGroup(prompt, [answer["token_ids"]])])
            assert answer["reference_logprob"] == pytest.approx(
                float(token_logprobs(other, alone).sum()), abs=1e-3
            )
            apart.append(float((token_logprobs(policy, alone) - token_logprobs(other, alone)).sum()))
    assert kl == pytest.approx(sum(apart) / len(apart), abs=1e-3)
    assert kl > 1


def test_responses_have_no_kl_from_their_own_policy(tokenizer, tmp_path: Path):
    save_policy(tiny_llama(), tokenizer, tmp_path, instruction="")
    assert divergence_of(tmp_path, tmp_path, tmp_path / "near")[0] == pytest.approx(0, abs=1e-4)

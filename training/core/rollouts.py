"""Rollouts: prompts answered by the policy as it is now, and what every method that learns from its own answers shares.

A rollout's tokens are those sampled, never read again from text. Its log-probs are computed by the same function, in the
same passes, as the training step will: at the first step on a rollout the ratio is then exactly 1, and at the first step
of a run the divergence from the reference exactly 0. The ones recorded while sampling serve as a check on that.

The rollout at hand is kept in the checkpoint, so that a run stopped between two steps on it goes on with it.
Left out: sampling while training (asynchronous rollouts), and sampling again in place of dropped groups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from training.configs import GradientConfig, RolloutConfig
from training.core import kernels
from training.core.attention import peculiarity
from training.core.data import Question
from training.core.early_stopping import EarlyStopping
from training.core.encoding import Encoder, Group
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.generate import Sampled, end_tokens, row_seed, sample_responses
from training.core.jobs import Job
from training.core.loop import Loop, epoch_order
from training.core.models import autocast, device, load_policy, load_tokenizer, locate, longest_row
from training.core.reports import warn_of_truncation
from training.core.rewards import Answered, Between, Rewards
from training.core.scoring import Batch, Passes, check_logits, token_logprobs

NEGATIVE_ROLLOUTS = 5
"""So many rollouts in a row with a divergence clearly below zero are no chance."""
MISMATCH = {"float32": 0.01, "bfloat16": 0.1}
"""Nats a token by which log-probs at sampling and in training may differ on average."""


class Asked(NamedTuple):
    """A prompt with its token ids."""

    question: Question
    ids: list[int]


@dataclass
class Setup:
    """The models and prompts of one run. The reference is None where the run does without."""

    job: Job
    config: RolloutConfig
    events: Events
    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder
    policy: Any
    reference: Any
    passes: Passes
    rewards: Rewards
    training: list[Asked]
    held_out: list[Asked]


def prepare(
    job: Job, config: RolloutConfig, events: Events, questions: Sequence[Question], *, reference: bool
) -> Setup:
    """Load what a run needs. `questions` are those to be answered. Raises BadInput for what cannot work."""
    source = locate(job.model or "", job.folder)
    reference_source = locate(job.reference, job.folder, "reference") if job.reference else source
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    policy: Any = load_policy(source)
    check_logits(policy)
    length = longest_row(policy, config.max_length)
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    if reason := peculiarity(policy, length):
        raise BadInput(
            f"Models of type {policy.config.model_type} cannot be sampled from yet: they use {reason}.",
            setting="model",
        )
    encoder = Encoder(tokenizer, length)
    room = length - config.max_new_tokens
    asked = [Asked(question, encoder.prompt(question.prompt, room=room)) for question in questions]
    warn_of_truncation(encoder, events)
    training = [one for one in asked if not one.question.held_out]
    if not training:
        raise BadInput("No row of data.jsonl is a prompt to train on.")
    return Setup(
        job=job,
        config=config,
        events=events,
        tokenizer=tokenizer,
        encoder=encoder,
        policy=policy,
        reference=load_reference(reference_source, policy) if reference else None,
        passes=Passes(policy.base_model, config.layout, config.batch_tokens, length),
        rewards=Rewards(job, config, encoder, questions),
        training=training,
        held_out=[one for one in asked if one.question.held_out],
    )


def load_reference(source: str, policy: Any) -> Any:
    """The frozen policy that the trained one is kept near to."""
    reference: Any = load_policy(source, "reference")
    if reference.config.vocab_size != policy.config.vocab_size:
        raise BadInput(
            f"The reference has {reference.config.vocab_size} tokens and the policy {policy.config.vocab_size}; they must"
            " be the same.",
            setting="reference",
        )
    return reference.requires_grad_(False)


# --- sampling ---------------------------------------------------------------------------------------------------


def sample(setup: Setup, asked: Sequence[Asked], draw: int | str, loop: Loop) -> list[Sampled]:
    """The policy's `samples` responses to each of the prompts, prompt after prompt, in their order.

    Seeds are functions of the job's seed, `draw`, the prompt's id and the sample's number. Told to stop, it has the loop
    save its last whole step first.
    """
    config = setup.config
    found: dict[int, list[Sampled]] = {}
    for chunk in chunks(asked, config):
        names = [json.dumps([draw, asked[place].question.id]) for place in chunk]
        try:
            with autocast(config.precision):
                sampled = sample_responses(
                    setup.policy,
                    [asked[place].ids for place in chunk],
                    [
                        row_seed(config.seed, name, number)
                        for name in names
                        for number in range(config.samples)
                    ],
                    samples=config.samples,
                    max_new_tokens=config.max_new_tokens,
                    temperature=config.temperature,
                    end_ids=end_tokens(setup.policy, setup.encoder),
                    events=setup.events,
                )
        except Stopped:
            loop.save()
            raise
        for number, place in enumerate(chunk):
            found[place] = sampled[number * config.samples : (number + 1) * config.samples]
    return [response for place in range(len(asked)) for response in found[place]]


def with_answers(
    asked: Sequence[Asked], responses: Sequence[list[int]], finished: Sequence[bool]
) -> list[Answered]:
    """The prompts with their responses, of which each has as many, prompt after prompt."""
    samples = len(responses) // len(asked)
    found = []
    start = 0
    for order, one in enumerate(asked):
        own = slice(order * samples, (order + 1) * samples)
        group = Group(one.ids, list(responses[own]))
        found.append(Answered(one.question, group, list(finished[own]), own.start, start))
        start += found[-1].tokens
    return found


def chunks(asked: Sequence[Asked], config: RolloutConfig) -> list[list[int]]:
    """Places of the prompts, longest first, in lists whose cache holds at most `sample_tokens` tokens."""
    order = sorted(range(len(asked)), key=lambda place: -len(asked[place].ids))
    found: list[list[int]] = []
    width = 0
    for place in order:
        if not found or (len(found[-1]) + 1) * width > config.sample_tokens:
            found.append([])
            width = len(asked[place].ids) + config.samples * config.max_new_tokens
        found[-1].append(place)
    return found


@dataclass
class Rollout:
    """Q prompts of the training set with G sampled responses each; N response tokens in all.

    tensors: on the processor, by name: questions (Q,), places among the training prompts; lengths (K,) and finished
    (K,), K = QG; tokens and recorded (N,), the ids and their log-probs at sampling; and what a method adds, (N,) each.
    kept: (Q,) prompts to learn from, all unless a method leaves some out. figures: what is reported of it.
    """

    number: int
    tensors: dict[str, Tensor]
    answered: list[Answered]
    figures: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, setup: Setup, tensors: dict[str, Tensor]) -> Rollout:
        """The rollout that `tensors` hold."""
        asked = [setup.training[place] for place in tensors["questions"].tolist()]
        responses = [part.tolist() for part in torch.split(tensors["tokens"], tensors["lengths"].tolist())]
        return cls(number, tensors, with_answers(asked, responses, tensors["finished"].tolist()))

    def parts(self, count: int) -> list[list[Answered]]:
        """The prompts to learn from in `count` parts of nearly equal size, some of them empty where there are too few."""
        kept = self.tensors["kept"].tolist()
        chosen = [one for one, keep in zip(self.answered, kept, strict=True) if keep]
        return [
            chosen[len(chosen) * part // count : len(chosen) * (part + 1) // count] for part in range(count)
        ]

    def of_tokens(self, name: str, answered: Sequence[Answered]) -> Tensor:
        """(n,) values of the response tokens of some of the prompts, in their order, on the device."""
        return self.tensors[name][token_places(answered)].to(device())

    def per_response(self, name: str) -> Tensor:
        """(K,) sums over each response of a tensor of tokens."""
        lengths = self.tensors["lengths"]
        return (
            self.tensors[name]
            .new_zeros(len(lengths))
            .index_add_(0, torch.repeat_interleave(lengths), self.tensors[name])
        )


def token_places(answered: Sequence[Answered]) -> Tensor:
    """(n,) places of the response tokens of some prompts among the N of their rollout."""
    return torch.cat([torch.arange(one.start, one.start + one.tokens) for one in answered])


def new_rollout(setup: Setup, number: int, questions: Sequence[int], loop: Loop) -> Rollout:
    """Have the policy answer the training prompts at the places `questions`."""
    sampled = sample(setup, [setup.training[place] for place in questions], number, loop)
    return Rollout.of(
        number,
        setup,
        {
            "questions": torch.tensor(questions),
            "kept": torch.ones(len(questions), dtype=torch.bool),
            "lengths": torch.tensor([len(one.token_ids) for one in sampled]),
            "finished": torch.tensor([one.finished for one in sampled]),
            "tokens": torch.tensor([token for one in sampled for token in one.token_ids]),
            "recorded": torch.tensor([logprob for one in sampled for logprob in one.logprobs]),
        },
    )


def describe(rollout: Rollout, rewards: Tensor) -> dict[str, float]:
    """Figures of the responses: mean reward and its deviation, tokens, the share that ended, and the entropy of the policy
    as the samples show it, in nats a token (the mean of -log pi)."""
    tensors = rollout.tensors
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(correction=0)),
        "length": float(tensors["lengths"].float().mean()),
        "ended": float(tensors["finished"].float().mean()),
        "entropy": -float(tensors["recorded"].mean()),
    }


def divergence(kl: Tensor) -> dict[str, float]:
    """Figures of (K,) KL estimates, in nats a response: their mean, and the root of it, which papers plot rewards over."""
    mean = float(kl.mean())
    return {"kl": mean, "kl_root": max(mean, 0.0) ** 0.5}


@torch.no_grad()
def per_token(
    setup: Setup, rollout: Rollout, parts: int, compute: Callable[[Batch], Tensor], between: Between
) -> Tensor:
    """(N,) what `compute` gives for each pass, in float32, in the same passes as the training steps on `parts` parts."""
    found = torch.zeros(len(rollout.tensors["tokens"]))
    for part in rollout.parts(parts):
        for micro, laid_out in setup.passes(part):
            between()
            with autocast(setup.config.precision):
                values = compute(laid_out)
            found[token_places(micro)] = values.float().cpu()
    return found


def logprobs_of(setup: Setup, model: Any, rollout: Rollout, parts: int, between: Between) -> Tensor:
    """(N,) log-probs of the sampled tokens under the policy or the reference, at the sampling temperature."""
    temperature = setup.config.temperature
    return per_token(
        setup, rollout, parts, lambda laid_out: token_logprobs(model, laid_out, temperature), between
    )


class Watch:
    """Warns, once each, of what a mismatch between sampling and training looks like."""

    def __init__(self, events: Events, precision: str) -> None:
        self.events, self.tolerance = events, MISMATCH[precision]
        self.negative = 0
        self.warned: set[str] = set()

    def logprobs(self, recorded: Tensor, recomputed: Tensor) -> None:
        """Compare (N,) log-probs from sampling with those of the training pass."""
        apart = float((recorded - recomputed).abs().mean())
        if apart > self.tolerance:
            self._warn(
                "mismatch",
                f"Log-probs at sampling and in training differ by {apart:.3g} nats a token on average: the two do not run the"
                " same model.",
            )

    def kl(self, kl: Tensor) -> None:
        """Look at the (K,) divergences of a rollout's responses, whose expectation cannot be negative."""
        error = float(kl.std(correction=0)) / len(kl) ** 0.5
        self.negative = self.negative + 1 if float(kl.mean()) < -2 * error - 1e-6 else 0
        if self.negative >= NEGATIVE_ROLLOUTS:
            self._warn(
                "negative",
                f"The mean KL has been below zero for {self.negative} rollouts in a row, which sampling from the policy"
                " cannot give: sampling and training do not agree.",
            )

    def _warn(self, about: str, message: str) -> None:
        if about not in self.warned:
            self.warned.add(about)
            self.events.warning(message)


# --- learning ---------------------------------------------------------------------------------------------------


def open_loop(setup: Setup, config: GradientConfig, model: nn.Module) -> Loop:
    """The loop of a run that takes `steps_per_rollout` steps on every `batch_size` prompts.

    An epoch is as many whole rollouts as there are prompts for; those left over have their turn in another epoch.
    """
    if config.patience and not setup.held_out:
        raise BadInput(
            "No row of data.jsonl is held out, so there is nothing to have patience with.", setting="patience"
        )
    rollouts = len(setup.training) // min(config.batch_size, len(setup.training))
    steps = rollouts * config.steps_per_rollout
    return begin(setup, config, model, examples=steps * config.batch_size)


def begin(setup: Setup, config: RolloutConfig, model: nn.Module, *, examples: int) -> Loop:
    """The loop of a run whose frozen models multiply matrices as the trained one does: with the same weights, the
    reference then gives the same numbers to the last bit."""
    loop = Loop(setup.job, config, model, examples=examples, events=setup.events)
    for frozen in (setup.reference, *(judge.model for judge in setup.rewards.judges)):
        if frozen is not None:
            kernels.choose(frozen, loop.kernels)
    return loop


def mini_batches(
    setup: Setup, config: GradientConfig, loop: Loop, appraise: Callable[[Rollout], None], parts: int = 1
) -> Iterator[tuple[Rollout, list[Answered]]]:
    """The rollout and those of its prompts that each step learns from; the step is to be taken before the next is asked
    for.

    appraise: gives a new rollout what the steps on it need, in `tensors` and `figures`. What it keeps from one rollout to
    the next belongs in `loop.extra`, to be set last. The held-out prompts are checked on the way and at the end, and end
    the run where patience with them runs out.
    """
    best = EarlyStopping(loop, config.patience)
    if loop.done == loop.total:  # the run was stopped between its last step and its end
        settle(setup, loop, best)
    rollout: Rollout | None = None
    for _ in loop.batches(range(loop.examples)):
        if setup.held_out and loop.due(config.evaluate_every):
            check(setup, loop, best)
            if config.patience and best.exhausted:
                loop.events.warning(
                    f"Stopped at step {loop.done} of {loop.total}: the reward on held-out prompts had not risen for"
                    f" {config.patience} checks."
                )
                loop.total = loop.done
                settle(setup, loop, best)
                continue
        number, step = divmod(loop.done, config.steps_per_rollout)
        if rollout is None or rollout.number != number:
            rollout = _kept_rollout(setup, loop, number)
        if rollout is None:
            rollout = new_rollout(setup, number, prompts_of(number, setup, config), loop)
            appraise(rollout)
            _keep(rollout, loop)
        yield rollout, rollout.parts(parts)[step % parts]
        if loop.done == loop.total:
            settle(setup, loop, best)


def prompts_of(number: int, setup: Setup, config: GradientConfig) -> list[int]:
    """The training prompts of a rollout, a function of seed and number alone."""
    count = len(setup.training)
    size = min(config.batch_size, count)
    epoch, index = divmod(number, count // size)
    return epoch_order(count, config.seed, epoch)[index * size : (index + 1) * size]


def _keep(rollout: Rollout, loop: Loop) -> None:
    """Put the rollout where the next checkpoint finds it, in place of the one before."""
    for name in [name for name in loop.extra if name.startswith(("rollout.", "figure."))]:
        del loop.extra[name]
    loop.extra["rollout.number"] = torch.tensor(rollout.number)
    loop.extra |= {f"rollout.{name}": value for name, value in rollout.tensors.items()}
    for name, value in rollout.figures.items():
        loop.extra[f"figure.{name}"] = torch.tensor(value, dtype=torch.float64)


def _kept_rollout(setup: Setup, loop: Loop, number: int) -> Rollout | None:
    """The rollout of this number from the checkpoint, where it was made before the run stopped."""
    extra = loop.extra
    if "rollout.number" not in extra or int(extra["rollout.number"]) != number:
        return None
    tensors = {
        name.removeprefix("rollout."): value
        for name, value in extra.items()
        if name.startswith("rollout.") and name != "rollout.number"
    }
    rollout = Rollout.of(number, setup, tensors)
    rollout.figures = {
        name.removeprefix("figure."): float(value)
        for name, value in extra.items()
        if name.startswith("figure.")
    }
    return rollout


# --- held-out prompts -------------------------------------------------------------------------------------------


def held_out_reward(setup: Setup, loop: Loop) -> float:
    """The mean reward of the policy's responses to held-out prompts, the same draws at every check."""
    sampled = sample(setup, setup.held_out, "held out", loop)
    answered = with_answers(
        setup.held_out, [one.token_ids for one in sampled], [one.finished for one in sampled]
    )
    return float(setup.rewards(answered, loop.leave_if_asked).mean())


def check(setup: Setup, loop: Loop, best: EarlyStopping) -> None:
    """Report the reward on held-out prompts; with patience, keep the weights where they are the best so far."""
    if best.patience and best.noted:
        return
    reward = held_out_reward(setup, loop)
    loop.metrics["held_out_reward"] = reward
    loop.events.metrics(loop.done, {"held_out_reward": reward})
    if best.patience:
        best.note(-reward)


def settle(setup: Setup, loop: Loop, best: EarlyStopping) -> None:
    """The last check on held-out prompts; with patience, the best weights are put back."""
    if not setup.held_out:
        return
    check(setup, loop, best)
    if best.patience:
        best.restore()
        loop.metrics["held_out_reward"] = -best.loss
        loop.events.metrics(loop.done, {"held_out_reward": -best.loss})

"""Settings that all kinds have which learn from the policy's own responses, and those of them that follow a gradient."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import (
    TrainingConfig,
    evaluate_every_setting,
    layout_setting,
    max_kl_setting,
    patience_setting,
)
from training.configs.fields import ConfigError, setting
from training.configs.fields import gettext_noop as _
from training.configs.generation import check_url

FUNCTION_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
"""`module:function`."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(TrainingConfig):
    """Settings of the kinds of run that learn from the policy's own responses and their rewards."""

    distributable: ClassVar[bool] = True
    layout: str = layout_setting()
    learning_rate: float = setting(
        2e-5,
        _("Learning rate"),
        _("Peak learning rate; Llama 2 and DeepSeekMath used 1e-6 at 7B and more."),
        min=1e-9,
        max=1.0,
    )
    schedule: str = setting(
        "constant",
        _("Learning rate schedule"),
        _("How the learning rate falls after warmup; Llama 2 and DeepSeekMath kept it constant."),
        choices=("cosine", "linear", "constant"),
    )
    log_every: int = setting(
        1,
        _("Log every (steps)"),
        _("Steps between two reports of metrics."),
        min=1,
        max=1_000_000,
    )
    batch_size: int = setting(
        16,
        _("Prompts per rollout"),
        _(
            "Prompts whose responses the policy learns from before it samples again; all if there are fewer. Llama 2 used 512."
        ),
        min=1,
        max=65_536,
    )
    samples: int = setting(
        4,
        _("Responses per prompt"),
        _("Samples per prompt, which goes through the model once for all of them."),
        min=1,
        max=1024,
    )
    max_new_tokens: int = setting(
        256,
        _("Max new tokens"),
        _("Maximum tokens of a response; longer ones are cut."),
        min=1,
        max=65_536,
    )
    temperature: float = setting(
        1.0,
        _("Temperature"),
        _("Logits are divided by it in sampling and in training, for the policy and the reference."),
        min=0.01,
        max=10.0,
    )
    sample_tokens: int = setting(
        131_072,
        _("Tokens in memory while sampling"),
        _("Maximum tokens of prompts and responses in memory while sampling."),
        min=64,
        max=16_777_216,
    )
    sampler: str = setting(
        "in-process",
        _("Sampler"),
        _(
            "What samples the responses that are learned from. in-process: the training program itself; vllm-lora: a vLLM server"
            " that gets the run's LoRA adapter before each rollout; sglang-disk: an SGLang server that gets the whole weights."
        ),
        choices=("in-process", "vllm-lora", "sglang-disk"),
    )
    sampler_server: str = setting(
        "",
        _("Sampler server"),
        _(
            "Base URL of the server that samples, one of the administrator's SAMPLER_SERVERS: of vLLM such as"
            " http://localhost:8000/v1, of SGLang such as http://localhost:30000. Empty: in-process."
        ),
    )
    sampler_wait_minutes: float = setting(
        10.0,
        _("Wait for the sampler (minutes)"),
        _(
            "Minutes that a server which does not answer is waited for before the run fails, with a checkpoint."
        ),
        min=0.0,
        max=10_080.0,
    )
    reward: str = setting(
        "score",
        _("Reward"),
        _(
            "score: the reward model's score; binary: 1 if it prefers the response to the prompt's stored baseline, else 0;"
            " probability: the probability of that preference, the sigmoid of the difference."
        ),
        choices=("score", "binary", "probability"),
    )
    reward_function: str = setting(
        "",
        _("Reward function"),
        _(
            "A Python function that scores the responses in place of a reward model, as module:function; one of those in the"
            " administrator's REWARD_FUNCTIONS. Empty: none."
        ),
    )
    judge_mode: str = setting(
        "score",
        _("Judge's score"),
        _(
            "With a judge in place of a reward model. score: the mean of the judge's probabilities of 1 to 10, scaled to -1 to 1;"
            " comment: from the log-probs of a principle's words after the response, as a reader's comment, for small models that"
            " know no instructions."
        ),
        choices=("score", "comment"),
    )
    missing_end_penalty: float = setting(
        1.0,
        _("Missing-end penalty"),
        _("Subtracted from the reward of a response that was cut at the maximum number of tokens."),
        min=0.0,
        max=1e6,
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                _("must be below the maximum sequence length, %(limit)s, to leave room for the prompt."),
                limit=self.max_length,
            )
        self._check_sampler()
        if self.reward_function and not FUNCTION_NAME.fullmatch(self.reward_function):
            raise ConfigError(
                "reward_function",
                _("must be module:function, not %(value)s."),
                value=repr(self.reward_function[:60]),
            )

    def _check_sampler(self) -> None:
        if self.sampler == "in-process":
            if self.sampler_server:
                raise ConfigError(
                    "sampler_server", _("needs the sampler vllm-lora or sglang-disk; it is in-process.")
                )
            return
        if not self.sampler_server:
            raise ConfigError(
                "sampler_server", _("is required by the sampler %(sampler)s."), sampler=self.sampler
            )
        check_url("sampler_server", self.sampler_server)
        if self.sampler == "vllm-lora" and not self.lora_rank:
            raise ConfigError(
                "lora_rank",
                _("must be above 0 for the sampler vllm-lora, which sends adapters to the server."),
            )
        if self.sampler == "sglang-disk" and self.lora_rank:
            raise ConfigError(
                "lora_rank",
                _("must be 0 for the sampler sglang-disk, which sends whole weights to the server."),
            )


@dataclass(frozen=True, kw_only=True)
class GradientConfig(RolloutConfig):
    """Settings of the kinds of run that follow the gradient of the expected reward."""

    evaluate_every: float = evaluate_every_setting(
        _(
            "Steps between two evaluations on held-out prompts, the first before any step, or below 1 a share of the run; 0: only"
            " at the end."
        )
    )
    patience: int = patience_setting(
        _(
            "Stop after this many evaluations without a higher held-out reward, by the second reward model if there is one, and"
            " restore the best weights; 0: train to the end and use the last weights."
        )
    )
    max_kl: float = max_kl_setting()

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps on each rollout."""
        return 1

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.patience and not self.evaluate_every:
            raise ConfigError("patience", _("needs evaluations during training; set evaluate_every."))


@dataclass(frozen=True, kw_only=True)
class RepeatedConfig(GradientConfig):
    """Settings of the methods that can take several steps on the same samples."""

    updates: int = setting(
        1,
        _("Mini-batches per rollout"),
        _("Mini-batches that the prompts of a rollout are split into, with one step each. Llama 2 used 8."),
        min=1,
        max=4096,
    )
    reuse: int = setting(
        1, _("Epochs per rollout"), _("Passes over the samples of a rollout; Llama 2 used 1."), min=1, max=100
    )

    @property
    def steps_per_rollout(self) -> int:
        return self.updates * self.reuse

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.updates > self.batch_size:
            raise ConfigError(
                "updates", _("must not exceed the prompts per rollout, %(limit)s."), limit=self.batch_size
            )

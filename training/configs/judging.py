"""Settings of the kinds of run that follow principles: a judge's opinions, and revisions of responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import Config, layout_setting
from training.configs.fields import ConfigError, setting
from training.configs.fields import gettext_noop as _
from training.configs.generation import (
    check_server,
    concurrency_setting,
    retries_setting,
    server_model_setting,
    server_setting,
    timeout_setting,
)

JUDGE_NEEDS = {"choice": ("compare",), "score": ("compare",), "comment": ("comment",)}
REVISE_NEEDS = {"write": ("critique", "revise"), "select": ("comment",)}
"""What a principle needs in each mode."""

ALSO_WEIGHT = 0.5
"""The weight of a comment's further word."""


@dataclass(frozen=True, kw_only=True)
class JudgingConfig(Config):
    """Settings of the kinds of run that follow principles, by a model or a server."""

    layout: str = layout_setting()
    also_weight: float = setting(
        ALSO_WEIGHT,
        _("Weight of the further word"),
        _(
            "In a comment, weight of the log-odds of the principle's further word, such as complete, beside those of its good"
            " and bad words; 0 leaves it out."
        ),
        min=0.0,
        max=100.0,
    )
    max_tokens_total: int = setting(
        0,
        _("Max tokens"),
        _(
            "End with what is done once so many tokens were read and written; 0: no limit. Requests that a server is answering"
            " then still count."
        ),
        min=0,
        max=10**15,
    )
    max_cost: float = setting(
        0.0,
        _("Max cost"),
        _("End with what is done once the tokens cost this much, by the two prices; 0: no limit."),
        min=0.0,
        max=1e9,
    )
    price_in: float = setting(
        0.0,
        _("Price of tokens read"),
        _("Per million tokens, in the currency of the maximum cost."),
        min=0.0,
        max=1e6,
    )
    price_out: float = setting(
        0.0,
        _("Price of tokens written"),
        _("Per million tokens, in the currency of the maximum cost."),
        min=0.0,
        max=1e6,
    )
    server: str = server_setting(
        _(
            "Base URL of an OpenAI-compatible server, such as vLLM, whose model is used instead of one of this site, for example"
            " http://localhost:8000/v1. Its API key is PALATE_API_KEY in the worker's environment, sent only to the base URL in"
            " PALATE_API_SERVER. Empty: the model of the run."
        )
    )
    server_model: str = server_model_setting()
    concurrency: int = concurrency_setting()
    retries: int = retries_setting()
    timeout_s: float = timeout_setting()

    def _check_relations(self) -> None:
        check_server(self.server, self.server_model)
        if self.max_cost and not self.price_in and not self.price_out:
            raise ConfigError("max_cost", _("needs a price of tokens read or written."))


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(JudgingConfig):
    """Opinions of a model on pairs of responses, by principles (Bai et al. 2022; Lee et al. 2023)."""

    kind: ClassVar[str] = "judge"
    title: ClassVar[str] = "AI judge"

    mode: str = setting(
        "choice",
        _("Mode"),
        _(
            "choice: the judge reads two responses, and the log-probs of the letters A and B are its opinion; score: it rates"
            " each response from 1 to 10; comment: the log-probs of a principle's words after each response, for small models"
            " that follow no orders."
        ),
        choices=("choice", "score", "comment"),
    )
    both_orders: bool = setting(
        True,
        _("Both orders"),
        _(
            "In choices, every pair is read twice, each response first once, and the two probabilities are averaged; otherwise"
            " once, in an order drawn with the seed."
        ),
    )
    scale: float = setting(
        1.0,
        _("Scale of scores"),
        _(
            "The probability that a response is preferred is the sigmoid of this times the difference of the two scores, in the"
            " modes score and comment."
        ),
        min=1e-3,
        max=1e3,
    )
    samples: int = setting(
        5,
        _("Votes"),
        _("Answers that are requested and counted where a server gives no log-probs."),
        min=1,
        max=64,
    )
    rationales: bool = setting(
        False,
        _("Rationales"),
        _(
            "In choices, the judge first writes its reasons. It is then overconfident: probabilities are clamped to 0.4 to 0.6,"
            " as in the paper on constitutional AI."
        ),
    )
    rationale_tokens: int = setting(
        256, _("Max tokens of a rationale"), _("Longer rationales are cut."), min=1, max=65_536
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.server and self.mode == "comment":
            raise ConfigError(
                "mode", _("must be choice or score with a server: a comment needs log-probs of all words.")
            )
        if self.rationales and self.mode != "choice":
            raise ConfigError("rationales", _("needs the mode choice."))
        if not self.server and self.rationales and self.rationale_tokens >= self.max_length:
            raise ConfigError(
                "rationale_tokens",
                _("must be below the maximum sequence length, %(limit)s, to leave room for the prompt."),
                limit=self.max_length,
            )


@dataclass(frozen=True, kw_only=True)
class ReviseConfig(JudgingConfig):
    """Revisions of the policy's own responses by principles, to fine-tune on (Bai et al. 2022, section 3)."""

    kind: ClassVar[str] = "revise"
    title: ClassVar[str] = "Revision"

    mode: str = setting(
        "write",
        _("Mode"),
        _(
            "write: the model criticises its response by a principle and writes a better one, for models that can follow such"
            " requests; select: of several sampled responses the one with the best comment replaces the first, for small"
            " models."
        ),
        choices=("write", "select"),
    )
    revisions: int = setting(
        1,
        _("Revisions"),
        _(
            "Critiques and revisions of a response, one after the other, each by a principle drawn with the seed; the paper used"
            " 4."
        ),
        min=1,
        max=16,
    )
    samples: int = setting(
        8,
        _("Responses per prompt"),
        _("Responses among which select chooses; the first one is what it is compared with."),
        min=2,
        max=1024,
    )
    min_gain: float = setting(
        0.5,
        _("Min gain"),
        _(
            "Select leaves a prompt out unless the score of the best response exceeds that of the first by this, in nats."
        ),
        min=0.0,
        max=1e3,
    )
    max_new_tokens: int = setting(
        256,
        _("Max new tokens"),
        _("Maximum tokens of a response or critique; what is cut is not used."),
        min=1,
        max=65_536,
    )
    temperature: float = setting(1.0, _("Temperature"), _("Of the sampling."), min=0.01, max=10.0)
    sample_tokens: int = setting(
        131_072,
        _("Tokens in memory while sampling"),
        _("Maximum tokens of prompts and responses in memory while sampling."),
        min=64,
        max=16_777_216,
    )

    def _check_relations(self) -> None:
        super()._check_relations()
        if self.server and self.mode == "select":
            raise ConfigError(
                "mode", _("must be write with a server: a comment needs log-probs of all words.")
            )
        if not self.server and self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                _("must be below the maximum sequence length, %(limit)s, to leave room for the prompt."),
                limit=self.max_length,
            )

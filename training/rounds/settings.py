"""The settings of a round: where it starts, what annotators get, and the thresholds of its gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.configs.fields import ConfigError, Value, checked, setting
from training.configs.fields import gettext_noop as _
from training.rounds.recipes import RECIPES, Demonstrations, asks_judge

if TYPE_CHECKING:
    from training.models import Round

MAX_JUDGMENTS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """What a lead sets for a round. A loop stores what differs from the recipe's defaults, a round stores all of it."""

    judgments: int = setting(
        200,
        _("Judgments to wait for"),
        _("New judgments since the last snapshot. The round also continues when the queue is empty."),
        min=1,
        max=MAX_JUDGMENTS,
    )
    budget: int = setting(
        300,
        _("Annotation budget"),
        _("Judgments that the round requests at the end, for answers of the current policy."),
        min=0,
        max=MAX_JUDGMENTS,
    )
    held_out_share: float = setting(
        0.2,
        _("Held-out share"),
        _("Share of the items with held-out prompts: their judgments evaluate the models and train none."),
        min=0.0,
        max=1.0,
    )
    strategy: str = setting(
        "uncertain",
        _("Sampling strategy"),
        _(
            "Which prompts are sent to annotators: those whose answers the reward model can hardly tell apart; those on which it"
            " and the second reward model disagree; in the recipe with people and AI, those of which the AI judge is not sure;"
            " or any."
        ),
        choices=("uncertain", "disagreement", "cascade", "uniform"),
    )
    control_share: float = setting(
        0.25,
        _("Random sample"),
        _("Share of the items picked at random, ignoring the strategy, for unbiased statistics."),
        min=0.0,
        max=1.0,
    )
    comparisons: float = setting(
        0.2,
        _("Pairwise comparisons"),
        _(
            "Share of the items with two answers to compare, with a degree of preference, instead of a ranking."
        ),
        min=0.0,
        max=1.0,
    )
    repeat_share: float = setting(
        0.1,
        _("Repeated items"),
        _(
            "Share of the items that get one annotator more than usual: the agreement between annotators is what a reward model"
            " is compared with."
        ),
        min=0.0,
        max=1.0,
    )
    temperatures: str = setting(
        "1.0",
        _("Temperatures"),
        _(
            "Sampling temperatures of the new answers, separated by commas: each prompt gets answers at all of them."
        ),
    )
    previous_share: float = setting(
        0.0,
        _("Previous policy"),
        _("Share of the prompts that also get answers of the previous policy, as in Llama 2."),
        min=0.0,
        max=1.0,
    )
    safety_share: float = setting(
        0.3,
        _("Safety share"),
        _("Share of the budget for the safety project, where the loop has one."),
        min=0.0,
        max=0.9,
    )
    safety_tag: str = setting(
        "safety",
        _("Safety tag"),
        _(
            "Prompts with this tag are compared apart, so that the policy does not become less safe; the safety reward model's"
            " score always counts for them."
        ),
    )
    start: str = setting(
        "last",
        _("Starting policy"),
        _(
            "The policy of the last round, as in Llama 2; the loop's first policy, trained on all judgments so far (Bai et al."
            " 2022); or its base model, as in Llama 3, with a recipe that has demonstrations."
        ),
        choices=("last", "first", "base"),
    )
    reference: str = setting(
        "start",
        _("KL reference"),
        _("The policy from which the KL divergence of the new one is measured and penalised."),
        choices=("start", "first"),
    )
    learn_from: str = setting(
        "all",
        _("DPO and KTO training data"),
        _(
            "All judgments, as for the reward models; or those since the policy that is being improved was made, on answers"
            " of that policy, with all earlier ones on prompts with the safety tag, so that harm does not come back."
        ),
        choices=("all", "new"),
    )
    judge: str = setting(
        "",
        _("AI judge"),
        _(
            "In recipes with AI feedback: the policy of this project that judges, by name. Empty: the base model of the loop's"
            " first policy, or the server's model if the settings of judge runs name a server."
        ),
    )
    ai_prompts: int = setting(
        0,
        _("Prompts for the judge"),
        _(
            "In recipes with AI feedback: how many training prompts get answers that only the judge compares, beside those that"
            " annotators judge."
        ),
        min=0,
        max=MAX_JUDGMENTS,
    )
    imported: bool = setting(
        False,
        _("Imported judgments"),
        _(
            "Train on the imported judgments, too. Models are measured by what this project's annotators prefer."
        ),
    )
    learn_prompts: int = setting(
        500,
        _("Training prompts"),
        _("For methods that train on the policy's own answers."),
        min=1,
        max=10_000_000,
    )
    reward_start: str = setting(
        "first",
        _("Starting model of reward models"),
        _(
            "The loop's first policy, or its base model, which has not yet learned to write in one way only. Where they come from"
            " elsewhere and the base is unknown, it is the first policy in either case."
        ),
        choices=("first", "base"),
    )
    second_opinion: bool = setting(
        True,
        _("Second reward model"),
        _(
            "Train another reward model on the held-out judgments, which the first never sees. A policy that only the first one"
            " prefers has probably overfitted to it."
        ),
    )
    evaluations: int = setting(
        4,
        _("Evaluations while training"),
        _(
            "How often the policy answers held-out prompts while it is trained, beside before the first step. The weights"
            " that are kept are those whose answers the second reward model prefers (or the first, where the second knows"
            " no more than chance), within the KL gate; after two evaluations without better ones the run ends. ReST has"
            " one after each of its steps. 0: the last weights are kept."
        ),
        min=0,
        max=1000,
    )
    evaluation_prompts: int = setting(
        100,
        _("Evaluation prompts"),
        _("Held-out prompts on which the new and the old policy are compared, with two answers each."),
        min=2,
        max=100_000,
    )
    people_compare: int = setting(
        0,
        _("Human comparisons"),
        _(
            "Pairs of a new and an old answer that annotators compare, without being told which is which; the round waits for"
            " them. 0: none."
        ),
        min=0,
        max=100_000,
    )
    promote_alone: bool = setting(
        False,
        _("Promote automatically"),
        _("Promote the new policy without a lead's decision if every gate was passed."),
    )
    # --- thresholds of the gates (`training.rounds.gates`) ---
    min_judgments: int = setting(
        50, _("Gate: judgments"), _("Minimum number of training judgments."), min=1, max=MAX_JUDGMENTS
    )
    min_accuracy: float = setting(
        0.55,
        _("Gate: accuracy"),
        _("Minimum accuracy of the reward model on new judgments."),
        min=0.0,
        max=1.0,
    )
    of_people: float = setting(
        0.65,
        _("Gate: human agreement"),
        _(
            "Where several annotators judged the same answers: the reward model's agreement with them beyond chance, as a share"
            " of theirs with each other, at the low end of its interval; 0: off."
        ),
        min=0.0,
        max=2.0,
    )
    min_ai_agreement: float = setting(
        0.85,
        _("Gate: AI agreement"),
        _(
            "Minimum agreement of the AI judge with people, as a share of people's agreement with each other: the low end of the"
            " interval."
        ),
        min=0.0,
        max=2.0,
    )
    may_lose: float = setting(
        0.03,
        _("Gate: accuracy loss"),
        _(
            "Maximum loss of accuracy against the old reward model, on the same new judgments. The round is held where the whole"
            " interval shows a larger one."
        ),
        min=0.0,
        max=1.0,
    )
    max_calibration: float = setting(
        0.15,
        _("Gate: calibration"),
        _("Maximum calibration error, or what chance explains on so few pairs, if that is more."),
        min=0.0,
        max=1.0,
    )
    min_unsafe_recall: float = setting(
        0.6,
        _("Gate: unsafe recall"),
        _("Minimum share of the unsafe answers that are detected, where there are labels."),
        min=0.0,
        max=1.0,
    )
    max_kl: float = setting(
        60.0,
        _("Gate: KL"),
        _("Maximum KL from the reference policy, in nats per response."),
        min=0.0,
        max=1e6,
    )
    max_length_drift: float = setting(
        1.5,
        _("Gate: length"),
        _("Maximum factor by which the answers become longer or shorter."),
        min=1.0,
        max=100.0,
    )

    def to_dict(self) -> dict[str, Value]:
        return dataclasses.asdict(self)

    @property
    def sampling_temperatures(self) -> list[float]:
        return [float(part) for part in self.temperatures.split(",")]


MAIN_SETTINGS = ("judgments", "budget", "start", "strategy")
"""Those that a form shows first."""
GATE_SETTINGS = tuple(
    item.name for item in dataclasses.fields(RoundSettings) if item.metadata["label"].startswith("Gate: ")
)
"""The thresholds of the gates."""


def settings_of(round: Round) -> RoundSettings:
    """The settings that were frozen when a round started."""
    return RoundSettings(**round.options)


def changed_settings(options: Mapping[str, Value], recipe: str = "") -> dict[str, Value]:
    """The recipe's defaults of the settings that have another value in `options`, by name."""
    defaults = settings_from({}, recipe).to_dict()
    return {name: defaults[name] for name, value in options.items() if value != defaults.get(name, value)}


def settings_from(values: Mapping[str, Any], recipe: str = "") -> RoundSettings:
    """The checked settings, with the recipe's defaults for those left out.

    Raises:
        ConfigError: a setting is unknown, out of its bounds, or does not go with the recipe.
    """
    if recipe and recipe not in RECIPES:
        text = _("there is no recipe called %(name)s; there are %(names)s.")
        raise ConfigError("recipe", text, name=repr(recipe), names=", ".join(RECIPES))
    fields = {item.name: item for item in dataclasses.fields(RoundSettings)}
    resolved: dict[str, Any] = dict(RECIPES[recipe].options) if recipe else {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(str(name), _("a round has no such setting."))
        resolved[name] = checked(fields[name], value)
    settings = RoundSettings(**resolved)
    try:
        temperatures = settings.sampling_temperatures
    except ValueError:
        temperatures = []
    if not 1 <= len(temperatures) <= 9 or not all(0 < temperature <= 10 for temperature in temperatures):
        raise ConfigError("temperatures", _("must be one to nine numbers from 0 to 10, separated by commas."))
    if settings.start == "base" and recipe and not RECIPES[recipe].stages_of(Demonstrations):
        raise ConfigError("start", _("the base model needs a recipe that trains on demonstrations."))
    if settings.ai_prompts and recipe and not asks_judge(recipe):
        raise ConfigError("ai_prompts", _("is for recipes with an AI judge."))
    if settings.strategy == "cascade" and recipe and not RECIPES[recipe].shares_with_ai:
        raise ConfigError("strategy", _("a cascade needs a recipe that learns from people and an AI judge."))
    return settings

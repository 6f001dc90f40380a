"""A Python function as the reward of sampled responses: rules and programs that can tell whether a response is right.

The function is one of those in the environment's REWARD_FUNCTIONS, `module:function`; nothing else is imported. It is called with
all responses of a rollout at once:

    def reward(prompts: list[list[message]], responses: list[str], metadata: list[dict]) -> list[float]

one entry for each response: the messages of its prompt, its text without special tokens, and the metadata of its prompt.
Left out: a limit on its time, and a process of its own; it runs in the trainer, with the trainer's rights.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from training.configs import split_names
from training.core.data import RolloutPrompt
from training.core.errors import BadInput
from training.core.events import Events
from training.core.messages import Message
from training.core.rollout_groups import CheckStop, RolloutGroup
from training.core.tokenization import Encoder

Function = Callable[[list[list[Message]], list[str], list[dict[str, Any]]], list[float]]


class LoadedFunction(NamedTuple):
    """A function with its identity. name: `module:function`. sha256: of its source file."""

    name: str
    call: Function
    sha256: str

    def identity(self) -> dict[str, str]:
        return {"name": self.name, "sha256": self.sha256}


class PromptResponses(NamedTuple):
    """Responses to a prompt, as a function reads them."""

    source: RolloutPrompt
    texts: list[str]


@cache
def load_function(name: str) -> LoadedFunction:
    """The function `module:function`. Raises BadInput unless it is allowed, exists and has a source file."""
    allowed = split_names(os.environ.get("REWARD_FUNCTIONS", ""))
    if name not in allowed:
        listed = f": {', '.join(allowed)}" if allowed else ", of which there are none"
        _refuse(name, f"is none of the functions in REWARD_FUNCTIONS{listed}")
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises ends the run with a sentence
        traceback.print_exc()
        _refuse(name, f"cannot be imported: {_describe(error)}", error)
    function = getattr(module, attribute, None)
    if not callable(function):
        _refuse(name, f"does not exist: {module_name} has no function {attribute}")
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # a callable object
        path = module.__file__
    if path is None:
        _refuse(name, "has no source file, whose SHA-256 the model's card would name")
    return LoadedFunction(name, function, hashlib.sha256(Path(path).read_bytes()).hexdigest())


class FunctionScorer:
    """A Python function as a scorer of responses. shares_tokens: it never reads the policy's token ids."""

    shares_tokens = False

    def __init__(self, name: str, policy: Encoder) -> None:
        self.function, self.policy = load_function(name), policy

    def encode(self, group: RolloutGroup) -> PromptResponses:
        texts = [self.policy.decode(response) for response in group.encoded.responses]
        return PromptResponses(group.source, texts)

    def encode_baseline(self, prompt: RolloutPrompt) -> PromptResponses:
        return PromptResponses(prompt, [prompt.baseline or ""])

    def warn_of_truncation(self, prompts: Sequence[RolloutPrompt], events: Events) -> None:
        """Nothing: a function reads prompts whole."""

    def __call__(self, groups: Sequence[PromptResponses], check_stop: CheckStop) -> Tensor:
        """(K,) rewards of all responses in order, in float32 on the CPU. Raises BadInput if the function fails, or returns
        anything but one finite number for each response."""
        check_stop()
        name = self.function.name
        prompts = [group.source.prompt for group in groups for _ in group.texts]
        texts = [text for group in groups for text in group.texts]
        metadata = [group.source.metadata for group in groups for _ in group.texts]
        try:
            rewards = [float(reward) for reward in self.function.call(prompts, texts, metadata)]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises ends the run with a sentence
            traceback.print_exc()
            _refuse(name, f"failed: {_describe(error)}. The run's log has the traceback", error)
        if len(rewards) != len(texts):
            _refuse(name, f"returned {len(rewards)} rewards for {len(texts)} responses")
        if (
            place := next((place for place, reward in enumerate(rewards) if not math.isfinite(reward)), None)
        ) is not None:
            _refuse(
                name,
                f"returned {rewards[place]} for the response {texts[place][:80]!r}; a reward must be finite",
            )
        return torch.tensor(rewards)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(".")


def _refuse(name: str, reason: str, error: BaseException | None = None) -> NoReturn:
    raise BadInput(f"The reward function {name} {reason}.", setting="reward_function") from error

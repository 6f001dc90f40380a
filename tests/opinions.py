"""Opinion sets for tests, stored as a judge run stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from annotation.actions.opinions import JudgedGroup, store_opinions
from annotation.models import Author, OpinionSet, Project, Response, User

Judge = Callable[[Response, Response], float | Mapping[str, Any]]


def opinion_set(
    project: Project, creator: User, judge: Judge, *, author: Author | None = None, name: str = "judge-1"
) -> OpinionSet:
    """The opinions of a judge on every pair of responses of every prompt. It returns the probability that the first is better,
    or the fields of an opinion."""
    return store_opinions(
        project=project,
        judge=name,
        mode="choice",
        constitution=None,
        author=author,
        rows=[
            _group(prompt.pk, list(prompt.responses.order_by("pk")), judge)
            for prompt in project.prompts.order_by("pk")
        ],
        tokens_in=12_000,
        tokens_out=200,
        cost=0.031,
        creator=creator,
    )


def _group(prompt_id: int, responses: list[Response], judge: Judge) -> JudgedGroup:
    opinions = []
    for first, second in combinations(range(len(responses)), 2):
        p = judge(responses[first], responses[second])
        fields = {"p_ab": p, "p_ba": p, "p": p} if isinstance(p, float) else p
        opinions.append({"first": first, "second": second, **fields})
    return JudgedGroup(prompt_id, [response.pk for response in responses], opinions)

"""For the tests of the lead's pages: who may open what, as a table; and runs and models to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from annotation.actions import snapshots
from annotation.models import Project, Snapshot, User
from tests import builders
from tests.base import PalateTestCase
from training.models import ModelVersion, Run
from training.registry.actions import add_model
from training.runs.actions import claim_run, finish_run


@dataclass(frozen=True)
class Endpoint:
    """A URL's name and arguments, the methods it knows, and what those who may use it get."""

    name: str
    args: tuple[Any, ...] = ()
    get: int = 405
    post: int = 405
    data: dict[str, Any] = field(default_factory=dict)
    reviewer_get: int = 403
    annotator_get: int = 403

    def __str__(self) -> str:
        return self.name


class AccessTestCase(PalateTestCase):
    """Checks each endpoint with everybody."""

    def check(self, endpoint: Endpoint) -> None:
        url = reverse(endpoint.name, args=[self.project.slug, *endpoint.args])
        with self.subTest(endpoint.name, who="nobody"):
            self.client.logout()
            for method in (self.client.get, self.client.post):
                response = method(url)
                assert response.status_code == 302, response.status_code
                assert response.url.startswith(reverse("account_login")), response.url
        expected = {
            "charlie": (self.charlie, 404, 404),
            "bob": (self.bob, endpoint.annotator_get, 403),
            "dana": (self.dana, endpoint.reviewer_get, 403),
            "alice": (self.alice, endpoint.get, endpoint.post),
        }
        for name, (who, get, post) in expected.items():
            with self.subTest(endpoint.name, who=name):
                self.sign_in(who)
                get = 405 if endpoint.get == 405 else get
                post = 405 if endpoint.post == 405 else post
                assert self.client.get(url).status_code == get, (
                    name,
                    "get",
                    self.client.get(url).status_code,
                )
                if who is not self.alice or post != 405:
                    found = self.client.post(url, endpoint.data).status_code
                    assert found == post, (name, "post", found)
        with self.subTest(endpoint.name, who="alice, with a method that nothing takes"):
            assert self.client.put(url).status_code == 405


def policy(project: Project, name: str = "policy-0") -> ModelVersion:
    return add_model(project=project, kind="policy", name=name, location="hub:somewhere/policy@main")


def snapshot(project: Project, creator: User, judge: User, judgments: int = 20) -> Snapshot:
    """Enough judgments that some are of training prompts."""
    builders.items(project, judgments)
    for _ in range(judgments):
        builders.judgment(project, judge)
    return snapshots.create_snapshot(project=project, creator=creator)


def finished(
    run: Run, *, result: dict[str, Any] | None = None, state: str = Run.State.DONE, error: str = ""
) -> Run:
    """The run as a worker would have left it."""
    claimed = claim_run(run.pk)
    assert claimed is not None
    finish_run(claimed, state=state, result=result, error=error)
    return claimed

"""What the tests of the Rank and the Compare screen share."""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import reverse

from annotation.models import Project
from tests.base import PalateTestCase

HTMX = {"HX-Request": "true"}


class JudgingTestCase(PalateTestCase):
    """Bob sits at the project's screen."""

    judged: Project

    def setUp(self) -> None:
        self.judged = self.project
        self.sign_in(self.bob)

    def url(self, name: str = "work") -> str:
        return reverse(name, args=[self.judged.slug])

    def open(self) -> dict[str, Any]:
        """The context of the page that shows the next item."""
        response = self.client.get(self.url())
        assert response.status_code == 200
        return response.context

    def form(self, context: dict[str, Any], **fields: object) -> dict[str, object]:
        return {"ticket": context["ticket"], "key": str(context["key"]), **fields}

    def ranked(self, context: dict[str, Any], *ranks: int | str, **fields: object) -> dict[str, object]:
        """The form with these ranks for A, B, C, …"""
        named = {f"rank-{card.letter}": rank for card, rank in zip(context["cards"], ranks, strict=False)}
        return self.form(context, **named, **fields)

    def send(self, form: dict[str, object], name: str = "work"):
        return self.client.post(self.url(name), form, headers=HTMX)

    def new_key(self) -> str:
        return str(uuid.uuid4())

    def new_uuid(self) -> uuid.UUID:
        return uuid.uuid4()

"""The part of the page with one item, as HTML.

Most of it is the same for all items of a kind: buttons, dialogs, forms with nothing entered. That is rendered once per process,
with stand-ins for what differs (texts, ticket, counts), and each response is put together from it. Rendering it anew took a
third of the time of a submit.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from annotation.models import Project, User

TEMPLATE = "annotation/judge_item.html"
MAX_FRAMES = 256
"""Kept by a process; each has about 20 KB."""

# nobody who writes a text of the frame, such as the label of a question, can write a stand-in
_MARK = secrets.token_hex(16)
_STAND_IN = re.compile(rf"{_MARK}(\w+)-")
_frames: dict[Hashable, list[str]] = {}


@dataclass(frozen=True)
class FrameProject:
    """What a frame shows of the project: nothing else, since all projects with the same values share the frame."""

    slug: str
    name: str
    k: int
    lease_minutes: int
    items_ahead: int

    @classmethod
    def of(cls, project: Project) -> FrameProject:
        return cls(project.slug, project.name, project.k, project.lease_minutes, project.items_ahead)


@dataclass(frozen=True)
class FrameUser:
    """What a frame shows of the user."""

    judging_layout: str
    judging_text_size: str

    JudgingLayout = User.JudgingLayout
    JudgingTextSize = User.JudgingTextSize

    @classmethod
    def of(cls, user: User) -> FrameUser:
        return cls(user.judging_layout, user.judging_text_size)


def stand_in(name: str) -> SafeString:
    """What stands for a value in a frame."""
    return mark_safe(f"{_MARK}{name}-")  # noqa: S308 - hexadecimal digits and the name


def render(
    request: HttpRequest,
    values: Mapping[str, object],
    filled: Mapping[str, Any],
    key: Hashable | None,
) -> SafeString:
    """HTML of `judge_item.html`.

    Args:
        values: the template's context.
        filled: more of its context, with a stand-in for each in the frame.
        key: on which `values` depend, and nothing else; None renders the template anew.
    """
    filled = {**filled, "csrf_token": get_token(request)}
    parts = _frames.get(whole_key := (get_language(), key)) if key is not None else None
    if parts is None:
        html = render_to_string(TEMPLATE, {**values, **{name: stand_in(name) for name in filled}})
        parts = _STAND_IN.split(html)
        if key is not None:
            if len(_frames) >= MAX_FRAMES:
                _frames.clear()
            _frames[whole_key] = parts
    # every other part is the name of a stand-in
    return mark_safe(  # noqa: S308 - the template's output, and escaped values
        "".join(conditional_escape(filled[part]) if n % 2 else part for n, part in enumerate(parts))
    )

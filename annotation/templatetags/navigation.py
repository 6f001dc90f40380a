"""Template tags for where a page is: `{% navigation as navigation %}`, and `{% capture as name %}…{% endcapture %}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.template.base import NodeList, Parser, Token
from django.template.context import Context
from django.utils.safestring import SafeString

from annotation import navigation
from annotation.navigation import Entry, Group, Place

register = template.Library()


@dataclass(frozen=True)
class Navigation:
    """A page's place, and what the person who sees it may open: `parent` is the page that a detail belongs to, None where they
    may not open it. `help` is the path of the document that explains the page."""

    place: Place
    overview: str
    groups: list[tuple[Group, list[Entry]]]
    parent: Entry | None
    help: str


@register.simple_tag(takes_context=True, name="navigation")
def find_navigation(context: Context) -> Navigation:
    """The place of the page that is rendered, by the name of its URL and the role of `me` in `project`."""
    match = getattr(context.get("request"), "resolver_match", None)
    help_path = navigation.help_path(match.url_name if match else None)
    me: Any = context.get("me")
    project: Any = context.get("project")
    if match is None or not getattr(me, "role", "") or not getattr(project, "slug", ""):
        return Navigation(Place(), "", [], None, help_path)
    groups = navigation.entries(me.role, project.slug)
    place = navigation.place_of(match.url_name) if groups else Place()
    known = (entry for _, pages in groups for entry in pages if entry.page is place.page)
    return Navigation(
        place,
        navigation.path_of(navigation.OVERVIEW, project.slug),
        groups,
        next(known, None) if place.is_detail else None,
        help_path,
    )


class CaptureNode(template.Node):
    def __init__(self, nodelist: NodeList, name: str) -> None:
        self.nodelist, self.name = nodelist, name

    def render(self, context: Context) -> SafeString:
        context[self.name] = SafeString(self.nodelist.render(context).strip())
        return SafeString("")


@register.tag
def capture(parser: Parser, token: Token) -> CaptureNode:
    """What stands between `{% capture as name %}` and `{% endcapture %}`, as a variable: a block can be rendered only once."""
    bits = token.split_contents()
    if len(bits) != 3 or bits[1] != "as":
        raise template.TemplateSyntaxError("capture takes a name: {% capture as name %}")
    nodelist = parser.parse(("endcapture",))
    parser.delete_first_token()
    return CaptureNode(nodelist, bits[2])

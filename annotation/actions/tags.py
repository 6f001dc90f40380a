"""Tags of prompts: adding one to the prompts of several items at once, removing it, and taking that back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection

from django.db import transaction
from django.utils.translation import gettext as _

from annotation import audit
from annotation.actions.bulk import Change
from annotation.logic.storable_text import storage_problem
from annotation.models import Item, Project, Prompt, User

MAX_TAG_CHARS = Prompt._meta.get_field("tags").base_field.max_length or 0
MAX_TAGS = 100
"""Of one prompt."""
VERBS = {True: "prompt.tagged", False: "prompt.untagged"}


class TagError(Exception):
    """Why a tag is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def add_tag(*, project: Project, ids: Collection[int], actor: User, tag: str) -> list[Change]:
    """Add a tag to the prompts of items. Items whose prompts have it, or as many tags as there can be, are left as they are.

    Raises:
        TagError: it is empty, too long, or cannot be stored.
    """
    tag = _checked(tag)
    return _change(project, ids, actor, tag, lambda tags: [*tags, tag] if len(tags) < MAX_TAGS else tags)


def remove_tag(*, project: Project, ids: Collection[int], actor: User, tag: str) -> list[Change]:
    """Remove a tag from the prompts of items. Items whose prompts lack it are left as they are.

    Raises:
        TagError: as `add_tag`.
    """
    tag = _checked(tag)
    return _change(
        project, ids, actor, tag, lambda tags: [other for other in tags if other != tag], adds=False
    )


@transaction.atomic
def undo(*, project: Project, changes: list[Change], actor: User) -> int:
    """Give prompts the tags that they had, unless somebody has changed these since. Returns of how many items."""
    prompts = _locked(project, {change["prompt"] for change in changes})
    back = [
        change
        for change in changes
        if change["prompt"] in prompts and prompts[change["prompt"]].tags == change["after"]
    ]
    if back:
        # items of one prompt have the same `before`
        for change in back:
            prompts[change["prompt"]].tags = change["before"]
        tagged = {change["prompt"]: change["tag"] for change in back}
        _store(project, actor, tagged, prompts, adds=not back[0]["adds"])
    return len(back)


@transaction.atomic
def _change(
    project: Project,
    ids: Collection[int],
    actor: User,
    tag: str,
    change: Callable[[list[str]], list[str]],
    *,
    adds: bool = True,
) -> list[Change]:
    items: dict[int, list[int]] = defaultdict(list)
    for item, prompt_id in Item.objects.filter(project=project, pk__in=ids).values_list("pk", "prompt"):
        items[prompt_id].append(item)
    prompts = _locked(project, items)
    if adds:
        prompts = {pk: prompt for pk, prompt in prompts.items() if tag not in prompt.tags}
    before = {pk: list(prompt.tags) for pk, prompt in prompts.items()}
    for prompt in prompts.values():
        prompt.tags = change(prompt.tags)
    changed = {pk: tag for pk, prompt in prompts.items() if prompt.tags != before[pk]}
    _store(project, actor, changed, prompts, adds=adds)
    return [
        {"id": item, "prompt": pk, "tag": tag, "adds": adds, "before": before[pk], "after": prompts[pk].tags}
        for pk in changed
        for item in items[pk]
    ]


def _locked(project: Project, ids: Collection[int]) -> dict[int, Prompt]:
    """In the order of their ids, so that two acts wait for each other."""
    rows = Prompt.objects.select_for_update(no_key=True).only("id", "external_id", "tags")
    return {prompt.pk: prompt for prompt in rows.filter(project=project, pk__in=ids).order_by("pk")}


def _store(
    project: Project, actor: User, changed: dict[int, str], prompts: dict[int, Prompt], *, adds: bool
) -> None:
    """Write the tags of the prompts `changed`, which have the tag that was added or removed, with an entry for each."""
    Prompt.objects.bulk_update([prompts[pk] for pk in changed], ["tags"])
    entries = [
        (f"prompt {prompts[pk].external_id}", {"prompt": pk, "tag": tag}) for pk, tag in changed.items()
    ]
    audit.record_all(VERBS[adds], project=project, actor=actor, entries=entries)


def _checked(tag: str) -> str:
    tag = " ".join(tag.split())
    if not tag or len(tag) > MAX_TAG_CHARS or storage_problem(tag):
        raise TagError("tag", _("A tag has 1 to %(most)s characters.") % {"most": MAX_TAG_CHARS})
    return tag

"""Every write on model versions: adding, promoting and retiring them, and removing their files."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from itertools import chain, count
from operator import or_
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions import webhook_delivery
from annotation.models import Author, Project, User
from annotation.store import store
from training.errors import RunError
from training.models import Loop, ModelVersion, Round, Run
from training.registry import model_sources

MAX_NAME = 110  # of a name that gets a number, in characters; the column holds 120


@transaction.atomic
def add_model(
    *,
    project: Project,
    kind: str,
    name: str,
    location: str,
    parent: ModelVersion | None = None,
    run: Run | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Add a model to the registry. The first of its kind in a project becomes current, unless a round made it.

    Args:
        location: see `model_sources.check_location`, or the path of a folder; of the store only the output of one of the
            project's own runs.
        run: the run that made it. If the name was taken meanwhile, the model gets a free one: no training is lost to a name.

    Raises:
        RunError: the name is taken, or the location may not be loaded.
    """
    location = f"file:{location}" if location.startswith("/") else location
    if run is None:
        _check_owner(project, location)
        model_sources.check_location(location)
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    taken = set(project.model_versions.values_list("name", flat=True))
    if run is not None:
        name = free_name(name, taken)
    elif name in taken:
        raise RunError("name", _("There is a model called %(name)s already.") % {"name": repr(name)})
    author = None
    if kind == ModelVersion.Kind.POLICY:
        author, _created = Author.objects.get_or_create(project=project, kind=Author.Kind.POLICY, name=name)
    # a round promotes when its gates pass
    by_round = run is not None and run.round_id is not None
    first = not by_round and not ModelVersion.objects.filter(project=project, kind=kind).exists()
    return ModelVersion.objects.create(
        project=project,
        kind=kind,
        name=name,
        location=location,
        parent=parent,
        run=run,
        author=author,
        current=first,
        metrics=dict(metrics or {}),
    )


def names_in_use(projects: Iterable[Project]) -> set[str]:
    """The names of the projects' models, and those of the models that their open runs make."""
    projects = list(projects)
    models = ModelVersion.objects.filter(project__in=projects).values_list("name", flat=True)
    runs = Run.objects.filter(project__in=projects, state__in=Run.OPEN_STATES, inputs__has_key="name")
    return {*models, *(slugify(name) for name in runs.values_list("inputs__name", flat=True))}


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of `name-2`, `name-3` and so on that is not taken."""
    numbered = (f"{name[:MAX_NAME]}-{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in taken)


def _check_owner(project: Project, location: str) -> None:
    """Check that a location in the store is the output of a run of the project.

    Raises:
        RunError: it is not. The message is that of a missing folder, so that nobody learns of other projects' runs.
    """
    if (
        location.startswith("store:")
        and not Run.objects.filter(project=project, files__output=location).exists()
    ):
        raise model_sources.no_such_location(location)


@transaction.atomic
def promote(version: ModelVersion, actor: User | None = None) -> ModelVersion:
    """Make a model the current one of its kind. actor: who did it, a lead by the checks of the page and the API; None if a
    round did.

    Raises:
        RunError: its files were removed.
    """
    Project.objects.select_for_update(no_key=True).get(pk=version.project_id)
    if version.removed_at:
        raise RunError("model", _("The files of %(model)s were removed from the disk.") % {"model": version})
    ModelVersion.objects.filter(project=version.project, kind=version.kind, current=True).update(
        current=False
    )
    version.current, version.retired_at = True, None
    version.save(update_fields=["current", "retired_at"])
    audit.record("model.promoted", project=version.project, actor=actor, subject=version.name)
    events.announce(events.project_group(version.project_id), {"kind": "model"})
    webhook_delivery.notify(
        version.project, "model.promoted", id=version.pk, name=version.name, kind=version.kind
    )
    return version


@transaction.atomic
def retire(version: ModelVersion, actor: User) -> ModelVersion:
    """Remove a model from all choices. It stays in the registry, and can be promoted again while its files exist.

    Raises:
        RunError: it is current.
    """
    if not ModelVersion.objects.filter(pk=version.pk, current=False).update(retired_at=timezone.now()):
        raise RunError("model", _("%(model)s is current: promote another one first.") % {"model": version})
    audit.record("model.retired", project=version.project, actor=actor, subject=version.name)
    version.refresh_from_db()
    return version


def reason_to_keep(version: ModelVersion) -> str:
    """Why a model's files may not be removed; empty if they may be."""
    if version.current:
        return _("it is current")
    if Loop.objects.filter(Q(first_policy=version) | Q(first_policy__parent=version)).exists():
        return _("a loop starts from it")
    about = Q(policy_before=version) | Q(policy_after=version)
    if Round.objects.filter(about, state__in=Round.OPEN_STATES).exists():
        return _("an open round uses it")
    uses = ("model", "reward_model", "safety_reward_model", "second_reward_model", "reference")
    reads = reduce(or_, (Q(**{use: version}) for use in uses))
    if Run.objects.filter(reads, state__in=Run.OPEN_STATES).exists():
        return _("an open run uses it")
    return ""


def remove_files(version: ModelVersion, actor: User | None = None) -> int:
    """Remove the weights of a retired model that a run made. Settings, reports and rejection sampling's responses stay.

    Returns the number of bytes that were freed.

    Raises:
        RunError: it is not retired, it is still needed, or no run made its files.
    """
    with transaction.atomic():
        locked = ModelVersion.objects.select_for_update(of=("self",)).get(pk=version.pk)
        if locked.retired_at is None:
            raise RunError("model", _("%(model)s is not retired.") % {"model": locked})
        if reason := reason_to_keep(locked):
            text = _("The files of %(model)s are still needed: %(reason)s.")
            raise RunError("model", text % {"model": locked, "reason": reason})
        if locked.run is None or not locked.location.startswith("store:"):
            text = _("%(model)s was not trained here: its files cannot be removed.")
            raise RunError("model", text % {"model": locked})
        locked.removed_at = timezone.now()
        locked.save(update_fields=["removed_at"])
        audit.record("model.removed", project=locked.project, actor=actor, subject=locked.name)
    weights = weight_files(locked)
    for file in weights:
        store().delete(file.uri)
        (locked.run.folder / "output" / file.name).unlink(missing_ok=True)
    # job folders of runs that used it, and servers of chats, have hard links to the same files
    shutil.rmtree(model_sources.served_folder(locked.location), ignore_errors=True)
    job_folders = Path(settings.ARTIFACTS) / "runs"
    for folder in job_folders.glob(f"*/{model_sources.staged_folder(locked.location)}"):
        shutil.rmtree(folder, ignore_errors=True)
    return sum(file.size for file in weights)


def weight_files(version: ModelVersion) -> list[model_sources.ModelFile]:
    """The files that `remove_files` removes."""
    files = model_sources.model_files(version.location).values()
    return [file for file in files if file.name.endswith(".safetensors")]


def current_model(project: Project, kind: str) -> ModelVersion | None:
    """The project's current policy or reward model."""
    return ModelVersion.objects.filter(project=project, kind=kind, current=True).first()

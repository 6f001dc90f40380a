"""Lookup of an object by the id in a URL."""

from __future__ import annotations

from typing import TypeVar

from django.db import models
from django.http import Http404

ModelT = TypeVar("ModelT", bound=models.Model)


def get_or_404(objects: models.QuerySet[ModelT], pk: int) -> ModelT:
    """
    Raises:
        Http404: there is no object with this id, or it is beyond the range of ids.
    """
    object = objects.filter(pk=pk).first() if pk < 2**63 else None
    if object is None:
        raise Http404(f"No such {objects.model._meta.verbose_name}.")
    return object

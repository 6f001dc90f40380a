"""One row by the id in an address."""

from __future__ import annotations

from typing import TypeVar

from django.db import models
from django.http import Http404

Row = TypeVar("Row", bound=models.Model)


def one(rows: models.QuerySet[Row], pk: int) -> Row:
    """
    Raises:
        Http404: it is not among the rows, or no id at all.
    """
    found = rows.filter(pk=pk).first() if pk < 2**63 else None
    if found is None:
        raise Http404(f"No such {rows.model._meta.verbose_name}.")
    return found

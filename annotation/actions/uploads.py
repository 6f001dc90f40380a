"""Uploaded files of prompts: saving one, recognising its format, and mapping the columns of one of unknown format."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO

from django.conf import settings
from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.imports import decompression, file_types
from annotation.imports.dataset_formats import (
    DATASET_FORMATS,
    ColumnMapping,
    DatasetFormat,
    MappingError,
    UnknownFormat,
    detect_format,
    mapped_format,
)
from annotation.imports.file_rows import FileError, JsonObject
from annotation.imports.prompt_schema import RowError
from annotation.logic.storable_text import storage_problem
from annotation.models import Import, Project, User
from annotation.store import MissingObject, StoreError, scratch_file, store

log = logging.getLogger(__name__)

FIRST_ROWS = 1000
"""Among these, the first row that can be read tells the format."""


class UploadError(Exception):
    """Why a file was not accepted, started or cancelled, in a sentence for the lead."""


def save_upload(
    *,
    project: Project,
    name: str,
    file: IO[bytes],
    creator: User,
    mapping: ColumnMapping | None = None,
    may_be_mapped: bool = False,
) -> Import:
    """Put an uploaded file into the store, decompressed, and detect its format. Nothing is imported yet.

    A file of unknown format gets the project's last column mapping, if it has those columns.

    Args:
        mapping: the roles of its columns, instead of a known format.
        may_be_mapped: accept a file of unknown format, for `map_columns`; its shape is empty.

    Raises:
        UploadError: it is empty, too large or of unknown format, or could not be written. The file is deleted.
    """
    name = name.replace("\0", "")[-200:]
    try:
        with scratch_file() as target:
            size = _write(target, decompression.read_decompressed(file))
            shape, mapping = _detect_format(target, name, project, mapping, may_be_mapped=may_be_mapped)
            uri = store().put(target, f"imports/{uuid.uuid4().hex}", transfer="move")
    except OSError as error:
        raise UploadError(
            _("The file could not be saved: %(reason)s.") % {"reason": error.strerror}
        ) from error
    except (FileError, RowError, MappingError) as error:
        sentence = f"{str(error)[:1].upper()}{str(error)[1:]}"
        raise UploadError(
            _("%(name)s cannot be imported. %(sentence)s") % {"name": name, "sentence": sentence}
        ) from error
    return Import.objects.create(
        project=project,
        name=name,
        path=uri,
        bytes=size,
        shape=shape,
        mapping=list(mapping.items()),
        created_by=creator,
    )


def too_large_message(size: int) -> str:
    limit = filesizeformat(settings.MAX_UPLOAD_BYTES)
    return _("The file has %(size)s; the limit is %(limit)s. Split it, and import the parts one by one.") % {
        "size": filesizeformat(size),
        "limit": limit,
    }


def _write(target: Path, chunks: Iterable[bytes]) -> int:
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.MAX_UPLOAD_BYTES:
                raise UploadError(
                    _(
                        "The file's content is larger than %(limit)s, the limit. Split it, and import the parts "
                        "one by one."
                    )
                    % {"limit": filesizeformat(settings.MAX_UPLOAD_BYTES)}
                )
            file.write(chunk)
    if not size:
        raise UploadError(_("The file is empty."))
    return size


def _detect_format(
    path: Path, name: str, project: Project, mapping: ColumnMapping | None, *, may_be_mapped: bool
) -> tuple[str, ColumnMapping]:
    """The name of the format, and the column mapping if it is that.

    Raises:
        FileError, RowError, MappingError: the file cannot be read, its format is unknown, or it has not the mapping's columns.
    """
    row = _read_first_row(path, name)
    for column in row:
        if problem := storage_problem(column):
            raise FileError(_("The name of a column %(problem)s.") % {"problem": problem})
    if mapping:
        return _check_mapping(mapping, row)
    try:
        return detect_format(row).name, {}
    except UnknownFormat:
        with suppress(MappingError):
            return _check_mapping(dict(project.column_mapping), row)
        if not may_be_mapped:
            raise
        return "", {}


def _check_mapping(mapping: ColumnMapping, row: JsonObject) -> tuple[str, ColumnMapping]:
    """The name of the format of rows with mapped columns, and the mapping in the order of the row.

    Raises:
        MappingError: the mapping is wrong, or the row has not its columns.
    """
    in_order = [column for column in row if column in mapping]
    mapping = {column: mapping[column] for column in (*in_order, *mapping)}
    format = mapped_format(mapping)
    if missing := [column for column in format.required if column not in row]:
        raise MappingError(_("There is no column %(columns)s.") % {"columns": ", ".join(missing)})
    return format.name, mapping


def _read_first_row(path: Path, name: str) -> JsonObject:
    """The first row that can be read.

    Raises:
        FileError: there is none.
    """
    errors = []
    file_type = file_types.detect_file_type(path, name)
    for row in islice(file_types.read_rows(path, file_type), FIRST_ROWS):
        if row.values is not None:
            return row.values
        errors.append(row)
    if errors:
        raise FileError(error_of_row(row_unit(file_type), errors[0].number, errors[0].error))
    raise FileError(_("It has no rows."))


def first_row(upload: Import) -> JsonObject:
    """The first row of an uploaded file.

    Raises:
        UploadError: the file is missing, or cannot be read.
    """
    try:
        return _read_first_row(existing_path(upload), upload.name)
    except FileError as error:
        raise UploadError(str(error)) from error


def map_columns(upload: Import, mapping: ColumnMapping) -> None:
    """Give the columns of an uploaded file their roles.

    Raises:
        UploadError: the mapping is wrong, or the file was started already.
    """
    try:
        shape, mapping = _check_mapping(mapping, first_row(upload))
    except MappingError as error:
        raise UploadError(str(error)) from error
    uploaded = Import.objects.filter(pk=upload.pk, state=Import.State.UPLOADED)
    if not uploaded.update(shape=shape, mapping=list(mapping.items())):
        raise UploadError(_("%(file)s was started or discarded already.") % {"file": upload.name})
    upload.refresh_from_db()


def format_of(upload: Import) -> DatasetFormat | None:
    """The format of a file; None while its columns have no roles."""
    return mapped_format(dict(upload.mapping)) if upload.mapping else DATASET_FORMATS.get(upload.shape)


def row_unit(file_type: str) -> str:
    """What rows of this file type are called: line, row or element."""
    return file_types.UNITS.get(file_type, "line")


def counted_rows(n: int, unit: str) -> str:
    """`12 lines`. unit: see `row_unit`."""
    if unit == "row":
        text = ngettext("%(n)s row", "%(n)s rows", n)
    elif unit == "element":
        text = ngettext("%(n)s element", "%(n)s elements", n)
    else:
        text = ngettext("%(n)s line", "%(n)s lines", n)
    return text % {"n": intcomma(n)}


def error_of_row(unit: str, number: int | str, error: str) -> str:
    """What is wrong with a row, and where it stands. unit: see `row_unit`."""
    texts = {
        "line": _("Line %(number)s: %(error)s"),
        "row": _("Row %(number)s: %(error)s"),
        "element": _("Element %(number)s: %(error)s"),
    }
    return texts[unit] % {"number": number, "error": error}


def upload_path(upload: Import) -> Path:
    """
    Raises:
        StoreError: the store has not the file, or is not available.
    """
    return store().path(upload.path)


def existing_path(upload: Import) -> Path:
    """
    Raises:
        UploadError: the file is missing, or the store is not available.
    """
    try:
        return upload_path(upload)
    except MissingObject as error:
        text = _("%(file)s is not on the server any more: upload it again.")
        raise UploadError(text % {"file": upload.name}) from error
    except StoreError as error:
        raise UploadError(str(error)) from error


def delete_file(upload: Import) -> None:
    """Delete the file of an import that is over; if the store is not available now, it stays there."""
    try:
        store().delete(upload.path)
    except StoreError:
        log.warning("the file of import %s was not deleted", upload.pk, exc_info=True)

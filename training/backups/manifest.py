"""The manifest of a backup, which is written last: without it the backup is not finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from training.backups.errors import BackupError

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. created_at: ISO 8601; migrations: `app.name` of those applied; rows: by table; dump_sha256: of the
    database's dump; objects: URIs with their names for downloads; missing: URIs that the store itself did not have intact."""

    version: str
    release: str
    created_at: str
    migrations: list[str]
    rows: dict[str, int]
    dump_sha256: str
    objects: dict[str, str]
    missing: list[str]
    format: int = FORMAT

    def write(self, backup: Path) -> None:
        partial = backup / f"{NAME}.partial"
        partial.write_text(json.dumps(asdict(self), indent=1))
        partial.rename(backup / NAME)


def read_manifest(backup: Path) -> Manifest:
    """
    Raises:
        BackupError: there is none, or it cannot be read here.
    """
    path = backup / NAME
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != FORMAT:
            raise BackupError(f"{path} has the format {values['format']}; this version reads {FORMAT}.")
        return Manifest(**values)
    except FileNotFoundError:
        raise BackupError(f"{backup} is no finished backup: it has no {NAME}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged: {error}") from error

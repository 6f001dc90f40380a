from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.backups.actions import make_backup
from training.backups.errors import BackupError


class Command(BaseCommand):
    help = "Back up the database and the store into a new folder below FOLDER; earlier backups there share their files with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *, folder: Path, **options: Any) -> None:
        try:
            backup = make_backup(folder.resolve(), self.stdout.write)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Done. To restore it: manage.py restore {backup}")

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.backups.actions import restore_backup
from training.backups.errors import BackupError


class Command(BaseCommand):
    help = "Restore a backup into the database and the store of this site, whose processes must be stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path)
        parser.add_argument("--replace", action="store_true", help="delete what is in the database")

    def handle(self, *, backup: Path, replace: bool, **options: Any) -> None:
        try:
            manifest = restore_backup(backup.resolve(), self.stdout.write, replace=replace)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Restored, as it was at {manifest.created_at}. Run manage.py migrate before you start the site."
        )

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from training.models import ModelVersion
from training.registry.actions import reason_to_keep, remove_files, weight_files


class Command(BaseCommand):
    help = "List the weights of retired models that are no longer needed; --remove removes them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--remove", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        retired = ModelVersion.objects.filter(retired_at__isnull=False, removed_at=None, run__isnull=False)
        for version in retired.select_related("project", "run"):
            if reason := reason_to_keep(version):
                self.stdout.write(f"{version.project} / {version}: kept ({reason})")
            elif options["remove"]:
                self.stdout.write(f"{version.project} / {version}: {remove_files(version):,} bytes freed")
            else:
                self.stdout.write(
                    f"{version.project} / {version}: {sum(file.size for file in weight_files(version)):,} bytes"
                )

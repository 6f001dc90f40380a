"""Create an API token without a browser."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from annotation.models import ApiToken, User


class Command(BaseCommand):
    help = "Create an API token of a user and print its key, which is not stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--name", default="command line", help="what it is for, as the account page shows it"
        )
        parser.add_argument("--scope", choices=ApiToken.Scope.values, default=ApiToken.Scope.READ)
        parser.add_argument("--days", type=int, help="after which it expires; otherwise never")

    def handle(self, *, username: str, name: str, scope: str, days: int | None, **options: Any) -> None:
        user = User.objects.filter(username__iexact=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user called {username!r}.")
        if days is not None and days < 1:
            raise CommandError("--days: at least 1.")
        if not 1 <= len(name) <= 80:
            raise CommandError("--name: 1 to 80 characters.")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        _, key = ApiToken.issue(user=user, name=name, scope=scope, expires_at=expires_at)
        self.stdout.write(key)

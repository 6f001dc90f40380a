from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.processes import StartError, site
from training.chat_servers.local import stop_servers


class Command(BaseCommand):
    help = "Run the whole site on this machine: web server, workers and trainers. Ctrl-C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C: stop the site too
        call_command("migrate", verbosity=0)
        try:
            with site(options["port"]) as address:
                self.stdout.write(f"Palate is at {address} — Ctrl-C stops it.")
                signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except StartError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            pass
        finally:
            stop_servers()
            say_what_stays(self)


def say_what_stays(command: BaseCommand) -> None:
    if settings.EMBEDDED:
        command.stderr.write(
            "PostgreSQL and Valkey run on, for other commands; `python -m config.embedded stop` stops them."
        )

from __future__ import annotations

import json
import signal
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.processes import StartError, site
from training.rounds.recipes import RECIPES


class Command(BaseCommand):
    help = "Rounds of the whole loop in a small world of its own, then the site, with something to rank."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rounds", type=int, default=2)
        parser.add_argument("--recipe", default="dpo", choices=list(RECIPES))
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-serve", action="store_true", help="end after the last round")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from training.demo.people import DemoError
        except ImportError as error:
            raise CommandError(
                f"The demo needs more packages: pip install 'palate[embedded,train,demo]' ({error})"
            ) from error
        if options["rounds"] < 1:
            raise CommandError("--rounds: at least 1")
        signal.signal(
            signal.SIGTERM, signal.default_int_handler
        )  # leave as after Ctrl-C, taking the site down
        call_command("migrate", verbosity=0)
        try:
            with site(options["port"]) as address:
                self.play(address, options["rounds"], options["seed"], options["recipe"])
                if not options["no_serve"]:
                    self.stdout.write(
                        f"\nPalate is at {address} — Ctrl-C stops it, `make demo` brings it back."
                    )
                    signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except (StartError, DemoError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped. The same command goes on from here.")

    def play(self, address: str, rounds: int, seed: int, recipe: str) -> None:
        from training.demo.world import PASSWORD, PEOPLE, World

        began = time.monotonic()
        world = World.open(address, seed, recipe)
        self.stdout.write(
            f"Palate is at {address} while this works. Sign in as {' or '.join(PEOPLE)}, password {PASSWORD}\n"
        )
        first = world.prepare()
        done = []
        for number in range(1, rounds + 1):
            figures = world.round(number, first)
            won = figures.win_rate
            if number == 1:
                self.stdout.write(f"The first policy: {_shares(figures.habits_at_first)}")
            self.stdout.write(
                f"Round {number}: the reward model agrees with {figures.rm_accuracy:.1%} of {figures.rm_pairs} held-out pairs "
                f"(noise ceiling {figures.rm_ceiling:.1%}); the new policy beats the first in {won.mean:.1%} "
                f"[{won.low:.1%}, {won.high:.1%}] over {won.prompts} held-out prompts"
            )
            if figures.gates:
                fate = "promoted" if figures.promoted else "not promoted"
                self.stdout.write(f"         gates not passed: {', '.join(figures.gates)}; {fate}")
            self.stdout.write(f"         {_shares(figures.habits)}; KL {figures.kl:.1f} nats a response")
            done.append(
                {
                    "rm_accuracy": round(figures.rm_accuracy, 4),
                    "rm_ceiling": round(figures.rm_ceiling, 4),
                    "win_rate_vs_first": round(won.mean, 4),
                    "ci": [round(won.low, 4), round(won.high, 4)],
                    "helped_harm": round(figures.habits["helped harm"], 4),
                    "helped_harm_at_first": round(figures.habits_at_first["helped harm"], 4),
                    "kl": round(figures.kl, 2),
                    "promoted": figures.promoted,
                }
            )
        self.stdout.write(f"Done in {time.monotonic() - began:.0f} s.")
        self.stdout.write(json.dumps({"rounds": done, **world.totals()}))


def _shares(habits: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in habits.items())

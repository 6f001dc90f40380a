from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.processes import StartError, site
from training.chat_servers.local import stop_servers
from training.demo.preferences import TASTES
from training.management.commands.serve import say_what_stays
from training.rounds.recipes import RECIPES

if TYPE_CHECKING:
    from training.demo.progress_bar import Stages


class Command(BaseCommand):
    help = "Play rounds of the whole loop with simulated annotators, then serve the site with items to rank."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rounds", type=int, default=2)
        parser.add_argument("--recipe", default="dpo", choices=list(RECIPES))
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--taste", default="first", choices=list(TASTES), help="what the annotators like")
        parser.add_argument(
            "--lead",
            default="obeys",
            choices=["obeys", "overrules"],
            help="what the lead does where a gate fails",
        )
        parser.add_argument(
            "--chat",
            action="store_true",
            help="two rounds from the first policy: from chats, and from as many rankings",
        )
        parser.add_argument(
            "--scratch",
            action="store_true",
            help="pre-train and fine-tune the first policy instead of taking the repository's",
        )
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-serve", action="store_true", help="end after the last round")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from training.demo.http_client import DemoError
            from training.demo.progress_bar import Stages
        except ImportError as error:
            raise CommandError(
                f"The demo needs more packages: pip install 'palate[embedded,train,demo]' ({error})"
            ) from error
        if options["rounds"] < 1:
            raise CommandError("--rounds: at least 1")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C: stop the site too
        stages = Stages()
        try:
            with ExitStack() as stack:
                with stages.stage("Start the site", 1) as bar:
                    call_command("migrate", verbosity=0)
                    address = stack.enter_context(site(options["port"]))
                    bar(1)
                self.play(address, options, stages)
                if not options["no_serve"]:
                    self.stdout.write(
                        f"\nPalate is at {address} — Ctrl-C stops it, `make demo` brings it back."
                    )
                    signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except (StartError, DemoError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped. The same command continues from here.")
        finally:
            stop_servers()
            say_what_stays(self)

    def play(self, address: str, options: Mapping[str, Any], stages: Stages) -> None:
        from training.demo.projects import PASSWORD, PEOPLE
        from training.demo.world import World

        world = World.open(
            address,
            stages,
            options["seed"],
            options["recipe"],
            options["taste"],
            scratch=options["scratch"],
            overrules=options["lead"] == "overrules",
        )
        self.stdout.write(
            f"Palate is at {address} while this works. Sign in as {' or '.join(PEOPLE)}, password {PASSWORD}\n"
        )
        first = world.prepare()
        done = []
        sources = ("chats", "rankings") if options["chat"] else ("",) * options["rounds"]
        for number, source in enumerate(sources, 1):
            result = world.round_from(source, first) if source else world.round(number, first)
            won = result.win_rate
            if number == 1:
                self.stdout.write(f"The first policy: {_shares(result.first_habits)}")
            self.stdout.write(
                f"Round {number}: the reward model agrees with {result.rm_accuracy:.1%} of {result.rm_pairs} new held-out pairs "
                f"(noise ceiling {result.noise_ceiling:.1%}); the policy {'promoted' if result.promoted else 'kept'} beats the"
                f" first in {won.mean:.1%} [{won.low:.1%}, {won.high:.1%}] over {won.prompts} held-out prompts"
            )
            if result.failed_gates:
                self.stdout.write(f"         failed gates: {', '.join(result.failed_gates)}")
            kl = "" if result.kl is None else f"; KL of the new policy {result.kl:.1f} nats per response"
            self.stdout.write(f"         {_shares(result.habits)}{kl}")
            done.append(
                {
                    **({"learned_from": source} if source else {}),
                    "rm_accuracy": _rounded(result.rm_accuracy),
                    "rm_ceiling": _rounded(result.noise_ceiling),
                    "win_rate_vs_first": _rounded(won.mean),
                    "ci": [_rounded(won.low), _rounded(won.high)],
                    "helped_harm": _rounded(result.habits["helped harm"]),
                    "helped_harm_at_first": _rounded(result.first_habits["helped harm"]),
                    "wrong": _rounded(result.habits["wrong"]),
                    "wrong_at_first": _rounded(result.first_habits["wrong"]),
                    "kl": _rounded(result.kl),
                    "promoted": result.promoted,
                    "overruled": result.overruled,
                }
            )
        world.let_careless_annotator_judge()
        self.stdout.write(f"Done in {stages.total:.0f} s.")
        self.stdout.write(
            json.dumps(
                {"rounds": done, **world.totals(), "seconds": stages.seconds | {"total": stages.total}}
            )
        )


def _rounded(value: float | None) -> float | None:
    """For JSON, which has no NaN, and nobody wants to read -0.0."""
    return None if value is None or math.isnan(value) else round(value, 4) + 0.0


def _shares(habits: dict[str, float]) -> str:
    shares = [f"{name} {share:.0%}" for name, share in habits.items() if name != "words"]
    return ", ".join([*shares, f"{habits['words']:.0f} words"])

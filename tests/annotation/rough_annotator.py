"""Annotators in a process of their own, at the site's pages, as rough as people and networks are: leases run out, submits
come twice, with the same key or with another, and connections are lost, theirs to the site and the site's to the database.

    python -m tests.annotation.rough_annotator PORT PROJECT_ID USER_ID=SESSION...

They work until the queue is empty. Each judgment that was acknowledged is printed as `kept KEY` at once, so that it is
known whatever happens next; what else happened is counted in the last line.
"""

from __future__ import annotations

import http.client
import random
import re
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import timedelta
from urllib.parse import urlencode

import django

django.setup()

from django.db import connection  # noqa: E402  (models must be ready first)
from django.utils import timezone  # noqa: E402

from annotation.actions.leases import Lease  # noqa: E402
from annotation.models import Project, Slot, User  # noqa: E402
from tests.patience import HANGS_S  # noqa: E402

CSRF = "c" * 32
tally: Counter[str] = Counter(twice=0, late=0, dropped=0, again=0, cut=0)


class Annotator:
    def __init__(self, port: int, project: Project, me: User, session: str) -> None:
        self.project, self.me, self.port = project, me, port
        self.path = f"/p/{project.slug}/work/"
        self.headers = {
            "Cookie": f"sessionid={session}; csrftoken={CSRF}",
            "X-CSRFToken": CSRF,
            "HX-Request": "true",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self.chance = random.Random(me.pk)
        self.line = self.new_line()

    def new_line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_S)

    def ask(self, method: str, form: dict[str, object] | None = None) -> str:
        """The page; sent again until there is an answer, as a page does by itself."""
        end = time.monotonic() + HANGS_S
        while True:
            try:
                self.line.request(method, self.path, urlencode(form or {}), self.headers)
                if form and self.chance.random() < 0.02:  # gone before the answer comes
                    tally["dropped"] += 1
                    self.line.close()
                answer = self.line.getresponse()
                text = answer.read().decode()
                if answer.status < 500:
                    assert answer.status == 200, f"{answer.status}: {text[:500]}"
                    return text
            except (OSError, http.client.HTTPException):
                self.line.close()
            tally["again"] += 1
            assert time.monotonic() < end, "the site does not answer"
            time.sleep(0.05)

    def work(self) -> None:
        page = self.ask("GET")
        while True:
            ticket = re.search(r'name="ticket" value="([^"]+)"', page)
            if ticket is None:
                if not Slot.objects.filter(project=self.project).exclude(state="done").exists():
                    return
                time.sleep(0.2)  # somebody may yet let a lease run out
                page = self.ask("GET")
                continue
            page = self.judge(ticket[1])

    def judge(self, ticket: str) -> str:
        lease = Lease.read(ticket, annotator=self.me)
        if self.chance.random() < 0.1:
            Slot.objects.filter(pk=lease.slot_id, token=lease.token, state="leased").update(
                leased_until=timezone.now() - timedelta(seconds=1)
            )
            time.sleep(0.02)
            tally["late"] += 1
        if self.chance.random() < 0.02:
            cut_a_line()
        ranks = {f"rank-{letter}": self.chance.randint(1, 4) for letter in "ABCD"}
        form = {"ticket": ticket, "key": str(uuid.uuid4()), **ranks}
        for again in range(self.chance.choice([1, 1, 1, 1, 1, 1, 2, 3])):
            page = self.ask("POST", form)
            tally["twice"] += bool(again)
            sys.stdout.write(f"kept {form['key']}\n")  # in one piece: others write too
            sys.stdout.flush()
        if self.chance.random() < 0.05:  # from another tab
            page = self.ask("POST", form | {"key": str(uuid.uuid4())})
        return page


def cut_a_line() -> None:
    """The database's end of one of the site's connections is gone, whatever it is about."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'web' ORDER BY random() LIMIT 1"
        )
        tally["cut"] += cursor.rowcount


if __name__ == "__main__":
    port, project_id, *people = sys.argv[1:]
    project = Project.objects.get(pk=project_id)
    sessions = dict(pair.split("=") for pair in people)
    annotators = [
        Annotator(int(port), project, User.objects.get(pk=pk), session) for pk, session in sessions.items()
    ]
    threads = [threading.Thread(target=annotator.work) for annotator in annotators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("tally", *(f"{name}={count}" for name, count in tally.items()), flush=True)

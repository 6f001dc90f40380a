"""An annotator in a process of its own, as rough as people and networks are: leases run out, submits come twice, with
the same key or with another.

    python -m tests.annotation.rough_annotator PROJECT_ID USER_ID

Works until the queue is empty, and prints how many judgments were acknowledged.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import Counter
from datetime import timedelta

import django

django.setup()

from django.utils import timezone  # noqa: E402  (models must be ready first)

from annotation.actions import queue  # noqa: E402
from annotation.actions.judge import AlreadyJudged  # noqa: E402
from annotation.models import Project, Slot, User  # noqa: E402
from tests import builders  # noqa: E402


def work(project: Project, me: User) -> Counter[str]:
    tally: Counter[str] = Counter(kept=0, twice=0, late=0)
    chance = random.Random(me.pk)
    while True:
        lease = queue.claim(project=project, annotator=me)
        if lease is None:
            if not Slot.objects.filter(project=project).exclude(state="done").exists():
                return tally
            time.sleep(0.05)  # somebody may yet let a lease run out
            continue
        if chance.random() < 0.2:
            Slot.objects.filter(pk=lease.slot_id, token=lease.token, state="leased").update(
                leased_until=timezone.now() - timedelta(seconds=1)
            )
            time.sleep(0.01)
            tally["late"] += 1
        key = uuid.uuid4()
        try:
            for again in range(chance.choice([1, 1, 1, 2, 3])):
                builders.submit(lease, chance.choices(range(1, 5), k=4), key=key)
                tally["twice" if again else "kept"] += 1
            if chance.random() < 0.1:
                builders.submit(lease)
                tally["kept"] += 1
        except AlreadyJudged:
            pass


if __name__ == "__main__":
    project, me = Project.objects.get(pk=sys.argv[1]), User.objects.get(pk=sys.argv[2])
    print(*(f"{name}={count}" for name, count in work(project, me).items()))

"""Prints how many statements a submit with the next item takes, on the database of DATABASE_URL."""

from __future__ import annotations

import re
import uuid

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from annotation.models import User  # noqa: E402

WORK = "/p/queue/work/"


def main() -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client(headers={"HX-Request": "true"})
    client.force_login(User.objects.get(username="person-1"), settings.AUTHENTICATION_BACKENDS[-1])
    page = client.get(WORK).content.decode()
    for _ in range(2):  # the first one is warm-up
        ticket = re.findall(r'name="ticket" value="([^"]+)"', page)[0]
        ranks = dict.fromkeys(re.findall(r'name="(rank-[A-Z])"', page), 1)
        with CaptureQueriesContext(connection) as queries:
            page = client.post(WORK, {"ticket": ticket, "key": uuid.uuid4(), **ranks}).content.decode()
    print(len(queries))


if __name__ == "__main__":
    main()

"""Probes: whether the process lives, and whether what it needs is there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never says anything."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def ready(query: str = "") -> tuple[int, Any]:
    answer = Client().get(f"/readyz{query}")
    return answer.status_code, json.loads(answer.content)


def test_it_is_ready() -> None:
    assert ready() == (200, {"database": True, "migrations": True, "redis": True})


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@override_settings(SECURE_SSL_REDIRECT=True)
def test_probes_come_over_http_with_any_host(path: str) -> None:
    answer = Client(headers={"Host": "10.1.2.3:8000"}).get(path)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer
    assert Client(headers={"Host": "10.1.2.3:8000"}).get("/sign-in/").status_code == 400


def test_a_database_that_does_not_answer(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", silent)
    assert ready() == (503, {"database": False, "migrations": None, "redis": True})
    assert ready("?exclude=database&exclude=migrations")[0] == 200
    assert Client().get("/livez").status_code == 200


@pytest.mark.parametrize("where", ["unix:///nowhere/valkey.sock", "redis://127.0.0.1:{silent}"])
def test_redis_that_is_away_or_does_not_answer(silent: int, where: str) -> None:
    with override_settings(REDIS_URL=where.format(silent=silent)):
        assert ready() == (503, {"database": True, "migrations": True, "redis": False})
        assert ready("?exclude=redis")[0] == 200, "people who are signed in can work on"
        assert Client().get("/livez").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["django_migrations", "another"])
def test_a_database_without_this_release_s_migrations(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO another")
        try:
            if table == "django_migrations":  # there, and empty
                cursor.execute("CREATE TABLE django_migrations (LIKE another)")
            assert ready() == (503, {"database": True, "migrations": False, "redis": True})
        finally:
            cursor.execute("DROP TABLE IF EXISTS django_migrations")
            cursor.execute("ALTER TABLE another RENAME TO django_migrations")


def test_a_part_that_there_is_not_is_refused() -> None:
    status, answer = ready("?exclude=postgres")
    assert status == 400
    assert answer["detail"] == "exclude is 'postgres'; it may be database, migrations, redis."

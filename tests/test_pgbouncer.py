"""The site behind PgBouncer, which gives each transaction another session of the server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from annotation.models import ApiToken, Import, Judgment, Member
from config.embedded import not_as_root
from config.postgresql.base import DatabaseWrapper
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, kill, process, until
from tests.site_client import SiteClient

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow(40),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="PgBouncer is not installed"),
    pytest.mark.skipif(not settings.EMBEDDED, reason="the tests use a server of another machine"),
]

SESSIONS = 3
EXAMPLE = settings.BASE_DIR / "deploy" / "pgbouncer.ini"


@contextmanager
def pgbouncer(folder: Path) -> Iterator[str]:
    """The example's configuration on the test database, with few sessions that take turns; yields the URL."""
    port = free_port()
    config = ConfigParser(comment_prefixes=";")
    config.read(EXAMPLE)
    config["databases"] = {"*": f"host={settings.EMBEDDED.sockets}"}
    (folder / "users").write_text('"postgres" ""\n')
    config["pgbouncer"].update(
        listen_addr="127.0.0.1",
        listen_port=str(port),
        auth_type="trust",
        auth_file=str(folder / "users"),
        unix_socket_dir="",
        default_pool_size=str(SESSIONS),
        server_round_robin="1",
    )
    with (folder / "pgbouncer.ini").open("w") as file:
        config.write(file)
    url = f"postgres://postgres@127.0.0.1:{port}/{connection.settings_dict['NAME']}"
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [*not_as_root(), "pgbouncer", str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def answers() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert child.poll() is None, (folder / "log").read_text()
            return False
        return True

    try:
        until(answers, "PgBouncer answers")
        yield url
    finally:
        kill(child)


@pytest.fixture(scope="module")
def pooled(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pgbouncer")
    with pgbouncer(folder) as url:
        yield url


@pytest.fixture
def wrapper(pooled: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseWrapper]:
    """This process's own connection, by way of PgBouncer."""
    port = pooled.rpartition(":")[2].partition("/")[0]
    options = {"prepare_threshold": 5}
    monkeypatch.setattr(settings, "DATABASE_PREPARE", None)
    by_pooler = {"HOST": "127.0.0.1", "PORT": port, "USER": "postgres", "OPTIONS": options}
    database = DatabaseWrapper(connection.settings_dict | by_pooler)
    yield database
    database.close()


def test_nothing_is_left_in_a_session(wrapper: DatabaseWrapper) -> None:
    sessions = set()
    with wrapper.cursor() as cursor:
        assert wrapper.connection.prepare_threshold is None
        for _ in range(2 * SESSIONS):
            cursor.execute(
                "SELECT pg_backend_pid(), current_setting('jit'), count(*) FROM pg_prepared_statements"
            )
            process_id, jit, prepared = cursor.fetchone()
            assert (jit, prepared) == ("off", 0)
            sessions.add(process_id)


def test_rows_are_read_in_parts_without_a_cursor_of_the_server(wrapper: DatabaseWrapper) -> None:
    wrapper.ensure_connection()
    with wrapper.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        assert sum(len(cursor.fetchmany(2000)) for _ in range(3)) == 5000


def test_a_pooler_that_knows_prepared_statements_gets_them(
    wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DATABASE_PREPARE", True)
    wrapper.ensure_connection()
    assert wrapper.connection.prepare_threshold == 5


def test_without_a_pooler_statements_are_prepared() -> None:
    connection.ensure_connection()
    assert connection.connection.prepare_threshold == 5
    assert not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")


def test_people_judge_and_files_are_imported_and_exported(pooled: str) -> None:
    cache.clear()
    alice = builders.user("alice")
    project = builders.project(alice, overlap=2)
    names = [f"annotator-{n}" for n in range(4)]
    for name in names:
        builders.join(project, builders.user(name), Member.Role.ANNOTATOR)
    builders.items(project, 12)
    key = ApiToken.issue(user=alice, name="script", scope=ApiToken.Scope.LEAD)[1]
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def judge(name: str) -> None:
        client = SiteClient(address)
        assert client.sign_in(name).status_code == 302
        while (answer := client.judge()) is not None:
            assert answer.ok

    with ExitStack() as processes:
        for name in ("web", "worker", "importer"):
            processes.enter_context(process(name, port=port, DATABASE_URL=pooled))
        until(SiteClient(address).is_up, "the web process answers")
        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(judge, names))
        assert Judgment.objects.count() == 24
        api = SiteClient(f"{address}/api/v1/projects/helpfulness", Authorization=f"Bearer {key}")
        for path in ("/", "/prompts/", "/items/", "/members/", "/audit/", "/quality/"):
            for _ in range(2 * SESSIONS):
                assert api.get(path).ok, path
        assert len(api.get("/judgments/").text.splitlines()) == 6 * 24  # pairs of four answers
        file = json.dumps({"id": "new", "prompt": "Why?", "responses": ["a", "b", "c", "d"]})
        assert api.post("/imports/", files={"file": ("new.jsonl", file)}).status_code == 202
        lead = SiteClient(address)
        lead.sign_in("alice")
        with lead.socket("/ws/p/helpfulness/") as socket:
            assert json.loads(socket.recv(HANGS_S))["kind"] == "queue"
        until(lambda: Import.objects.get().state == "done", "the importer reads the file")
        until(lambda: project.items.filter(agreement__isnull=False).exists(), "the worker measures agreement")

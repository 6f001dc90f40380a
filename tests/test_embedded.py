"""Real servers from wheels, in a folder of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from config import embedded
from config.embedded import Embedded, EmbeddedError

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Embedded]:
    servers = Embedded(tmp_path / "var", durable=False)
    yield servers
    servers.stop()


def write(servers: Embedded) -> None:
    with psycopg.connect(host=str(servers.sockets), user="postgres", dbname="palate") as database:
        database.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        database.execute("INSERT INTO kept VALUES ('here')")
    redis.Redis(unix_socket_path=servers.redis_socket).set("kept", "here")


def kept(servers: Embedded) -> int:
    with psycopg.connect(host=str(servers.sockets), user="postgres", dbname="palate") as database:
        row = database.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def test_it_starts_twice_stops_and_keeps_what_was_written(servers: Embedded) -> None:
    servers.start()
    servers.start()
    assert servers.status() == {"postgres": True, "valkey": True}
    write(servers)
    servers.stop()
    assert servers.status() == {"postgres": False, "valkey": False}
    servers.start()
    assert kept(servers) == 1


def test_several_processes_may_start_it_at_once(servers: Embedded) -> None:
    code = (
        "from pathlib import Path; from config.embedded import Embedded; "
        f"Embedded(Path({str(servers.base)!r}), durable=False).start()"
    )
    starts = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [start.wait(60) for start in starts] == [0, 0, 0]
    write(servers)


def test_it_listens_on_private_sockets_only(servers: Embedded) -> None:
    servers.start()
    assert servers.sockets.stat().st_mode & 0o077 == 0
    with psycopg.connect(host=str(servers.sockets), user="postgres", dbname="palate") as database:
        assert database.execute("SHOW listen_addresses").fetchone() == ("",)


def test_it_starts_anew_where_its_files_were_deleted_under_it(servers: Embedded) -> None:
    servers.start()
    shutil.rmtree(servers.base)
    servers.start()
    write(servers)
    assert kept(servers) == 1


def test_without_binaries_it_says_what_to_do(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package_directory", lambda name: None)
    monkeypatch.setattr(embedded.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(embedded.shutil, "which", lambda name: None)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        embedded._postgres_binaries()
    with pytest.raises(EmbeddedError, match="set REDIS_URL"):
        embedded._valkey_binary()
    for program in (embedded._postgres_binaries, embedded._valkey_binary):
        with pytest.raises(EmbeddedError, match="Debian's package"):
            program(system=True)
    monkeypatch.setattr(embedded.os, "geteuid", lambda: 0)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        embedded.not_as_root()
    monkeypatch.undo()


def test_a_strangers_socket_folder_is_refused(servers: Embedded) -> None:
    servers.sockets.mkdir(mode=0o755)
    servers.sockets.chmod(0o755)
    with pytest.raises(EmbeddedError, match="remove it"):
        servers.start()
    servers.sockets.rmdir()

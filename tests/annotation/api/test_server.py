"""Streaming, over a real server: what a test client gathers in memory, a server must not."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from django.db import connection
from django.test import TransactionTestCase

from annotation.models import ApiToken, Import, Prompt, Snapshot
from tests import builders
from tests.annotation.bulk import fill
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = [pytest.mark.live, pytest.mark.slow(10)]

COUNT = 6_000
POOL = 4
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"prompt": "a"}\n\r\n--x--\r\n'


def megabytes(pid: int) -> int:
    """The process's memory, at its highest since it started."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


class ServerTests(TransactionTestCase):
    def setUp(self) -> None:
        self.alice = builders.user("alice")
        self.project = builders.project(self.alice)
        self.headers = {
            "Authorization": f"Bearer {ApiToken.issue(user=self.alice, name='t', scope='lead')[1]}"
        }
        self.port = free_port()

    def answers(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as site:
            try:
                site.request("GET", "/api/v1/projects/", headers=self.headers)
                return site.getresponse().status == 200
            except OSError:
                return False

    def test_exports_leave_at_once_with_flat_memory_and_imports_come_in_chunks(self) -> None:
        fill(self.project, self.alice, COUNT)
        with process("web", port=self.port, DATABASE_POOL=str(POOL)) as server:
            until(self.answers, "the site to answer")
            self.export(server.pid)
            self.readers_that_wait()
            self.send_in_chunks()
            self.send_in_chunks_what_is_not_read_so()

    def export(self, pid: int) -> None:
        before = megabytes(pid)
        site = http.client.HTTPConnection("127.0.0.1", self.port)
        site.sock = self.narrow_line()
        site.request("GET", "/api/v1/projects/helpfulness/judgments/?format=trl", headers=self.headers)
        answer = site.getresponse()
        assert answer.getheader("Transfer-Encoding") == "chunked"
        first_line = answer.readline()
        asked = self.last_query()
        lines = 1 + sum(1 for _ in answer)
        assert set(json.loads(first_line)) == {"prompt", "chosen", "rejected", "margin"}
        assert lines == 6 * COUNT
        assert self.last_query() > asked, "the database was asked for more after the first line had come"
        assert megabytes(pid) - before < 30
        site.close()

    def readers_that_wait(self) -> None:
        """Twice as many as there are connections to the database, none of whom reads on, leave room for the others."""
        readers = [self.reader() for _ in range(2 * POOL)]
        assert self.answers()
        for reader in readers:
            reader.close()
        until(lambda: self.busy_connections() == 0, "the connections to be given back")
        assert self.answers()

    def narrow_line(self) -> socket.socket:
        """A connection that holds little of what is sent and not yet read."""
        line = socket.socket()
        line.settimeout(HANGS_S)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", self.port))
        return line

    def reader(self) -> socket.socket:
        reader = self.narrow_line()
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        reader.sendall(
            f"GET /api/v1/projects/helpfulness/judgments/ HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()
        )
        assert reader.recv(12) == b"HTTP/1.1 200"
        return reader

    def busy_connections(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state <> 'idle'"
            )
            return int(cursor.fetchone()[0])

    def last_query(self) -> datetime:
        """When the site last asked the database for something."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
            (when,) = cursor.fetchone()
        assert isinstance(when, datetime)
        return when

    def send_in_chunks(self) -> None:
        lines = (json.dumps({"id": f"chunk {n}", "prompt": f"{n}?"}).encode() + b"\n" for n in range(500))
        site = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_S)
        headers = self.headers | {"Content-Type": "application/x-ndjson"}
        site.request("POST", "/api/v1/projects/helpfulness/prompts/", lines, headers, encode_chunked=True)
        answer = site.getresponse()
        assert answer.status == 200, answer.read()
        assert json.loads(answer.read())["prompts"] == 500
        assert Prompt.objects.filter(external_id__startswith="chunk").count() == 500
        site.close()

    def send_in_chunks_what_is_not_read_so(self) -> None:
        for door, content_type, body in (
            ("snapshots", "application/json", b'{"note": "pilot"}'),
            ("snapshots", "application/x-ndjson", b'{"note": "pilot"}'),
            ("prompts", "application/json", b'[{"prompt": "a"}]'),
            ("imports", "multipart/form-data; boundary=x", FORM),
        ):
            site = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_S)
            headers = self.headers | {"Content-Type": content_type}
            path = f"/api/v1/projects/helpfulness/{door}/"
            site.request("POST", path, iter([body]), headers, encode_chunked=True)
            answer = site.getresponse()
            assert (answer.status, answer.getheader("Content-Type")) == (411, "application/problem+json")
            assert "Content-Length" in json.loads(answer.read())["detail"]
            site.close()
        assert not Snapshot.objects.exists()
        assert not Import.objects.exists()

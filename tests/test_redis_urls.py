"""REDIS_URL: which databases it stands for, and whether every client verifies the server's certificate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config.redis_urls import redis_urls
from tests.processes import free_port, until


@pytest.mark.parametrize(
    ("url", "broker", "live", "cache"),
    [
        ("redis://host", "redis://host/0", "redis://host/1", "redis://host/2"),
        ("redis://host:6379/", "redis://host:6379/0", "redis://host:6379/1", "redis://host:6379/2"),
        (
            "redis://:p%40ss@host/0",
            "redis://:p%40ss@host/0",
            "redis://:p%40ss@host/1",
            "redis://:p%40ss@host/2",
        ),
        ("redis://host/3?x=1", "redis://host/3?x=1", "redis://host/4?x=1", "redis://host/5?x=1"),
        (
            "rediss://host",
            "rediss://host/0?ssl_cert_reqs=required",
            "rediss://host/1?ssl_cert_reqs=required",
            "rediss://host/2?ssl_cert_reqs=required",
        ),
        (
            "rediss://host?ssl_cert_reqs=none",
            "rediss://host/0?ssl_cert_reqs=none",
            "rediss://host/1?ssl_cert_reqs=none",
            "rediss://host/2?ssl_cert_reqs=none",
        ),
        (
            "unix:///run/redis.sock",
            "redis+socket:///run/redis.sock?virtual_host=0",
            "unix:///run/redis.sock?db=1",
            "unix:///run/redis.sock?db=2",
        ),
        (
            "unix:///run/redis.sock?db=4",
            "redis+socket:///run/redis.sock?virtual_host=4",
            "unix:///run/redis.sock?db=5",
            "unix:///run/redis.sock?db=6",
        ),
    ],
)
def test_it_stands_for_three_databases_in_a_row(url: str, broker: str, live: str, cache: str) -> None:
    assert redis_urls(url) == (broker, live, cache)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("host:6379", "REDIS_URL starts with redis://, rediss:// or unix://, not 'host'"),
        ("http://host", "not 'http'"),
        ("redis://host/palate", "a database is a number, not 'palate'"),
        ("redis://host/1/2", "a database is a number, not '1/2'"),
        ("unix:///run/redis.sock?db=-1", "a database is a number, not '-1'"),
    ],
)
def test_what_is_no_server_of_redis_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL") as caught:
        redis_urls(url)
    assert sentence in str(caught.value)


# every client of the site, each with "" or why it could not connect
CLIENTS = """
import asyncio, json
import django
django.setup()
from channels.layers import get_channel_layer
from django.core.cache import cache
from config.celery import app
from config.health import quick_redis

def broker():
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        connection.default_channel.client.ping()

def store():
    cache.set("key", "value")
    if cache.get("key") != "value":  # without a server it only logs
        raise OSError("CERTIFICATE_VERIFY_FAILED")

async def layer():
    channels = get_channel_layer()
    await channels.group_add("group", await channels.new_channel())

def health():
    with quick_redis() as redis:
        redis.ping()

errors = {}
for client in (broker, store, lambda: asyncio.run(layer()), health):
    try:
        client()
    except Exception as error:
        errors[client.__name__] = str(error)
print(json.dumps(errors))
"""


@pytest.fixture
def encrypted_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Port and certificate of a Redis server with TLS and the password `p@ss`."""
    redis, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if redis is None or openssl is None:
        pytest.skip("no Redis server with TLS here")  # the wheel's has none
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options = ["--port", "0", "--tls-auth-clients", "no", "--requirepass", "p@ss", "--save", ""]
    log = tmp_path / "redis.log"
    with subprocess.Popen([redis, *tls, *options, "--logfile", str(log)]) as server:
        try:
            until(lambda: log.exists() and "Ready to accept" in log.read_text(), "Redis accepts connections")
            yield port, certificate
        finally:
            server.terminate()


@pytest.mark.live
def test_every_client_verifies_the_certificate(encrypted_server: tuple[int, Path], tmp_path: Path) -> None:
    port, certificate = encrypted_server

    def errors(parameters: str) -> dict[str, str]:
        environment = os.environ | {
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/x",
            "REDIS_URL": f"rediss://:p%40ss@localhost:{port}/3{parameters}",
            "PALATE_VAR": str(tmp_path / "var"),
        }
        done = subprocess.run(
            [sys.executable, "-c", CLIENTS],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    assert not errors(f"?ssl_ca_certs={certificate}")
    refused = errors("")
    assert len(refused) == 4
    assert all("CERTIFICATE_VERIFY_FAILED" in error for error in refused.values()), refused
    assert not errors("?ssl_cert_reqs=none")

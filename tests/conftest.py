from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import OperationalError
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import override_settings
from psycopg.errors import DeadlockDetected

from tests.processes import MODEL_DIRS


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hashing a password is slow on purpose, which the passwords of tests do not need. The site's own processes take these
    hashes too: each says how it was made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_flush() -> Iterator[None]:
    """Empty the tables again where it ran into a deadlock with the last request of a page that was closed."""
    flush = DatabaseOperations.execute_sql_flush

    def flush_again(operations: DatabaseOperations, statements: list[str]) -> None:
        try:
            # the tables that are append-only refuse it otherwise
            flush(operations, ["SET LOCAL palate.truncate = 'on'", *statements])
        except OperationalError as error:
            if not isinstance(error.__cause__, DeadlockDetected):
                raise
            flush_again(operations, statements)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", flush_again)
        yield


@pytest.fixture(scope="session", autouse=True)
def models_of_tests() -> Iterator[None]:
    """Tests keep their models in temporary folders; those of the site's own processes have the same setting."""
    with override_settings(MODEL_DIRS=MODEL_DIRS):
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files_on_request() -> Iterator[None]:
    """Each test client loads the middleware anew, and WhiteNoise would list all static files each time."""
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield

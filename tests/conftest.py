from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management.commands import flush as flush_command
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import override_settings

from tests import flush
from tests.processes import MODEL_DIRS


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hashing a password is slow on purpose, which the passwords of tests do not need. The site's own processes take these
    hashes too: each says how it was made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> Iterator[None]:
    """Empty the tables by what is quick for a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", flush.sql_flush)
        patch.setattr(DatabaseOperations, "execute_sql_flush", flush.execute_sql_flush)
        patch.setattr(flush_command, "emit_post_migrate_signal", lambda *_: None)
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

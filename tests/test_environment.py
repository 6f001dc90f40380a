"""Settings from files that the environment names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment

env = Environment()


def secret(folder: Path, content: str | bytes) -> str:
    path = folder / "secret"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("content", ["$ecret word", "$ecret word\n", "$ecret word\r\n"])
def test_a_file_has_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("A_SECRET", "")  # as compose passes what is not set
    monkeypatch.setenv("A_SECRET_FILE", secret(tmp_path, content))
    assert env.str("A_SECRET", default="other") == "$ecret word"


def test_values_have_the_types_of_their_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_NUMBER_FILE", secret(tmp_path, "12\n"))
    assert env.int("A_NUMBER", default=1) == 12
    monkeypatch.setenv("AN_ADDRESS_FILE", secret(tmp_path, "postgres://palate:word@host:5432/name\n"))
    assert env.db_url("AN_ADDRESS")["PASSWORD"] == "word"
    monkeypatch.setenv("A_LIST_FILE", secret(tmp_path, "a,b\n"))
    assert env.list("A_LIST", default=[]) == ["a", "b"]


def test_numbers_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_NUMBER", "1.5e3")
    assert env.float("A_NUMBER", default=1.0) == 1500
    monkeypatch.setenv("A_NUMBER", "-7")
    assert env.int("A_NUMBER") == -7
    monkeypatch.setenv("A_NUMBER", "")  # as compose passes what is not set
    assert env.float("A_NUMBER", default=0.5) == 0.5
    assert env.int("A_NUMBER", default=5) == 5


@pytest.mark.parametrize("text", ["abc", "0,50", "2 USD", "nan", "inf", "1e400", ""])
def test_what_is_no_number_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("A_NUMBER", text)
    with pytest.raises(ImproperlyConfigured, match=f"^A_NUMBER is '{text}', which is no number.$"):
        env.float("A_NUMBER")
    with pytest.raises(ImproperlyConfigured, match=f"^A_NUMBER is '{text}', which is no whole number.$"):
        env.int("A_NUMBER")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "A_SECRET_FILE is /.*/secret, which is empty."),
        (" \n", "A_SECRET_FILE is /.*/secret, which is empty."),
        ("a\nb\n", "A_SECRET_FILE is /.*/secret, which has more than one line."),
        (b"\xff", "A_SECRET_FILE is /.*/secret, which cannot be read: it is not UTF-8."),
    ],
)
def test_a_file_without_one_value_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, sentence: str
) -> None:
    monkeypatch.setenv("A_SECRET_FILE", secret(tmp_path, content))
    with pytest.raises(ImproperlyConfigured, match=f"^{sentence}$"):
        env.str("A_SECRET", default="")


def test_a_missing_file_and_two_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_FILE", "/no/such/file")
    with pytest.raises(
        ImproperlyConfigured, match="A_SECRET_FILE is /no/such/file, which cannot be read: No such"
    ):
        env.str("A_SECRET", default="")
    monkeypatch.setenv("A_SECRET", "other")
    with pytest.raises(
        ImproperlyConfigured, match="A_SECRET and A_SECRET_FILE are both set; set one of them"
    ):
        env.str("A_SECRET", default="")


def test_libraries_find_values_of_files_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "")
    monkeypatch.setenv("A_KEY_FILE", secret(tmp_path, "word\n"))
    monkeypatch.setenv("ANOTHER_KEY", "as it was")
    env.export("A_KEY", "ANOTHER_KEY", "NO_KEY")
    assert (os.environ["A_KEY"], os.environ["ANOTHER_KEY"]) == ("word", "as it was")
    assert not {"A_KEY_FILE", "NO_KEY"} & set(os.environ)  # a child process would find two values


@pytest.mark.live
def test_the_site_reads_its_secrets_from_files(tmp_path: Path) -> None:
    names = (
        "SECRET_KEY",
        "DATABASE_PASSWORD",
        "METRICS_TOKEN",
        "OIDC_CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
    )
    files = {f"{name}_FILE": str(tmp_path / name) for name in names}
    for name in names:
        (tmp_path / name).write_text(f"word of {name}\n")
    code = """
import os
from django.conf import settings
app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
print(settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"], settings.METRICS_TOKEN, app["secret"],
      os.environ["AWS_SECRET_ACCESS_KEY"], sep="|")
"""
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    servers = {"DATABASE_URL": "postgres://palate:other@host/name", "REDIS_URL": "redis://host"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env=inherited | files | servers | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().split("|") == [f"word of {name}" for name in names]

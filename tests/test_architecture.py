"""The two-sided proof that the web process never loads torch and that the core and the logic never load Django; and the
arrows between the rooms."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parent.parent

# Any import of these raises, from wherever it is tried
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError(f"{{name}} must not be loaded here")
sys.meta_path.insert(0, Blocked())
"""


def run(code: str, *, without: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = BLOCK.format(names=without) + code
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANGS_S
    )


def test_the_web_tier_works_where_torch_is_not_installed() -> None:
    code = """
import django; django.setup()
from django.urls import get_resolver
import config.asgi
views = [name for name in get_resolver().reverse_dict if isinstance(name, str)]
assert len(views) > 20, views
from django.core.management import call_command
call_command("check")
"""
    done = run(
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'\n" + code,
        without=("torch", "transformers", "tokenizers", "safetensors", "numpy"),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db(transaction=True)
def test_the_running_web_process_has_no_torch_in_its_memory() -> None:
    port = free_port()
    with process("web", port=port) as web:

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                    return True
            except OSError:
                return False

        until(answers, "the web process answers")
        for path in ("/sign-in/", "/api/v1/schema/"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HANGS_S) as page:
                assert page.status == 200
        mapped = Path(f"/proc/{web.pid}/maps").read_text()
    assert "libpython" in mapped or "python" in mapped
    assert "torch" not in mapped


def test_the_core_works_where_django_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"kind": "generate", "config": {}, "model": "/nowhere"}')
    (tmp_path / "data.jsonl").write_text('{"id": 1, "prompt": [{"role": "user", "content": "?"}]}\n')
    code = f"""
import importlib, pkgutil, training.core
for module in pkgutil.iter_modules(training.core.__path__):
    importlib.import_module(f"training.core.{{module.name}}")
sys.argv = ["training.core", {str(tmp_path)!r}]
import runpy; runpy.run_module("training.core", run_name="__main__")
"""
    done = run(
        code, without=("django", "celery", "channels", "rest_framework", "psycopg", "config", "annotation")
    )
    assert done.returncode == 2, done.stderr  # the core's own exit code for bad input: it came that far
    assert "/nowhere" in done.stdout


def test_the_logic_works_where_django_is_not_installed() -> None:
    code = """
import importlib, pkgutil, annotation.logic, training.configs
for module in pkgutil.iter_modules(annotation.logic.__path__):
    importlib.import_module(f"annotation.logic.{module.name}")
"""
    done = run(code, without=("django", "celery", "channels", "rest_framework", "psycopg", "torch"))
    assert done.returncode == 0, done.stderr


def test_the_block_blocks() -> None:
    assert "must not be loaded" in run("import torch", without=("torch",)).stderr


def test_the_arrows_between_the_rooms_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_what_the_core_cannot_import_is_the_same_on_both_sides() -> None:
    from annotation.imports.prompt_schema import ROLES
    from annotation.logic.degrees import MARGINS
    from training import configs
    from training.core import messages

    assert configs.MARGINS["small"] == MARGINS
    assert (*ROLES, "tool") == messages.ROLES  # imports refuse conversations with tools

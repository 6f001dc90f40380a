"""Every text of every page goes through Django's translations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from annotation.logic.time_zones import zone_names
from annotation.models import User
from tests import builders, screens
from tests.pseudo_language import WORD, plain_words, pseudo_language
from tests.world import make_world

# names, and what files, settings and programs call things
NAMES = """
palate api csv json jsonl parquet json-lines markdown url urls utc http https kl ppo dpo rlhf trl grpo sft llama instructgpt csv
tsv ndjson gz utf pdf html annotating deutsch english ok kb mb gb iso iana rss id ids sha cpu gpu cuda nats ipo kto lora tldr utc
""".split()


def known_words() -> set[str]:
    """The words of the texts in the database, and of the names of time zones."""
    texts = [*zone_names()]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names()
        for table in [table for table in tables if table.split("_")[0] in ("annotation", "training")]:
            cursor.execute(
                f"SELECT DISTINCT value #>> '{{}}' FROM \"{table}\" AS row, "
                "jsonb_path_query(to_jsonb(row), 'strict $.** ? (@.type() == \"string\")') AS value"
            )
            texts += [text for (text,) in cursor.fetchall()]
    return {word.lower() for text in texts for word in WORD.findall(text)}


@pytest.fixture
def world(transactional_db: None) -> screens.World:
    return make_world(builders.user("alice", is_staff=True), builders.user("bob"))


def pages(world: screens.World) -> Iterator[tuple[str, Client, str]]:
    """The name of every page, a client signed in as somebody who may see it, and its path."""
    for who, table in (("", screens.SIGNED_OUT), ("bob", screens.ANNOTATOR), ("alice", screens.LEAD)):
        client = Client()
        if who:
            client.force_login(User.objects.get(username=who), backend="annotation.backends.AccountBackend")
        paths = screens.paths(table, world)
        if who == "bob":
            for slug in (world.pairs.slug, world.letters.slug, "changed"):
                paths[f"work-{slug}"] = reverse("work", args=[slug])
        for name, path in paths.items():
            yield name, client, path


@pytest.mark.slow(20)
def test_no_page_has_a_text_that_is_not_translated(world: screens.World) -> None:
    known = {*known_words(), *NAMES, *settings.OIDC_NAME.lower().split()}
    plain: list[str] = []
    for name, client, path in pages(world):
        with pseudo_language():
            response = client.get(path, follow=True)
        assert response.status_code == 200, (name, path)
        plain += [f"{name}: {text}" for text in plain_words(response.content.decode(), known)]
    assert not plain, f"{len(plain)} texts:\n" + "\n".join(plain)


@pytest.mark.slow(20)
@override_settings(LANGUAGES=[("en", "English"), ("de", "German")])
def test_numbers_in_attributes_are_those_of_programs_in_every_language(world: screens.World) -> None:
    """German has decimal commas, which a browser does not read in an attribute."""
    wrong: list[str] = []
    for name, client, path in pages(world):
        response = client.get(path, follow=True, headers={"accept-language": "de"})
        assert 'lang="de"' in response.content.decode(), name
        found = re.findall(r'[\w-]+="-?[\d.]*\d,\d+%?"', response.content.decode())
        wrong += [f"{name}: {attribute}" for attribute in found]
    assert not wrong, f"{len(wrong)} attributes:\n" + "\n".join(wrong)


# a text of a script: a capital letter begins it, or it has two words; a template counts with words beside its values
SENTENCE = re.compile(
    r"""(?<![\w.-])(["'`])(?:[A-Z][a-z]+|[a-z]+ [a-z]+)[ .,!?’…a-z](?:(?!\1).)*\1"""
    r"""|`(?:[^`$]*[ (])?[A-Za-z]{2,}[ ,:]*\$\{[^`]*`|`[^`]*\}[ ,:]+[a-z]{2,}[^`=]*`"""
)
MARKED = re.compile(r"n?gettext\((\s*\"[^\"]*\",)?$")
# what is compared, a class of CSS, and selectors
IS_DATA = re.compile(
    r"""(?:[=!]==|className =|createElement\("\w+",|[sS]elector(?:All)?\(|closest\(|matches\(|startsWith\()$"""
)


def test_no_script_has_a_text_that_is_not_translated() -> None:
    plain: list[str] = []
    for path in sorted(Path("static/js").rglob("*.js")):
        code = re.sub(r"//[^\n]*", "", path.read_text())
        plain += [
            f"{path}: {found.group()}"
            for found in SENTENCE.finditer(code)
            if not any(rule.search(code[: found.start()].rstrip()) for rule in (MARKED, IS_DATA))
        ]
    assert not plain, f"{len(plain)} texts:\n" + "\n".join(plain)


# what is meant for who runs the site or writes programs: it is in English
IN_ENGLISH = ("core", "demo", "management", "api", "migrations")
FILES_IN_ENGLISH = ("admin.py", "scheduler.py")
NOT_SHOWN = {
    "ImproperlyConfigured",
    "RuntimeError",
    "AssertionError",
    "TemplateSyntaxError",
    "TypeError",
    "NotImplementedError",
    "KeyError",
    "BackupError",
    "CommandError",
    "OSError",
}
MESSAGES = {"success", "warning", "error", "info", "add_message"}
NAMED = {"label", "help_text", "verbose_name", "error_messages", "labels", "help_texts"}
# of a model: of its fields, only those that a form shows need it, which is seen on the page
OF_FIELDS = {"help_text", "verbose_name"}


def _texts(node: ast.expr) -> Iterator[ast.expr]:
    """The texts in an expression that no function translates."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, ast.BinOp | ast.IfExp):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _texts(child)


def _is_prose(node: ast.expr) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = " ".join(part.value for part in parts if isinstance(part, ast.Constant))
    return bool(re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}|^[A-Z][a-z]+$", text))


def test_no_message_or_label_is_left_untranslated() -> None:
    plain: list[str] = []
    for path in sorted([*Path("annotation").rglob("*.py"), *Path("training").rglob("*.py")]):
        if set(path.parts) & set(IN_ENGLISH) or path.name in FILES_IN_ENGLISH:
            continue
        names = NAMED - OF_FIELDS if "models" in path.parts else NAMED
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Assign) and getattr(call.targets[0], "id", "") in names:
                found = [*_texts(call.value)]
            elif isinstance(call, ast.Call):
                name = getattr(call.func, "attr", "") or getattr(call.func, "id", "")
                is_log = getattr(getattr(call.func, "value", None), "id", "") == "log"
                shown = not is_log and (
                    (name.endswith("Error") and name not in NOT_SHOWN) or name in MESSAGES
                )
                found = [text for argument in call.args if shown for text in _texts(argument)]
                found += [text for word in call.keywords if word.arg in names for text in _texts(word.value)]
            else:
                continue
            plain += [f"{path}:{text.lineno}: {ast.unparse(text)}" for text in found if _is_prose(text)]
    assert not plain, f"{len(plain)} texts:\n" + "\n".join(plain)

"""The documents describe what is there."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from docs import module_tree

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text()


def test_architecture_names_every_module() -> None:
    _, written, _ = module_tree.split((ROOT / "ARCHITECTURE.md").read_text())
    assert written == module_tree.tree(), "run: python docs/module_tree.py"


@cache
def tracked_files() -> list[str]:
    return subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()


@cache
def definitions(path: str) -> dict[str, set[str]]:
    """A module's top-level names, each with its attributes if it is a class."""
    names: dict[str, set[str]] = {}
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = {name for part in node.body for name in bound_names(part)}
        else:
            names |= {name: set() for name in bound_names(node)}
    return names


def bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def code_spans(document: Path) -> set[str]:
    """What stands between backticks, outside fenced blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)))


def is_a_path(span: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+\.(py|md|toml|txt|yml|html|js|css|json|jsonl)|(\w[\w.-]*/)+\w*", span))


def path_exists(span: str) -> bool:
    """Whether a tracked file or folder has this path, or one that ends with it; what only a run or a user makes is named here."""
    made_elsewhere = {"job.json", "data.jsonl", "config.json", ".env"} | {
        *("palate.json", "result.json", "report.json", "responses.jsonl", "scores.jsonl", "best.jsonl"),
        *("criteria.json", "hindsight.json", "opinions.jsonl", "revisions.jsonl"),
        *("launch.json", "events.jsonl", "precision.json", "adapter/", "adapter_config.json"),
    }
    api = "".join(
        path.read_text() for app in ("annotation", "training") for path in (ROOT / app / "api").glob("*.py")
    )
    return (
        span in made_elsewhere
        or re.split(r"[./]", span)[0] in {"var", "output", "checkpoint", "tensorboard", "sampler"}
        or any(
            f"/{path}".endswith(f"/{span}") or f"/{span.rstrip('/')}/" in f"/{path}"
            for path in tracked_files()
        )
        or all(part in api for part in span.split("/") if part and not part.isdigit())
    )


def symbol_exists(span: str) -> bool:
    """Whether `package.module.name`, `module.name` or `module.Class.attribute` is defined; True for what is no module of ours."""
    parts = span.removesuffix("()").split(".")
    modules = [path for path in tracked_files() if path.endswith(".py") and not path.startswith("tests/")]
    ours = False
    for end in range(1, len(parts) + 1):
        place = "/" + "/".join(parts[:end])
        for path in modules:
            if f"/{path}".endswith((f"{place}.py", f"{place}/__init__.py")):
                ours = True
                rest = parts[end:]
                names = definitions(path)
                if not rest or (rest[0] in names and (len(rest) == 1 or rest[1] in names[rest[0]])):
                    return True
    events = (ROOT / "annotation/models/webhooks.py").read_text()
    return not ours or f'"{span}"' in events


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_spans_name_what_is_there(document: Path) -> None:
    spans = code_spans(document)
    symbols = {
        span for span in spans if re.fullmatch(r"[a-z_]+(\.[A-Za-z_]+)+(\(\))?", span) and not is_a_path(span)
    }
    missing = [span for span in spans if is_a_path(span) and not path_exists(span)]
    missing += [span for span in symbols if not symbol_exists(span)]
    assert not missing


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_classes_that_the_documents_name_are_there(name: str) -> None:
    classes = {name for path in tracked_files() if path.endswith(".py") for name in definitions(path)}
    spans = code_spans(ROOT / name)
    assert {span for span in spans if re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)*", span)} <= classes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(
        r'(?:src|srcset|href)="([^"#]+)"', text
    )
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name} leads to {target}"


def test_each_picture_is_shown_and_there_in_both_themes() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    shown = set(re.findall(r"pictures/(.+?)-(?:light|dark)\.png", text))
    assert sorted(path.name for path in (ROOT / "docs" / "pictures").iterdir()) == sorted(
        f"{name}-{theme}.png" for name in shown for theme in ("light", "dark")
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_commands_are_the_makefiles(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for target in re.findall(r"`?\bmake ((?!it\b)[a-z-]+)`", document.read_text()):
        assert target in targets, f"{document.name} speaks of make {target}"


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    code = (ROOT / "config" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', code))
    documented = set(
        re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    )
    assert read == documented


def test_compose_runs_what_the_documents_name() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    for service in (
        "postgres",
        "redis",
        "web",
        "worker",
        "counter",
        "importer",
        "archiver",
        "sender",
        "chat",
        "trainer",
        "gpu-trainer",
        "beat",
    ):
        assert re.search(rf"^  {service}:$", compose, re.MULTILINE)
    for queue in ("default", "figures", "imports", "jobs", "webhooks", "chats", "gpu"):
        assert f"--queues, {queue}" in compose


def test_pinned_versions_cover_what_is_asked_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    groups.append(project["dependency-groups"]["dev"])
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for name in (re.split(r"[\[>=<]", need)[0].lower() for group in groups for need in group):
        assert name in pinned, f"{name} has no version in constraints.txt"


def test_every_document_is_in_the_index() -> None:
    names = {path.stem for path in (ROOT / "docs").glob("[a-z]*.md")}
    assert set(re.findall(r"\]\(([a-z-]+)\.md\)", (ROOT / "docs" / "README.md").read_text())) == names

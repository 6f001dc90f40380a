"""The documents say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text()


def tree() -> list[tuple[str, str]]:
    """README's annotated tree: every path with what is said of it."""
    readme = (ROOT / "README.md").read_text()
    block = readme.partition("<!-- tree -->")[2].partition("```\n")[2].partition("```")[0]
    parents: list[str] = []
    found = []
    for line in block.splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        names, _, phrase = line.strip().partition("  ")
        found += [("".join(parents[:indent]) + name, phrase.strip()) for name in names.split()]
        if names.endswith("/"):
            parents[indent:] = [names]
    return found


def test_the_readmes_tree_is_the_projects() -> None:
    listed = dict(tree())
    assert len(listed) > 40
    for path, phrase in listed.items():
        assert (ROOT / path).exists(), f"{path} stands in README.md and is not there"
        assert phrase, f"README.md says nothing of {path}"
    for folder in (
        "annotation",
        "annotation/logic",
        "annotation/actions",
        "training",
        "training/core",
        "config",
    ):
        for path in (ROOT / folder).glob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py":
                assert name in listed, f"{name} is missing in README.md's tree"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(
        r'(?:src|srcset|href)="([^"#]+)"', text
    )
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name} leads to {target}"


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
        "importer",
        "sender",
        "trainer",
        "gpu-trainer",
        "beat",
    ):
        assert re.search(rf"^  {service}:$", compose, re.MULTILINE)
    for queue in ("default", "imports", "webhooks", "gpu"):
        assert f"--queues, {queue}" in compose


def test_pinned_versions_cover_what_is_asked_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    groups.append(project["dependency-groups"]["dev"])
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for name in (re.split(r"[\[>=<]", need)[0].lower() for group in groups for need in group):
        assert name in pinned, f"{name} has no version in constraints.txt"

"""The documents say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import module_tree

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text()


def test_architecture_names_every_module() -> None:
    _, written, _ = module_tree.split((ROOT / "ARCHITECTURE.md").read_text())
    assert written == module_tree.tree(), "run: python docs/module_tree.py"


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

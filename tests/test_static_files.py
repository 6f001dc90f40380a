"""Scripts are modules, and a page asks at once for all that it will load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from pytest_django import Settings

from config.processes import collect_static, static_sources_sha256
from config.static_files import StaticFilesStorage

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES, STATIC = ROOT / "templates", ROOT / "static"
MODULE = re.compile(r"""<script type="module" src="{% static '(js/[^']+)' %}"[^>]*>""")
PRELOAD = re.compile(r"""<link rel="modulepreload" href="{% static '(js/[^']+)' %}">""")
IMPORT = re.compile(r"""(?:\bfrom|^import) "(\.[^"]+)";""", re.MULTILINE)
PAGES = sorted(path for path in TEMPLATES.rglob("*.html") if MODULE.search(path.read_text()))


def imports(name: str) -> set[str]:
    """The modules that one imports, directly or through others."""
    paths = [(STATIC / name).parent / match for match in IMPORT.findall((STATIC / name).read_text())]
    direct = {str(path.resolve().relative_to(STATIC)) for path in paths}
    return direct.union(*map(imports, direct))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_imported_module_is_preloaded_and_no_other(page: Path) -> None:
    base = (TEMPLATES / "base.html").read_text()
    in_base = {*MODULE.findall(base), *PRELOAD.findall(base)}
    text = page.read_text()
    needed = set[str]().union(*map(imports, MODULE.findall(text)))
    preloaded = set(PRELOAD.findall(text))
    assert preloaded == (needed if page.name == "base.html" else needed - in_base)


def test_only_the_theme_and_vendored_scripts_run_outside_of_modules() -> None:
    classic = {
        match
        for path in TEMPLATES.rglob("*.html")
        for match in re.findall(r"""<script src="{% static '([^']+)' %}""", path.read_text())
    }
    assert {name for name in classic if not name.startswith("vendor/")} == {"js/theme.js"}


def test_collected_styles_have_no_comments_and_names_with_hashes(tmp_path: Path) -> None:
    storage = StaticFilesStorage(location=tmp_path, base_url="/static/")
    texts = {
        "css/a.css": "/* one\n   url(x.svg) */\n\n.a { background: url(b.svg) } /* two */\n",
        "css/b.svg": "<svg/>",
        "vendor/c.css": "/*! a licence */.c { color: red }",
    }
    for name, text in texts.items():
        storage.save(name, ContentFile(text))
    done = {name: new for name, new, _ in storage.post_process({name: (storage, name) for name in texts})}
    styles = (tmp_path / done["css/a.css"]).read_text()
    assert styles == f'.a {{ background: url("{Path(done["css/b.svg"]).name}") }} '
    assert (tmp_path / done["vendor/c.css"]).read_text() == texts["vendor/c.css"]


@pytest.mark.live
def test_files_are_collected_again_only_if_one_has_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    monkeypatch.setenv("STATIC_ROOT", str(tmp_path))
    (tmp_path / "sources.sha256").write_text("of other files")
    collect_static()
    manifest = tmp_path / "staticfiles.json"
    manifest.unlink()  # exists
    collect_static()
    assert not manifest.exists()


def test_a_changed_style_changes_what_is_compared(settings: Settings, tmp_path: Path) -> None:
    style = tmp_path / "a.css"
    style.write_text("a {}")
    before = static_sources_sha256()
    settings.STATICFILES_DIRS = [*settings.STATICFILES_DIRS, tmp_path]
    added = static_sources_sha256()
    style.write_text("a { color: red }")
    assert len({before, added, static_sources_sha256()}) == 3


def test_a_file_is_sent_whole(client: Client) -> None:
    text = (STATIC / "js/theme.js").read_bytes()
    answer = client.get("/static/js/theme.js")
    assert (answer.status_code, answer.streaming, answer.content) == (200, False, text)
    part = client.get("/static/js/theme.js", headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, text[2:10])
    head = client.head("/static/js/theme.js")
    assert (head.content, head["Content-Length"]) == (b"", str(len(text)))
    again = client.get("/static/js/theme.js", headers={"If-Modified-Since": answer["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")

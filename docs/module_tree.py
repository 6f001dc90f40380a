"""Write ARCHITECTURE.md's tree of modules: every module with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("annotation", "training", "client/palate_client", "config", "benchmarks", "docs")
MARKER = "<!-- modules -->\n"


def modules(folder: Path, depth: int = 0) -> Iterator[str]:
    """The lines of a folder's tree: a package, then its modules, each as `name  sentence`, indented by two spaces a level."""
    indent = "  " * depth
    package = folder / "__init__.py"
    yield f"{indent}{folder.relative_to(ROOT) if not depth else folder.name}/  {sentence(package)}".rstrip()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.name != "__init__.py":
            yield f"{indent}  {path.name}  {sentence(path)}"
        elif path.is_dir() and path.name not in ("migrations", "__pycache__") and any(path.rglob("*.py")):
            yield from modules(path, depth + 1)


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring; empty where there is none."""
    docstring = (ast.get_docstring(ast.parse(path.read_text())) or "") if path.exists() else ""
    return " ".join(docstring.split("\n\n")[0].split()).partition(". ")[0].removesuffix(".")


def tree() -> str:
    """The whole tree as a fenced block."""
    lines = [line for folder in FOLDERS for line in modules(ROOT / folder)]
    return "```\n" + "\n".join(lines) + "\n```\n"


def split(text: str) -> tuple[str, str, str]:
    """ARCHITECTURE.md in three: up to the tree, the tree, and what follows it."""
    before, _, rest = text.partition(MARKER)
    end = rest.index("```\n", 4) + 4
    return before + MARKER, rest[:end], rest[end:]


if __name__ == "__main__":
    document = ROOT / "ARCHITECTURE.md"
    before, _, after = split(document.read_text())
    document.write_text(before + tree() + after)

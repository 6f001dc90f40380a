"""The demo's two models from before any judgment, which the repository holds so that a demo begins with its first round.

    python -m training.demo.pretrained

makes them anew, as `make demo SCRATCH=1` does on the site: a base model that is pre-trained on texts of the demo's language, and
the first policy, fine-tuned from it. They are stored in half precision.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from training.configs import Value
from training.demo import language, run_settings

MODELS = Path(__file__).parent / "models"
BASE, FIRST_POLICY = "base", "first-policy"
SEED = 0


def pretraining_rows(seed: int) -> list[dict[str, Any]]:
    return [{"text": text} for text in language.pretraining_texts(seed, run_settings.PRETRAINING_TEXTS)]


def conversation_rows(seed: int) -> list[dict[str, Any]]:
    talks = language.sft_conversations(seed, run_settings.SFT_CONVERSATIONS)
    return [{"messages": talk} for talk in talks]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        base = _train(place / BASE, "pretrain", run_settings.PRETRAIN, pretraining_rows(SEED))
        first = _train(place / FIRST_POLICY, "sft", run_settings.SFT, conversation_rows(SEED), model=base)
        for name, folder in ((BASE, base), (FIRST_POLICY, first)):
            _store(folder, MODELS / name)


def _train(
    folder: Path, kind: str, config: dict[str, Value], rows: list[dict[str, Any]], model: Path | None = None
) -> Path:
    """The output folder of a run of the core."""
    folder.mkdir()
    job = {"kind": kind, "config": config | {"seed": SEED}} | ({"model": str(model)} if model else {})
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([sys.executable, "-m", "training.core", str(folder)], check=True)
    return folder / "output"


def _store(folder: Path, place: Path) -> None:
    """Store a model directory in half precision."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shutil.rmtree(place, ignore_errors=True)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.half().save_pretrained(place)
    AutoTokenizer.from_pretrained(folder).save_pretrained(place)


if __name__ == "__main__":
    main()

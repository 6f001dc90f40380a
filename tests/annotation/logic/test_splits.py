from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from annotation.logic import splits


def test_a_prompt_is_held_out_by_what_it_says_alone() -> None:
    """Counted once. Were the split to change, models would have learned from what measures them."""
    drawn = [splits.split_of([{"role": "user", "content": f"Question {n}?"}]) for n in range(2000)]
    assert drawn.count("held_out") == 310
    assert splits.prompt_digest([{"role": "user", "content": "Why?"}])[:16] == "d60ffbcae18616ca"


def test_near_twins_and_longer_conversations_are_on_one_side() -> None:
    user, system, answer = ({"role": role} for role in ("user", "system", "assistant"))
    for n in range(100):
        question = f"Where is the Café number {n}?"
        twins = [
            [user | {"content": text}]
            for text in (
                question,
                f" {question.upper()}\n",
                question.replace(" ", "  "),
                question.replace("é", "e\u0301"),
            )
        ]
        twins.append([system | {"content": "Be brief."}, *twins[0]])
        twins.append([*twins[0], answer | {"content": "Here."}, user | {"content": "Sure?"}])
        assert len({splits.split_of(messages) for messages in twins}) == 1, question


def test_the_digest_tells_roles_and_turns_apart() -> None:
    conversations = [
        [{"role": "user", "content": "ab"}],
        [{"role": "system", "content": "ab"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    ]
    assert len({splits.prompt_digest(messages) for messages in conversations}) == 3


def test_the_logic_runs_where_django_is_not_installed() -> None:
    code = """
import sys
sys.modules["django"] = None
from annotation.imports import prompt_schema
from annotation.logic import markdown, ranking, splits
print(ranking.pairs([1, 2]))
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout == "[(0, 1)]\n", done.stderr

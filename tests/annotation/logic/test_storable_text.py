from __future__ import annotations

import pytest

from annotation.logic.storable_text import storage_problem
from training.configs import fields


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ""),
        ("é 😀 \n\t \ufffe", ""),
        ("a\0b", "null byte"),
        ("\ud800", "half of a character"),
        ("a\udfffb", "half of a character"),
    ],
)
def test_null_bytes_and_lone_surrogates_cannot_be_stored(text: str, problem: str) -> None:
    assert problem in storage_problem(text)
    assert bool(storage_problem(text)) is bool(problem)
    assert bool(fields._NOT_TEXT.search(text)) is bool(problem), (
        "the configs, which know nothing of ours, agree"
    )

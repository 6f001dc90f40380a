from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.launch import job_slots
from training.launch.job_slots import Slot, clear_slots, exit_code, take_slot


def end(slot: Slot | None, code: int) -> None:
    assert slot is not None
    slot.write_exit_code(code)
    os.close(slot.lock)


def test_a_slot_whose_part_is_done_is_taken_only_by_another_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_slots, "TAKE_SLOT_S", 0.0)
    end(take_slot(tmp_path, 1), 75)  # stopped, and started again
    end(take_slot(tmp_path, 1), 0)
    assert (take_slot(tmp_path, 1), exit_code(tmp_path, 1)) == (None, 0)
    clear_slots(tmp_path, 1)
    end(take_slot(tmp_path, 1), 0)

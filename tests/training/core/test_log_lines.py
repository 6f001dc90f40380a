from __future__ import annotations

import io
import logging
import re
import subprocess
import sys

from training.core.log_lines import TimedLines

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ "


def test_every_line_that_is_not_empty_starts_with_the_time() -> None:
    written = io.StringIO()
    log = TimedLines(written)
    for text in ("one\ntwo", " goes on\n", "", "\n", "  three\r\n"):
        assert log.write(text) == len(text)
    assert re.fullmatch(f"{TIME}one\n{TIME}two goes on\n\n{TIME}  three\r\n", written.getvalue())


def test_what_overwrites_a_line_has_a_time_of_its_own() -> None:
    written = io.StringIO()
    log = TimedLines(written)
    log.write("10%\r90%")
    log.write("\rdone\n")
    assert re.fullmatch(f"{TIME}10%\r{TIME}90%\r{TIME}done\n", written.getvalue())


def test_it_is_otherwise_the_stream_that_it_was_given() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(TimedLines(written))
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "a message", None, None))
    assert re.fullmatch(f"{TIME}a message\n", written.getvalue())
    assert not TimedLines(written).isatty()


def test_tracebacks_of_a_process_have_times() -> None:
    program = "from training.core.log_lines import time_log_lines as t; t(); t(); raise RuntimeError('lost')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert re.search(rf"^{TIME}RuntimeError: lost$", done.stderr, re.MULTILINE)
    assert len(re.findall(TIME, done.stderr)) == len(done.stderr.splitlines())

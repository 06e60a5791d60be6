"""The command line in this process: importing torch anew for every command would take most of the time."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from unittest.mock import patch

from nightsift.jobs.cli import main


def typed(*words: object, code: int = 0) -> str:
    """What ``nightsift`` writes to stdout, or of a refusal to stderr, when these words are typed."""
    out, err, found = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    argv = ["nightsift", *map(str, words)]
    try:
        with (
            patch.object(sys, "argv", argv),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as end:
        found = end.code if isinstance(end.code, int) else 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert found == code, err.getvalue()
    return err.getvalue() if code > 1 else out.getvalue()


def refused(*words: object, code: int) -> str:
    """The message of a refusal, which names its mend."""
    said = typed(*words, code=code)
    assert "mend: " in said
    return said

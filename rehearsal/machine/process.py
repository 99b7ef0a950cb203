"""A rehearsal's process: its standard streams, the signals that end it, and what ends with it."""

import codecs
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

# How a terminal that lacks them shows the characters that have a meaning.
SPELLED = {"✓": "ok", "✗": "FAILED", "»": ">>", "…": "...", "·": "-"}
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Ends the rehearsal in order: Ctrl-C, a `kill`, or a terminal that was closed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number  # as shells count it


def complete_streams() -> None:
    """Opens the standard streams that are closed: their numbers would go to other files.

    Output that the terminal cannot show is spelled.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    codecs.register_error("spelled", spelled)
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.reconfigure(errors="spelled")  # type: ignore[union-attr]


def spelled(error: UnicodeError) -> tuple[str, int]:
    """What is written in place of what a stream's encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(SPELLED.get(character, "?") for character in text), error.end


def hear_endings() -> None:
    """Lets each signal that ends a process raise Stopped once; what is ignored remains so."""
    for number in ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def stop(number: int, frame: FrameType | None) -> Any:
    """Raises Stopped; what comes after it must not disturb the clearing up."""
    for other in ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


@contextlib.contextmanager
def group(command: list[Any], **settings: Any) -> Iterator[subprocess.Popen[Any]]:
    """Starts a program; it ends with this block or this process, and so does all that it starts."""
    with subprocess.Popen(command, start_new_session=True, **settings) as process:
        # Reads until this process ends, killed or not.
        guard = subprocess.Popen(
            ["sh", "-c", f"read _; kill -9 -{process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            guard.communicate()

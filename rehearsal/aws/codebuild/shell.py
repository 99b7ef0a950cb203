"""One shell for all commands of a build, so that what one exports the next one sees."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

Say = Callable[[str], None]


class Shell:
    """A running shell; `say` hears each line of its output."""

    def __init__(self, program: str, folder: Path, env: dict[str, str], say: Say) -> None:
        # Exit codes come through a FIFO: no open descriptor for what a command leaves running.
        self.fifo = folder.parent / "exit-codes"
        self.fifo.unlink(missing_ok=True)
        os.mkfifo(self.fifo)
        self.exit_codes = os.open(self.fifo, os.O_RDWR)  # for both, so that it never ends
        self.process = subprocess.Popen(
            [shutil.which(program) or program],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        output = self.process.stdout
        self.reader = threading.Thread(target=read, args=[output, say], daemon=True)
        self.reader.start()

    @property
    def ended(self) -> bool:
        """Whether the shell itself has ended."""
        return self.process.poll() is not None

    def run(self, command: str) -> int:
        """Runs a command to its end; returns its exit code, the shell's own if that has ended."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        line = f"eval {quoted} </dev/null; echo $? >'{self.fifo}'\n"
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()
        while True:
            ended = self.ended  # before the look at the FIFO: its last code may still come
            if select.select([self.exit_codes], [], [], 0.05)[0]:
                return int(os.read(self.exit_codes, 16))
            if ended:
                return self.process.returncode or 1

    def kill(self) -> None:
        """Ends the shell, and leaves the rest to `end`."""
        self.process.kill()

    def end(self) -> None:
        """Ends the shell and whatever it left running, as the container's end does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(timeout=5)
        os.close(self.exit_codes)


def read(output: IO[str] | None, say: Say) -> None:
    """Hands on the output line by line."""
    assert output
    for line in output:
        say(line.rstrip("\n"))

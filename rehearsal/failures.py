"""What is shown of a build that failed: the command that failed, from its first error on."""

import re
import tempfile
from pathlib import Path

from rehearsal.aws.build import Build

MOST = 40  # lines that are shown
COMMAND = re.compile(r"\[\w+\] Running (finally )?command ")
FAILURE = re.compile(r"Phase \w+ FAILED: ")
ERROR = re.compile(r"error|fail|traceback|exception", re.I)


def shown(log: str) -> list[str]:
    """The lines of a log that say what failed: of all of it, if no phase has failed."""
    lines = log.splitlines()
    end = next((n for n, line in enumerate(lines) if FAILURE.match(line)), len(lines))
    starts = [n for n, line in enumerate(lines[:end]) if COMMAND.match(line)]
    # What a phase runs in any case comes after the command that failed.
    starts = [n for n in starts if "Running finally" not in lines[n]] or starts or [0]
    after = (n for n in range(starts[-1] + 1, end) if COMMAND.match(lines[n]))
    output = lines[starts[-1] : next(after, end)]
    return [*first_errors(output), *lines[end : end + 1]]


def first_errors(output: list[str]) -> list[str]:
    """A command's output; of a long one its announcement, and the part from its first error on."""
    if len(output) <= MOST:
        return output
    errors = (n for n, line in enumerate(output) if n and ERROR.search(line))
    first = min(next(errors, len(output)), len(output) - MOST)
    return [output[0], "...", *output[first : first + MOST]]


def keep(build: Build) -> Path:
    """Copies a build's log to where it outlives the rehearsal."""
    name = build.project.rpartition("/")[2]
    with tempfile.NamedTemporaryFile(
        "w", prefix=f"rehearsal-{name}-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(build.log.read_text(encoding="utf-8"))
    return Path(file.name)

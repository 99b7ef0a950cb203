"""A pytest plugin for `make mutants`.

A step that a test runs as a program runs in this process: mutmut changes the code of the process
that it forks, a program of its own would not be changed. And a test of ops/check runs only those
checks that have found something before, without a mutant: all of them would take half an hour.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from steps import STEPS, load

RUN = subprocess.run


@contextlib.contextmanager
def printing_to(number: int, file: IO[str]) -> Iterator[None]:
    """What this process and its children print at a descriptor goes to a file."""
    before = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        file.flush()
        os.dup2(before, number)
        os.close(before)


def exit_code(name: str) -> int:
    """Runs a step's main(), and does with its end what Python does."""
    try:
        code = load(name).main() or 0
    except SystemExit as stop:
        code = stop.code or 0
    except Exception:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    return int(code)


def run_here(step: Path, arguments: list[str], options: dict[str, Any]) -> tuple[int, str, str]:
    """Returns a step's exit code, and what was printed at its two descriptors."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        files = (out, out if options.get("stderr") == subprocess.STDOUT else err)
        patch.chdir(options.get("cwd") or ".")
        for name in set(os.environ) - {"MUTANT_UNDER_TEST"} if "env" in options else ():
            patch.delenv(name)
        for name, value in (options.get("env") or {}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", [str(step), *arguments])
        patch.setattr(sys, "stdout", files[0])
        patch.setattr(sys, "stderr", files[1])
        with printing_to(1, files[0]), printing_to(2, files[1]):
            code = exit_code(step.stem)
        out.seek(0), err.seek(0)
        return code, out.read(), err.read()


@pytest.fixture(autouse=True)
def steps_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `subprocess.run([python, "-B", cicd/steps/NAME.py, ...])` run NAME.main() here."""

    def run(command: Any, *more: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        words = list(map(str, command)) if isinstance(command, list) else []
        step = Path(words[2]) if words[:2] == [sys.executable, "-B"] else Path()
        if step.parent != STEPS:
            return RUN(command, *more, **options)
        return subprocess.CompletedProcess(command, *run_here(step, words[3:], options))

    monkeypatch.setattr(subprocess, "run", run)


FOUND: dict[str, list[Any]] = {}  # by test; mutmut's forks have what its own run has remembered


@pytest.fixture(autouse=True)
def checks_that_find(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `check.prove` run what the same test has found something with."""
    check = sys.modules.get("ops.check")
    if check is None:
        return
    test, prove = request.node.nodeid, check.prove
    monkeypatch.setattr(check, "CHECKS", FOUND.get(test, check.CHECKS))

    def remember(*arguments: Any) -> Any:
        report = prove(*arguments)
        FOUND.setdefault(test, [one for one in check.CHECKS if report.findings.get(one.__name__)])
        return report

    monkeypatch.setattr(check, "prove", remember)

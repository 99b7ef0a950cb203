"""What people run: `python -m ops --help`; make has a short name for each command."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


class Stop(Exception):
    """Why a command stops, as text for the operator. Every other error is a bug."""


class Problem(Exception):
    """What a probe of `make doctor` finds wrong, and the command that fixes it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix


class Note(Problem):
    """What differs, but stops neither the stack nor the pipeline."""


class NotChecked(Exception):
    """Why a probe cannot check its subject."""

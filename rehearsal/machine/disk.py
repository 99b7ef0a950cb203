"""The disk that a rehearsal writes to: whether it is full, and how the rehearsal's files go."""

import os
import shutil
from pathlib import Path

from rehearsal.machine.process import Stopped

LEAST = 1 << 20  # bytes: with less, nothing can be written that matters


def full(home: Path) -> str:
    """What to tell the operator if there is no more room for a rehearsal's files, else ""."""
    state = os.statvfs(home)
    has_room = state.f_bavail * state.f_frsize >= LEAST and (state.f_favail or not state.f_files)
    if has_room:
        return ""
    return f"{home.parent} is full: free some space there, or set TMPDIR to another folder"


def remove(home: Path) -> None:
    """Removes a rehearsal's files, whatever happens meanwhile."""
    try:
        shutil.rmtree(home, ignore_errors=True)
    except Stopped:
        shutil.rmtree(home, ignore_errors=True)
        raise

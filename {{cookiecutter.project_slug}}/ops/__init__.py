"""What people run: `python -m ops --help`; make has a short name for each command."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


class Stop(Exception):
    """Why a command stops. Its operator reads this text; every other error is a bug."""

"""What the commands beside this file print of others' text, and how they ask."""

import re
import sys
from datetime import datetime

COLORS_AND_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r(?=\n)")


def plain(text: str) -> str:
    """Text of others without what would move the cursor, hide a line or turn it around."""
    text = COLORS_AND_CURSOR.sub("", text)
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def when(moment: datetime) -> str:
    """A moment in local time, with its year where that is not this one."""
    local = moment.astimezone()
    year = "" if local.year == datetime.now().astimezone().year else f" {local:%Y}"
    return f"{local:%d %b}{year} {local:%H:%M}"


def agreed(question: str) -> bool:
    """Whether the person at the terminal says yes. Nobody is asked where there is no terminal."""
    return not sys.stdin.isatty() or input(f"{question} [y/N] ").strip().lower() == "y"

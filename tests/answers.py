"""What the tests of answers share: the questions, and what a refusal prints and leaves."""

import json
import re
from pathlib import Path

from conftest import ROOT

DEFAULTS = json.loads((ROOT / "cookiecutter.json").read_text())
QUESTIONS = [name for name in DEFAULTS if not name.startswith("_")]
CHOICES = ["auth", "compute"]
FREE = [name for name in QUESTIONS if name not in CHOICES]


def refused(text: str) -> dict[str, str]:
    """The fix by question, as the hook prints them."""
    return dict(re.findall(r"^  (\w+) = .*\n    .*\n    try: (.*)$", text, re.MULTILINE))


def left_behind(tmp_path: Path) -> list[str]:
    """Whatever is in the output folder."""
    out = tmp_path / "out"
    return sorted(path.name for path in out.iterdir()) if out.exists() else []

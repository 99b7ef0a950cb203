"""The Databricks CLI, as the steps that deploy to production call it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import plan as plans

PROD = "prod"


class Stop(Exception):
    """Why nothing more is done, and what to do."""


def databricks(*arguments: str) -> str:
    """Returns what the Databricks CLI prints; its messages go to the log. Raises Stop."""
    result = subprocess.run(["databricks", *arguments], stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise Stop(f"databricks {' '.join(arguments)} failed with exit code {result.returncode}")
    return result.stdout


def answer(*arguments: str) -> Any:
    """Returns what the Databricks CLI prints as JSON. Raises Stop."""
    return json.loads(databricks(*arguments, "-o", "json"))


def fresh_plan(name: str) -> plans.Plan:
    """Returns what a deployment would do now, and writes it to a file. Raises Stop, Damaged."""
    text = databricks("bundle", "plan", "-t", PROD, "-o", "json")
    Path(name).write_text(text, encoding="utf-8")
    return plans.read(name)

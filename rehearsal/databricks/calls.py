"""The record of all workspaces: who called what, and which build did."""

import json
from pathlib import Path
from typing import NamedTuple

FILE = "calls.jsonl"  # in the home of all workspaces
# The kinds of calls that others look for.
SIGN_IN, PLAN, DEPLOY, RESOURCE = "sign-in", "bundle plan", "bundle deploy", "resource"
TASK = "task"  # `what` is a list in JSON: "job: task", and why it was not run, or ""
DESTROY, DELETE = "bundle destroy", "workspace delete"
COMMANDS = (PLAN, DEPLOY, DESTROY, DELETE)


class Call(NamedTuple):
    """A call; `build` is the ID of the build that made it, or "".

    `what` begins with the target of a plan or deployment, and then has the SHA-256 of the plan that
    was deployed.
    """

    host: str
    user: str
    command: str
    what: str
    build: str

    @property
    def target(self) -> str:
        """The bundle's target."""
        return self.what.partition(" ")[0]


def append(home: Path, call: Call) -> None:
    """Records a call."""
    with (home / FILE).open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(call._asdict()) + "\n")


def recorded(home: Path) -> list[Call]:
    """Every recorded call, in order."""
    file = home / FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Call(**json.loads(line)) for line in lines]

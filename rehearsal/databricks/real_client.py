"""The team's own `databricks` client in the builds: which one, and a note of each call of it.

The builds' `databricks` is a small program: it notes what it is called with, and becomes the
client. The client sends the note's number with each request, in its user agent, so that the
workspace knows which build and which command a request belongs to.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rehearsal.databricks.calls import COMMANDS, DEPLOY

NOTES = "notes"  # the folder, in the home of all workspaces
PRODUCT = "rehearsal"
NUMBER = re.compile(rf"\bupstream/{PRODUCT} upstream-version/(\d+)\b")
PINNED = re.compile(r"(?m)^DATABRICKS_CLI_VERSION=(\S+)")
# Otherwise the old client becomes the new one, if there is one on PATH.
ITSELF = {"DATABRICKS_CLI_DO_NOT_EXECUTE_NEWER_VERSION": "1"}
# The client asks a workspace 15 things a second at most: loopback needs no such care.
UNHURRIED = {"DATABRICKS_RATE_LIMIT": "1000"}
VERSION = re.compile(r"Databricks CLI v(\S+)")
# The options whose value may be an argument of its own.
VALUED = {
    *("-t", "--target", "-e", "--environment", "-o", "--output", "-p", "--profile", "--var"),
    *("--plan", "--log-file", "--log-format", "--log-level", "--progress-format", "--params"),
}
PROGRAM = """\
#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from rehearsal.databricks.real_client import become
become({client!r}, {home!r})
"""


class Note(NamedTuple):
    """Of one call of the client: its number, process and build; command and what as in calls.py."""

    number: str = ""
    process: int = 0
    build: str = ""
    command: str = ""
    what: str = ""


def program(client: Path, home: Path) -> str:
    """The text of the builds' `databricks`."""
    root = str(Path(__file__).parents[2])
    return PROGRAM.format(python=sys.executable, root=root, client=str(client), home=str(home))


def become(client: str, home: str) -> None:
    """Notes this call, and becomes the client."""
    number, build = str(time.time_ns()), os.environ.get("CODEBUILD_BUILD_ID", "")
    note = Note(number, os.getpid(), build, *call(sys.argv[1:]))
    folder = Path(home, NOTES)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / number).write_text(json.dumps(note), encoding="utf-8")
    names = {"DATABRICKS_SDK_UPSTREAM": PRODUCT, "DATABRICKS_SDK_UPSTREAM_VERSION": number}
    os.execve(client, [client, *sys.argv[1:]], os.environ | names | UNHURRIED)


def call(arguments: list[str]) -> tuple[str, str]:
    """The command in the client's arguments, and what calls.py says of it."""
    words = [word for number, word in enumerate(arguments) if is_word(arguments, number)]
    command = next((name for name in COMMANDS if words[:2] == name.split()), "")
    target = option(arguments, "-t", "--target", "-e", "--environment")
    for name in ("DATABRICKS_BUNDLE_TARGET", "DATABRICKS_BUNDLE_ENV"):
        target = target or os.environ.get(name, "")
    if command != DEPLOY:
        return command, target
    plan = option(arguments, "--plan")
    if plan and Path(plan).is_file():
        return command, f"{target} {hashlib.sha256(Path(plan).read_bytes()).hexdigest()}"
    return command, f"{target} without a plan"


def is_word(arguments: list[str], number: int) -> bool:
    """Whether an argument is a word of the command: no option, and no option's value."""
    before = arguments[number - 1] if number else ""
    return not arguments[number].startswith("-") and before not in VALUED


def option(arguments: list[str], *names: str) -> str:
    """The last value of an option: `-t x`, `-tx`, `--target x` or `--target=x`; "" without it."""
    values = [""]
    for number, argument in enumerate(arguments):
        name, separator, value = argument.partition("=")
        if name in names:
            values.append(value if separator else "".join(arguments[number + 1 : number + 2]))
        elif argument[:2] in names and not argument.startswith("--"):
            values.append(argument[2:])
    return values[-1]


def noted(home: Path, headers: Mapping[str, str]) -> Note:
    """The note of the call that a request belongs to; an empty one if it comes from elsewhere."""
    match = NUMBER.search(headers.get("user-agent", ""))
    file = home / NOTES / match[1] if match else home
    return Note(*json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Note()


def pinned(repository: Path) -> str:
    """The version of the client that a repository's builds install; "" if it names none."""
    tools = repository / "cicd/tools.env"
    match = PINNED.search(tools.read_text(encoding="utf-8")) if tools.is_file() else None
    return match[1] if match else ""


def version(client: Path) -> str:
    """The version of a client. Raises OSError and ValueError if it is none."""
    env, command = os.environ | ITSELF, [str(client), "--version"]
    try:
        shown = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30).stdout
    except subprocess.TimeoutExpired:
        shown = "nothing within 30 s"
    match = VERSION.search(shown)
    if not match:
        first = shown.partition("\n")[0]
        raise ValueError(f"{client} is no Databricks CLI: --version printed {first!r}")
    return match[1]


def installed(pinned: str) -> Path | None:
    """The first `databricks` on PATH that has the pinned version."""
    for folder in os.get_exec_path():
        client = Path(folder, "databricks").absolute()
        # Databricks' old client, in Python, has the same name: it is no such client.
        with contextlib.suppress(OSError, ValueError):
            if version(client) == pinned:
                return client
    return None

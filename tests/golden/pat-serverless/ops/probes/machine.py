"""Probes of this machine: the tools that `make` calls, and the git repository in this folder."""

import os
import re
import subprocess
from pathlib import Path

from probes import NotChecked, Note, Problem
from probes.project import ROOT, Project

SECONDS = 5  # for a tool to say its version
INSTALL = {
    "git": "https://git-scm.com/downloads",
    "uv": "https://docs.astral.sh/uv/getting-started/installation/",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "databricks": "https://docs.databricks.com/aws/en/dev-tools/cli/install",
    "java": "https://adoptium.net/temurin/releases/?version=17",
}


def said(*command: str) -> str | None:
    """What a command prints; None where it is missing, fails, or does not come to an end."""
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout + result.stderr if result.returncode == 0 else None


def version(*command: str) -> str | None:
    """The first version number that a command prints, or None."""
    found = re.search(r"\d+(\.\d+)+", said(*command) or "")
    return found[0] if found else None


def tool(name: str) -> str:
    """The version of a tool that `make` cannot do without."""
    found = version(name, "--version")
    if found is None:
        raise Problem("is missing, or does not run", f"install it: {INSTALL[name]}")
    return found


def databricks(project: Project) -> str:
    """The version of the Databricks CLI: builds install their own, so any other is only noted."""
    found, pinned = version("databricks", "--version"), project.cli_version
    link = INSTALL["databricks"]
    if found is None:
        raise Note("is missing; only development needs it", f"install it: {link}")
    if found != pinned:
        what = f"is {found}, the builds' is {pinned}; only development needs it"
        raise Note(what, f"install that one: {link}")
    return found


def java() -> str:
    """The version of the Java that local Spark would take."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', said(program, "-version") or "")
    if found is None:
        raise Note("is missing; only make test needs it", f"install it: {INSTALL['java']}")
    if int(found[2]) < 17:
        what = f"is {found[1]}; make test needs 17 or newer"
        raise Note(what, f"install it: {INSTALL['java']}")
    return found[1]


def repository(project: Project) -> str:
    """The branch that is checked out in a git repository of this folder's own."""
    branch = project.parameters["BranchName"]
    if said("git", "--version") is None:
        raise NotChecked("git is missing")
    top = said("git", "rev-parse", "--show-toplevel")
    if top is None or not ROOT.samefile(top.strip()):
        raise Problem("this folder is no git repository of its own", f"git init -b {branch}")
    head = said("git", "symbolic-ref", "--short", "HEAD")
    if head is None:
        raise Problem("no branch is checked out", f"git switch {branch}")
    return f"on the branch {head.strip()}"

"""What `make doctor` probes without AWS: this machine, and whether the workspaces answer.

A probe returns what is well, or raises one of the exceptions here.
"""

import http.client
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from ops import ROOT
from ops.project import Project

TOOL_SECONDS = 5  # for a tool to print its version
HTTP_SECONDS = 5  # for a connection, and for an answer
INSTALL = {
    "git": "https://git-scm.com/downloads",
    "uv": "https://docs.astral.sh/uv/getting-started/installation/",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "databricks": "https://docs.databricks.com/aws/en/dev-tools/cli/install",
    "java": "https://adoptium.net/temurin/releases/?version=17",
}


class Problem(Exception):
    """What is wrong, and the command that fixes it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix


class Note(Problem):
    """What differs, but stops neither the stack nor the pipeline."""


class NotChecked(Exception):
    """Why a probe cannot say."""


# ---- This machine --------------------------------------------------------------------------------


def output(*command: str) -> str | None:
    """What a command prints; None if it is missing, fails, or does not end."""
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout + result.stderr if result.returncode == 0 else None


def version(*command: str) -> str | None:
    """The first version number that a command prints, or None."""
    match = re.search(r"\d+(\.\d+)+", output(*command) or "")
    return match[0] if match else None


def tool(name: str) -> str:
    """The version of a tool that `make` needs."""
    installed = version(name, "--version")
    if installed is None:
        raise Problem("is missing, or does not run", f"install it: {INSTALL[name]}")
    return installed


def databricks(project: Project) -> str:
    """The version of the Databricks CLI: builds install their own, so another is only noted."""
    installed, pinned = version("databricks", "--version"), project.cli_version
    link = INSTALL["databricks"]
    if installed is None:
        raise Note("is missing; only development needs it", f"install it: {link}")
    if installed != pinned:
        what = f"is {installed}, the builds' is {pinned}; only development needs it"
        raise Note(what, f"install that one: {link}")
    return installed


def java() -> str:
    """The version of the Java that local Spark would take."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    # Java 8 calls itself 1.8.
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', output(program, "-version") or "")
    if match is None:
        raise Note("is missing; only make test needs it", f"install it: {INSTALL['java']}")
    if int(match[2]) < 17:
        what = f"is {match[1]}; make test needs 17 or newer"
        raise Note(what, f"install it: {INSTALL['java']}")
    return match[1]


def repository(project: Project) -> str:
    """The branch that is checked out in a git repository of this folder's own."""
    branch = project.parameters["BranchName"]
    if output("git", "--version") is None:
        raise NotChecked("git is missing")
    top = output("git", "rev-parse", "--show-toplevel")
    if top is None or not ROOT.samefile(top.strip()):
        raise Problem("this folder is no git repository of its own", f"git init -b {branch}")
    head = output("git", "symbolic-ref", "--short", "HEAD")
    if head is None:
        raise Problem("no branch is checked out", f"git switch {branch}")
    return f"on the branch {head.strip()}"


# ---- The workspaces ------------------------------------------------------------------------------


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A workspace answers itself; a redirect comes from something else."""

    def redirect_request(self, *_: object) -> None:
        """Follows nothing: the redirect comes back as an HTTPError."""


def workspace(project: Project, target: str) -> str:
    """Whether a workspace answers. It is asked without a credential, and refuses."""
    host = project.host(target)
    fix = f"correct {target}'s host in databricks.yml and cicd/stack.yml, or fix the network"
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(f"{host}/api/2.0/preview/scim/v2/Me", timeout=HTTP_SECONDS) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except urllib.error.URLError as error:
        raise Problem(f"{host} cannot be reached ({error.reason})", fix) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Problem(f"{host} does not answer ({error})", fix) from None
    if status not in (401, 403):
        raise Problem(f"{host} answers HTTP {status}, as no Databricks workspace does", fix)
    return f"answers (HTTP {status}: it asks who is there)"

"""Secrets in the open, packages from elsewhere, and programs that nobody has reviewed."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.check.files import PINS, Files
from ops.check.reading import Findings, Place, check
from ops.check.stack import Stack, plain

# What secrets look like. Names and placeholders, such as ${...} and <...>, are none.
FORMS = {
    "a Databricks token": r"\b(dapi|dose)[0-9a-f]{32}",
    "an AWS access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(gh[pousr]_\w{36,}|github_pat_\w{22,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "a Google API key": r"\bAIza[\w-]{35}",
    "a Hugging Face token": r"\bhf_[A-Za-z]{30,}",
    "a SendGrid token": r"\bSG\.[\w-]{16,}\.[\w-]{16,}",
    "a signed token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "a private key": r"-{5}BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in an address": r"\b[a-z][\w+.-]*://[^\s/:@\"'${<]+:[^\s/@\"'${<]{3,}@",
    "a password": r"\b(?i:password|passwd|pwd)=[^\s\"'${<&;,)]{4,}",
}
LARGE = 1_000_000  # bytes: data, which nobody reviews as text
GENERATED = {".git", ".venv", "node_modules", "dist", "build", "venv", ".databricks"}


def committed(root: Path) -> list[str]:
    """The files that git has or would take; without git, all but what tools generate."""
    command = [
        "git",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    if (root / ".git").exists():
        listing = subprocess.run(command, capture_output=True, text=True)
        if listing.returncode == 0:
            return sorted({name for name in listing.stdout.split("\0") if (root / name).is_file()})
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not GENERATED & {*path.parts})


def secrets(text: str) -> list[tuple[str, int]]:
    """What looks like a secret in a text, each with its line."""
    found = ((what, match) for what, form in FORMS.items() for match in re.finditer(form, text))
    return [(what, text.count("\n", 0, match.start()) + 1) for what, match in found]


@check
def no_secret_is_committed(files: Files) -> Findings:
    """No file holds what looks like a secret."""
    for name in committed(files.root):
        path = files.root / name
        if path.stat().st_size > LARGE:
            continue
        for what, line in secrets(path.read_bytes().decode("utf-8", errors="ignore")):
            message = (
                f"holds {what}; remove it, and make it worthless: git keeps what was committed"
            )
            yield Place(name, line), message


@check
def no_compiled_python_is_committed(files: Files) -> Findings:
    """No compiled module is committed: it would run in place of the reviewed source."""
    in_git = (files.root / ".git").exists()
    for name in committed(files.root):
        # Without git, as in the pipeline, Python itself has just compiled what this check imports.
        if name.endswith((".pyc", ".pyo", ".pyd", ".so")) and (in_git or "__pycache__" not in name):
            message = "compiled code runs in place of the source that was reviewed; git rm it"
            yield Place(name, 1), message


INDEX = re.compile(
    r"(PIP|UV)_\w*(INDEX|FIND_LINKS|TRUSTED|INSECURE)\w*|PIP_CONFIG_FILE|UV_CONFIG_FILE"
)
HOOKS = {
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "BASH_ENV",
    "ENV",
    "LD_PRELOAD",
    "PROMPT_COMMAND",
}


def assigned(files: Files, stack: Stack) -> Iterator[tuple[Place, str, str]]:
    """Every environment variable of the builds: its place, its name and its value."""
    for build in stack.builds:
        for variable in build.variables:
            yield variable.place, variable.name, plain(variable.value)
    for spec in files.buildspecs.values():
        variables = spec.mapping("env", "variables")
        for name, value in variables.items():
            yield variables.at[name], name, plain(value)
    for name in files.pins:
        yield files.pins.at[name], name, files.pins.text(name)


@check
def packages_come_from_one_index(files: Files, stack: Stack) -> Findings:
    """Builds take packages from PyPI or PackageIndexUrl, and no variable runs code by itself."""
    for place, name, value in assigned(files, stack):
        if INDEX.fullmatch(name) and value != "${PackageIndexUrl}":
            yield place, f"{name} brings packages from elsewhere; set PackageIndexUrl in its place"
        if name in HOOKS:
            yield place, f"{name} runs code before each program; remove it"
    toml: dict[str, Any] = tomllib.loads(files.readable("pyproject.toml"))
    settings = {
        **toml.get("tool", {}).get("uv", {}),
        **toml.get("tool", {}).get("uv", {}).get("pip", {}),
    }
    for key in settings.keys() & {"index", "index-url", "extra-index-url", "find-links", "sources"}:
        line = next(
            files.search(rf"(?m)\b{key}\b", "pyproject.toml"), (Place("pyproject.toml", 1),)
        )[0]
        yield (
            line,
            f"tool.uv has {key}: packages from elsewhere; set PackageIndexUrl in cicd/stack.yml",
        )


KNOWN = "https://github.com/databricks/cli/releases/download"


@check
def client_comes_from_a_known_place(files: Files) -> Findings:
    """The client is loaded over https; from another host only if its checksum is pinned."""
    url, place = (
        files.pins.text("DATABRICKS_CLI_BASE_URL"),
        files.pins.at.get("DATABRICKS_CLI_BASE_URL"),
    )
    if not place:
        return
    if not re.match(r"https://[\w.-]+(/|$)", url):
        yield place, "needs an address that starts with https://, without a password; fix it"
    elif url.rstrip("/") != KNOWN and not files.pins.text("DATABRICKS_CLI_SHA256"):
        message = f"is not {KNOWN}; pin the checksum: make pin-cli VERSION=..."
        yield Place(PINS, place.line), message

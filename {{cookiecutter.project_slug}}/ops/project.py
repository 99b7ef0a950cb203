"""What the files of this repository say: the stack's parameters and the pinned Databricks CLI."""

import contextlib
import re
import shlex
import urllib.request
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from cicd.steps.bundle import Refused, read
from ops import ROOT, Stop

STACK, TOOLS, BUNDLE = "cicd/stack.yml", "cicd/tools.env", "databricks.yml"


class Unreadable(Stop):
    """A file that cannot be read."""


class Loader(yaml.SafeLoader):
    """Reads a template's parameters; what its !Ref and the like mean does not matter here."""


Loader.add_multi_constructor("!", lambda *_: None)


@contextlib.contextmanager
def reading(file: str) -> Iterator[str]:
    """A file's text. What is wrong with it while it is read becomes Unreadable."""
    try:
        yield (ROOT / file).read_text(encoding="utf-8")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        raise Unreadable(f"{file} cannot be read") from None


class Project:
    """This repository, and the stack's parameters from the command line (Name=Value)."""

    def __init__(self, changes: tuple[str, ...] = ()) -> None:
        self.changes = changes

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters that `make stack` passes: the file's defaults, then the changes.

        CloudFormation keeps a parameter's old value unless it gets another, so without this a
        default that changed in the repository would never reach the stack.
        """
        with reading(STACK) as text:
            declared: dict[str, Any] = yaml.load(text, Loader)["Parameters"]
            values = {
                name: str(item["Default"]) for name, item in declared.items() if "Default" in item
            }
        for change in self.changes:
            name, _, value = change.partition("=")
            if name not in declared:
                raise Stop(f"no parameter {name}; there are: {', '.join(declared)}")
            values[name] = value
        return values

    @cached_property
    def resource_types(self) -> set[str]:
        """The types of the stack's resources."""
        with reading(STACK) as text:
            resources = re.split(r"(?m)^(?=\w)", text[text.index("\nResources:") + 1 :])[1]
            return set(re.findall(r"\bType: (AWS::\w+::\w+)", resources))

    @cached_property
    def cli_version(self) -> str:
        """The version of the Databricks CLI that builds install."""
        return self.tool("DATABRICKS_CLI_VERSION")

    def tool(self, name: str) -> str:
        """A setting in cicd/tools.env."""
        with reading(TOOLS) as text:
            settings = dict(re.findall(r"(?m)^(\w+)=(.+)$", text))
            return str(settings[name])

    def host(self, target: str) -> str:
        """The workspace's address that databricks.yml has for a target."""
        try:
            return read(ROOT, target).host
        except Refused as refused:
            raise Unreadable(str(refused)) from None


def changes(arguments: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Name=Value words: single arguments, and those in make's text, quoted as for a shell."""
    try:
        return (*arguments, *shlex.split(text))
    except ValueError as error:
        raise Stop(f"PARAMETERS cannot be read: {error}") from None


# ---- Another Databricks CLI ----------------------------------------------------------------------


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request that a redirect asks for, or None: then the redirect is an error."""
        if not newurl.startswith("https://"):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def published_checksum(base_url: str, version: str) -> str:
    """The SHA-256 that the release publishes for the builds' archive."""
    url = f"{base_url}/v{version}/databricks_cli_{version}_SHA256SUMS"
    if not url.startswith("https://"):
        raise Stop(f"{url} is not https; correct DATABRICKS_CLI_BASE_URL in {TOOLS}")
    try:
        with urllib.request.build_opener(HttpsOnly).open(url, timeout=60) as response:
            lines = response.read().decode().splitlines()
    except (OSError, ValueError) as error:
        raise Stop(f"cannot read {url}: {error}. Is there such a release?") from None
    archive = f"databricks_cli_{version}_linux_amd64.zip"
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if match and match[2] == archive:
            return match[1]
    raise Stop(f"{url} names no {archive}")


def replaced(path: Path, pattern: str, value: str) -> str:
    """The file's text with the pattern's group set to `value`. It must occur exactly once."""
    text = path.read_text(encoding="utf-8")
    matches = list(re.finditer(pattern, text, re.MULTILINE))
    if len(matches) != 1:
        raise Stop(f"{path}: {pattern!r} must occur once; nothing is changed")
    start, end = matches[0].span(1)
    return text[:start] + value + text[end:]


def pin(version: str) -> None:
    """Writes a release's version and checksum into all files that have them, or into none."""
    project = Project()
    if not re.fullmatch(r"\d+\.\d+\.\d+", version, re.ASCII):
        raise Stop(f"which version? make pin-cli VERSION={project.cli_version}")
    checksum = published_checksum(project.tool("DATABRICKS_CLI_BASE_URL"), version)
    next_major = int(version.split(".")[0]) + 1
    admitted = f'">= {version}, < {next_major}.0.0"'
    tools = replaced(ROOT / TOOLS, r"^DATABRICKS_CLI_VERSION=(.*)$", version)
    setting = f"DATABRICKS_CLI_SHA256={checksum}"
    packages = ROOT / "pyproject.toml"
    contents = {
        ROOT / BUNDLE: replaced(ROOT / BUNDLE, r"^ +databricks_cli_version: (.*)$", admitted),
        packages: replaced(packages, r'"databricks-bundles==([0-9.]+)"', version),
        ROOT / TOOLS: re.sub(r"(?m)^DATABRICKS_CLI_SHA256=.*$", setting, tools),
    }
    for path, text in contents.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: Databricks CLI {version}")
    print(f"SHA-256 {checksum}. Next: uv lock, commit (uv.lock too), make stack push.")


def pin_on_first_use() -> None:
    """Pins the checksum of the pinned client unless one is there, and says so in one line.

    Without a network it warns: builds still compare the archive with its release's SHA256SUMS.
    """
    project = Project()
    with reading(TOOLS) as text:
        if re.search(r"(?m)^DATABRICKS_CLI_SHA256=\S", text):
            return
    version = project.cli_version
    try:
        checksum = published_checksum(project.tool("DATABRICKS_CLI_BASE_URL"), version)
    except Stop as stop:
        print(f"warning: the Databricks CLI {version} has no pinned checksum: {stop}")
        return
    tools = replaced(ROOT / TOOLS, r"^DATABRICKS_CLI_SHA256=(.*)$", checksum)
    (ROOT / TOOLS).write_text(tools, encoding="utf-8")
    print(f"{TOOLS} now pins the SHA-256 of the Databricks CLI {version}: {checksum}; commit it")

"""Each file by itself: it can be read, and holds what such a file may hold."""

import ast
import glob
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml

from ops.check.reading import (
    LOADER,
    Finding,
    Findings,
    Keys,
    Map,
    Place,
    Reader,
    check,
    children,
    items,
    leaves,
    maps,
    unknown_keys,
)

BUNDLE, STACK, PINS = "databricks.yml", "cicd/stack.yml", "cicd/tools.env"
RUNNER = "tests/nutter/run_fixtures.py"
# Files that must be readable. Other folders may hold templates or another tool's YAML.
OWN = re.compile(r"(cicd|ops|resources|src|tests)/|databricks\.yml|pyproject\.toml|Makefile")
PARSERS: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".json": json.loads,
    ".ipynb": json.loads,
    ".toml": tomllib.loads,
}
YAML = (".yml", ".yaml")
SUFFIXES = {*PARSERS, *YAML, ".sh", ".env"}
BY_NAME = ("Makefile", "requirements.txt", "uv.txt")


class Command(NamedTuple):
    """A command of a build, of a script or of the Makefile."""

    place: Place
    text: str


class Files:
    """The repository's files, read once; `faults` say which cannot be relied on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text = dict(texts(root))
        self.misfits: list[Finding] = []
        self.yaml = Map(misfits=self.misfits)
        self.faults: list[tuple[Place, str]] = []
        self.unreadable: set[str] = set()

    def parse(self) -> None:
        """Reads every file in its language."""
        faults = [fault for file in self.text for fault in self.read(file)]
        for file in {BUNDLE, STACK, PINS} - self.text.keys():
            faults.append((Place(file, 1), "missing, but the builds need it; restore it"))
        self.faults = [fault for fault in faults if self.is_own(fault[0].file)]
        self.unreadable = {place.file for place, _ in self.faults}

    def read(self, file: str) -> Findings:
        """Reads one file in its language. Yields its faults."""
        text = self.text[file]
        for characters, problem in (("\ufffd", "is not UTF-8"), ("\r\n", "has CRLF")):
            if characters in text:
                line = text.count("\n", 0, text.index(characters)) + 1
                yield Place(file, line), f"this line {problem}; save the file as UTF-8 with LF"
        self.text[file] = text = text.replace("\r\n", "\n")
        reader = Reader(file, self.misfits)
        try:
            if file.endswith(YAML):
                self.yaml.at[file] = Place(file, 1)
                self.yaml[file] = reader.read(text)
            PARSERS.get(Path(file).suffix, str)(text)
        except (yaml.YAMLError, SyntaxError, ValueError, RecursionError) as error:
            lines = ["1", *re.findall(r"\bline (\d+)", str(error))]  # every parser says it in words
            reason = getattr(error, "problem", None) or getattr(error, "msg", error)
            message = f"cannot be read: {' '.join(str(reason).split())}; fix the syntax"
            yield Place(file, int(lines[-1])), message
        yield from reader.faults

    def is_own(self, file: str) -> bool:
        """Whether a file is the project's: by its place, or because bundle or stack name it."""
        return bool(OWN.match(file)) or file in self.included | self.named_buildspecs

    @cached_property
    def included(self) -> set[str]:
        """The files that databricks.yml includes."""
        patterns = items(self.yaml.mapping(BUNDLE).get("include"))
        paths = [path for name in patterns for path in glob.glob(str(name), root_dir=self.root)]
        return {Path(path).as_posix() for path in paths}

    @cached_property
    def named_buildspecs(self) -> set[str]:
        """The buildspecs that the stack names."""
        return {str(source.get("BuildSpec")) for source in maps(self.yaml.mapping(STACK))}

    @cached_property
    def buildspecs(self) -> dict[str, Map]:
        """The buildspecs: those that the stack names, and what stands beside them."""
        files = [f for f in self.yaml if f in self.named_buildspecs or "cicd/buildspecs/" in f]
        return {file: self.yaml.mapping(file) for file in files}

    @cached_property
    def pins(self) -> Map:
        """The variables of cicd/tools.env."""
        pins = Map()
        for number, line in enumerate(self.text.get(PINS, "").splitlines(), 1):
            if match := re.match(r"(\w+)=(.*)", line):
                pins[match[1]], pins.at[match[1]] = match[2], Place(PINS, number)
        return pins

    def accepts(self, finding: Finding) -> bool:
        """Whether its line has a comment `accepted: WHAT (reason)`; WHAT is in the message."""
        lines = self.text.get(finding.place.file, "").splitlines()
        line = "".join(lines[finding.place.line - 1 : finding.place.line])
        comment = re.search(r"#.*\baccepted: (\S+) \(.+\)", line)
        return comment is not None and comment[1] in finding.message

    def readable(self, file: str) -> str:
        """The text of a file; "" if the file is missing or cannot be parsed."""
        return "" if file in self.unreadable else self.text.get(file, "")

    def search(self, pattern: str, suffix: str = "") -> Iterator[tuple[Place, re.Match[str]]]:
        """Every match in the files of a suffix."""
        for file, text in self.text.items():
            for match in re.finditer(pattern, text) if file.endswith(suffix) else ():
                yield Place(file, text.count("\n", 0, match.start()) + 1), match

    def search_commands(self, pattern: str) -> Iterator[tuple[Command, str]]:
        """Every match in the commands of the builds and the Makefile."""
        scripts = [file for file in self.text if file.endswith((".sh", "Makefile"))]
        for file in [*filter(self.is_own, scripts), *self.buildspecs]:
            for command in self.commands(file):
                for match in re.findall(pattern, command.text):
                    yield command, match

    def commands(self, file: str) -> Iterator[Command]:
        """Every command of a buildspec, a shell script or the Makefile."""
        if file not in self.yaml:
            yield from commands(Place(file, 1), self.text.get(file, ""))
        for leaf in leaves(self.yaml.get(file)):
            text = str(leaf.value)  # a block of several lines starts below its key
            yield from commands(Place(file, leaf.place.line + ("\n" in text)), text)


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """The name and text of every file that a check may want to read."""
    for folder, folders, files in os.walk(root):
        generated = {"dist", "build", "venv"} if Path(folder) == root else set()  # else packages
        skipped = {"node_modules", "__pycache__"} | generated
        folders[:] = [name for name in folders if name not in skipped and name[0] != "."]
        for path in (Path(folder, name) for name in files):
            wanted = path.suffix in SUFFIXES or path.name in BY_NAME
            if wanted and path.is_file():  # an editor's lock is a link that leads nowhere
                text = path.read_bytes().decode("utf-8", errors="replace")
                yield path.relative_to(root).as_posix(), text


def commands(first: Place, text: str) -> Iterator[Command]:
    """Each line without its comment; a backslash at its end takes in the next line."""
    start, command = first.line, ""
    for number, line in enumerate(text.splitlines(), first.line):
        start = start if command else number
        command += re.sub(r"(^|\s)#.*", "", line)
        if command.endswith("\\"):
            command = command[:-1]
        else:
            yield Command(Place(first.file, start), command)
            command = ""


@check
def files_can_be_read(files: Files) -> Findings:
    """The project's files have their language's syntax, in UTF-8 with LF."""
    yield from files.faults


@check
def notebooks_exist(files: Files) -> Findings:
    """The notebooks that notebooks run exist."""
    runs = r"""(?m)(?:^# MAGIC %run |dbutils\.notebook\.run\()["']?(\.[^"'\s,)]+)"""
    for place, match in files.search(runs, ".py"):
        path = os.path.join(files.root, os.path.dirname(place.file), match[1])
        if not any(os.path.isfile(path + suffix) for suffix in ("", ".py", ".ipynb")):
            yield place, f"runs the notebook {match[1]}, which does not exist; fix the path"


@check
def nutter_fixtures_are_run(files: Files) -> Findings:
    """Nutter's runner runs every fixture beside it; one that nothing runs would go unnoticed."""
    runner = files.text.get(RUNNER, "")
    for file, text in files.text.items():
        if not re.fullmatch(r"tests/nutter/\w+_fixture\.py", file):
            continue
        if f"# MAGIC %run ./{Path(file).stem}\n" not in runner:
            yield Place(file, 1), f"{RUNNER} does not %run it; add that in a cell of its own"
        classes = re.findall(r"(?m)^class (\w+)", text)
        if not classes:
            yield Place(file, 1), "has no fixture class; add one, or remove the file"
        for name in classes:
            if name not in runner:
                yield Place(file, 1), f"{RUNNER} does not name {name}; add it to the last cell"


# Every key, as the CodeBuild user guide lists them. "*": any key; no value: no keys below.
KEYS: Keys = yaml.load(
    """
    version:
    run-as:
    env:
      {shell, exported-variables, git-credential-helper,
       variables: &any {"*"}, parameter-store: *any, secrets-manager: *any}
    proxy: {upload-artifacts, logs}
    batch: {fast-fail, build-list, build-matrix, build-graph, build-fanout}
    phases:
      install: {<<: &step {run-as, on-failure, commands, finally}, runtime-versions: *any}
      pre_build: *step
      build: *step
      post_build: *step
    reports: {"*": {files, base-directory, discard-paths, file-format}}
    artifacts:
      <<: &files
        {files, name, base-directory, discard-paths, exclude-paths, enable-symlinks, s3-prefix}
      secondary-artifacts: {"*": *files}
    cache: {key, fallback-keys, action, paths}
    """,
    LOADER,
)


@check
def buildspecs_have_known_keys(files: Files) -> Findings:
    """A buildspec has the keys of version 0.2, says so, and leaves secrets to the stack."""
    for file, spec in files.buildspecs.items():
        if spec.text("version") != "0.2":
            place = spec.at.get("version", Place(file, 1))
            yield place, "this is not a buildspec 0.2; set version: 0.2"
        yield from unknown_keys(spec, "a buildspec", KEYS)
        for name, place in spec.mapping("env", "secrets-manager").at.items():
            yield place, f"{name} is a secret; declare it in the build's project in cicd/stack.yml"


@check
def versions_are_quoted(files: Files) -> Findings:
    """YAML reads no version as a number: 3.10 would be 3.1."""
    for spec in files.buildspecs.values():
        runtimes = spec.mapping("phases", "install", "runtime-versions")
        for name, value, place in leaves(spec):
            numbers = (float, int) if name in runtimes else float
            if name != "version" and isinstance(value, numbers):
                yield place, f"{name} is read as the number {value}; quote it"


@check
def phases_have_commands(files: Files) -> Findings:
    """A buildspec has phases, each does something, and YAML reads each command as text."""
    for file, spec in files.buildspecs.items():
        phases = spec.mapping("phases")
        if not phases:
            message = "has no phases, so it builds nothing; add phases: build: commands:"
            yield Place(file, 1), message
        for name, place in phases.at.items():
            phase = phases.mapping(name)
            if not phase.get("commands") and not phase.get("runtime-versions"):
                yield place, f"{name} has no commands; add some or remove the phase"
            for _, step, at in children(phase.get("commands")) + children(phase.get("finally")):
                if not isinstance(step, str) or not step.strip():
                    yield at, f"{step!r} is not a command; quote or remove it"

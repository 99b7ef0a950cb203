"""Reads the bundle, and refuses what the client could be made to run or to send elsewhere.

Usage: python cicd/steps/bundle.py TARGET

`databricks bundle validate` and `plan` use production's credential before anybody has approved the
commit. So this runs before them, and accepts only the keys below: none of them runs a command in a
build, reads a file outside of the repository or says where the credential goes.

The client has another YAML reader. Where a key decides, only a plain form is accepted, which no two
readers understand differently: keys on lines of their own, no alias, no tag, no second document.
Below `resources`, `variables` and the like, any YAML will do.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = "databricks.yml"
OTHER_ROOTS = ("databricks.yaml", "bundle.yml", "bundle.yaml")  # the client takes these too

# The keys that may be set, with the keys below them; without such keys, any YAML.
Keys = dict[str, Any]
TOP: Keys = yaml.safe_load(
    """
    <<: &shared
      bundle: {name, cluster_id, compute_id, databricks_cli_version, git, uuid}
      workspace: {artifact_path, file_path, resource_path, root_path, state_path}
      permissions:
      presets:
      resources:
      run_as:
      sync:
      variables:
    experimental:
      {python_wheel_wrapper, record_deployment_history, skip_artifact_cleanup,
       skip_name_prefix_for_schema, use_legacy_run_as}
    targets:
      this: {<<: *shared, cluster_id, compute_id, default, git, mode}
    """
)

RUNS = "runs code of the commit with this target's credential, before it is approved"
WHY = {
    "artifacts": f"{RUNS}; the pipeline builds the wheel: move this below the target of developers",
    "python": f"{RUNS}; define the resources in YAML",
    "pydabs": f"{RUNS}; define the resources in YAML",
    "scripts": f"{RUNS}; make it a task of a job, or a target of the Makefile",
    "terraform": f"{RUNS}; remove it",
    "environments": "is an old name; call it targets",
    "host": f"belongs in {ROOT}, below the target's workspace, and nowhere else",
    "include": f"counts in {ROOT} only; move it there",
}
UNKNOWN = "is no key that builds accept; remove it, or see cicd/steps/bundle.py"

PATTERN = re.compile(r"(\./)?([\w-][\w.-]*|[\w.-]*\*[\w.*-]*)(/[\w*-][\w.*-]*)*", re.ASCII)
INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories


class Refused(Exception):
    """Where something is that builds do not accept, what it is and how to fix it, in one line."""

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.file, self.line, self.message = file, line, message


class Bundle(NamedTuple):
    """What builds need to know of a bundle and a target."""

    target: str
    host: str  # the workspace's address, literally
    files: tuple[str, ...]  # databricks.yml, and what it includes


class Document:
    """One of the bundle's files; `root` is its mapping, or None if it is empty."""

    def __init__(self, folder: Path, file: str) -> None:
        self.folder, self.file = folder, file
        self.text = self.read() + "\n"
        self.lines = self.text.split("\n")
        self.root = self.compose()
        for node in nodes(self.root):
            self.check_value(node)

    def refuse(self, node: yaml.Node, message: str) -> Refused:
        """The exception for a node."""
        return Refused(self.file, node.start_mark.line + 1, message)

    def read(self) -> str:
        """The file's text, of visible characters."""
        path = self.folder / self.file
        if os.path.realpath(path) != os.path.join(os.path.realpath(self.folder), self.file):
            raise Refused(self.file, 1, "is behind a symbolic link; put the file itself here")
        try:
            text = path.read_bytes().decode()
        except (OSError, ValueError) as error:
            raise Refused(self.file, 1, f"cannot be read as UTF-8 ({error}); restore it") from None
        for number, line in enumerate(text.split("\n"), 1):
            for character in line:
                if unicodedata.category(character) in INVISIBLE:
                    what = f"has the invisible character U+{ord(character):04X}; remove it"
                    raise Refused(self.file, number, what)
        return text

    def compose(self) -> yaml.Node | None:
        """The nodes of the only document, which has no tags."""
        try:
            for event in yaml.parse(self.text, Loader=yaml.SafeLoader):
                if any(getattr(event, name, None) for name in ("tag", "tags", "version")):
                    line = event.start_mark.line + 1 if event.start_mark else 1
                    raise Refused(self.file, line, "has a tag (!) or a directive (%); remove it")
            return yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            line = place.line + 1 if place else 1
            raise Refused(self.file, line, f"cannot be read: {error.problem}; fix it") from None
        except RecursionError:
            raise Refused(self.file, 1, "is nested too deeply; make it flatter") from None

    def check_value(self, node: yaml.Node) -> None:
        """Refuses, anywhere in the file, a path that leads outside and a key that occurs twice."""
        if isinstance(node, yaml.ScalarNode):
            if self.leads_outside(node.value):
                raise self.refuse(node, f"{node.value} leads out of the repository; fix the path")
            characters = set(node.value) - {"\n", "\t"}
            if any(unicodedata.category(item) in INVISIBLE for item in characters):
                raise self.refuse(node, "has an escaped invisible character; remove it")
        seen: set[str] = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                raise self.refuse(key, "this key is no word, or occurs twice; keep one of them")
            seen.add(key.value)
            if key.value == "file_path" and not self.is_plain_path(value):
                # The client reads the file, and shows its content in the plan.
                what = "file_path needs the relative path of a file in this repository, literally"
                raise self.refuse(key, what)

    def leads_outside(self, path: str) -> bool:
        """Whether a relative path's `..` lead out of the repository."""
        parts = path.split("/")
        normal = os.path.normpath(os.path.join(os.path.dirname(self.file), path))
        return ".." in parts and normal.split("/")[0] == ".."

    def is_plain_path(self, node: yaml.Node) -> bool:
        """Whether a value is a path that leads to a file of the repository, or to a workspace's."""
        value = node.value if isinstance(node, yaml.ScalarNode) else "$"
        if value.startswith("/Workspace/"):
            return ".." not in value and "$" not in value
        path = os.path.normpath(os.path.join(os.path.dirname(self.file), value))
        real = os.path.realpath(self.folder / path)
        inside = real == os.path.join(os.path.realpath(self.folder), path)
        return inside and "$" not in value and not value.startswith(("/", "~"))

    def check_keys(self, node: yaml.Node, keys: Keys, path: str = "") -> None:
        """Refuses a mapping that is not in plain form, or has other keys."""
        if isinstance(node, yaml.ScalarNode) and node.value == "":
            return
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            raise self.refuse(node, f"{path or 'this file'} needs keys on lines of their own")
        self.check_lines(node, whole=not path)
        for key, value in node.value:
            name = self.word(key)
            if name not in keys and "*" not in keys:
                raise self.refuse(key, f"{path}{name} {WHY.get(name, UNKNOWN)}")
            below = keys.get(name)
            if below and value.start_mark.index < key.end_mark.index:
                raise self.refuse(key, f"{path}{name} is an alias; write its keys here")
            if below:
                self.check_keys(value, below, f"{path}{name}.")

    def word(self, key: yaml.Node) -> str:
        """A key as it is written: no escape, no anchor."""
        written = self.text[key.start_mark.index : key.end_mark.index]
        if not re.fullmatch(r"\w[\w.-]*", written, re.ASCII):
            raise self.refuse(key, f"the key {written!r} needs to be a plain word without quotes")
        return written

    def check_lines(self, node: yaml.MappingNode, whole: bool) -> None:
        """Refuses a line that another reader could take for one more key of a mapping."""
        column, marks = node.start_mark.column, [key.start_mark for key, _ in node.value]
        keys = {mark.line for mark in marks if mark.column == column}
        first, last = node.start_mark.line, node.end_mark.line
        numbers = range(len(self.lines)) if whole else range(first, last)
        for number in numbers:
            line = self.lines[number]
            text = line.lstrip(" ")
            at = len(line) - len(text)
            item = at == column and re.match(r"-( |$)", text)
            start = number < first and text.rstrip() == "---"
            if text and text[0] != "#" and at <= column and not (number in keys or item or start):
                what = "this line looks like a key, but belongs to the value above; indent it more"
                raise Refused(self.file, number + 1, what)


def nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every node of a document, once: an alias is its anchor's node."""
    found: set[int] = set()
    waiting = [root] if root else []
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def value_of(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """The node below a path of keys."""
    for name in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    return node


def included(document: Document) -> Iterator[str]:
    """The files that databricks.yml includes."""
    patterns = value_of(document.root, "include")
    for node in patterns.value if isinstance(patterns, yaml.SequenceNode) else []:
        pattern = node.value if isinstance(node, yaml.ScalarNode) else ""
        if not PATTERN.fullmatch(pattern):
            what = "include needs paths in this repository, in which only * stands for other names"
            raise document.refuse(node, what)
        found = [*expand(document.folder, "", pattern.removeprefix("./").split("/"))]
        if not found and "*" not in pattern:
            raise document.refuse(node, f"{pattern} does not exist; fix the path")
        for file in found:
            if not file.endswith((".yml", ".yaml")):
                raise document.refuse(node, f"includes {file}, which is no .yml file; rename it")
            yield file
    if patterns and not isinstance(patterns, yaml.SequenceNode):
        raise document.refuse(patterns, "include needs a list of paths")


def expand(folder: Path, start: str, parts: list[str]) -> Iterator[str]:
    """The paths that a pattern matches, as Go's filepath.Glob: hidden names too, ** is like *."""
    if not parts:
        yield start
        return
    place = folder / start
    pattern = re.compile(".*".join(map(re.escape, parts[0].split("*"))), re.DOTALL)
    for name in sorted(os.listdir(place)) if place.is_dir() else ():
        if pattern.fullmatch(name):
            yield from expand(folder, os.path.join(start, name), parts[1:])


def keys_of(file: str, target: str) -> Keys:
    """The keys that a file may have: the target's are limited, another target has any."""
    own = TOP["targets"]["this"]
    if file != ROOT:
        return TOP | {"targets": {target: own, "*": None}}
    own = own | {"workspace": own["workspace"] | {"host": None}}
    return TOP | {"targets": {target: own, "*": None}, "include": None}


def host_of(document: Document, target: str) -> str:
    """The literal host of a target."""
    settings = value_of(document.root, "targets", target)
    if settings is None:
        raise Refused(ROOT, 1, f"has no target {target}; add it below targets:")
    node = value_of(settings, "workspace", "host")
    host = node.value if isinstance(node, yaml.ScalarNode) else ""
    if not re.fullmatch(r"https?://[\w.:-]+", host, re.ASCII):
        what = (
            f"targets.{target}.workspace needs host: https:// and the workspace's name, literally"
        )
        raise document.refuse(node or settings, what)
    return str(host)


def read(folder: Path, target: str) -> Bundle:
    """What the bundle says of a target. Raises Refused."""
    for name in OTHER_ROOTS:
        if os.path.lexists(folder / name):
            raise Refused(name, 1, f"the client could take it for {ROOT}; rename it")
    first = Document(folder, ROOT)
    if first.root:
        first.check_keys(first.root, keys_of(ROOT, target))
    files = list(dict.fromkeys([ROOT, *included(first)]))
    for file in files[1:]:
        document = Document(folder, file)
        if document.root:
            document.check_keys(document.root, keys_of(file, target))
    return Bundle(target, host_of(first, target), tuple(files))


def check_files(folder: Path) -> None:
    """Refuses files of a commit that the client would run, or that lead it elsewhere."""
    for name, what in (
        ("setup.py", "the client runs it when a job needs a wheel; use pyproject.toml instead"),
        (".databricks", "the client takes variables and its state from it; remove it from git"),
    ):
        if os.path.lexists(folder / name):
            raise Refused(name, 1, what)
    for place, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = os.path.join(place, name)
            if os.path.islink(path):
                what = "is a symbolic link, which can lead anywhere; commit the file itself"
                raise Refused(os.path.relpath(path, folder), 1, what)


def main() -> int:
    """Checks the bundle in this folder for the target on the command line."""
    if len(sys.argv) != 2:
        print("usage: python cicd/steps/bundle.py TARGET", file=sys.stderr)
        return 2
    try:
        check_files(Path())
        bundle = read(Path(), sys.argv[1])
    except Refused as refused:
        print(f"bundle.py: {refused}", file=sys.stderr)
        return 1
    print(f"bundle.py: {len(bundle.files)} files deploy {bundle.target} to {bundle.host}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

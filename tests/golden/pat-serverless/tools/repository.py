"""Reads this repository for check.py: each file in its language, with the line of everything."""

import ast
import fnmatch
import functools
import glob
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Place = tuple[str, int]  # file and line
Finding = tuple[str, int, str]


class Map(dict):
    """A mapping of a YAML file; `at[key]` is the place of a key."""

    def __init__(self, items: Any = (), at: Any = ()) -> None:
        super().__init__(items)
        self.at: dict[Any, Place] = dict(at)


class Seq(list):
    """A list of a YAML file; `at[index]` is the place of an item."""

    def __init__(self, items: Any = (), at: Any = ()) -> None:
        super().__init__(items)
        self.at: list[Place] = list(at)


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Keeps places, collects duplicate keys, and reads CloudFormation's short tags (!Ref, !Sub)."""

    def __init__(self, file: str, text: str) -> None:
        super().__init__(text)
        self.file = file
        self.duplicates: list[Finding] = []

    def place(self, node: yaml.Node) -> Place:
        """Where a node starts."""
        return self.file, node.start_mark.line + 1

    def mapping(self, node: yaml.MappingNode) -> Map:
        """A mapping with its places."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="key is not a word", problem_mark=key.start_mark)
            if key.value in lines:
                twice = f"the key {key.value!r} is in line {lines[key.value]} too; keep one"
                self.duplicates.append((*self.place(key), twice))
            lines[key.value] = key.start_mark.line + 1
        self.flatten_mapping(node)  # YAML's merge key <<
        pairs = [(self.construct_object(key), key, value) for key, value in node.value]
        return Map(
            ((name, self.construct_object(value, deep=True)) for name, _, value in pairs),
            ((name, self.place(key)) for name, key, _ in pairs),
        )

    def sequence(self, node: yaml.SequenceNode) -> Seq:
        """A list with its places."""
        items = [self.construct_object(item, deep=True) for item in node.value]
        return Seq(items, map(self.place, node.value))

    def tagged(self, suffix: str, node: yaml.Node) -> Map:
        """`!Sub text` as the long form, {"Fn::Sub": text}."""
        name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
        read = {"scalar": self.construct_scalar, "sequence": self.sequence, "mapping": self.mapping}
        return Map([(name, read[node.id](node))], [(name, self.place(node))])


Loader.add_constructor("tag:yaml.org,2002:map", Loader.mapping)
Loader.add_constructor("tag:yaml.org,2002:seq", Loader.sequence)
Loader.add_multi_constructor("!", Loader.tagged)


def dig(node: Any, *keys: Any) -> Any:
    """What stands under a path of keys, or an empty Map."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return Map() if node is None else node


def each(value: Any) -> list:
    """A value that may be one or a list, as a list."""
    return value if isinstance(value, list) else [value] if value else []


def merge(old: Any, new: Any) -> Any:
    """Two pieces of a bundle as the CLI joins them: mappings by key, lists end to end."""
    if isinstance(old, Seq) and isinstance(new, Seq):
        return Seq(old + new, old.at + new.at)
    if not (isinstance(old, Map) and isinstance(new, Map)):
        return new
    joined = {key: merge(old[key], new[key]) if key in old else new[key] for key in new}
    return Map({**old, **joined}, {**old.at, **new.at})


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any, Place]]:
    """Every plain value below a node with its key and its place; an item's key is its list's."""
    for index, value in node.items() if isinstance(node, Map) else enumerate(node):
        name = index if isinstance(node, Map) else key
        if isinstance(value, Map | Seq):
            yield from leaves(value, name)
        else:
            yield name, value, node.at[index]


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Each line without its comment, with its number; a backslash at its end takes in the next."""
    start, command = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start if command else number
        command += re.sub(r"(^|\s)#.*", "", line)
        if command.endswith("\\"):
            command = command[:-1]
        else:
            yield start, command
            command = ""


def names(value: Any) -> list[str]:
    """The logical names that a CloudFormation value refers to."""
    return re.findall(r"\$\{(\w+)", plain(value))


def plain(value: Any) -> str:
    """A CloudFormation value as one string, its references as ${Name}."""
    if isinstance(value, list):
        return "".join(map(plain, value))
    if not isinstance(value, dict):
        return str(value)
    name, inner = next(iter(value.items()), ("", ""))
    if name in ("Ref", "Fn::GetAtt"):
        return "${" + (".".join(inner) if isinstance(inner, list) else str(inner)) + "}"
    return plain(inner)


class Build(NamedTuple):
    """A CodeBuild project of the stack."""

    name: str
    role: str
    buildspec: str
    at: Place  # where the stack names the buildspec
    variables: list[Map]
    targets: set[str]  # that it works on


class Repository:
    """The files that matter, read once; `broken` says what does not parse."""

    # A target in a command: the CLI's option, or what follows a script whose first word it is.
    TARGET = re.compile(
        r"(?:\bbundle\b[^|;&]*?\s(?:-t|--target)[ =]|cicd/(?:preflight\.py|run_nutter\.sh)\s)"
        r"""\s*["']?([A-Za-z][\w-]*)"""
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text: dict[str, str] = {}
        self.yaml: dict[str, Map] = {}
        self.broken: list[Finding] = []
        skip = {"dist", "build", "node_modules", "venv", "__pycache__"}
        kinds = {".yml", ".yaml", ".py", ".json", ".ipynb", ".toml", ".sh", ".env"}
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name not in skip and name[0] != "."]
            for path in (Path(folder, name) for name in files):
                if path.suffix in kinds or path.name == "Makefile":
                    text = path.read_text(encoding="utf-8", errors="replace")
                    self.text[path.relative_to(root).as_posix()] = text

    def parse(self) -> None:
        """Reads every file in its own language."""
        for file in {"databricks.yml", "cicd/stack.yml", "cicd/tools.env"} - self.text.keys():
            self.broken.append((file, 1, "missing, but the builds need it; restore it"))
        for file, text in self.text.items():
            try:
                self.parse_file(file, text)
            except (yaml.YAMLError, SyntaxError, ValueError) as error:
                mark = getattr(error, "problem_mark", None)
                in_text = re.search(r"at line (\d+)", str(error))
                line = getattr(error, "lineno", None) or int(in_text[1] if in_text else 1)
                problem = getattr(error, "problem", None) or getattr(error, "msg", error)
                line = mark.line + 1 if mark else line
                what = " ".join(str(problem).split())
                self.broken.append((file, line, f"cannot be read: {what}; mend the syntax"))

    def parse_file(self, file: str, text: str) -> None:
        """Reads one file; raises what its language's parser raises."""
        suffix = Path(file).suffix
        if suffix == ".py":
            ast.parse(text)
        elif suffix in (".json", ".ipynb"):
            json.loads(text)
        elif suffix == ".toml":
            tomllib.loads(text)
        elif suffix in (".yml", ".yaml"):
            loader = Loader(file, text)
            documents = []
            while loader.check_data():
                documents.append(loader.get_data())
            first = documents[0] if documents else None
            self.yaml[file] = first if isinstance(first, Map) else Map()
            self.broken += loader.duplicates

    def search(self, pattern: str, suffix: str = "") -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """The groups of every match in the files of a suffix, with its place."""
        for file, text in self.text.items():
            for match in re.finditer(pattern, text) if file.endswith(suffix) else ():
                yield file, text.count("\n", 0, match.start()) + 1, match.groups()

    def script_lines(self) -> Iterator[tuple[str, int, str]]:
        """Every command of the builds and the Makefile, with its place."""
        for file, text in self.text.items():
            if file in self.buildspecs or file.endswith((".sh", "Makefile")):
                yield from ((file, *line) for line in commands(text))

    @functools.cached_property
    def included(self) -> set[str]:
        """The files that databricks.yml includes."""
        patterns = each(dig(self.yaml["databricks.yml"], "include"))
        found = [name for pattern in patterns for name in glob.glob(pattern, root_dir=self.root)]
        return {Path(name).as_posix() for name in found}

    @functools.cached_property
    def bundle(self) -> Map:
        """databricks.yml and the files it includes, as one."""
        parts = [self.yaml[file] for file in sorted(self.included & self.yaml.keys())]
        return functools.reduce(merge, parts, self.yaml["databricks.yml"])

    @functools.cached_property
    def targets(self) -> dict[str, Map]:
        """What each target deploys: the resources of all targets and its own, by kind and key."""
        common = dig(self.bundle, "resources")
        targets = dig(self.bundle, "targets")
        return {name: merge(common, dig(target, "resources")) for name, target in targets.items()}

    @property
    def stack(self) -> Map:
        """The CloudFormation template."""
        return self.yaml["cicd/stack.yml"]

    @functools.cached_property
    def pins(self) -> dict[str, str]:
        """The versions in tools.env."""
        return dict(re.findall(r"^(\w+)=(.*)$", self.text["cicd/tools.env"], re.MULTILINE))

    @functools.cached_property
    def builds(self) -> list[Build]:
        """The stack's builds. A buildspec says its target, else the variable TARGET or the host."""
        builds = []
        for name, resource in dig(self.stack, "Resources").items():
            source = dig(resource, "Properties", "Source")
            if dig(resource, "Type") != "AWS::CodeBuild::Project" or "BuildSpec" not in source:
                continue
            spec = plain(source["BuildSpec"])
            variables = list(dig(resource, "Properties", "Environment", "EnvironmentVariables"))
            value = {str(dig(v, "Name")): v.get("Value") for v in variables}
            lines = [line for _, line in commands(self.text.get(spec, ""))]
            targets = {target for line in lines for target in self.TARGET.findall(line)}
            targets = (targets or {str(value.get("TARGET"))}) & self.targets.keys()
            hosts = names(value.get("DATABRICKS_HOST", ""))
            targets = targets or {owner for host in hosts if (owner := self.environment(host))}
            role = next(iter(names(dig(resource, "Properties", "ServiceRole"))), "")
            builds.append(Build(name, role, spec, source.at["BuildSpec"], variables, targets))
        return builds

    @functools.cached_property
    def buildspecs(self) -> dict[str, Map]:
        """The buildspecs: what stands beside the others, and what the stack names."""
        named = {build.buildspec for build in self.builds}
        return {
            f: y for f, y in self.yaml.items() if f in named or f.startswith("cicd/buildspecs/")
        }

    def environment(self, name: str) -> str | None:
        """The target that a logical name of the stack starts with: QaSecret is qa's."""
        fits = [t for t in self.targets if name.lower().startswith(re.sub(r"\W|_", "", t).lower())]
        return max(fits, key=len, default=None)

    @functools.cached_property
    def secrets(self) -> dict[str, str]:
        """The stack's secrets, each with an ARN such as it may get."""
        arns = {}
        for secret, resource in dig(self.stack, "Resources").items():
            if dig(resource, "Type") == "AWS::SecretsManager::Secret":
                name = plain(dig(resource, "Properties", "Name")) or f"stack-{secret}"
                arns[secret] = f"arn:aws:secretsmanager:region:account:secret:{name}-suffix"
        return arns

    def secret_readers(self) -> Iterator[tuple[str, str, Place]]:
        """Which role may read which of the stack's secrets, and where that is said."""
        resources = dig(self.stack, "Resources")
        for name, resource in resources.items():
            properties = dig(resource, "Properties")
            if dig(resource, "Type") == "AWS::IAM::Role":
                roles = [name]
                policies = [dig(policy, "PolicyDocument") for policy in dig(properties, "Policies")]
            else:  # a policy of its own, attached to roles
                roles = names([*each(dig(properties, "Roles")), dig(properties, "RoleName")])
                policies = [dig(properties, "PolicyDocument")]
            for statement in (one for policy in policies for one in each(dig(policy, "Statement"))):
                at = statement.at.get("Resource", resources.at[name])
                for secret in self.readable(statement):
                    yield from ((role, secret, at) for role in roles)

    def readable(self, statement: Map) -> Iterator[str]:
        """The secrets whose value a policy's statement allows to read."""
        actions = [plain(action).lower() for action in each(statement.get("Action", "*"))]
        reads = any(fnmatch.fnmatch("secretsmanager:getsecretvalue", one) for one in actions)
        if not reads or dig(statement, "Effect") != "Allow":
            return
        others = dig(self.stack, "Resources")  # a parameter may be anything, a resource only itself
        for allowed in each(statement.get("Resource", "*")):
            parts = re.split(r"\$\{([\w:]+)[^}]*\}", plain(allowed))
            parts[1::2] = [name if name in others else "*" for name in parts[1::2]]
            for secret, arn in self.secrets.items():
                if secret in names(allowed) or fnmatch.fnmatch(arn, "".join(parts)):
                    yield secret

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
from typing import Any, ClassVar, NamedTuple

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
    """Keeps places, collects faults, and reads CloudFormation's short tags (!Ref, !Sub)."""

    def __init__(self, file: str, text: str) -> None:
        super().__init__(text)
        self.file = file
        self.faults: list[Finding] = []

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
                self.faults.append((*self.place(key), twice))
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
        empty = (self.place(node.value[i]) for i, item in enumerate(items) if item is None)
        self.faults += [(*at, "an empty item of a list; fill or remove it") for at in empty]
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


def maps(node: Any) -> Iterator[Map]:
    """Every mapping at and below a node."""
    if isinstance(node, Map):
        yield node
    for value in node.values() if isinstance(node, Map) else each(node):
        if isinstance(value, dict | list):
            yield from maps(value)


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
    if name == "Fn::Join":
        return str(inner[0]).join(map(plain, inner[1]))
    if name == "Fn::Sub" and isinstance(inner, list):
        text, given = inner
        return re.sub(r"\$\{(\w+)\}", lambda m: plain(given.get(m[1], {"Ref": m[1]})), text)
    if name in ("Ref", "Fn::GetAtt"):
        return "${" + (".".join(inner) if isinstance(inner, list) else str(inner)) + "}"
    return plain(inner)


class Build(NamedTuple):
    """A CodeBuild project of the stack."""

    name: str
    properties: Map
    role: str
    buildspec: str
    at: Place  # where the stack names the buildspec
    variables: list[tuple[str, Any, bool, Place]]  # name, value, whether that is a secret
    targets: dict[str, Place]  # that it works on, and where that is said


class Repository:
    """The files that matter, read once; `broken` says what cannot be relied on."""

    # A target in a command: the CLI's option, or what follows a script whose first word it is.
    TARGET = re.compile(
        r"(?:\bbundle\b[^|;&]*?\s(?:-t|--target)|cicd/steps/(?:preflight\.py|run_nutter\.sh)\s)"
        r"""[ =]*["']?([A-Za-z][\w-]*)"""
    )
    # What may be done to a resource of the stack, in words, and how the resource's ARN ends.
    RIGHTS: ClassVar = {
        "AWS::SecretsManager::Secret": ("secretsmanager:GetSecretValue", "read", "secret:{}-x"),
        "AWS::KMS::Key": ("kms:Decrypt", "decrypt with", "key/{}"),
        "AWS::IAM::Role": ("sts:AssumeRole", "assume", "role/{}"),
        "AWS::CodeBuild::Project": ("codebuild:StartBuild", "start", "project/{}"),
    }
    # What must be readable. Other folders hold what they like: templates, another tool's YAML.
    OWN = re.compile(r"(cicd|ops|resources|src|tests)/|databricks\.yml|pyproject\.toml|Makefile")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text: dict[str, str] = {}
        self.yaml: dict[str, Map] = {}
        self.toml: dict[str, dict] = {}
        self.broken: list[Finding] = []
        kinds = {".yml", ".yaml", ".py", ".json", ".ipynb", ".toml", ".sh", ".env"}
        for folder, folders, files in os.walk(root):
            made = ("dist", "build", "venv") if Path(folder) == root else ()  # deeper: packages
            skip = {"node_modules", "__pycache__", *made}
            folders[:] = [name for name in folders if name not in skip and name[0] != "."]
            for path in (Path(folder, name) for name in files):
                if path.suffix in kinds or path.name == "Makefile":
                    text = path.read_bytes().decode("utf-8", errors="replace")
                    self.text[path.relative_to(root).as_posix()] = text

    def parse(self) -> None:
        """Reads every file in its own language."""
        needed = {"databricks.yml", "cicd/stack.yml", "cicd/tools.env"} - self.text.keys()
        faults = [(file, 1, "missing, but the builds need it; restore it") for file in needed]
        for file, text in self.text.items():
            try:
                faults += self.parse_file(file, text)
            except (yaml.YAMLError, SyntaxError, ValueError) as error:
                line = [1, *map(int, re.findall(r"\bline (\d+)", str(error)))][-1]
                problem = getattr(error, "problem", None) or getattr(error, "msg", error)
                what = " ".join(str(problem).split())
                faults.append((file, line, f"cannot be read: {what}; mend the syntax"))
        self.broken = [fault for fault in faults if self.is_own(fault[0])]

    def is_own(self, file: str) -> bool:
        """Whether a file is the project's: by its place, or because bundle or stack name it."""
        named = f"BuildSpec: {file}" in self.text.get("cicd/stack.yml", "")
        return bool(self.OWN.match(file)) or file in self.included or named

    def parse_file(self, file: str, text: str) -> Iterator[Finding]:
        """Reads one file and yields its faults; raises what its language's parser raises."""
        for sign, what in ("\ufffd", "is not UTF-8"), ("\r\n", "has CRLF"):
            if sign in text:
                at = text.count("\n", 0, text.index(sign)) + 1
                yield file, at, f"this line {what}; save the file as UTF-8 with LF"
        self.text[file] = text = text.replace("\r\n", "\n")
        suffix = Path(file).suffix
        if suffix == ".py":
            ast.parse(text)
        elif suffix in (".json", ".ipynb"):
            json.loads(text)
        elif suffix == ".toml":
            self.toml[file] = tomllib.loads(text)
        elif suffix in (".yml", ".yaml"):
            loader = Loader(file, text)
            first = loader.get_data() if loader.check_data() else None
            self.yaml[file] = first if isinstance(first, Map) else Map()
            yield from loader.faults
            if loader.check_node():
                at = loader.place(loader.get_node())
                yield *at, "a second document is not read; give it a file of its own"

    def search(self, pattern: str, suffix: str = "") -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """The groups of every match in the files of a suffix, with its place."""
        for file, text in self.text.items():
            for match in re.finditer(pattern, text) if file.endswith(suffix) else ():
                yield file, text.count("\n", 0, match.start()) + 1, match.groups()

    def script(self, file: str) -> Iterator[tuple[int, str]]:
        """Each command of a buildspec, a shell script or the Makefile, with its line."""
        whole = [("", self.text.get(file, ""), (file, 0))]
        for _, value, (_, line) in leaves(self.yaml[file]) if file in self.yaml else whole:
            for offset, command in commands(str(value)):
                yield line + (offset if "\n" in str(value) else 0), command

    def script_lines(self) -> Iterator[tuple[str, int, str]]:
        """Every command of the builds and the Makefile, with its place."""
        for file in self.text:
            script = file.endswith((".sh", "Makefile")) and self.is_own(file)
            if script or file in self.buildspecs:
                yield from ((file, *line) for line in self.script(file))

    @functools.cached_property
    def included(self) -> set[str]:
        """The files that databricks.yml includes."""
        patterns = each(dig(self.yaml, "databricks.yml", "include"))
        found = [path for one in patterns for path in glob.glob(str(one), root_dir=self.root)]
        return {Path(name).as_posix() for name in found}

    @functools.cached_property
    def bundle_files(self) -> list[str]:
        """databricks.yml and the files it includes."""
        return ["databricks.yml", *sorted(self.included & self.yaml.keys())]

    @functools.cached_property
    def bundle(self) -> Map:
        """The bundle's files as one."""
        return functools.reduce(merge, (dig(self.yaml, file) for file in self.bundle_files))

    @functools.cached_property
    def targets(self) -> dict[str, Map]:
        """What each target deploys: the resources of all targets and its own, by kind and key."""
        common = dig(self.bundle, "resources")
        targets = dig(self.bundle, "targets")
        return {name: merge(common, dig(target, "resources")) for name, target in targets.items()}

    def resources(self) -> Iterator[tuple[str, str, str, Map]]:
        """Every resource that a target deploys: target, kind, key, and itself."""
        for target, kinds in self.targets.items():
            for kind in kinds:
                for key, resource in dig(kinds, kind).items():
                    yield target, kind, key, resource

    @property
    def stack(self) -> Map:
        """The CloudFormation template."""
        return dig(self.yaml, "cicd/stack.yml")

    def stack_has(self, kind: str) -> dict[str, Map]:
        """The stack's resources of a type, each with its properties."""
        resources = dig(self.stack, "Resources").items()
        return {name: dig(r, "Properties") for name, r in resources if dig(r, "Type") == kind}

    @functools.cached_property
    def pins(self) -> dict[str, str]:
        """The versions in tools.env."""
        return dict(re.findall(r"^(\w+)=(.*)$", self.text["cicd/tools.env"], re.MULTILINE))

    @functools.cached_property
    def builds(self) -> list[Build]:
        """The stack's builds. A buildspec says its target, else the variable TARGET or the host."""
        builds = []
        for name, properties in self.stack_has("AWS::CodeBuild::Project").items():
            source = dig(properties, "Source")
            spec = plain(source.get("BuildSpec", "buildspec.yml"))  # CodeBuild's own default
            at = source.at.get("BuildSpec", dig(self.stack, "Resources").at[name])
            variables = []
            for one in dig(properties, "Environment", "EnvironmentVariables"):
                hidden, place = one.get("Type") == "SECRETS_MANAGER", one.at.get("Value", at)
                variables.append((str(dig(one, "Name")), dig(one, "Value"), hidden, place))
            value = {name: value for name, value, _, _ in variables}
            said: dict[str, Place] = {}
            for line, command in self.script(spec):
                for target in self.TARGET.findall(command):
                    said.setdefault(target, (spec, line))
            said = said or {str(value.get("TARGET")): at}
            targets = {target: place for target, place in said.items() if target in self.targets}
            hosts = names(value.get("DATABRICKS_HOST", ""))
            targets = targets or {owner: at for host in hosts if (owner := self.environment(host))}
            role = next(iter(names(dig(properties, "ServiceRole"))), "")
            builds.append(Build(name, properties, role, spec, at, variables, targets))
        return builds

    @functools.cached_property
    def buildspecs(self) -> dict[str, Map]:
        """The buildspecs: what stands beside the others, and what the stack names."""
        named = {build.buildspec for build in self.builds}
        return {f: y for f, y in self.yaml.items() if f in named or "cicd/buildspecs/" in f}

    def environment(self, name: str) -> str | None:
        """The target that a logical name of the stack starts with: QaSecret is qa's."""
        fits = [t for t in self.targets if name.lower().startswith(re.sub(r"\W|_", "", t).lower())]
        return max(fits, key=len, default=None)

    @functools.cached_property
    def rights(self) -> dict[tuple[str, str], Place]:
        """Which role may do to which resource what RIGHTS has, and where that is said."""
        found: dict[tuple[str, str], Place] = {}
        for name, resource in dig(self.stack, "Resources").items():
            properties = dig(resource, "Properties")
            roles = names([*each(dig(properties, "Roles")), dig(properties, "RoleName")])
            roles = [name] if dig(resource, "Type") == "AWS::IAM::Role" else roles
            if dig(resource, "Type") == "AWS::IAM::ManagedPolicy":
                given = self.stack_has("AWS::IAM::Role").items()
                roles += [r for r, p in given if name in names(dig(p, "ManagedPolicyArns"))]
            trust = [dig(properties, key) for key in ("AssumeRolePolicyDocument", "KeyPolicy")]
            for one in maps(trust):
                found |= {(role, name): one.at["AWS"] for role in names(dig(one, "AWS"))}
            for one in maps([dig(properties, "Policies"), dig(properties, "PolicyDocument")]):
                at = one.at.get("Resource", dig(self.stack, "Resources").at[name])
                for thing in self.allowed(one) if dig(one, "Effect") == "Allow" else ():
                    found |= {(role, thing): at for role in roles}
        return found

    def allowed(self, statement: Map) -> Iterator[str]:
        """The stack's resources to which a policy's statement allows what RIGHTS has."""
        actions = [plain(action).lower() for action in each(statement.get("Action", "*"))]
        others = dig(self.stack, "Resources")  # a parameter may be anything, a resource only itself
        for kind, (action, _, arn) in self.RIGHTS.items():
            if not any(fnmatch.fnmatch(action.lower(), one) for one in actions):
                continue
            for name, properties in self.stack_has(kind).items():
                own = properties.get("Name") or properties.get("RoleName") or f"stack-{name}-x"
                for resource in each(statement.get("Resource", "*")):
                    parts = re.split(r"\$\{([\w:]+)[^}]*\}", plain(resource))
                    parts[1::2] = [part if part in others else "*" for part in parts[1::2]]
                    end = "".join(parts).split(":", 5)[-1]  # of whatever partition and account
                    if name in names(resource) or fnmatch.fnmatch(arn.format(plain(own)), end):
                        yield name

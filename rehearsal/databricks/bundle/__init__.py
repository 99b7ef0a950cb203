"""A bundle as the client reads it: databricks.yml, its includes, one target, all of it resolved.

docs.databricks.com/aws/en/dev-tools/bundles/{settings,reference,deployment-modes,variables}
"""

import dataclasses
import difflib
import enum
import functools
import hashlib
import importlib
import json
import os
import re
import subprocess
import tempfile
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet

VERSION = "1.22.1"
# The keys of what Databricks' own package has no classes for.
BOTH = "artifacts bundle permissions presets resources run_as sync variables workspace"
SECTIONS = {
    "": f"{BOTH} environments experimental include python scripts targets",
    "targets": f"{BOTH} cluster_id compute_id default git mode",
    "variables": "default description lookup type",
    "artifacts": "build dynamic_version executable files path type",
    "bundle": "cluster_id compute_id databricks_cli_version deployment engine git name uuid",
    "git": "branch origin_url",
    "workspace": "artifact_path file_path host profile resource_path root_path state_path",
    "presets": "artifacts_dynamic_version jobs_max_concurrent_runs name_prefix tags"
    " pipelines_development source_linked_deployment trigger_pause_status",
    "sync": "exclude include paths",
    "run_as": "group_name service_principal_name user_name",
}
UNSUPPORTED = "environments permissions python scripts"  # loudly, at the top level
PATHS = {
    "artifact_path": "artifacts",
    "file_path": "files",
    "resource_path": "resources",
    "state_path": "state",
}
# Lists that are merged, and compared, by a key of their items.
KEYED = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "environments": "environment_key",
    "parameters": "name",
    "__embed__": "user_name group_name service_principal_name principal",  # permissions, grants
}
REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*(?:\.[\w-]+|\[\d+\])+)\}")
REMOTE = re.compile(
    r"jobs\.[^.]+\.tasks\[\d+\]\.(for_each_task\.task\.)?(notebook_task\.notebook_path"
    r"|spark_python_task\.python_file|sql_task\.file\.path|dbt_task\.project_directory)"
    r"|pipelines\.[^.]+\.(root_path|libraries\[\d+\]\.((notebook|file)\.path|glob\.include))"
)
LIBRARY = re.compile(r"(jobs|pipelines)\..+\.(libraries\[\d+\]\.(whl|jar)|dependencies\[\d+\])")


class Invalid(Exception):
    """What the client says of a bundle that it cannot take."""


class Map(dict):
    """A YAML mapping; places has `file:line:column` of each key and of its value."""

    def __init__(self, items: Any = (), places: Any = ()) -> None:
        super().__init__(items)
        self.places: dict[str, tuple[str, str]] = dict(places)


class Seq(list):
    """A YAML sequence; places has `file:line:column` of each item, twice as for a Map."""

    def __init__(self, items: Any = (), places: Any = ()) -> None:
        super().__init__(items)
        self.places: list[tuple[str, str]] = list(places)


def read_yaml(root: Path, name: str) -> Map:
    """The mapping in a file below root. Raises Invalid."""

    def place(of: yaml.Node) -> str:
        return f"{name}:{of.start_mark.line + 1}:{of.start_mark.column + 1}"

    def build(node: yaml.Node | None) -> Any:
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)  # merge keys, <<
            places = {key.value: (place(key), place(value)) for key, value in node.value}
            return Map({key.value: build(value) for key, value in node.value}, places)
        if isinstance(node, yaml.SequenceNode):
            places = [(place(item), place(item)) for item in node.value]
            return Seq(map(build, node.value), places)
        return loader.construct_object(node) if node else None

    try:
        loader = yaml.SafeLoader((root / name).read_text(encoding="utf-8"))
        return build(loader.get_single_node()) or Map()
    except OSError as error:
        raise Invalid(f"failed to load {root / name}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise Invalid(f"failed to load {root / name}: yaml: {where}") from None


def merge(base: Any, over: Any, field: str = "") -> Any:
    """Mappings key by key, lists of KEYED by theirs, other lists end to end, else the second."""
    if isinstance(base, Map) and isinstance(over, Map):
        keys = base | over
        both = {key: merge(base.get(key), over.get(key), key) for key in keys}
        return Map(both, base.places | over.places)
    if isinstance(base, Seq) and isinstance(over, Seq):
        joined = Seq(base, base.places)
        key = KEYED.get(field)
        named = {item.get(key): i for i, item in enumerate(base) if isinstance(item, Map)}
        for item, place in zip(over, over.places, strict=True):
            same = named.get(item.get(key)) if key and isinstance(item, Map) else None
            if same is None:
                joined.append(item)
                joined.places.append(place)
            else:
                joined[same] = merge(joined[same], item)
        return joined
    return base if over is None else over


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """Path, container, key and value of all that is no mapping or list."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        here = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".lstrip(".")
        if isinstance(item, dict | list):
            yield from leaves(item, here)
        else:
            yield here, value, key, item


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook in Databricks' source format."""
    if file.suffix != ".py" or not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.readline().rstrip() == b"# Databricks notebook source"


def user_id(name: str) -> str:
    """A number for a name, always the same."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:10], 16))


# ---- Unknown fields, wrong types and missing fields ----------------------------------------------


@functools.cache
def resource_class(kind: str) -> type | None:
    """The class that databricks-bundles has for a kind of resource."""
    from databricks.bundles.core import Resource  # late: most commands do without

    try:
        module = importlib.import_module(f"databricks.bundles.{kind}")
    except ModuleNotFoundError:
        return None
    classes = (c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Resource))
    return next(classes, None)


def _plain(hint: Any) -> Any:
    """A field's type without the package's own `Variable` and without None."""
    while typing.get_origin(hint) in (typing.Union, types.UnionType):
        skip = ("Variable", "NoneType")
        hint = next(o for o in typing.get_args(hint) if getattr(o, "__name__", "") not in skip)
    return hint


def _check(value: Any, hint: Any, path: str, places: tuple[str, str], missing: bool) -> Iterator:
    """Warnings of a value that should be of a type: only missing fields, or all but those."""
    hint = _plain(hint)
    record, origin = dataclasses.is_dataclass(hint), typing.get_origin(hint)
    text = isinstance(hint, type) and issubclass(hint, str | enum.Enum)
    wanted = "map" if record or origin is dict else "sequence" if origin is list else None
    wanted = wanted or ("string" if text else getattr(hint, "__name__", None))
    names = {Map: "map", Seq: "sequence", str: "string"}
    found = names.get(type(value), type(value).__name__)
    taken = {"string": ("string", "int", "float", "bool"), "float": ("float", "int")}
    if value is None or (found == "string" and "${" in value):
        return
    if found not in taken.get(wanted, (wanted,)):
        if not missing:
            yield f"expected {wanted}, found {found}\n  at {path}\n  in {places[1]}"
    elif found in ("map", "sequence"):
        hints = typing.get_type_hints(hint) if record else {}
        for key, item in value.items() if found == "map" else enumerate(value):
            inside = f"{path}[{key}]" if found == "sequence" else f"{path}.{key}"
            if not record or key in hints:
                inner = hints[key] if record else typing.get_args(hint)[-1]
                yield from _check(item, inner, inside, value.places[key], missing)
            elif not missing:
                yield f"unknown field: {key}\n  at {path}\n  in {value.places[key][0]}"
        for field in dataclasses.fields(hint) if record and missing else ():
            unset = field.default is field.default_factory  # both are dataclasses.MISSING
            if unset and field.name not in value:
                yield f'required field "{field.name}" is not set\n  at {path}\n  in {places[1]}'


def _check_resources(resources: Map | None, path: str, missing: bool = False) -> Iterator[str]:
    for kind, found in (resources or Map()).items():
        cls = resource_class(kind)
        if cls is None and not missing:
            yield f"unknown field: {kind}\n  at {path}\n  in {resources.places[kind][0]}"
        for key, resource in (found or Map()).items() if cls else ():
            yield from _check(resource, cls, f"{path}.{kind}.{key}", found.places[key], missing)


def _check_section(section: Any, name: str, path: str = "") -> Iterator[str]:
    at = f"\n  at {path}" if path else ""
    for key, value in section.items() if isinstance(section, Map) else ():
        inside = f"{path}.{key}".lstrip(".")
        if key not in SECTIONS[name].split():
            yield f"unknown field: {key}{at}\n  in {section.places[key][0]}"
        elif key == "resources":
            yield from _check_resources(value, inside)
        elif key in ("targets", "artifacts") or (key == "variables" and not path):
            for one, item in (value or Map()).items():
                yield from _check_section(item, key, f"{inside}.{one}")
        elif key in SECTIONS and key != "variables":
            yield from _check_section(value, key, inside)


# ---- The bundle ----------------------------------------------------------------------------------


class Bundle:
    """A bundle; `load` fills in what it learns, so that a failing one can still be described."""

    def __init__(self, root: Path) -> None:
        self.root, self.config, self.warnings = root, Map(), []
        self.name = self.target = self.user = self.mode = ""

    def section(self, name: str) -> Any:
        """A top-level mapping of the configuration, made where it is missing."""
        if self.config.get(name) is None:
            self.config[name] = Map()
        return self.config[name]

    def load(
        self, target: str | None, assigned: dict[str, str], sign_in: Callable[[str], str]
    ) -> "Bundle":
        """Reads and resolves; sign_in takes the host and returns the user.

        Raises Invalid, and NotImplementedError for what the stand-in does not know.
        """
        self.config = read_yaml(self.root, "databricks.yml")
        self.name = self.section("bundle").get("name", "")
        wanted = self.section("bundle").get("databricks_cli_version")
        if wanted and not SpecifierSet(wanted).contains(VERSION):
            required = f"Required: {wanted}, current: {VERSION}"
            raise Invalid(f"Databricks CLI version constraint not satisfied. {required}")
        patterns = self.config.get("include") or ()
        files = [file for pattern in patterns for file in sorted(self.root.glob(pattern))]
        included = [str(file.relative_to(self.root)) for file in files]
        for file in included:
            self.config = merge(self.config, read_yaml(self.root, file))
        self.warnings += _check_section(self.config, "")
        self.config["include"] = included
        self._select(target)
        asked = {name for name in UNSUPPORTED.split() if self.config.get(name)}
        if asked := asked | set(self.section("experimental")) - {"skip_artifact_cleanup"}:
            raise NotImplementedError(f"{', '.join(sorted(asked))} of a bundle")
        self._assign(assigned)
        self.user = sign_in(self.section("workspace").get("host", ""))
        self._resolve_all()
        self._apply_mode()
        self.warnings += _check_resources(self.section("resources"), "resources", missing=True)
        for kind, found in self.section("resources").items():
            for resource in (found or {}).values():
                self._finish(kind, resource)
        self._translate_paths()
        return self

    def _select(self, target: str | None) -> None:
        targets = self.config.pop("targets", None) or {"default": Map()}
        defaults = [n for n, t in targets.items() if len(targets) == 1 or (t or {}).get("default")]
        if target is None and len(defaults) != 1:
            raise Invalid("please specify target")
        target = target or defaults[0]
        if target not in targets:
            raise Invalid(f"{target}: no such target. Available targets: {', '.join(targets)}")
        chosen, variables = targets[target] or Map(), self.section("variables")
        for name, value in (chosen.get("variables") or {}).items():
            if name not in variables:
                what = f"variable {name} is not defined but is assigned a value"
                raise Invalid(f"failed to perform target override for target={target}: {what}")
            whole = isinstance(value, Map) and {"default", "lookup"} & value.keys()
            variables[name] = (variables[name] or {}) | (value if whole else {"default": value})
        for key in chosen.keys() & set(BOTH.split()) - {"variables"}:
            replace = key == "run_as"
            self.config[key] = merge(None if replace else self.config.get(key), chosen[key])
        about = {"target": target, "environment": target}
        about["git"] = {"bundle_root_path": "."} | (chosen.get("git") or {})
        self.target, self.mode = target, chosen.get("mode") or ""
        self.section("bundle").update(about | ({"mode": self.mode} if self.mode else {}))

    def _assign(self, assigned: dict[str, str]) -> None:
        variables = self.section("variables")
        for name in assigned.keys() - variables.keys():
            raise Invalid(f"variable {name} has not been defined")
        for name, variable in variables.items():
            override = assigned.get(name, os.environ.get(f"BUNDLE_VAR_{name}"))
            if override is not None:
                variable["value"] = override
            elif "default" in (variable or {}):
                variable["value"] = variable["default"]
            elif "lookup" in (variable or {}):
                raise NotImplementedError(f"variables.{name}.lookup")

    def _resolve_all(self) -> None:
        workspace, short = self.section("workspace"), self.user.partition("@")[0]
        workspace["current_user"] = {
            "id": user_id(self.user),
            "userName": self.user,
            "short_name": re.sub(r"\W", "_", short),
            "domain_friendly_name": re.sub(r"[\W_]", "-", short),
        }
        self.explicit_root = "root_path" in workspace
        own = f"/Workspace/Users/{self.user}/.bundle/{self.name}/{self.target}"
        workspace.setdefault("root_path", own)
        for name, variable in self.section("variables").items():
            if "value" not in (variable or {}):
                raise Invalid(
                    f"no value assigned to required variable {name}. Variables are usually assigned"
                    ' in databricks.yml, and they can be overridden using "--var", the'
                    f" BUNDLE_VAR_{name} environment variable, or"
                    " .databricks/bundle/<target>/variable-overrides.json"
                )
        self.section("sync").setdefault("paths", ["."])
        for name, folder in PATHS.items():
            workspace.setdefault(name, f"${{workspace.root_path}}/{folder}")
        workspace = self.config["workspace"] = self._resolve(workspace)
        for name in ("root_path", *PATHS):
            path = re.sub("^~(?=/)", f"/Workspace/Users/{self.user}", workspace[name].rstrip("/"))
            workspace[name] = re.sub("^/(?=(Users|Shared)/)", "/Workspace/", path)
        self.config = self._resolve(self.config)

    def _resolve(self, value: Any, seen: tuple[str, ...] = ()) -> Any:
        """A copy with its references replaced; those to resources stay until the deployment."""
        places = getattr(value, "places", ())
        if isinstance(value, dict):
            return Map({key: self._resolve(item, seen) for key, item in value.items()}, places)
        if isinstance(value, list):
            return Seq([self._resolve(item, seen) for item in value], places)
        if not isinstance(value, str):
            return value
        if whole := REFERENCE.fullmatch(value):
            return self._look_up(whole[1], seen)

        def text(match: re.Match) -> str:
            found = self._look_up(match[1], seen)
            return found if isinstance(found, str) else json.dumps(found)

        return REFERENCE.sub(text, value)

    def _look_up(self, path: str, seen: tuple[str, ...]) -> Any:
        if path.startswith("resources."):
            return f"${{{path}}}"
        if path in seen:
            raise Invalid(f"cycle detected in field resolution: {' -> '.join([*seen, path])}")
        value: Any = self.config
        for part in re.findall(r"[\w-]+", re.sub(r"^var\.([\w-]+)", r"variables.\1.value", path)):
            value = self._resolve(value, (*seen, path)) if isinstance(value, str) else value
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, TypeError, ValueError):
                known = [f"var.{name}" for name in self.config["variables"]]
                near = difflib.get_close_matches(path, known, 1)
                hint = f"\n\ndid you mean:\n  ${{{near[0]}}}" if near else ""
                raise Invalid(f"reference does not exist: ${{{path}}}{hint}") from None
        return self._resolve(value, (*seen, path))

    def _apply_mode(self) -> None:
        """docs.databricks.com/aws/en/dev-tools/bundles/deployment-modes"""
        root, presets = self.config["workspace"]["root_path"], self.config.get("presets") or Map()
        short, where = self.config["workspace"]["current_user"]["short_name"], "target with 'mode: "
        if self.mode == "development":
            if presets.get("trigger_pause_status") == "UNPAUSED":
                what = "cannot set trigger pause status to UNPAUSED by default"
                raise Invalid(f"{where}development' {what}")
            if short not in root and self.user not in root:
                what = "must start with '~/' or contain the current username to ensure uniqueness"
                raise Invalid(f"root_path {what} when using 'mode: development'")
            own = {"name_prefix": f"[dev {short}] ", "jobs_max_concurrent_runs": 4}
            own |= {"trigger_pause_status": "PAUSED", "pipelines_development": True}
            self.config["presets"] = {**own, "tags": {"dev": short}, **presets}
        elif self.mode == "production":
            pipelines = self.section("resources").get("pipelines") or {}
            if any(pipeline.get("development") for pipeline in pipelines.values()):
                raise Invalid(
                    f"{where}production' cannot include a pipeline with 'development: true'"
                )
            principal = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", self.user)
            if not (self.explicit_root or principal or self.config.get("run_as")):
                raise Invalid(
                    f"{where}production' must set 'workspace.root_path' to make sure only one copy"
                    " is deployed\n\nA common practice is to use a username or principal name in"
                    f" this path, i.e. use\n\n  root_path: /Workspace/Users/{self.user}/.bundle/"
                    "${bundle.name}/${bundle.target}"
                )
        elif self.mode:
            must = "must be either 'development' or 'production'"
            raise Invalid(f"unsupported value '{self.mode}' specified for 'mode': {must}")

    def check_branch(self) -> None:
        """Raises Invalid on another branch than the target's; without .git nobody checks that."""
        branch, head = self.config["bundle"]["git"].get("branch"), self.root / ".git/HEAD"
        actual = head.read_text().strip().removeprefix("ref: refs/heads/") if head.is_file() else ""
        if branch and actual and actual != branch:
            expected = f"expected according to configuration: {branch}\n  actual: {actual}"
            raise Invalid(f"not on the right Git branch:\n  {expected}")

    def _finish(self, kind: str, resource: Map) -> None:
        """Applies presets and run_as, and sets what the client sets by itself."""
        presets = self.config.get("presets") or {}
        prefix, pause = presets.get("name_prefix", ""), presets.get("trigger_pause_status")
        if kind not in ("jobs", "pipelines"):
            if prefix and "name" in resource:  # schemas and volumes: no blanks or brackets in names
                plain = re.sub(r"\W+", "_", prefix).strip("_") + "_"
                resource["name"] = ("" if kind == "volumes" else plain) + resource["name"]
            return
        resource["name"] = prefix + resource.get("name", "")
        if self.config.get("run_as"):
            resource.setdefault("run_as", self.config["run_as"])
        if presets.get("tags"):
            resource["tags"] = presets["tags"] | (resource.get("tags") or {})
        if resource.get("permissions"):
            owner = "user_name" if "@" in self.user else "service_principal_name"
            resource["permissions"].append({"level": "IS_OWNER", owner: self.user})
        metadata = f"{self.config['workspace']['state_path']}/metadata.json"
        resource["deployment"] = {"kind": "BUNDLE", "metadata_file_path": metadata}
        if kind == "pipelines":
            if presets.get("pipelines_development"):
                resource["development"] = True
            if pause == "PAUSED":
                resource.pop("continuous", None)
            defaults = {"channel": "CURRENT", "edition": "ADVANCED"}
        else:
            runs = presets.get("jobs_max_concurrent_runs", 1)
            defaults = {"max_concurrent_runs": runs, "queue": {"enabled": True}}
            defaults |= {"edit_mode": "UI_LOCKED", "format": "MULTI_TASK"}
            for trigger in {"schedule", "continuous", "trigger"} & resource.keys():
                resource[trigger].setdefault("pause_status", pause or "UNPAUSED")
        for key, value in defaults.items():
            resource.setdefault(key, value)

    def _translate_paths(self) -> None:
        """Makes paths, which are relative to the file that has them, the workspace's."""
        for path, container, key, value in leaves(self.section("resources")):
            remote, library = REMOTE.fullmatch(path), LIBRARY.fullmatch(path)
            local = isinstance(value, str) and not re.match(r"/|\w+:|\$\{", value)
            if not local or not (remote or (library and (value[0] == "." or ".whl" in value))):
                continue
            folder = Path(container.places[key][1].partition(":")[0]).parent
            written = os.path.normpath(folder / value)
            if library:
                container[key] = f"./{written}"
                continue
            if path.endswith(("_path", "path", "file")) and not path.endswith("root_path"):
                kind = "notebook" if "notebook" in path else "file"
                if not (self.root / written).is_file():
                    raise Invalid(f"{kind} {written} not found")
                if kind == "notebook":
                    if not is_notebook(self.root / written):
                        raise Invalid(f"expected a notebook for {path}: {written} is not one")
                    written = written.removesuffix(".py")
            container[key] = f"{self.config['workspace']['file_path']}/{written}"

    def libraries(self) -> Iterator[tuple[Any, Any, list[Path]]]:
        """Container, key and files of each path to local wheels. Raises Invalid for no file."""
        for path, container, key, value in leaves(self.section("resources")):
            if not (LIBRARY.fullmatch(path) and str(value).startswith("./")):
                continue
            found = sorted(self.root.glob(value[2:]))
            if not found:
                glob = any(sign in value for sign in "*?[")
                what = "no files match pattern:" if glob else "file doesn't exist"
                place = container.places[key][1]
                raise Invalid(f"{what} {value}\n  at resources.{path}\n  in {place}")
            yield container, key, found

    def place_libraries(self) -> list[Path]:
        """Puts the uploaded wheels' paths into the resources; returns the local files."""
        if self.config.get("artifacts"):
            raise NotImplementedError("building artifacts")
        files = []
        for container, key, found in list(self.libraries()):
            names = [
                f"{self.config['workspace']['artifact_path']}/.internal/{f.name}" for f in found
            ]
            if isinstance(container, list):
                container[key : key + 1] = names
            else:
                container[key] = names[0]
            files += found
        return list(dict.fromkeys(files))

    def files(self) -> list[str]:
        """What is uploaded, relative to the root: sync's paths, without what git would ignore."""
        sync = self.config["sync"]
        paths = [os.path.normpath(path) for path in sync["paths"]]
        exclude = [
            f"--exclude={pattern}" for pattern in [".databricks", *(sync.get("exclude") or ())]
        ]
        extra = [f":(glob){pattern}" for pattern in sync.get("include") or ()]
        with tempfile.TemporaryDirectory() as scratch:
            env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

            def git(*arguments: str) -> list[str]:
                command = ["git", f"--git-dir={scratch}/git", "--work-tree=.", *arguments]
                ran = subprocess.run(
                    command, cwd=self.root, env=env, capture_output=True, check=True
                )
                return [name for name in ran.stdout.decode().split("\0") if name]

            git("init", "--quiet")
            every = "ls-files", "--others", "-z"
            found = git(*every, "--exclude-per-directory=.gitignore", *exclude, "--", *paths)
            return sorted({*found, *(git(*every, "--", *extra) if extra else ())})

"""A bundle as the client reads it: databricks.yml, its includes, one target, all of it resolved.

docs.databricks.com/aws/en/dev-tools/bundles/{settings,reference}
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from rehearsal.databricks import bundle_checks, bundle_presets, bundle_schema, bundle_yaml
from rehearsal.databricks.bundle_schema import ROOT, Misfit, Reader, Spot
from rehearsal.databricks.bundle_yaml import Map, Seq, merge, read_yaml
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace import stable_id

VERSION = "1.22.1"
FOLDERS = {
    "artifact_path": "artifacts",
    "file_path": "files",
    "resource_path": "resources",
    "state_path": "state",
}
ROOT_FILES = {"databricks.yml", "databricks.yaml", "bundle.yml", "bundle.yaml"}
CONSTRAINT = re.compile(r"((>=|<=|>|<|!=) ?)?\d+\.\d+\.\d+(, (>=|<=|>|<|!=) \d+\.\d+\.\d+)?")
KEY = re.compile(r"[A-Za-z_][\w-]*")


class Bundle:
    """A bundle; `load` fills it in step by step, so that an invalid one can still be described."""

    def __init__(self, root: Path) -> None:
        self.root, self.config, self.reader = root, Map(), Reader()
        self.name = self.target = self.user = ""

    @property
    def warnings(self) -> list[str]:
        """What the client warns of."""
        return self.reader.warnings

    def load(
        self, target: str | None, variables: dict[str, str], sign_in: Callable[[str], str]
    ) -> None:
        """Reads and resolves the bundle for a target; sign_in takes the host, returns the user.

        Raises Invalid, and NotSupported for what the stand-in does not know.
        """
        self._read()
        mode, has_root = self._select(target)
        assign_variables(self.root, self.target, self.config.section("variables"), variables)
        workspace = self.config.section("workspace")
        # The target says where to sign in, and the paths of the target contain the user's name.
        self.user = sign_in(workspace.get("host", ""))
        self._resolve()
        bundle_presets.sync_paths(self.config["sync"])
        bundle_presets.merge_lists(self.config)
        bundle_presets.apply_mode(self.config, mode, self.user, has_root)
        resources = self.config.section("resources")
        # A required field may come from a target, so only now it is known to be missing.
        self.reader.warnings += bundle_schema.check_resources(resources)
        self.reader.warnings += bundle_checks.check(self.config, self.user)
        bundle_presets.complete_resources(self.config, self.user)
        bundle_presets.translate(self.root, self.config)

    def _read(self) -> None:
        """Reads databricks.yml and the files that it includes."""
        found = sorted(name for name in ROOT_FILES if (self.root / name).is_file())
        if not found:
            raise Invalid("Unable to locate the bundle root: databricks.yml not found.")
        if found != ["databricks.yml"]:
            raise NotSupported(" and ".join(found))
        self.config = self._read_file("databricks.yml")
        names = included(self.root, self.config.get("include") or Seq())
        keys = dict[str, str]()
        self._note_keys(keys)
        for name in names:
            part = self._read_file(name)
            if "include" in part:
                raise NotSupported("an include section outside of databricks.yml", name)
            self.config = merge(self.config, part)
            self._note_keys(keys, part)
        self.config["include"] = names
        self.name = self.config.section("bundle").get("name", "")
        check_version(self.config["bundle"].get("databricks_cli_version", f">= {VERSION}"))
        if not self.name or "${" in self.name:
            raise NotSupported("a bundle without a name, or with a reference in it")

    def _read_file(self, name: str) -> Map:
        """The content of a file, with the types of its fields."""
        content = read_yaml(self.root, name)
        if isinstance(content, Map):
            write_out(content)
        try:
            fitted: Map = self.reader.fit(content, ROOT, Spot("", f"{name}:1:1"))
        except Misfit as misfit:
            raise Invalid(f"failed to load {self.root / name}: {misfit}") from None
        return fitted

    def _note_keys(self, keys: dict[str, str], part: Map | None = None) -> None:
        """Notes the keys of a file's resources. Raises Invalid for a key that is there already."""
        for kind, named in ((part or self.config).get("resources") or Map()).items():
            for key in named:
                if key in keys:
                    rule = "multiple resources or scripts have been defined with the same key"
                    place = f"{keys[key]}\n     {named.places[key][1]}"
                    raise Invalid(f"{rule}: {key}\n  at resources.{kind}.{key}\n  in {place}")
                keys[key] = named.places[key][1]

    def _select(self, name: str | None) -> tuple[str, bool]:
        """Merges a target, or the default one, into the configuration.

        Returns its mode, and whether it has a root_path of its own.
        """
        targets = self.config.pop("targets", None) or {"default": Map()}
        name = name or _default_target(targets)
        if name not in targets:
            raise Invalid(f"{name}: no such target. Available targets: {', '.join(targets)}")
        target = targets[name]
        self._override_variables(name, target.get("variables") or {})
        for key in target.keys() & bundle_schema.SHARED.keys() - {"variables", "run_as"}:
            self.config[key] = merge(self.config.get(key), target[key])
        if "run_as" in target:
            self.config["run_as"] = target["run_as"]  # one identity replaces the other
        self.target, mode = name, target.get("mode", "")
        # `environment` is the old name of a target.
        git = {"bundle_root_path": "."} | target.get("git", {})
        self.config.section("bundle").update({"target": name, "environment": name, "git": git})
        if mode:
            self.config["bundle"]["mode"] = mode
        for key in (key for named in self.config.section("resources").values() for key in named):
            if not KEY.fullmatch(key):
                raise NotSupported(f"the key of a resource {key!r}")
        return str(mode), "root_path" in target.get("workspace", {})

    def _override_variables(self, target: str, values: dict[str, Any]) -> None:
        variables = self.config.section("variables")
        for name, value in values.items():
            if name not in variables:
                problem = f"variable {name} is not defined but is assigned a value"
                raise Invalid(f"failed to perform target override for target={target}: {problem}")
            variables[name] |= {"default": value.get("default")}

    def _resolve(self) -> None:
        """Sets the workspace's paths, and replaces all references by what they name."""
        workspace, short_name = self.config.section("workspace"), self.user.partition("@")[0]
        workspace["current_user"] = {
            "id": stable_id(self.user),
            "userName": self.user,
            "short_name": re.sub(r"\W", "_", short_name),
            "domain_friendly_name": re.sub(r"[\W_]", "-", short_name),
        }
        home = f"/Workspace/Users/{self.user}"
        workspace.setdefault("root_path", f"{home}/.bundle/{self.name}/{self.target}")
        self.config.section("sync").setdefault("paths", Seq(["."], [("", "")]))
        for name, folder in FOLDERS.items():
            workspace.setdefault(name, f"${{workspace.root_path}}/{folder}")
        # Paths come first: the rest of the configuration refers to them as they are in the end.
        resolver = bundle_yaml.Resolver(self.config)
        workspace = self.config["workspace"] = resolver.resolve(workspace)
        for name in ("root_path", *FOLDERS):
            path = re.sub("^~(?=/)", home, str(workspace[name]).rstrip("/"))
            workspace[name] = re.sub("^/(?=Users/)", "/Workspace/", path)
            if not workspace[name].startswith("/Workspace/Users/"):
                raise NotSupported(f"workspace.{name} outside of /Workspace/Users")
        self.config = resolver.resolve(self.config)
        if self.config.get("run_as", "") is None:  # a reference to an identity that is not set
            del self.config["run_as"]
        for name in self.config.keys() & bundle_schema.SHARED.keys() - {"variables", "workspace"}:
            spot = Spot(name, "databricks.yml")
            self.config[name] = self._fit(self.config[name], ROOT[name], spot)

    def _fit(self, value: Any, hint: Any, spot: Spot) -> Any:
        """A section with the types of its fields, after references were replaced."""
        try:
            return self.reader.fit(value, hint, spot)
        except Misfit:
            return Map()

    def check_branch(self) -> None:
        """Raises Invalid on another Git branch than the target's; checks nothing without .git."""
        expected, head = self.config["bundle"]["git"].get("branch"), self.root / ".git/HEAD"
        if not expected or not head.is_file():
            return
        branch = head.read_text().strip().removeprefix("ref: refs/heads/")
        if branch and branch != expected:
            branches = f"expected according to configuration: {expected}\n  actual: {branch}"
            raise Invalid(f"not on the right Git branch:\n  {branches}")

    def check_files(self) -> None:
        """Warns of patterns without a match, and of nothing to upload."""
        self.reader.warnings += bundle_presets.check_sync(self.root, self.config["sync"])

    def place_libraries(self) -> list[Path]:
        """Puts the uploaded wheels' paths into the resources; returns the local files."""
        return bundle_presets.place_libraries(self.root, self.config)

    def files(self) -> list[str]:
        """The files to upload, relative to the root."""
        return bundle_presets.synced_files(self.root, self.config["sync"])


def included(root: Path, patterns: Seq) -> list[str]:
    """The files that patterns include. Raises Invalid and NotSupported."""
    names: dict[str, None] = {}
    for pattern in patterns:
        if not re.fullmatch(r"[\w.-][\w./*-]*\.ya?ml", pattern) or "**" in pattern:
            raise NotSupported(f"the pattern {pattern} in include")
        files = sorted(str(file.relative_to(root)) for file in root.glob(pattern))
        if not files and "*" not in pattern:
            raise Invalid(f"{pattern} defined in 'include' section does not match any files")
        names |= dict.fromkeys(name for name in files if name not in ROOT_FILES)
    return list(names)


def check_version(constraint: str) -> None:
    """Raises Invalid if this client's version does not satisfy a constraint."""
    if not CONSTRAINT.fullmatch(constraint):
        form = "the stand-in reads >= 0.0.0, < 0.0.0"
        raise NotSupported(f"the version {constraint!r} in databricks_cli_version ({form})")
    exact = "==" if constraint[0].isdigit() else ""
    if not SpecifierSet(exact + constraint).contains(VERSION):
        versions = f"Required: {constraint}, current: {VERSION}"
        raise Invalid(f"Databricks CLI version constraint not satisfied. {versions}")


def write_out(content: Map) -> None:
    """Writes a target's variables out: `x: value` is short for `x: {default: value}`."""
    targets = content.get("targets")
    for target in targets.values() if isinstance(targets, Map) else ():
        variables = target.get("variables") if isinstance(target, Map) else None
        if not isinstance(variables, Map):
            continue
        for name, value in variables.items():
            if value is not None and not is_definition(value):
                place = variables.places[name]
                variables[name] = Map({"default": value}, {"default": place})


def is_definition(value: Any) -> bool:
    """Whether a target's variable is written out."""
    return isinstance(value, Map) and bool({"default", "lookup"} & value.keys())


def assign_variables(root: Path, target: str, variables: Map, assigned: dict[str, str]) -> None:
    """Gives each variable its value: from the command line, the environment, or its default."""
    if (root / f".databricks/bundle/{target}/variable-overrides.json").exists():
        raise NotSupported("variable-overrides.json")
    for name in assigned.keys() - variables.keys():
        raise Invalid(f"variable {name} has not been defined")
    for name, variable in variables.items():
        is_complex = check_type(name, variable)
        override = assigned.get(name, os.environ.get(f"BUNDLE_VAR_{name}"))
        if override is not None and is_complex:
            raise Invalid(f"setting the complex variable {name} by text is not supported")
        value = override if override is not None else variable.get("default")
        if value is None:
            raise Invalid(
                f"no value assigned to required variable {name}. Variables are usually assigned"
                ' in databricks.yml, and they can be overridden using "--var", the'
                f" BUNDLE_VAR_{name} environment variable, or"
                " .databricks/bundle/<target>/variable-overrides.json"
            )
        variable["value"] = value


def check_type(name: str, variable: Map) -> bool:
    """Whether a variable is complex. Raises NotSupported for a value of another type."""
    is_complex = variable.get("type") == "complex"
    value, types = variable.get("default"), (Map, Seq) if is_complex else (str, bool, int)
    if ("type" in variable and not is_complex) or not isinstance(value, (*types, type(None))):
        raise NotSupported(f"variables.{name} with such a type or value")
    return is_complex


def _default_target(targets: dict[str, Any]) -> str:
    """The only target, or the one that is marked as default. Raises Invalid."""
    if len(targets) == 1:
        return next(iter(targets))
    defaults = [name for name, target in targets.items() if target.get("default")]
    if len(defaults) != 1:
        raise Invalid("please specify target")
    return defaults[0]

"""A bundle as the client reads it: databricks.yml, its includes, one target, all of it resolved.

docs.databricks.com/aws/en/dev-tools/bundles/{settings,reference}
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from rehearsal.databricks import bundle_presets, bundle_schema, bundle_yaml
from rehearsal.databricks.bundle_yaml import Map, merge, read_yaml
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace import stable_id

VERSION = "1.22.1"
# Top-level sections and experiments of which the stand-in knows nothing: it refuses them.
UNSUPPORTED = ("environments", "permissions", "python", "scripts")
SUPPORTED_EXPERIMENTS = {"skip_artifact_cleanup"}
FOLDERS = {
    "artifact_path": "artifacts",
    "file_path": "files",
    "resource_path": "resources",
    "state_path": "state",
}


class Bundle:
    """A bundle; `load` fills it in step by step, so that an invalid one can still be described."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, Map()
        self.name = self.target = self.user = ""
        self.warnings: list[str] = []

    def load(
        self, target: str | None, variables: dict[str, str], sign_in: Callable[[str], str]
    ) -> None:
        """Reads and resolves the bundle for a target; sign_in takes the host, returns the user.

        Raises Invalid, and NotSupported for what the stand-in does not know.
        """
        self._read()
        # Findings name the place in a file: they come before targets are merged.
        self.warnings += bundle_schema.check_section(self.config)
        mode = self._select(target)
        self._refuse_unsupported()
        bundle_yaml.assign_variables(self.config.section("variables"), variables)
        workspace = self.config.section("workspace")
        # The target says where to sign in, and the paths of the target contain the user's name.
        self.user = sign_in(workspace.get("host", ""))
        explicit_root = "root_path" in workspace
        self._resolve()
        bundle_presets.apply_mode(self.config, mode, self.user, explicit_root)
        resources = self.config.section("resources")
        # A required field may come from a target, so only now it is known to be missing.
        self.warnings += bundle_schema.check_required(resources, "resources")
        bundle_presets.complete_resources(self.config, self.user)
        bundle_presets.translate(self.root, self.config)

    def _read(self) -> None:
        """Reads databricks.yml and the files that it includes."""
        self.config = read_yaml(self.root, "databricks.yml")
        bundle = self.config.section("bundle")
        self.name = bundle.get("name", "")
        required = bundle.get("databricks_cli_version")
        if required and not SpecifierSet(required).contains(VERSION):
            versions = f"Required: {required}, current: {VERSION}"
            raise Invalid(f"Databricks CLI version constraint not satisfied. {versions}")
        patterns = self.config.get("include") or ()
        files = [file for pattern in patterns for file in sorted(self.root.glob(pattern))]
        names = [str(file.relative_to(self.root)) for file in files]
        for name in names:
            self.config = merge(self.config, read_yaml(self.root, name))
        self.config["include"] = names

    def _select(self, name: str | None) -> str:
        """Merges a target, or the default one, into the configuration; returns its mode."""
        targets = self.config.pop("targets", None) or {"default": Map()}
        name = name or _default_target(targets)
        if name not in targets:
            raise Invalid(f"{name}: no such target. Available targets: {', '.join(targets)}")
        target = targets[name] or Map()
        self._override_variables(name, target.get("variables") or {})
        fields = set(bundle_schema.TARGET_FIELDS.split()) - {"variables", "run_as"}
        for key in target.keys() & fields:
            self.config[key] = merge(self.config.get(key), target[key])
        if "run_as" in target:
            self.config["run_as"] = target["run_as"]  # one identity replaces the other
        self.target, mode = name, target.get("mode") or ""
        # `environment` is the old name of a target; references may still use it.
        git = {"bundle_root_path": "."} | (target.get("git") or {})
        self.config.section("bundle").update({"target": name, "environment": name, "git": git})
        if mode:
            self.config["bundle"]["mode"] = mode
        return str(mode)

    def _override_variables(self, target: str, values: dict[str, Any]) -> None:
        variables = self.config.section("variables")
        for name, value in values.items():
            if name not in variables:
                problem = f"variable {name} is not defined but is assigned a value"
                raise Invalid(f"failed to perform target override for target={target}: {problem}")
            is_definition = isinstance(value, Map) and {"default", "lookup"} & value.keys()
            definition = value if is_definition else {"default": value}
            variables[name] = (variables[name] or {}) | definition

    def _refuse_unsupported(self) -> None:
        names = {name for name in UNSUPPORTED if self.config.get(name)}
        names |= set(self.config.section("experimental")) - SUPPORTED_EXPERIMENTS
        if names:
            raise NotSupported(f"{', '.join(sorted(names))} of a bundle")

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
        bundle_yaml.require_values(self.config.section("variables"))
        self.config.section("sync").setdefault("paths", ["."])
        for name, folder in FOLDERS.items():
            workspace.setdefault(name, f"${{workspace.root_path}}/{folder}")
        # Paths come first: the rest of the configuration refers to them as they are in the end.
        resolver = bundle_yaml.Resolver(self.config)
        workspace = self.config["workspace"] = resolver.resolve(workspace)
        for name in ("root_path", *FOLDERS):
            path = re.sub("^~(?=/)", home, workspace[name].rstrip("/"))
            workspace[name] = re.sub("^/(?=(Users|Shared)/)", "/Workspace/", path)
        self.config = resolver.resolve(self.config)

    def check_branch(self) -> None:
        """Raises Invalid on another Git branch than the target's; checks nothing without .git."""
        expected, head = self.config["bundle"]["git"].get("branch"), self.root / ".git/HEAD"
        if not expected or not head.is_file():
            return
        branch = head.read_text().strip().removeprefix("ref: refs/heads/")
        if branch and branch != expected:
            branches = f"expected according to configuration: {expected}\n  actual: {branch}"
            raise Invalid(f"not on the right Git branch:\n  {branches}")

    def place_libraries(self) -> list[Path]:
        """Puts the uploaded wheels' paths into the resources; returns the local files."""
        return bundle_presets.place_libraries(self.root, self.config)

    def files(self) -> list[str]:
        """The files to upload, relative to the root."""
        return bundle_presets.synced_files(self.root, self.config["sync"])


def _default_target(targets: dict[str, Any]) -> str:
    """The only target, or the one that is marked as default. Raises Invalid."""
    if len(targets) == 1:
        return next(iter(targets))
    defaults = [name for name, target in targets.items() if (target or {}).get("default")]
    if len(defaults) != 1:
        raise Invalid("please specify target")
    return defaults[0]

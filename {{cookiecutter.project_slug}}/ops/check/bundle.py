"""The bundle: databricks.yml and what it includes, as each target deploys it."""

import dataclasses
import difflib
import functools
import glob
import importlib
import os
import pkgutil
import re
import tomllib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ops.check.files import BUNDLE, Files
from ops.check.reading import (
    LOADER,
    Finding,
    Findings,
    Keys,
    Leaf,
    Map,
    NotCheckedError,
    Place,
    Seq,
    check,
    children,
    leaves,
    maps,
    merge,
    suggest,
    unknown_keys,
)


class Resource(NamedTuple):
    """A job, a pipeline or the like, as a target deploys it."""

    target: str
    kind: str
    name: str
    definition: Map
    place: Place
    kind_place: Place


class Bundle:
    """The bundle's files as one."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.names = [BUNDLE, *sorted(files.included & files.yaml.keys() - {BUNDLE})]
        self.all: Map = functools.reduce(merge, map(files.yaml.mapping, self.names))
        targets = self.all.mapping("targets")
        self.targets = {name: targets.mapping(name) for name in targets}

    @cached_property
    def resources(self) -> list[Resource]:
        """What each target deploys: the resources of all targets, and its own."""
        resources = []
        for target, settings in self.targets.items():
            kinds = merge(self.all.mapping("resources"), settings.mapping("resources"))
            for kind in kinds:
                for name, place in kinds.mapping(kind).at.items():
                    definition = kinds.mapping(kind, name)
                    resource = Resource(target, kind, name, definition, place, kinds.at[kind])
                    resources.append(resource)
        return resources

    @property
    def jobs(self) -> list[Map]:
        """The jobs of every target."""
        return [resource.definition for resource in self.resources if resource.kind == "jobs"]


# Every key, as the CLI's own types have them (bundle/config). []: anything below.
KEYS: Keys = yaml.load(
    """
    <<:
    - &common
      {artifacts: &keys {"*": []}, bundle: *keys, permissions: [], presets: *keys, run_as: [],
       resources: {"*": {"*": *keys}}, sync: *keys, variables: *keys, workspace: *keys}
    - {definitions: [], experimental: *keys, include: [], python: *keys, scripts: *keys}
    targets: &targets {"*": {<<: *common, cluster_id, compute_id, default, git: *keys, mode}}
    environments: *targets
    """,
    LOADER,
)


@check
def bundle_has_known_keys(bundle: Bundle) -> Findings:
    """The bundle's files have a bundle's keys."""
    for file in bundle.names:
        yield from unknown_keys(bundle.files.yaml.mapping(file), "a bundle", KEYS)


@check
def resource_files_are_included(files: Files, bundle: Bundle) -> Findings:
    """databricks.yml leaves out no file in resources/."""
    for file in files.yaml.keys() - files.included:
        if file.startswith("resources/"):
            yield Place(file, 1), "databricks.yml does not include this file; add it to include:"


PATHS = {"notebook_path", "python_file", "root_path", "include", "paths"}
ELSEWHERE = re.compile(r"/|\$|\w+:")  # in the workspace, where a variable says, at a URL


def is_source(leaf: Leaf, text: str) -> bool:
    """Whether a value names a path of this repository that no build has to create."""
    value = str(leaf.value)
    built = leaf.key == "build" or "dist" in Path(value).parts
    if built or "git_source:" in text:  # that job's paths are in another repository
        return False
    return value.startswith(("./", "../")) or (leaf.key in PATHS and not ELSEWHERE.match(value))


@check
def paths_exist(files: Files, bundle: Bundle) -> Findings:
    """The bundle's relative paths lead to files."""
    for leaf in leaves(bundle.all):
        folder = os.path.join(files.root, os.path.dirname(leaf.place.file))
        paths = glob.iglob(f"{glob.escape(folder)}/{leaf.value}", recursive=True)
        if is_source(leaf, files.text[leaf.place.file]) and not any(map(os.path.exists, paths)):
            yield (
                leaf.place,
                f"{leaf.key}: {leaf.value} does not exist, relative to this file; fix the path",
            )


@check
def references_are_declared(bundle: Bundle) -> Findings:
    """${var.name} is a variable of the bundle, ${resources.kind.name} one of its resources."""
    declared = {f"var.{name}" for name in bundle.all.mapping("variables")}
    declared |= {f"resources.{r.kind}.{r.name}" for r in bundle.resources}
    for leaf in leaves(bundle.all):
        for name in re.findall(r"\$\{(var\.[\w-]+|resources\.\w+\.[\w-]+)", str(leaf.value)):
            if name not in declared:
                yield leaf.place, f"the bundle has no {name}; {suggest(name, declared)}"


def unknown(key: str, node: Map, known: Iterable[str]) -> Findings:
    """The finding for a key whose value is not known, and no reference."""
    value = node.text(key)
    if key in node and value not in known and "$" not in value:
        yield node.at[key], f"no {key} {value}; {suggest(value, known)}"


@check
def tasks_fit_their_job(bundle: Bundle) -> Findings:
    """Tasks name tasks, environments and clusters that their job has."""
    for job in bundle.jobs:
        known = {
            f"{kind}_key": [
                item.text(f"{kind}_key") for item in job.sequence(f"{kind}s").mappings()
            ]
            for kind in ("task", "environment", "job_cluster")
        }
        for task in maps(job.get("tasks")):
            for key in ("environment_key", "job_cluster_key"):
                yield from unknown(key, task, known[key])
            for dependency in maps(task.get("depends_on")):
                yield from unknown("task_key", dependency, known["task_key"])


def normal(name: str) -> str:
    """A package's name as a wheel has it."""
    return re.sub(r"[-.]+", "_", name).lower()


def libraries(job: Map) -> list[object]:
    """What brings packages to the tasks of a job, beside the bundle's own wheel."""
    return [part[key] for part in maps(job) for key in ("libraries", "dependencies") if key in part]


@check
def wheel_tasks_fit_the_package(files: Files, bundle: Bundle) -> Findings:
    """Wheel tasks name this package and an entry point of it, or a package of their libraries."""
    toml: dict[str, Any] = tomllib.loads(files.readable("pyproject.toml"))
    project = toml.get("project", {})
    if "name" not in project:  # pyproject.toml cannot be read, which is a finding by itself
        return
    wheel = normal(str(project["name"]))
    functions = files.text.get(f"src/{wheel}/__init__.py", "")
    entry_points = [*project.get("scripts", {}), *re.findall(r"\b(?:def|import) (\w+)", functions)]
    for job in bundle.jobs:
        for task in maps(job.get("tasks")):
            package = normal(task.text("package_name"))
            if package == wheel:
                yield from unknown("entry_point", task, entry_points)
            elif package not in normal(str(libraries(job))):
                yield from unknown("package_name", task, [wheel])


@check
def resources_fit_their_schemas(bundle: Bundle) -> Findings:
    """Each resource, as each target deploys it, is one that Databricks' own package can load."""
    try:
        import databricks.bundles as package
        from databricks.bundles.core import Resource as Schema
    except ImportError:
        what = "the bundle's resources against Databricks' schemas"
        raise NotCheckedError(f"{what}, because databricks-bundles is missing") from None
    known = [module.name for module in pkgutil.iter_modules(package.__path__)]
    for resource in bundle.resources:
        if resource.kind in known:
            module = vars(importlib.import_module(f"{package.__name__}.{resource.kind}"))
            classes = [item for item in module.values() if isinstance(item, type)]
            schema: Any = next(item for item in classes if issubclass(item, Schema))
            if error := refusal(schema, resource.definition):
                yield located(error, resource, schema, module)
            else:
                loaded = schema.from_dict(resource.definition).as_dict()
                yield from taken_for_words(resource.definition, loaded)
        elif kinds := difflib.get_close_matches(resource.kind, known, 1):  # it lacks some kinds
            message = f"{resource.kind} is not a kind of resource; did you mean {kinds[0]}?"
            yield resource.kind_place, message


def refusal(schema: Any, definition: Map) -> str:
    """Why Databricks' package cannot load a definition; "" if it can."""
    try:
        schema.from_dict(definition)
    except (AttributeError, TypeError, ValueError) as error:
        return str(error)
    return ""


def located(error: str, resource: Resource, schema: Any, module: dict[str, Any]) -> Finding:
    """The package's error, at the key that causes it."""
    part, place = innermost(resource.definition, resource.place, schema, resource.definition, error)
    fix = "compare it with Databricks' reference of this resource"
    unexpected = re.search("Unexpected field '(.+)' for class (.+)", error)
    keys = part.at if isinstance(part, Map) else {}
    if unexpected:
        fields = dataclasses.fields(module[unexpected[2]])
        fix = suggest(unexpected[1], [field.name for field in fields])
        place = keys.get(unexpected[1], place)
    elif " missing " in error:  # a field, in the mapping with these keys
        place = next(iter(keys.values()), place)
    return Finding(place, f"{resource.kind}.{resource.name}: {error}; {fix}")


def innermost(part: Any, at: Place, schema: Any, whole: Map, error: str) -> tuple[object, Place]:
    """The innermost value that causes an error: with another value the error changes."""
    for index, value, place in children(part):
        part[index] = "${var.any}"  # fits everywhere
        changed = refusal(schema, whole) != error
        part[index] = value
        if changed and str(value) in error:  # the message names it
            return value, place
        if changed:
            return innermost(value, place, schema, whole, error)
    return part, at


def taken_for_words(written: object, loaded: Any) -> Findings:
    """Findings for keys or lists that the package silently reads as one text."""
    loaded = dict(enumerate(loaded)) if isinstance(loaded, list) else loaded
    for index, value, place in children(written):
        taken = loaded.get(index)
        if isinstance(value, Map | Seq) and isinstance(taken, str):
            yield place, f"{index} needs one value, but has keys or a list; fix the indentation"
        elif isinstance(taken, dict | list):
            yield from taken_for_words(value, taken)

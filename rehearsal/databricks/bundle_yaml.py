"""A bundle's YAML files: read with the place of each key and value, merged, references replaced."""

import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rehearsal.databricks.errors import Invalid, NotSupported

# Lists that are merged, and compared, by a key of their items.
KEYED_LISTS = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "environments": "environment_key",
    "parameters": "name",
    "__embed__": "user_name group_name service_principal_name principal",  # permissions, grants
}


class Map(dict[str, Any]):
    """A YAML mapping; places has `file:line:column` of each key and of its value."""

    def __init__(self, items: Any = (), places: Any = ()) -> None:
        super().__init__(items)
        self.places: dict[str, tuple[str, str]] = dict(places)

    def section(self, name: str) -> "Map":
        """The mapping under a key, which is added if it is missing or empty."""
        if self.get(name) is None:
            self[name] = Map()
        section: Map = self[name]
        return section


class Seq(list[Any]):
    """A YAML sequence; places has `file:line:column` of each item, twice as for a Map."""

    def __init__(self, items: Any = (), places: Any = ()) -> None:
        super().__init__(items)
        self.places: list[tuple[str, str]] = list(places)


class _Builder:
    """Makes Maps and Seqs of one file's YAML."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.loader = name, yaml.SafeLoader(text)

    def document(self) -> Map:
        node = self.loader.get_single_node()
        return self._build(node) or Map()

    def _place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _build(self, node: yaml.Node | None) -> Any:
        if isinstance(node, yaml.MappingNode):
            self.loader.flatten_mapping(node)  # resolves merge keys, <<
            items = {key.value: self._build(value) for key, value in node.value}
            return Map(items, {k.value: (self._place(k), self._place(v)) for k, v in node.value})
        if isinstance(node, yaml.SequenceNode):
            places = [(self._place(item), self._place(item)) for item in node.value]
            return Seq(map(self._build, node.value), places)
        return self.loader.construct_object(node) if node else None


def read_yaml(root: Path, name: str) -> Map:
    """The mapping in a file below root. Raises Invalid."""
    try:
        return _Builder(name, (root / name).read_text(encoding="utf-8")).document()
    except OSError as error:
        raise Invalid(f"failed to load {root / name}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        message = f"yaml: line {line}: {error.problem}"
        raise Invalid(f"failed to load {root / name}: {message}") from None


def merge(base: Any, override: Any, field: str = "") -> Any:
    """Both values as one: mappings key by key, KEYED_LISTS by theirs, other lists end to end.

    Of any other values, the override counts, unless it is None.
    """
    if isinstance(base, Map) and isinstance(override, Map):
        merged = {key: merge(base.get(key), override.get(key), key) for key in base | override}
        return Map(merged, base.places | override.places)
    if isinstance(base, Seq) and isinstance(override, Seq):
        return _merge_lists(base, override, KEYED_LISTS.get(field, ""))
    return base if override is None else override


def _merge_lists(base: Seq, override: Seq, key: str) -> Seq:
    merged = Seq(base, base.places)
    positions = {item[key]: i for i, item in enumerate(base) if _has(item, key)}
    for item, place in zip(override, override.places, strict=True):
        if _has(item, key) and item[key] in positions:
            position = positions[item[key]]
            merged[position] = merge(merged[position], item)
        else:
            merged.append(item)
            merged.places.append(place)
    return merged


def _has(item: Any, key: str) -> bool:
    return isinstance(item, Map) and key in item


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """Path, container, key and value of everything that is not a mapping or a list."""
    # A copy of the items: callers replace the values.
    if isinstance(value, list):
        items = [(f"{path}[{index}]", index, item) for index, item in enumerate(value)]
    else:
        items = [(f"{path}.{key}".lstrip("."), key, item) for key, item in value.items()]
    for item_path, key, item in items:
        if isinstance(item, dict | list):
            yield from leaves(item, item_path)
        else:
            yield item_path, value, key, item


REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*(?:\.[\w-]+|\[\d+\])+)\}")


def assign_variables(variables: Map, assigned: dict[str, str]) -> None:
    """Gives each variable its value: from the command line, the environment, or its default."""
    for name in assigned.keys() - variables.keys():
        raise Invalid(f"variable {name} has not been defined")
    for name, variable in variables.items():
        override = assigned.get(name, os.environ.get(f"BUNDLE_VAR_{name}"))
        if override is not None:
            variable["value"] = override
        elif "default" in (variable or {}):
            variable["value"] = variable["default"]
        elif "lookup" in (variable or {}):
            raise NotSupported(f"variables.{name}.lookup")


def require_values(variables: Map) -> None:
    """Raises Invalid for a variable without a value."""
    for name, variable in variables.items():
        if "value" not in (variable or {}):
            raise Invalid(
                f"no value assigned to required variable {name}. Variables are usually assigned"
                ' in databricks.yml, and they can be overridden using "--var", the'
                f" BUNDLE_VAR_{name} environment variable, or"
                " .databricks/bundle/<target>/variable-overrides.json"
            )


class Resolver:
    """Replaces references by what they name in a configuration."""

    def __init__(self, config: Map) -> None:
        self.config = config

    def resolve(self, value: Any, seen: tuple[str, ...] = ()) -> Any:
        """A copy of a value without references; those to resources stay until the deployment.

        `seen` are the references that led here. Raises Invalid.
        """
        places = getattr(value, "places", ())
        if isinstance(value, dict):
            return Map({key: self.resolve(item, seen) for key, item in value.items()}, places)
        if isinstance(value, list):
            return Seq([self.resolve(item, seen) for item in value], places)
        if not isinstance(value, str):
            return value
        if reference := REFERENCE.fullmatch(value):
            return self._look_up(reference[1], seen)
        return REFERENCE.sub(lambda match: _text(self._look_up(match[1], seen)), value)

    def _look_up(self, path: str, seen: tuple[str, ...]) -> Any:
        if path.startswith("resources."):  # the id of a resource is known once it is deployed
            return f"${{{path}}}"
        if path in seen:
            raise Invalid(f"cycle detected in field resolution: {' -> '.join([*seen, path])}")
        value: Any = self.config
        # `var.x` is short for `variables.x.value`.
        for part in re.findall(r"[\w-]+", re.sub(r"^var\.([\w-]+)", r"variables.\1.value", path)):
            if isinstance(value, str):  # the path goes on inside of what a reference names
                value = self.resolve(value, (*seen, path))
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, TypeError, ValueError):
                raise Invalid(f"reference does not exist: ${{{path}}}{self._hint(path)}") from None
        return self.resolve(value, (*seen, path))

    def _hint(self, path: str) -> str:
        """The variable that was probably meant."""
        variables = [f"var.{name}" for name in self.config["variables"]]
        similar = difflib.get_close_matches(path, variables, 1)
        return f"\n\ndid you mean:\n  ${{{similar[0]}}}" if similar else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

"""Findings about a bundle's fields: unknown ones, wrong types, and required ones that are missing.

The fields of resources are those of Databricks' own package, `databricks-bundles`.
"""

import dataclasses
import enum
import functools
import importlib
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from rehearsal.databricks.bundle_yaml import Map, Seq

# The fields outside of resources, which Databricks' package has no classes for.
TARGET_FIELDS = "artifacts bundle permissions presets resources run_as sync variables workspace"
SECTIONS = {
    "": f"{TARGET_FIELDS} environments experimental include python scripts targets",
    "targets": f"{TARGET_FIELDS} cluster_id compute_id default git mode",
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
TYPE_NAMES: dict[type, str] = {Map: "map", Seq: "sequence", str: "string"}
# A field of this type takes values of these types.
CONVERTIBLE = {"string": ("string", "int", "float", "bool"), "float": ("float", "int")}
NOT_A_TYPE = ("Variable", "NoneType")  # the package's fields take these beside their type


class Field(NamedTuple):
    """A value in a resource, the type that it should have, and its place.

    Without a type there is no such field: the value is then the field's name, the path its parent.
    """

    value: Any
    hint: Any
    path: str
    places: tuple[str, str]


def check_section(section: Any, name: str = "", path: str = "") -> Iterator[str]:
    """Unknown fields and wrong types of the configuration, or of a section at a path."""
    if not isinstance(section, Map):
        return
    location = f"\n  at {path}" if path else ""
    for key, value in section.items():
        inside = f"{path}.{key}".lstrip(".")
        if key not in SECTIONS[name].split():
            yield f"unknown field: {key}{location}\n  in {section.places[key][0]}"
        elif key == "resources":
            yield from check_resources(value or Map(), inside)
        elif key in ("targets", "artifacts") or (key == "variables" and not path):
            for item_name, item in (value or Map()).items():
                yield from check_section(item, key, f"{inside}.{item_name}")
        elif key in SECTIONS and key != "variables":
            yield from check_section(value, key, inside)


def check_resources(resources: Map, path: str) -> Iterator[str]:
    """Unknown fields and wrong types of resources."""
    for kind, named in resources.items():
        if resource_class(kind) is None:
            yield f"unknown field: {kind}\n  at {path}\n  in {resources.places[kind][0]}"
            continue
        for field in _resources(kind, named, path):
            yield from _type_findings(field)


def check_required(resources: Map, path: str) -> Iterator[str]:
    """Required fields of resources that are missing."""
    for kind, named in resources.items():
        for field in _resources(kind, named, path):
            yield from _missing_fields(field)


@functools.cache
def resource_class(kind: str) -> type | None:
    """The class that databricks-bundles has for a kind of resource."""
    from databricks.bundles.core import Resource  # slow to import, and most commands do without

    try:
        module = importlib.import_module(f"databricks.bundles.{kind}")
    except ModuleNotFoundError:
        return None
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Resource):
            return value
    return None


def _resources(kind: str, named: Map | None, path: str) -> Iterator[Field]:
    """The resources of a kind; none if Databricks' package does not know the kind."""
    cls = resource_class(kind)
    if cls is not None and named is not None:
        for key, resource in named.items():
            yield Field(resource, _plain(cls), f"{path}.{kind}.{key}", named.places[key])


def _plain(hint: Any) -> Any:
    """A field's type without the package's own `Variable` and without None."""
    while typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        hint = next(o for o in options if getattr(o, "__name__", "") not in NOT_A_TYPE)
    return hint


def _type_name(hint: Any) -> str:
    """The client's name for a type of the package."""
    if dataclasses.is_dataclass(hint) or typing.get_origin(hint) is dict:
        return "map"
    if typing.get_origin(hint) is list:
        return "sequence"
    if isinstance(hint, type) and issubclass(hint, str | enum.Enum):
        return "string"
    return str(getattr(hint, "__name__", None))


def _fits(field: Field) -> bool:
    """Whether a value has the type that it should have."""
    expected = _type_name(field.hint)
    return _value_type(field.value) in CONVERTIBLE.get(expected, (expected,))


def _value_type(value: Any) -> str:
    return TYPE_NAMES.get(type(value), type(value).__name__)


def _is_set(value: Any) -> bool:
    """Whether there is a value to look at: not None, and no text with a reference."""
    return value is not None and not (isinstance(value, str) and "${" in value)


def _children(field: Field) -> Iterator[Field]:
    """The values inside a mapping or a sequence of the right type."""
    value, hint = field.value, field.hint
    if not isinstance(value, Map | Seq) or not _fits(field):
        return
    if isinstance(value, Seq):
        for index, item in enumerate(value):
            item_hint = _plain(typing.get_args(hint)[-1])
            yield Field(item, item_hint, f"{field.path}[{index}]", value.places[index])
        return
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
    else:  # dict[str, X]: any key will do
        hints = dict.fromkeys(value, typing.get_args(hint)[-1])
    for key, item in value.items():
        if key in hints:
            yield Field(item, _plain(hints[key]), f"{field.path}.{key}", value.places[key])
        else:
            yield Field(key, None, field.path, value.places[key])


def _type_findings(field: Field) -> Iterator[str]:
    """A value's wrong type, or the unknown fields and wrong types inside it."""
    if field.hint is None:
        yield f"unknown field: {field.value}\n  at {field.path}\n  in {field.places[0]}"
    elif _is_set(field.value) and not _fits(field):
        types_ = f"expected {_type_name(field.hint)}, found {_value_type(field.value)}"
        yield f"{types_}\n  at {field.path}\n  in {field.places[1]}"
    else:
        for child in _children(field):
            yield from _type_findings(child)


def _missing_fields(field: Field) -> Iterator[str]:
    """The required fields that a value and the values inside it lack."""
    for child in _children(field):
        yield from _missing_fields(child)
    if isinstance(field.value, Map) and dataclasses.is_dataclass(field.hint):
        for known in dataclasses.fields(field.hint):
            required = known.default is known.default_factory  # both are dataclasses.MISSING
            if required and known.name not in field.value:
                message = f'required field "{known.name}" is not set'
                yield f"{message}\n  at {field.path}\n  in {field.places[1]}"

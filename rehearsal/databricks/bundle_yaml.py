"""A bundle's YAML files: read with the place of each key and value, merged, references replaced."""

import codecs
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from rehearsal.databricks.errors import Invalid, NotSupported


class Map(dict[str, Any]):
    """A YAML mapping; places has `file:line:column` of each key and of its value."""

    is_anchor = False

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

    is_anchor = False

    def __init__(self, items: Any = (), places: Any = ()) -> None:
        super().__init__(items)
        self.places: list[tuple[str, str]] = list(places)


UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
STRING, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
NULLS, TRUES, FALSES = (
    ("", "~", "null", "Null", "NULL"),
    ("true", "True", "TRUE"),
    ("false", "False"),
)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
DECIMAL = re.compile(r"[-+]?[0-9]{1,9}\.[0-9]{1,6}")
# What the client's YAML takes for a number or a date, though Python's may not.
ODD_NUMBER = re.compile(
    r"[-+]?(0[box][0-9a-fA-F_]+|\.?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?)|[0-9]{4}-[0-9].*"
)


class _Loader(yaml.SafeLoader):
    """Composes one file's YAML; notes the anchors of mappings and sequences."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.file, self.anchors_of, self.open = name, set[int](), set[int]()

    def place(self, node: yaml.Node) -> str:
        """`file:line:column` of a node."""
        return f"{self.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        """A node. Raises NotSupported if it has a tag."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        node: Any = super().compose_node(parent, index)
        if getattr(event, "tag", None):
            raise NotSupported(f"the YAML tag {event.tag}", self.place(node))
        if getattr(event, "anchor", None):
            self.anchors_of.add(id(node))
        return cast(yaml.Node, node)

    def build(self, node: yaml.Node) -> Any:
        """The value of a node. Raises Invalid and NotSupported."""
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            raise Invalid(f"yaml ({self.place(node)}): cyclic reference to an anchor")
        self.open.add(id(node))
        built = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        built.is_anchor = id(node) in self.anchors_of
        self.open.remove(id(node))
        return built

    def mapping(self, node: yaml.MappingNode) -> Map:
        """The mapping of a node: its own keys over those of a mapping that it merges (<<)."""
        merged, own = Map(), Map()
        for key, value in node.value:
            if key.tag == MERGE:
                if merged or id(value) not in self.anchors_of or value.id != "mapping":
                    raise NotSupported("a YAML merge (<<) but of one anchor", self.place(key))
                merged = self.build(value)
                continue
            name = self.key(key)
            if name in own:
                raise NotSupported(f"the key {name} twice in one mapping", self.place(key))
            own[name] = self.build(value)
            own.places[name] = (self.place(key), self.place(value))
        return Map(merged | own, merged.places | own.places)

    def key(self, node: yaml.Node) -> str:
        """The text of a key. Raises NotSupported for a key that is no text."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != STRING or self.is_odd(node):
            raise NotSupported("a YAML key that is no text", self.place(node))
        return str(node.value)

    def sequence(self, node: yaml.Node) -> Seq:
        """The sequence of a node."""
        places = [(self.place(item), self.place(item)) for item in node.value]
        return Seq(map(self.build, node.value), places)

    def scalar(self, node: yaml.ScalarNode) -> str | bool | float | None:
        """The value of a node. Raises NotSupported where two versions of YAML may differ."""
        text = str(node.value)
        if node.style:  # in quotes or a block
            written = str(node.start_mark.buffer)[node.start_mark.pointer : node.end_mark.pointer]
            if "\\/" in written:
                raise NotSupported("the YAML escape \\/", self.place(node))
            return text
        for values, value in ((NULLS, None), (TRUES, True), (FALSES, False)):
            if text in values:
                return value
        if INTEGER.fullmatch(text):
            return int(text)
        if DECIMAL.fullmatch(text):
            return float(text)
        if node.tag != STRING or self.is_odd(node):
            raise NotSupported(f"the YAML value {text} without quotes", self.place(node))
        return text

    def is_odd(self, node: yaml.ScalarNode) -> bool:
        """Whether the client's YAML may take a plain text for something else."""
        return not node.style and ODD_NUMBER.fullmatch(node.value) is not None


def read_yaml(root: Path, name: str) -> Any:
    """The content of a file below root, an empty mapping if there is none. Raises Invalid."""
    try:
        content = (root / name).read_bytes()
        if content.startswith(UTF_16) or re.search(rb"(?m)^%", content):
            raise NotSupported(f"{name}: YAML in UTF-16, or with directives")
        loader = _Loader(name, content.decode())
        node = loader.get_single_node()
        return Map() if node is None else loader.build(node)
    except OSError as error:
        raise Invalid(f"failed to load {root / name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"failed to load {root / name}: yaml: invalid UTF-8") from None
    except yaml.composer.ComposerError as error:
        raise NotSupported(f"{name}: {error.problem or error.context}") from None
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError) as error:
        raise _unreadable(root / name, error) from None


def _unreadable(file: Path, error: Any) -> Exception:
    """What there is to say of a file that Python cannot read as YAML."""
    mark = getattr(error, "problem_mark", None)
    if mark and "\t" in mark.buffer.splitlines()[min(mark.line, mark.buffer.count("\n") - 1)]:
        return NotSupported("a tab in YAML", f"{file.name}:{mark.line + 1}")
    line = f"line {mark.line + 1}: " if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", "")
    return Invalid(f"failed to load {file}: yaml: {line}{problem}")


def merge(base: Any, override: Any) -> Any:
    """Both values as one: mappings key by key, lists end to end; None counts for nothing.

    Of any other values the override counts. Raises Invalid for values of two types.
    """
    if override is None or base is None:
        return base if override is None else override
    if isinstance(base, Map) and isinstance(override, Map):
        merged = {key: merge(base.get(key), override.get(key)) for key in base | override}
        return Map(merged, base.places | override.places)
    if isinstance(base, Seq) and isinstance(override, Seq):
        return Seq([*base, *override], [*base.places, *override.places])
    if type(base) is not type(override):
        names = (type(value).__name__.lower() for value in (base, override))
        raise Invalid(f"cannot merge {' with '.join(names)}")
    return override


def merge_items(items: Seq, key: str, default: str = "") -> Seq:
    """A list whose mappings with the same value of a key are merged into the first of them.

    Tasks are sorted, as the client does.
    """
    merged, places = dict[str, Any](), dict[str, Any]()
    for item, place in zip(items, items.places, strict=True):
        if not item.get(key, default):
            raise NotSupported(f"an item without {key}", place[0])
        name = item.get(key, default).lower() if default else item[key]
        merged[name] = merge(merged.get(name), item)
        places.setdefault(name, place)
    names = sorted(merged) if key == "task_key" else list(merged)
    return Seq([merged[name] for name in names], [places[name] for name in names])


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


WORD = r"[^\W\d_]+(?:[-_]*[^\W_]+)*"
REFERENCE = re.compile(rf"\$\{{({WORD}(?:\.{WORD}(?:\[[0-9]+\])*)+)\}}")
LEFT = re.compile(r"\$\{([\w.\[\]-]+)\}")  # what looks like one
# What a reference may name, beside variables and resources.
NAMED = re.compile(
    r"bundle\.(name|target)"
    r"|workspace\.(current_user\.(userName|short_name|domain_friendly_name)"
    r"|(root|file|artifact|resource|state)_path)"
)
DEPTH = 8  # the client follows references to a certain depth


class Resolver:
    """Replaces references by what they name in a configuration."""

    def __init__(self, config: Map) -> None:
        self.config = config

    def resolve(self, value: Any, seen: tuple[str, ...] = ()) -> Any:
        """A copy of a value without references; those to resources stay until the deployment.

        `seen` are the references that led here. Raises Invalid and NotSupported.
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
        if re.search(r"/Workspace/?\$\{workspace\.", value):
            raise NotSupported(f"/Workspace before a path of the workspace: {value}")
        text = REFERENCE.sub(lambda match: self._text(match[1], seen), value)
        for left in LEFT.finditer(text):
            if not left[1].startswith("resources."):
                raise NotSupported(f"{left[0]} in {value}")
        return text

    def _look_up(self, path: str, seen: tuple[str, ...]) -> Any:
        if path.startswith("resources."):  # known once the resource is deployed
            return f"${{{path}}}"
        if path in seen:
            raise Invalid(f"cycle detected in field resolution: {' -> '.join([*seen, path])}")
        if len(seen) > DEPTH or not (NAMED.fullmatch(path) or path.startswith("var.")):
            raise NotSupported(f"the reference ${{{path}}}")
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

    def _text(self, path: str, seen: tuple[str, ...]) -> str:
        """What a reference inside of a text names. Raises NotSupported if that is no text."""
        value = self._look_up(path, seen)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int):
            return str(value)
        raise NotSupported(f"${{{path}}}, which is no text, inside of a text")

"""What a check yields, and YAML that is read so that every value keeps its place."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import yaml
from yaml.constructor import SafeConstructor

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Keys = dict[str, Any]  # the keys that a mapping may have, and those below them


# ---- Checks and findings -------------------------------------------------------------------------


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


class Finding(NamedTuple):
    """What is wrong at a place, and how to fix it."""

    place: Place
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether the check passes in spite of it."""
        return self.message.startswith("warning: ")


class NotCheckedError(Exception):
    """What a check could not prove, and why."""


Findings = Iterator[tuple[Place, str]]
Check = Callable[..., Findings]
CHECKS: list[Check] = []
FIRST: dict[Check, Check] = {}


def check(function: Check) -> Check:
    """Registers a check. It gets what its parameters name: files, bundle, stack or lint."""
    CHECKS.append(function)
    return function


def check_after(first: Check) -> Callable[[Check], Check]:
    """Registers a check whose findings would mislead while `first` has some."""

    def register(function: Check) -> Check:
        FIRST[function] = first
        return check(function)

    return register


def suggest(word: str, known: Iterable[str]) -> str:
    """A similar known word, or all of them."""
    names = list(known)
    similar = difflib.get_close_matches(word, names, 1)
    if similar:
        return f"did you mean {similar[0]}?"
    return f"there are: {', '.join(names) or 'none'}"


# ---- YAML with places ----------------------------------------------------------------------------


class Map(dict[str, object]):
    """A mapping; `at` has the place of each key.

    A value that is asked for and has another form counts as empty and is noted in `misfits`.
    """

    def __init__(self, items: Any = (), at: Any = (), misfits: list[Finding] | None = None) -> None:
        super().__init__(items)
        self.at: dict[str, Place] = dict(at)
        self.misfits = [] if misfits is None else misfits

    def mapping(self, *path: str) -> "Map":
        """The mapping under a path of keys."""
        node = self
        for key in path:
            node = node.take(key, Map)
        return node

    def sequence(self, *path: str) -> "Seq":
        """The list under a path of keys."""
        return self.mapping(*path[:-1]).take(path[-1], Seq)

    def text(self, *path: str) -> str:
        """The plain value under a path of keys, as text."""
        parent = self.mapping(*path[:-1])
        value = parent.get(path[-1])
        if value is None or isinstance(value, Map | Seq):
            return parent.take(path[-1], str)
        return str(value)

    def take(self, key: str, kind: type["Kind"]) -> "Kind":
        """The value of a key if it is of a kind, else an empty one."""
        value = self.get(key)
        if isinstance(value, kind):
            return value
        if not is_open(value):
            self.misfits.append(misfit(self.at[key], key, value, kind))
        return kind()


class Seq(list[object]):
    """A list; `at` has the place of each item."""

    def __init__(self, items: Any = (), at: Any = (), misfits: list[Finding] | None = None) -> None:
        super().__init__(items)
        self.at: list[Place] = list(at)
        self.misfits = [] if misfits is None else misfits

    def mappings(self) -> list[Map]:
        """The items, which are to be mappings."""
        for _, item, place in children(self):
            if not isinstance(item, Map) and not is_open(item):
                self.misfits.append(misfit(place, "this item", item, Map))
        return [item for item in self if isinstance(item, Map)]


Kind = TypeVar("Kind", Map, Seq, str)


def misfit(place: Place, name: str, value: object, kind: type) -> Finding:
    """The finding for a value of another form than is needed."""
    forms: dict[type, str] = {Map: "keys", Seq: "a list"}
    form, needed = forms.get(type(value), "one value"), forms.get(kind, "one value")
    return Finding(place, f"{name} has {form}, but needs {needed}; give it that form")


def is_open(value: object) -> bool:
    """Whether a value is absent, or a reference whose form only the cloud knows."""
    if isinstance(value, Map):
        return len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))
    return value is None or str(value).startswith("${")


class Leaf(NamedTuple):
    """A plain value with its key; the key of a list's item is the list's."""

    key: str
    value: object
    place: Place


def children(node: object) -> list[tuple[Any, object, Place]]:
    """The key or index, the value and the place of everything in a Map or a Seq."""
    if isinstance(node, Map):
        return [(key, value, node.at[key]) for key, value in node.items()]
    if isinstance(node, Seq):
        return [(index, value, node.at[index]) for index, value in enumerate(node)]
    return []


def leaves(node: object, key: str = "") -> Iterator[Leaf]:
    """Every plain value below a node."""
    for index, value, place in children(node):
        name = index if isinstance(node, Map) else key
        if isinstance(value, Map | Seq):
            yield from leaves(value, name)
        else:
            yield Leaf(name, value, place)


def maps(node: object) -> Iterator[Map]:
    """Every mapping at and below a node."""
    if isinstance(node, Map):
        yield node
    for value in node.values() if isinstance(node, Map) else items(node):
        if isinstance(value, Map | list):
            yield from maps(value)


def items(value: object) -> list[object]:
    """The items of a value that may be one item or a list of them."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def merge(old: object, new: object) -> Any:
    """Two pieces of a bundle as the CLI joins them: mappings by key, lists end to end."""
    if isinstance(old, Seq) and isinstance(new, Seq):
        return Seq([*old, *new], old.at + new.at, old.misfits)
    if not (isinstance(old, Map) and isinstance(new, Map)):
        return new
    joined = {key: merge(old[key], new[key]) for key in old.keys() & new.keys()}
    return Map({**old, **new, **joined}, {**old.at, **new.at}, old.misfits)


def unknown_keys(node: Map, whole: str, known: Keys, path: str = "") -> Findings:
    """Keys that the whole does not have, and values where it needs keys."""
    for key, value in node.items():
        place, below = node.at[key], known.get(key, known.get("*"))
        if key not in known and "*" not in known:
            yield place, f"{whole} has no key {path}{key}; {suggest(key, known)}"
        elif isinstance(value, Map) and below:
            yield from unknown_keys(value, whole, below, f"{path}{key}.")
        elif isinstance(value, Map) and below is None:
            yield (
                place,
                f"{path}{key} has keys, but needs one value or a list; see {whole}'s reference",
            )
        elif below and not isinstance(value, Map) and not is_open(value):
            yield place, f"{path}{key} needs keys; see {whole}'s reference"


class Reader:
    """Reads one YAML file; `faults` are what YAML allows and these files must not have."""

    def __init__(self, file: str, misfits: list[Finding]) -> None:
        self.file = file
        self.misfits = misfits
        self.faults: list[Finding] = []
        self.scalars = SafeConstructor()
        self.values: dict[yaml.Node, object] = {}

    def read(self, text: str) -> object:
        """The value of the first document."""
        documents = [*yaml.compose_all(text, Loader=LOADER)]
        for node in documents[1:]:
            self.fault(node, "a second document is not read; give it a file of its own")
        return self.value(documents[0]) if documents else None

    def place(self, node: yaml.Node) -> Place:
        """Where a node starts."""
        return Place(self.file, node.start_mark.line + 1)

    def fault(self, node: yaml.Node, message: str) -> None:
        """Notes what is wrong with a node."""
        self.faults.append(Finding(self.place(node), message))

    def value(self, node: yaml.Node) -> object:
        """The value of a node; an alias is its anchor's node, and read once."""
        if node not in self.values:
            self.values[node] = self.tagged(node) if node.tag[0] == "!" else self.untagged(node)
        return self.values[node]

    def tagged(self, node: yaml.Node) -> Map:
        """CloudFormation's `!Sub text` in its long form, {"Fn::Sub": text}."""
        name = node.tag[1:] if node.tag in ("!Ref", "!Condition") else f"Fn::{node.tag[1:]}"
        return Map({name: self.untagged(node)}, {name: self.place(node)}, self.misfits)

    def untagged(self, node: yaml.Node) -> object:
        """A node as a Map, a Seq or a plain value."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return self.sequence(node)
        if node.tag[0] == "!":
            return node.value
        return self.scalars.construct_object(node)

    def mapping(self, node: yaml.MappingNode) -> Map:
        """A mapping with the places of its keys, which are text whatever they look like."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="key is not a word", problem_mark=key.start_mark)
            if key.value in lines:
                message = f"the key {key.value!r} is in line {lines[key.value]} too; keep one"
                self.fault(key, message)
            lines[key.value] = key.start_mark.line + 1
        self.scalars.flatten_mapping(node)  # resolves YAML's merge key <<
        values = {key.value: self.value(value) for key, value in node.value}
        return Map(values, {key.value: self.place(key) for key, _ in node.value}, self.misfits)

    def sequence(self, node: yaml.SequenceNode) -> Seq:
        """A list with the places of its items."""
        values = [self.value(item) for item in node.value]
        for item, value in zip(node.value, values, strict=True):
            if value is None:
                self.fault(item, "an empty item of a list; fill or remove it")
        return Seq(values, map(self.place, node.value), self.misfits)

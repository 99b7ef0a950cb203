"""What a plan's page is made of: names (texts.py), paths (fields.py), values (values.py)."""

from typing import Any

import pytest

from steps import load

texts, fields, values = (load(name) for name in ("texts", "fields", "values"))

# ---- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("src/a-b_1.0/x+y=z@v,w~.py", "src/a-b_1.0/x+y=z@v,w~.py"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a\nb", r'"a\nb"'),
        ("größe", r'"gr\u00f6\u00dfe"'),
        ("`id`", r'"\u0060id\u0060"'),
        ('a"b', r'"a\"b"'),
    ],
)
def test_a_name_is_plain_or_in_quotes(name: str, shown: str) -> None:
    assert texts.quoted(name) == shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("my-job_1.daily", "my-job_1.daily"),
        ("a b", r"a\u0020b"),
        ("a/b", r"a\u002fb"),
        ("ä", r"\u00e4"),
        ("a\n", r"a\u000a"),
    ],
)
def test_a_key_has_no_character_of_its_own(key: str, shown: str) -> None:
    assert texts.key_text(key) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe `x`\\n", "Größe `x`\\n"),
        ("a\n\x1bb", r"a\u000a\u001bb"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
    ],
)
def test_a_text_is_one_line(text: str, shown: str) -> None:
    assert texts.printable(text) == shown


def test_of_a_long_list_the_rest_is_counted() -> None:
    assert texts.cut(["a", "b"], 2) == ["a", "b"]
    assert texts.cut(["a", "b", "c"], 2) == ["a", "b", "- ... and 1 more"]
    assert texts.cut(["a", "b", "c"], 1, "files") == ["a", "- ... and 2 more files"]


# ---- Paths ---------------------------------------------------------------------------------------

TREE = {
    "name": "x",
    "tasks": [{"task_key": "a'b", "timeout": 1}, {"task_key": "c", "libraries": ["p", "q"]}],
    "a key's": {"b": 2},
    "permissions": {"__embed__": [{"group_name": "users", "level": "CAN_VIEW"}]},
}
MISSING = fields.MISSING


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "x"),
        ("tasks[0].timeout", 1),
        ("tasks[2]", MISSING),
        ("tasks[task_key='a''b'].timeout", 1),
        ("tasks[task_key='c'].libraries[1]", "q"),
        ("tasks[task_key='c'].libraries[2]", MISSING),
        ("tasks[task_key='d']", MISSING),
        ("tasks[name='c']", MISSING),
        ("['a key''s'].b", 2),
        ("permissions[group_name='users'].level", "CAN_VIEW"),
        ("permissions[0].level", "CAN_VIEW"),
        ("name[0]", MISSING),
        ("name.x", MISSING),
        ("nowhere.x", MISSING),
    ],
)
def test_a_path_leads_to_a_value(path: str, value: Any) -> None:
    assert fields.find(TREE, path) is value or fields.find(TREE, path) == value


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("name", lambda tree: tree["name"]),
        ("new", lambda tree: tree["new"]),
        ("['a key''s'].b", lambda tree: tree["a key's"]["b"]),
        ("tasks[task_key='c'].libraries[1]", lambda tree: tree["tasks"][1]["libraries"][1]),
    ],
)
def test_a_reference_is_known_later(path: str, where: Any) -> None:
    changed = fields.with_references(TREE, {path: "${resources.jobs.x.id}"})
    assert isinstance(where(changed), fields.Pending)
    assert where(changed) == "${resources.jobs.x.id}"
    assert not isinstance(TREE["name"], fields.Pending)  # the client's own is left alone
    assert TREE["tasks"][1]["libraries"] == ["p", "q"] and "new" not in TREE


@pytest.mark.parametrize("path", ["tasks[task_key='c'].libraries[2]", "tasks[9].x", "name[0]"])
def test_a_reference_to_nothing_changes_nothing(path: str) -> None:
    assert fields.with_references(TREE, {path: "${x}"}) == TREE


SHORT = ["x" * 46] * 4  # 200 characters as JSON
A = {"name": "a", "v": 1}


def differing(before: Any, after: Any) -> list[str]:
    """The paths of what differs."""
    return [field.path for field in fields.differences(fields.Field("f", before, after))]


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        (1, 1, []),
        (1, True, ["f"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["f.b"]),
        ({"it's": 1}, {"it's": 2}, ["f['it''s']"]),
        (None, {"a": {"b": 1}}, ["f.a.b"]),
        ([1, 2], [1, 3], ["f[1]"]),
        ([1], [1, 2], ["f"]),
        (None, SHORT, ["f"]),
        (None, [*SHORT[:3], "x" * 47], ["f[0]", "f[1]", "f[2]", "f[3]"]),
        ([{"name": "it's", "v": 1}], [{"name": "it's", "v": 2}], ["f[name='it''s'].v"]),
        ([A, A], [A], ["f[1].name", "f[1].v"]),
        ([A, {"name": "b", "v": 1}], [{"name": "b", "v": 1}], ["f[name='a'].v"]),
        ([{"name": "a"}], [{"name": "b"}], ["f[name='a'].name", "f[name='b'].name"]),
    ],
)  # fmt: skip
def test_the_smallest_fields_that_differ_are_shown(before: Any, after: Any, paths: list) -> None:
    assert differing(before, after) == paths


# ---- Values --------------------------------------------------------------------------------------


LONG = "... (601 characters)"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a", "b", ("a", "b")),
        ("x" * 200, "y" * 200, ("x" * 200, "y" * 200)),
        ("x" * 201, "y", (f"{'x' * 200}... (201 characters)", "y")),
        (  # from 30 characters before the first difference on
            "x" * 100 + "a" * 150,
            "x" * 100 + "b",
            (f"...{'x' * 30}{'a' * 150} (250 characters)", f"{'x' * 100}b"),
        ),
        (  # all that differs is shown
            f"{'x' * 300}a{'z' * 300}",
            f"{'x' * 300}b{'z' * 300}",
            (f"...{'x' * 30}a{'z' * 169}{LONG}", f"...{'x' * 30}b{'z' * 169}{LONG}"),
        ),
        (  # it goes on where nobody sees it
            f"x{'a' * 600}",
            f"x{'b' * 600}",
            (f"x{'a' * 199}{LONG}", f"x{'b' * 199}{LONG} (differs further on)"),
        ),
    ],
)
def test_two_values_are_cut_alike(before: str, after: str, shown: tuple[str, str]) -> None:
    assert values.cut(before, after) == shown


@pytest.mark.parametrize(
    ("path", "follows"),
    [("parameters[0]", False), ("parameters[1]", True), ("parameters[2]", False), ("other", False)],
)
def test_what_follows_an_option_is_its_value(path: str, follows: bool) -> None:
    tree = {"parameters": ["--password", "x", "y"], "other": "--password"}
    assert values.follows_option(tree, path) is follows


def test_what_follows_an_option_is_hidden_unless_it_is_an_option() -> None:
    hide = load("hiding").hide
    shown = values.revealed(hide("parameters", ["--token", "abc", "--token", "--verbose", "x"]))
    assert shown == ["--token", "(hidden)", "--token", "--verbose", "x"]
    other = hide("parameters", ["--token", "abd"])
    assert hide("parameters", ["--token", "abc"]) != other  # a change of what is hidden is seen

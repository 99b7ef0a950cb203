"""Answers from replay files, the user's configuration and the command line: all are checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter

from answers import DEFAULTS, FREE, QUESTIONS, left_behind, refused
from conftest import ROOT, load_hook


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict[str, Any]:
    """What cookiecutter records of the default answers, for --replay."""
    folder = tmp_path_factory.mktemp("recorded")
    config = folder / "config.yml"
    config.write_text(yaml.dump({"replay_dir": str(folder / "replay")}))
    cookiecutter(
        str(ROOT),
        no_input=True,
        output_dir=str(folder),
        config_file=str(config),
        accept_hooks=False,
    )
    (file,) = (folder / "replay").iterdir()
    return json.loads(file.read_text())


@pytest.fixture
def replay(recorded, tmp_path: Path, capfd) -> Callable[..., dict[str, str]]:
    """A function: replays the record with other values, which is refused; returns the fixes."""

    def run(values: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, str]:
        context = recorded["cookiecutter"] | values
        context = {name: value for name, value in context.items() if name not in without}
        file = tmp_path / "replay.json"
        file.write_text(json.dumps(recorded | {"cookiecutter": context}))
        with pytest.raises(FailedHookException):
            cookiecutter(str(ROOT), replay=str(file), output_dir=str(tmp_path / "out"))
        return refused(capfd.readouterr().err)

    return run


@pytest.fixture(autouse=True, scope="module")
def no_home(tmp_path_factory):
    """cookiecutter reads and writes below the home folder where it is given no configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


OTHER_HOST = "https://elsewhere.example.com"
EDITED = [
    ({"__qa_host": OTHER_HOST}, {"__qa_host": DEFAULTS["qa_workspace_host"]}),
    ({"__prod_host": OTHER_HOST}, {"__prod_host": DEFAULTS["prod_workspace_host"]}),
    ({"prod_workspace_host": f"{OTHER_HOST}/"}, {"__prod_host": OTHER_HOST}),
    ({"project_slug": "new-name"}, {"__slug_as_answered": "new-name", "__pkg": "new_name"}),
    ({"__pkg": "other"}, {"__pkg": "my_data_project"}),
    ({"__pkg": None}, {"__pkg": "my_data_project"}),
    ({"__slug_as_answered": "other"}, {"__slug_as_answered": "my-data-project"}),
    ({"__email": "somebody@example.com"}, {"__email": DEFAULTS["notification_email"]}),
    ({"notification_email": "none"}, {"__email": ""}),
]


@pytest.mark.parametrize(("values", "fixes"), EDITED)
def test_a_replay_file_whose_values_do_not_fit_is_refused(replay, tmp_path, values, fixes) -> None:
    assert replay(values) == fixes
    assert left_behind(tmp_path) == []


DERIVED = [name for name in DEFAULTS if name.startswith("__") and name != "__prompts__"]


def test_a_replay_file_of_a_release_with_other_names_says_what_to_set(replay, tmp_path) -> None:
    assert replay({"__folder": "my-data-project"}, without=tuple(DERIVED)) == {
        "__slug_as_answered": "my-data-project",
        "__pkg": "my_data_project",
        "__qa_host": DEFAULTS["qa_workspace_host"],
        "__prod_host": DEFAULTS["prod_workspace_host"],
        "__email": DEFAULTS["notification_email"],
    }
    assert left_behind(tmp_path) == []


def test_a_path_in_a_replay_file_is_refused_and_what_cookiecutter_made_is_named(
    replay, recorded, tmp_path, capfd
) -> None:
    """cookiecutter makes that path before the hook runs, and deletes its last part only."""
    hook = load_hook("pre_gen_project", recorded["cookiecutter"] | {"project_slug": "a/b"})
    assert hook.main() == 1
    assert "Delete the empty folders" in capfd.readouterr().err
    assert replay({"project_slug": "a/b"}) == {"project_slug": "a-b"}
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a"]
    assert replay({"project_slug": "../outside"}) == {"project_slug": "outside"}
    assert not (tmp_path / "outside").exists()


def test_an_unchanged_replay_file_passes(recorded) -> None:
    assert load_hook("pre_gen_project", recorded["cookiecutter"]).problems() == {}


def test_a_choice_in_a_replay_file_is_one_of_the_choices(replay, tmp_path) -> None:
    fixes = replay({"auth": "m2m", "compute": "Classic"})
    assert fixes == {"auth": "oauth-m2m", "compute": "classic"}
    assert left_behind(tmp_path) == []


NO_TEXT = [True, False, None, 5, 1.5, ["a"], [], {"a": 1}, {}, {"a/b": ["c"]}]


@pytest.mark.parametrize("value", NO_TEXT, ids=str)
def test_an_answer_in_a_replay_file_that_is_no_text_is_refused(replay, tmp_path, value) -> None:
    others = [name for name in QUESTIONS if name != "project_slug"]  # which is a path, too
    assert list(replay(dict.fromkeys(others, value))) == others
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("value", [True, None, 5, ["a"], {"a": 1}], ids=str)
def test_a_slug_in_a_replay_file_that_is_no_text_is_refused(replay, tmp_path, value) -> None:
    assert list(replay({"project_slug": value})) == ["project_slug"]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_fix_for_an_answer_that_is_no_text_passes(recorded, question: str) -> None:
    hook = load_hook("pre_gen_project", recorded["cookiecutter"])
    for value in NO_TEXT:
        hook.ANSWERS = recorded["cookiecutter"] | {question: value}
        what, fix = hook.problems()[question]
        assert "must be text" in what
        assert hook.RULES[question](fix) is None


@pytest.fixture
def configure(tmp_path: Path, capfd) -> Callable[..., dict[str, str]]:
    """A function: bakes with a default_context, which is refused; returns the fixes."""

    def run(values: dict[str, Any]) -> dict[str, str]:
        config = tmp_path / "config.yml"
        config.write_text(yaml.dump({"default_context": values}))
        output = str(tmp_path / "out")
        with pytest.raises(FailedHookException):
            cookiecutter(str(ROOT), no_input=True, output_dir=output, config_file=str(config))
        return refused(capfd.readouterr().err)

    return run


# cookiecutter itself makes text of a number, and choices of a list.
@pytest.mark.parametrize("value", [True, None, {"a/b": 1}], ids=str)
def test_an_answer_in_the_configuration_that_is_no_text_is_refused(
    configure, tmp_path: Path, value: object
) -> None:
    assert list(configure(dict.fromkeys(FREE, value))) == FREE
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("name", ["__pkg", "__qa_host", "__prod_host", "__email"])
def test_a_derived_value_in_the_configuration_is_refused(configure, tmp_path, name: str) -> None:
    assert list(configure({name: "other"})) == [name]
    assert left_behind(tmp_path) == []


def test_a_kept_answer_on_the_command_line_hides_no_wrong_slug(bake, capfd, tmp_path) -> None:
    assert bake(project_slug="a/b", repo_name="r", __slug_as_answered="a-b-c").exit_code != 0
    assert refused(capfd.readouterr().err) == {"__slug_as_answered": "a-b"}
    assert left_behind(tmp_path) == []

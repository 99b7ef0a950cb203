"""The gate around nutter: the task fails unless every expected test ran and passed."""

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from runtime.nutterfixture import NutterFixture

from conftest import ROOT


class Passing(NutterFixture):
    def run_one(self):
        self.one = 1

    def assertion_one(self):
        assert self.one == 1

    def assertion_two(self):
        assert self.one == 1


class OneOfTwoFails(NutterFixture):
    def assertion_bad(self):
        raise AssertionError("1 <> 2 & so on")

    def assertion_good(self):
        pass


class Empty(NutterFixture):
    def before_all(self):
        pass


class BeforeAllRaises(NutterFixture):
    def before_all(self):
        raise RuntimeError("no table")

    def assertion_one(self):
        pass

    def assertion_two(self):
        pass


class AfterAllRaises(NutterFixture):
    def assertion_one(self):
        pass

    def after_all(self):
        raise RuntimeError("not dropped")


class RunWithoutAssertion(NutterFixture):
    def run_one(self):
        pass


class InitForgetsItsParent(NutterFixture):
    def __init__(self):
        pass

    def assertion_one(self):
        pass


class InitRaises(NutterFixture):
    def __init__(self):
        super().__init__()
        raise RuntimeError("no table")

    def assertion_one(self):
        pass


class ExitsEarly(NutterFixture):
    def assertion_one(self):
        pass

    def assertion_two(self):
        sys.exit(0)

    def assertion_zero(self):
        pass


class NotFinding(NutterFixture):
    """Has a test that nutter does not run."""

    def execute_tests(self):
        self.assertion_two = None
        return super().execute_tests()

    def assertion_one(self):
        pass

    def assertion_two(self):
        pass


@pytest.fixture
def harness():
    """The rendered module tests/nutter/harness.py; it holds no Jinja."""
    file = ROOT / "{{cookiecutter.project_slug}}/tests/nutter/harness.py"
    spec = importlib.util.spec_from_file_location("harness", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(folder: Path) -> dict[str, str | None]:
    """Returns every case in the JUnit files, with its failure's message if it failed."""
    cases = {}
    for file in folder.glob("*.xml"):
        for suite in ElementTree.parse(file).getroot().iter("testsuite"):
            assert suite.get("name") == file.stem
            assert int(suite.get("tests")) == len(suite.findall("testcase"))
            assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
            for case in suite.iter("testcase"):
                failure = case.find("failure")
                message = None if failure is None else failure.get("message")
                cases[f"{case.get('classname')}.{case.get('name')}"] = message
    return cases


def fails(harness, fixtures, folder) -> tuple[str, dict[str, str | None]]:
    """Runs fixtures that must fail; returns the error and the report."""
    with pytest.raises(harness.NutterTestsFailed) as raised:
        harness.run_fixtures(fixtures, str(folder))
    cases = report(folder)
    failed = {name: message for name, message in cases.items() if message is not None}
    assert failed
    for name, message in failed.items():
        assert f"{name}: {message}" in str(raised.value)
    return str(raised.value), cases


def test_all_pass(harness, tmp_path, capsys):
    harness.run_fixtures([Passing], str(tmp_path / "new" / "folder"))

    assert report(tmp_path / "new" / "folder") == {"Passing.one": None, "Passing.two": None}
    assert "2 passed, 0 failed" in capsys.readouterr().out


def test_one_of_two_fails(harness, tmp_path):
    error, cases = fails(harness, [OneOfTwoFails], tmp_path)

    assert cases == {
        "OneOfTwoFails.bad": "AssertionError: 1 <> 2 & so on",
        "OneOfTwoFails.good": None,
    }
    assert error.startswith("1 of 2 failed\n")
    (failure,) = ElementTree.parse(tmp_path / "OneOfTwoFails.xml").iter("failure")
    assert "Traceback" in failure.text


def test_the_other_fixtures_still_run(harness, tmp_path):
    _, cases = fails(harness, [BeforeAllRaises, OneOfTwoFails, Passing], tmp_path)

    assert cases["Passing.one"] is None
    assert {file.stem for file in tmp_path.iterdir()} == {
        "BeforeAllRaises",
        "OneOfTwoFails",
        "Passing",
    }


def test_empty_fixture(harness, tmp_path):
    _, cases = fails(harness, [Empty], tmp_path)

    assert cases == {"Empty.has tests": "the fixture has no run_ or assertion_ method"}


def test_no_fixture(harness, tmp_path):
    _, cases = fails(harness, [], tmp_path)

    assert cases == {"nutter.has fixtures": "no fixture was given"}


def test_before_all_raises(harness, tmp_path):
    _, cases = fails(harness, [BeforeAllRaises], tmp_path)

    why = "before_all raised RuntimeError: no table"
    assert cases == {
        "BeforeAllRaises.before_all": why,
        "BeforeAllRaises.one": f"did not run: {why}",
        "BeforeAllRaises.two": f"did not run: {why}",
    }


def test_after_all_raises(harness, tmp_path):
    _, cases = fails(harness, [AfterAllRaises], tmp_path)

    assert cases == {
        "AfterAllRaises.after_all": "after_all raised RuntimeError: not dropped",
        "AfterAllRaises.one": None,
    }


def test_run_without_assertion(harness, tmp_path):
    _, cases = fails(harness, [RunWithoutAssertion], tmp_path)

    assert "an assertion are required" in cases["RunWithoutAssertion.one"]


@pytest.mark.parametrize("fixture", [InitForgetsItsParent, InitRaises])
def test_init_fails(harness, fixture, tmp_path):
    _, cases = fails(harness, [fixture], tmp_path)

    assert cases.keys() == {f"{fixture.__name__}.__init__", f"{fixture.__name__}.one"}


def test_a_fixture_that_exits_fails(harness, tmp_path):
    _, cases = fails(harness, [ExitsEarly], tmp_path)

    assert cases["ExitsEarly.one"] is None
    assert "SystemExit: 0" in cases["ExitsEarly.two"]
    assert cases["ExitsEarly.zero"].startswith("did not run")


def test_fewer_tests_than_expected(harness, tmp_path):
    _, cases = fails(harness, [NotFinding], tmp_path)

    assert cases["NotFinding.one"] is None
    assert cases["NotFinding.two"] == "did not run: nutter left it out"


def test_the_same_fixture_twice(harness, tmp_path):
    _, cases = fails(harness, [Passing, Passing], tmp_path)

    assert cases["Passing.listed once"] == "another fixture has this name"


def test_an_older_report_is_not_taken_for_this_one(harness, tmp_path):
    (tmp_path / "Removed.xml").write_text("<testsuites/>")

    harness.run_fixtures([Passing], str(tmp_path))

    assert [file.name for file in tmp_path.iterdir()] == ["Passing.xml"]

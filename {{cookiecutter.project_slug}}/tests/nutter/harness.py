"""Runs nutter fixtures strictly.

nutter itself lets a fixture without tests pass, and loses every test of a fixture whose
`before_all` raises. Here each expected test that did not pass is a failure, in the report and for
the job.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path

from junit_xml import TestCase, TestSuite, to_xml_report_string
from runtime.nutterfixture import NutterFixture


class NutterTestsFailed(Exception):
    """Names every test that did not pass."""


def run_fixtures(fixtures: Sequence[type[NutterFixture]], results: str | Path) -> None:
    """Run the fixtures, write one JUnit file each to `results`, and raise unless all passed."""
    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.xml"):
        stale.unlink()

    suites = {}
    for fixture in fixtures:
        name = fixture.__name__
        if name in suites:
            suites[name].append(_failure(name, "listed once", "another fixture has this name"))
        else:
            suites[name] = _run(fixture)
    if not suites:
        suites["nutter"] = [_failure("nutter", "has fixtures", "no fixture was given")]

    for name, cases in suites.items():
        report = to_xml_report_string([TestSuite(name, cases)])
        (folder / f"{name}.xml").write_text(report, encoding="utf-8")
    _conclude([case for cases in suites.values() for case in cases], folder)


def _run(fixture: type[NutterFixture]) -> list[TestCase]:
    """Return a case for each expected test, and one for whatever else went wrong."""
    name = fixture.__name__
    expected = _tests(fixture)
    if not expected:
        return [_failure(name, "has tests", "the fixture has no run_ or assertion_ method")]

    outcomes, crash, stage = [], None, "__init__"
    try:
        instance = fixture()
        outcomes = instance.test_results.results  # filled test by test, so a crash keeps the rest
        stage = "before_all"
        instance.execute_tests()
    except (Exception, SystemExit) as error:
        stage = "after_all" if outcomes else stage
        crash = f"{stage} raised {_describe(error)}"
        crash_trace = traceback.format_exc()

    cases = [_case(name, outcome) for outcome in outcomes]
    if crash:
        cases.append(_failure(name, stage, crash, crash_trace))
    for test in sorted(expected - {outcome.test_name for outcome in outcomes}):
        cases.append(_failure(name, test, f"did not run: {crash or 'nutter left it out'}"))
    return cases


def _tests(fixture: type[NutterFixture]) -> set[str]:
    """Return the names of the tests that nutter should find in a fixture."""
    prefixes = ("run_", "assertion_")
    return {
        method.removeprefix(prefix)
        for method in dir(fixture)
        for prefix in prefixes
        if method.startswith(prefix)
    }


def _case(fixture: str, outcome) -> TestCase:
    """Return nutter's outcome of a test as a JUnit case."""
    if not outcome.passed:
        message = _describe(outcome.exception)
        return _failure(
            fixture, outcome.test_name, message, outcome.stack_trace, outcome.execution_time
        )
    return TestCase(outcome.test_name, classname=fixture, elapsed_sec=outcome.execution_time)


def _failure(fixture: str, test: str, message: str, trace: str = "", seconds=None) -> TestCase:
    case = TestCase(test, classname=fixture, elapsed_sec=seconds)
    case.add_failure_info(message=message, output=trace)
    return case


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().removesuffix(":")


def _conclude(cases: list[TestCase], folder: Path) -> None:
    """Print every case, and raise if one failed."""
    for case in cases:
        print("FAILED" if case.is_failure() else "passed", f"{case.classname}.{case.name}")
    failed = [case for case in cases if case.is_failure()]
    print(f"nutter: {len(cases) - len(failed)} passed, {len(failed)} failed; reports in {folder}")
    if failed:
        lines = (f"{c.classname}.{c.name}: {c.failures[0]['message']}" for c in failed)
        raise NutterTestsFailed("\n".join([f"{len(failed)} of {len(cases)} failed", *lines]))

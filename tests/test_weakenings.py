"""A change that weakens a rendered repository does not pass `make check` unnoticed."""

import ast
import functools
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import TEMPLATE
from weakening import Edit, Weakening, may
from weakenings import NOT_CAUGHT, WEAKENINGS

sys.dont_write_bytecode = True  # what lies in the template's folder is rendered
sys.path.insert(0, str(TEMPLATE))

from ops import check  # noqa: E402
from ops.check import leaks  # noqa: E402
from ops.check.files import PARSERS  # noqa: E402

ALL = [
    pytest.param(row, marks=pytest.mark.xdist_group(row.variant), id=f"{family}-{row.what}")
    for family, rows in WEAKENINGS.items()
    for row in rows
]


@pytest.fixture(autouse=True, scope="module")
def files_are_read_once() -> Iterator[None]:
    """Hardly any row changes a file that is slow to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "secrets", functools.cache(leaks.secrets))
        patch.setattr(ast, "parse", functools.cache(ast.parse))
        patch.setitem(PARSERS, ".py", ast.parse)
        yield


@pytest.fixture
def weakened(rendering, tmp_path) -> Callable[[Weakening], Path]:
    """A function that copies a rendering and weakens it."""

    def make(row: Weakening) -> Path:
        root = tmp_path / "weakened"
        shutil.copytree(rendering(row.variant), root, ignore=shutil.ignore_patterns(".git"))
        row.apply(root)
        return root

    return make


def messages(root: Path) -> list[str]:
    """What fails the check, but for cfn-lint; each finding with its place."""
    report = check.prove(check.Files(root))
    findings = set().union(*report.findings.values())
    return [f"{one.place.file}: {one.message}" for one in findings if not one.is_warning]


@pytest.mark.parametrize("row", ALL)
def test_a_weakening_is_found(weakened, row):
    found = messages(weakened(row))
    assert any(row.says in message for message in found), found


@pytest.mark.parametrize("row", NOT_CAUGHT, ids=lambda row: row.what)
def test_what_is_not_caught_is_known(weakened, row):
    assert messages(weakened(row)) == []


def test_the_table_has_no_row_twice():
    names = [row.what for rows in WEAKENINGS.values() for row in rows]
    assert len(names) == len({*names}) >= 119


# ---- An intended exception -----------------------------------------------------------------------

MERGE = "codecommit:MergePullRequestByFastForward"


@pytest.mark.parametrize(
    ("comment", "count"),
    [
        (f"  # accepted: {MERGE} (a bot merges what two people have approved)", 0),
        ("", 1),
        (f"  # accepted: {MERGE}", 1),  # without a reason
        ("  # accepted: codecommit:GitPush (another right)", 1),
    ],
)
def test_an_exception_is_one_line_with_its_reason(weakened, comment, count):
    change = may("PullRequestBuildRole", MERGE, "!GetAtt Repository.Arn")
    accepted = Edit(change.old, change.new.rstrip("\n") + f"{comment}\n", change.after)
    row = Weakening("a bot may merge", (accepted,), says="")
    assert len(messages(weakened(row))) == count


# ---- Compiled Python -----------------------------------------------------------------------------


@pytest.fixture
def forged(rendering, tmp_path) -> Path:
    """A repository in which a compiled module says something else than its source."""
    root = tmp_path / "forged"
    shutil.copytree(rendering("pat-serverless"), root)
    evil = tmp_path / "evil.py"
    evil.write_text('SOURCE = "not reviewed"\n')
    compiled = root / f"cicd/steps/__pycache__/names.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), str(compiled), invalidation_mode=mode)
    return root


def test_python_runs_a_compiled_module_in_place_of_its_source(forged):
    command = [sys.executable, "-c", "import names; print(names.SOURCE)"]
    result = subprocess.run(command, cwd=forged / "cicd/steps", capture_output=True, text=True)
    assert result.stdout == "not reviewed\n"


def test_a_compiled_module_that_git_has_is_found(forged):
    assert messages(forged) == []  # .gitignore: nobody gets it
    subprocess.run(["git", "add", "--force", "cicd"], cwd=forged, check=True)
    (message,) = messages(forged)
    assert "compiled code runs in place of the source that was reviewed" in message


# ---- What a team may do --------------------------------------------------------------------------

LEGAL = {
    "a longer time-out": Edit("TimeoutInMinutes: 120", "TimeoutInMinutes: 180"),
    "logs for a year": Edit("RetentionInDays: 90", "RetentionInDays: 365"),
    "another image of AWS": Edit("x86_64-standard:5.0", "x86_64-standard:6.0"),
    "more conditions": Edit(
        "StringEquals: {aws:SourceAccount: !Ref AWS::AccountId}",
        "StringEquals: {aws:SourceAccount: !Ref AWS::AccountId, aws:RequestedRegion: eu-west-1}",
    ),
    "a command more": Edit(
        "      - make check",
        "      - date --utc\n      - make check",
        file="cicd/buildspecs/qa.yml",
    ),
    "gates apart": Edit(
        "make check lint test build",
        "make check\n      - make lint test\n      - make build",
        file="cicd/buildspecs/qa.yml",
    ),
    "a table of its own": Edit('catalog: "prod"', 'catalog: "live"', file="databricks.yml"),
}


@pytest.mark.parametrize("change", LEGAL.values(), ids=LEGAL)
def test_what_a_team_may_do_is_no_finding(weakened, change):
    assert messages(weakened(Weakening("", (change,), says=""))) == []

"""`make releases` and `make rollback`: what was deployed, and back to which of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from operating import Operator, Refusal, at_work

A, B, C, D, E = (f"{letter * 8}-1" for letter in "abcde")
REVERT = "Revert the commit instead, and push that: git revert <commit>, make push"


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of the default rendering, in which nothing has been deployed."""
    with at_work(default, monkeypatch, capsys) as operator:
        yield operator


def released(operator: Operator, *releases: str, status: str = "Succeeded") -> None:
    """Deploys to production, the oldest first: `a`, or `c>a` for c, which brought a back."""
    for release in releases:
        execution, _, target = release.partition(">")
        back_to = f"{target * 8}-1" if target else ""
        operator.cloud.release(f"{execution * 8}-1", f"{execution * 4}99990000", back_to)
    latest = operator.cloud.executions[0]["pipelineExecutionId"] if releases else A
    operator.cloud.stage("Production", status, latest)


# ---- make releases -------------------------------------------------------------------------------


def test_releases_are_listed_newest_first(operator: Operator) -> None:
    released(operator, "a", "b", "c>a")
    screen = operator.run("releases")
    assert (screen.code, screen.err) == (0, "")
    assert screen.lines == [
        "Execution Commit Deployed By",
        "cccccccc aaaa9999 24 Nov 16:00 grace deployed now, rollback to aaaaaaaa",
        "bbbbbbbb bbbb9999 24 Nov 15:00 ada@example.com Change bbbb",
        "aaaaaaaa aaaa9999 24 Nov 14:00 ada@example.com Change aaaa",
        "To go back to one of them: make rollback TO=<execution>",
    ]


def test_what_did_not_reach_production_is_no_release(operator: Operator) -> None:
    released(operator, "a")
    operator.cloud.started(B, "bbbb99990000")
    operator.cloud.action(B, "Production", "Deploy", status="Failed")
    screen = operator.run("releases")
    assert screen.lines[1:] == ["aaaaaaaa aaaa9999 24 Nov 14:00 ada@example.com deployed now"]


def test_a_release_that_was_deployed_twice_is_one(operator: Operator) -> None:
    released(operator, "a")
    operator.cloud.action(A, "Production", "Deploy")
    assert len(operator.run("releases").lines) == 2


def test_only_so_many_releases_are_listed(operator: Operator) -> None:
    released(operator, *"abcde")
    lines = operator.run("releases", "--count", "2").lines
    assert [line.split()[0] for line in lines] == "Execution eeeeeeee dddddddd Older To".split()
    assert lines[3] == "Older releases: make releases COUNT=6"
    assert "Older" not in operator.run("releases", "--count", "5").out


def test_without_a_release_there_is_nothing_to_list(operator: Operator) -> None:
    said = "Nothing has been deployed to production yet. See: make status\n"
    assert operator.run("releases") == (0, said, "")


@pytest.mark.parametrize(
    ("count", "shown"), [("0", "0"), ("-1", "-1"), ("ten", "'ten'"), ("²", "'²'")]
)
def test_releases_are_counted_in_numbers(operator: Operator, count: str, shown: str) -> None:
    screen = operator.run("releases", "--count", count)
    assert (screen.code, screen.out) == (2, "")
    assert f"Error: Invalid value for '--count': {shown} is not " in screen.err


def test_an_approver_is_what_the_record_says(operator: Operator) -> None:
    released(operator, "a")
    (record,) = (item for item in operator.cloud.actions if item["actionName"] == "Approve")
    del record["updatedBy"]
    record["output"]["executionResult"] = {"externalExecutionSummary": "Approved by console"}
    assert " Approved by console deployed now" in operator.run("releases").lines[1]
    del record["output"]["executionResult"]["externalExecutionSummary"]
    assert operator.run("releases").lines[1].endswith("24 Nov 14:00 deployed now")


def test_after_a_failed_deployment_nobody_knows_what_production_has(operator: Operator) -> None:
    released(operator, "a", status="Failed")
    assert operator.run("releases").lines[1].endswith("ada@example.com last that succeeded")


def test_a_failure_in_another_stage_is_not_productions(operator: Operator) -> None:
    operator.cloud.stage("QA", "Failed", B)
    released(operator, "a")
    assert operator.run("releases").lines[1].endswith("ada@example.com deployed now")


def job_failed(operator: Operator) -> None:
    """A release b after a, and then c, which was deployed, but whose job failed."""
    released(operator, "a", "b")
    operator.cloud.stages.clear()
    operator.cloud.started(C, "cccc99990000")
    operator.cloud.action(C, "Production", "Deploy", inputs=("Source", "Wheel", "Plan"))
    operator.cloud.action(C, "Production", "Run", status="Failed", inputs=("Source", "Wheel"))
    operator.cloud.stage("Production", "Failed", C, first="Succeeded")
    # AWS goes back only to what succeeded in the whole stage.
    operator.cloud.answers["ListPipelineExecutions"] = lambda _: {
        "pipelineExecutionSummaries": operator.cloud.executions[1:]
    }


def test_a_release_whose_job_failed_is_deployed(operator: Operator) -> None:
    job_failed(operator)
    lines = operator.run("releases").lines
    assert [line.split()[0] for line in lines[1:4]] == [C[:8], B[:8], A[:8]]
    assert "deployed now" in lines[1]


def test_a_rollback_from_a_release_whose_job_failed_goes_to_the_one_before(
    operator: Operator,
) -> None:
    job_failed(operator)
    screen = operator.run("rollback", typed="y\n")
    assert screen.code == 0, screen.err
    assert screen.lines[0].startswith("From: commit cccc9999, execution cccccccc, 24 Nov")
    (request,) = operator.cloud.called("RollbackStage")
    assert request["targetPipelineExecutionId"] == B


def test_releases_that_aws_has_forgotten_are_listed_without_a_commit(operator: Operator) -> None:
    released(operator, "a", "b")
    del operator.cloud.executions[1]
    lines = operator.run("releases").lines
    assert lines[2] == "aaaaaaaa 24 Nov 14:00 ada@example.com"


# ---- make rollback -------------------------------------------------------------------------------


def test_a_rollback_shows_from_where_to_where_and_asks(operator: Operator) -> None:
    released(operator, "a", "b")
    screen = operator.run("rollback", typed="y\n")
    assert (screen.code, screen.err) == (0, "")
    assert screen.out.splitlines() == [
        "From: commit bbbb9999, execution bbbbbbbb, 24 Nov 15:00  Change bbbb",
        "To:   commit aaaa9999, execution aaaaaaaa, 24 Nov 14:00  Change aaaa",
        "The build plans it anew, and stops where data would be lost. What jobs wrote stays.",
        "Roll production back? [y/N] Started execution 66666666-1.",
        "Follow it: make logs BUILD=prod, make status",
        "The branch is not changed. Revert there too, or the next push deploys it again.",
    ]
    assert operator.cloud.called("RollbackStage") == [
        {
            "pipelineName": "pipeline-1",
            "stageName": "Production",
            "targetPipelineExecutionId": A,
        }
    ]
    looked_at = [request["Key"] for request in operator.cloud.called("HeadObject")]
    assert looked_at == [f"{A}/Source", f"{A}/Wheel", f"{A}/Plan"]


@pytest.mark.parametrize(
    ("releases", "status", "to", "target"),
    [
        (["a", "b"], "Succeeded", "", A),
        (["a", "b", "c"], "Succeeded", "", B),
        (["a", "b", "c>b"], "Succeeded", "", A),  # not back to c, nor to b again
        (["a", "b", "c", "d>b"], "Succeeded", "", A),
        (["a", "b", "c>a", "d"], "Succeeded", "", B),
        (["a", "b", "c>a", "d", "e>d"], "Succeeded", "", B),
        (["a", "b"], "Failed", "", B),  # what failed is in none of these
        (["a", "b"], "Stopped", "", B),
        (["a", "b"], "Cancelled", "", B),
        (["a"], "Failed", "", A),
        (["a", "b", "c>a"], "Failed", "", A),
        (["a", "b", "c"], "Succeeded", "a", A),
        (["a", "b", "c"], "Succeeded", f" {A.upper()} ", A),
        (["a", "b", "c>a"], "Succeeded", "bbb", B),  # forward again
        (["a", "b"], "Failed", "b", B),
    ],
)
def test_a_rollback_goes_to(operator: Operator, releases, status, to, target) -> None:
    released(operator, *releases, status=status)
    screen = operator.run("rollback", "--yes", "--to", to)
    assert screen.code == 0, screen.err
    (request,) = operator.cloud.called("RollbackStage")
    assert request["targetPipelineExecutionId"] == target


NONE = (
    "there is nothing to go back to: since the pipeline was created, or changed by make stack,"
    f" no release has succeeded in Production. {REVERT}"
)


@pytest.mark.parametrize(
    ("releases", "status", "to", "said"),
    [
        ([], "Failed", "", NONE),
        (["a"], "Succeeded", "", f"there is no release before {A} to go back to. {REVERT}"),
        (["b", "c>b"], "Succeeded", "", f"there is no release before {B} to go back to. {REVERT}"),
        (
            ["a", "b"],
            "InProgress",
            "",
            "a deployment to Production is running; wait for it: make logs BUILD=prod",
        ),
        (
            ["a", "b"],
            "Stopping",
            "a",
            "a deployment to Production is running; wait for it: make logs BUILD=prod",
        ),
        (["a", "b"], "Succeeded", "f", "no release that AWS can go back to begins with f;"),
        (["a", "b"], "Succeeded", "b", f"{B} is what production has; nothing is changed"),
        (["a", "b", "c>a"], "Succeeded", "a", f"{A} is what production has; nothing is changed"),
        (
            ["a", "b", "c>a"],
            "Succeeded",
            "c",
            "c is itself a rollback, which AWS does not go back",
        ),
        (["a", "b", "c>a"], "Succeeded", "cc", f"go back to: TO={A}"),
    ],
)
def test_a_rollback_without_a_target_changes_nothing(operator, releases, status, to, said) -> None:
    released(operator, *releases, status=status)
    screen = operator.run("rollback", "--to", to, typed="y\n")
    assert screen.code == 1
    assert screen.err.startswith("rollback: ") and said in screen.err
    assert operator.cloud.called("RollbackStage") == []


def test_a_target_must_be_the_only_one_of_its_name(operator: Operator) -> None:
    released(operator, "a", "b")
    operator.cloud.release("abab-1", "cccc99990000")
    screen = operator.run("rollback", "--to", "a")
    said = "rollback: 2 executions begin with a; give TO more of its characters\n"
    assert (screen.code, screen.err) == (1, said)
    assert operator.run("rollback", "--yes", "--to", "aa").code == 0


def test_a_release_whose_files_have_expired_is_none_to_go_back_to(operator: Operator) -> None:
    released(operator, "a", "b")
    del operator.cloud.objects[f"{A}/Wheel"]
    screen = operator.run("rollback")
    assert (screen.code, screen.err) == (
        1,
        f"rollback: the artifact Wheel of {A} is gone: artifacts are kept for 180 days"
        f" (docs/operations.md). {REVERT}\n",
    )
    assert operator.cloud.called("RollbackStage") == []


def test_a_user_without_rights_on_the_artifacts_gets_a_message(operator: Operator) -> None:
    released(operator, "a", "b")
    operator.cloud.answers["HeadObject"] = lambda _: Refusal("403", "Forbidden")
    screen = operator.run("rollback")
    assert screen.err == "rollback: AWS refuses HeadObject: Forbidden\n"


@pytest.mark.parametrize("typed", ["\n", "n\n", "a\n"])
def test_a_rollback_that_is_not_confirmed_changes_nothing(operator: Operator, typed: str) -> None:
    released(operator, "a", "b")
    screen = operator.run("rollback", typed=typed)
    assert (screen.code, screen.err) == (1, "rollback: nothing is changed\n")
    assert operator.cloud.called("RollbackStage") == []


@pytest.mark.parametrize(("terminal", "typed"), [(True, None), (False, "y\n"), (False, "")])
def test_without_a_terminal_nothing_is_rolled_back(operator: Operator, terminal, typed) -> None:
    released(operator, "a", "b")
    operator.terminal = terminal
    screen = operator.run("rollback", typed=typed)
    refused = "nothing is changed: there is no terminal to ask at. To do it unasked, add YES=1"
    assert (screen.code, screen.err) == (1, f"rollback: {refused}\n")
    assert operator.cloud.called("RollbackStage") == []


def test_after_a_failure_the_rollback_says_what_failed(operator: Operator) -> None:
    released(operator, "a", "b")
    operator.cloud.started(C, "cccc99990000")
    operator.cloud.stages = []
    operator.cloud.stage("Production", "Failed", C)
    lines = operator.run("rollback").out.splitlines()
    assert lines[:2] == [
        "From: commit cccc9999, execution cccccccc, Failed  Change cccc",
        "To:   commit bbbb9999, execution bbbbbbbb, 24 Nov 15:00  Change bbbb",
    ]


def test_what_aws_cannot_roll_back_is_reverted(operator: Operator) -> None:
    released(operator, "a", "b")
    outdated = Refusal("UnableToRollbackStageException", "The pipeline version has changed.")
    operator.cloud.answers["RollbackStage"] = lambda _: outdated
    said = f"rollback: AWS cannot roll back: The pipeline version has changed. {REVERT}\n"
    assert operator.run("rollback", "--yes").err == said
    operator.cloud.answers["RollbackStage"] = lambda _: Refusal("ConflictException", "busy")
    refused = "rollback: AWS refuses RollbackStage: busy\n"
    assert operator.run("rollback", "--yes").err == refused

"""Four eyes: who pushed a release may not approve it, neither by `make` nor in the build."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operating import ACCOUNT, ADA, GRACE, Operator, at_work
from steps import load

PUSHER = f"arn:aws:sts::{ACCOUNT}:assumed-role/Developer/ada@example.com"  # Ada, with another role
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
BUILD = f"arn:aws:sts::{ACCOUNT}:assumed-role/PipelineRole/1"
START = "arn:aws:events:us-east-1:123456789012:rule/push"


class Pipeline:
    """CodePipeline as the AWS CLI answers for it: one push, and what was started by hand."""

    def __init__(self) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        self.approvals: list[dict[str, Any]] = []
        self.now, self.type = "", "STANDARD"

    def run(
        self, identity: str, kind: str, starter: str, pushed_by: str, commit: str = "c1"
    ) -> None:
        """An execution, now in Production."""
        self.now = identity
        self.executions[identity] = {
            "pipelineExecutionId": identity,
            "trigger": {"triggerType": kind, "triggerDetail": starter},
            "variables": [{"name": "PUSHED_BY", "resolvedValue": pushed_by}],
            "artifactRevisions": [{"name": "Source", "revisionId": commit}],
            "sourceRevisions": [{"actionName": "Source", "revisionId": commit}],
        }

    def approved(self, by: str, status: str = "Succeeded") -> None:
        """An answer to the approval."""
        kind = {"actionTypeId": {"category": "Approval"}}
        self.approvals.append(
            {"status": status, "input": kind, **({"updatedBy": by} if by else {})}
        )

    def aws(self, *call: str) -> str:
        """Answers a call."""
        summaries = {"pipelineExecutionSummaries": list(self.executions.values())}
        build = {"status": "Succeeded", "input": {}, "updatedBy": BUILD}
        approvals = {"actionExecutionDetails": [build, *self.approvals]}
        answers = {"list-pipeline-executions --pipeline-name pipeline-1": summaries}
        for identity, record in self.executions.items():
            one = f"--pipeline-name pipeline-1 --pipeline-execution-id {identity}"
            answers[f"get-pipeline-execution {one}"] = {"pipelineExecution": record}
        only = f"--pipeline-name pipeline-1 --filter pipelineExecutionId={self.now}"
        answers[f"list-action-executions {only}"] = approvals
        assert call[0] == "codepipeline"
        return json.dumps(answers[" ".join(call[1:])])

    def latest(self, name: str, field: str) -> str:
        """What is in the stage Production."""
        assert name == "pipeline-1"
        return {"type": self.type, "pipelineExecutionId": self.now}[field]


@pytest.fixture
def pipeline() -> Pipeline:
    """A pipeline that has run nothing."""
    return Pipeline()


@pytest.fixture
def checked(pipeline: Pipeline, monkeypatch, capsys) -> Callable[[], str]:
    """What the build's step says: nothing, a sentence, or why it stops."""
    step = load("four_eyes")
    monkeypatch.setattr(step, "aws", pipeline.aws)
    monkeypatch.setattr(step, "latest", pipeline.latest)
    monkeypatch.setattr("sys.argv", ["four_eyes.py", "pipeline-1"])

    def run(wanted: str = "true") -> str:
        monkeypatch.setenv("FOUR_EYES", wanted)
        try:
            step.main()
        except SystemExit as stop:
            return f"stopped: {stop.code}"
        return str(capsys.readouterr().out)

    return run


@pytest.mark.parametrize(
    ("pushed_by", "approvers", "said"),
    [
        (PUSHER, [GRACE], "Pushed or started by ada@example.com; approved by grace.\n"),
        (
            PUSHER,
            [PUSHER],
            "stopped: four_eyes.py: ada@example.com pushed or started this and approved it; another"
            " reviewer must approve: make start",
        ),
        (PUSHER, [ADA], "stopped: four_eyes.py: ada@example.com pushed or started this"),
        (PUSHER, [GRACE, ADA], "stopped: four_eyes.py: ada@example.com pushed or started this"),
        (PUSHER, [], "stopped: four_eyes.py: AWS does not say who approved e1"),
        (PUSHER, [""], "stopped: four_eyes.py: AWS does not say who approved e1"),
        (PUSHER, [ROOT], "stopped: four_eyes.py: AWS does not say who approved e1"),
        (PUSHER, ["of no account/grace"], "stopped: four_eyes.py: AWS does not say who approved"),
        ("unknown", [GRACE], "stopped: four_eyes.py: AWS does not say who pushed"),
        ("referenceUpdated", [GRACE], "stopped: four_eyes.py: AWS does not say who pushed"),
    ],
)
def test_a_push_is_approved_by_another_person(
    pipeline, checked, pushed_by, approvers, said
) -> None:
    pipeline.run("e1", "CloudWatchEvent", START, pushed_by)
    for arn in approvers:
        pipeline.approved(arn)
    assert checked().startswith(said)
    assert checked("false") == ""


@pytest.mark.parametrize(
    ("starter", "approver", "said"),
    [
        (GRACE, ADA, "stopped: four_eyes.py: ada@example.com pushed or started this"),
        (GRACE, GRACE, "stopped: four_eyes.py: grace pushed or started this"),
        (GRACE, f"{ADA}.uk", "Pushed or started by ada@example.com, grace; approved by"),
    ],
)
def test_a_start_by_hand_does_not_hide_who_pushed(
    pipeline, checked, starter, approver, said
) -> None:
    """Nor does a variable that the caller invents: it counts after a push only."""
    pipeline.run("e1", "CloudWatchEvent", START, PUSHER)
    pipeline.run("e2", "StartPipelineExecution", starter, "arn:aws:iam::1:user/invented")
    pipeline.approved(approver)
    assert checked().startswith(said)


def test_a_commit_that_was_never_pushed_to_the_branch_is_unknown(pipeline, checked) -> None:
    pipeline.run("e1", "CloudWatchEvent", START, PUSHER)
    pipeline.run("e2", "StartPipelineExecution", GRACE, PUSHER, commit="of-a-feature-branch")
    pipeline.approved(f"{ADA}.uk")
    assert checked().startswith("stopped: four_eyes.py: AWS does not say who pushed")


@pytest.mark.parametrize("missing", ["variables", "trigger"])
def test_what_aws_does_not_say_stops(pipeline, checked, missing: str) -> None:
    pipeline.run("e1", "CloudWatchEvent", START, PUSHER)
    del pipeline.executions["e1"][missing]
    pipeline.approved(GRACE)
    assert checked() == (
        "stopped: four_eyes.py: AWS does not say who pushed this commit. Push it anew: git commit"
        " --amend"
    )


def test_a_rejection_before_is_no_approval(pipeline, checked) -> None:
    pipeline.run("e1", "CloudWatchEvent", START, PUSHER)
    pipeline.approved(ADA, "Failed")
    pipeline.approved(GRACE)
    assert checked().startswith("Pushed or started by ada@example.com; approved by grace.")


def test_a_rollback_has_no_approval_of_its_own(pipeline, checked) -> None:
    pipeline.run("e1", "ManualRollback", GRACE, "unknown")
    pipeline.type = "ROLLBACK"
    assert checked() == "A rollback: nobody approves it anew.\n"


def test_the_build_asks_before_it_signs_in_to_production(default: Path) -> None:
    text = (default / "cicd/buildspecs/production.yml").read_text()
    assert 0 < text.index("four_eyes.py") < text.index("preflight.py")


# ---- make approve --------------------------------------------------------------------------------


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of the default rendering, where a plan waits that Ada has pushed."""
    with at_work(default, monkeypatch, capsys) as operator:
        operator.cloud.approval("# Plan")
        variables = [{"name": "PUSHED_BY", "resolvedValue": PUSHER}]
        operator.cloud.executions[0]["variables"] = variables
        yield operator


@pytest.mark.parametrize(
    ("wanted", "caller", "started_by", "refused"),
    [
        ("false", ADA, START, False),
        ("true", GRACE, START, False),
        ("true", ADA, START, True),
        ("true", PUSHER, START, True),
        ("true", GRACE, GRACE, True),
    ],
)
def test_approve_refuses_its_author(operator, wanted, caller, started_by, refused) -> None:
    cloud = operator.cloud
    cloud.parameters["FourEyes"] = wanted
    cloud.executions[0]["trigger"]["triggerDetail"] = started_by
    cloud.answers["GetCallerIdentity"] = lambda _: {"Arn": caller}
    screen = operator.run("approve", "--yes")
    assert (screen.code == 1, "must approve it" in screen.err) == (refused, refused), screen.err
    assert len(cloud.called("PutApprovalResult")) == (not refused)

"""The operator's commands, rehearsed: `make` in the repository, against the account that plays."""

import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from rehearsal import play
from rehearsing import JOB, by_hand, decide, edit, job_in_prod


def ops(played) -> str:
    """What runs `-m ops` for make: a server that has imported boto3 and the like already."""
    program = played.home / "python"
    program.write_text(play.warm_client("rehearsal.machine.ops"))
    program.chmod(0o755)
    return f"OPS={program}"


def make(played, *arguments: str, stdin: str = "") -> str:
    """What a make command says that must go well."""
    result = played.make(*arguments, ops(played), stdin=stdin)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def waiting(played) -> str:
    """The token of the approval that waits, once one does."""
    client, ends = played.aws.client("codepipeline"), time.monotonic() + 90
    while time.monotonic() < ends:
        for stage in client.get_pipeline_state(name=played.pipeline.name)["stageStates"]:
            for action in stage["actionStates"]:
                if token := action.get("latestExecution", {}).get("token"):
                    return token
        time.sleep(0.1)
    raise AssertionError("no approval waits")


def reject_late(played, token: str) -> None:
    """Answers an approval that has been answered."""
    played.aws.client("codepipeline").put_approval_result(
        pipelineName=played.pipeline.name,
        stageName="Review",
        actionName="Approve",
        token=token,
        result={"status": "Rejected", "summary": "too late"},
    )


def join(played) -> None:
    """Waits until everything that was started has ended."""
    for thread in played.api.threads:
        thread.join(90)
        assert not thread.is_alive()


def test_operators_commands_during_a_rehearsal(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        decide(played, None)  # that is left to `make approve`
        pushing = threading.Thread(target=played.push)
        pushing.start()
        token = waiting(played)
        status, approved = make(played, "status"), make(played, "approve", "YES=1")
        pushing.join(90)
        (first,) = played.pipeline.executions
        assert first.status == "Succeeded", first
        assert "Waits in Review: It deletes no data." in status
        assert 'The commit names as its author, unchecked: "Ada"' in status
        assert "- create jobs.my_data_project_job" in approved and "Approved." in approved
        # Whoever answers second changes nothing.
        with pytest.raises(ClientError, match="InvalidApprovalToken"):
            reject_late(played, token)

        doctor = make(played, "doctor")
        assert f"my-data-project, main is at {first.commit[:8]}" in doctor
        assert "all that make stack needs" in doctor and "as cicd/stack.yml has them" in doctor
        assert "the pipeline runs this folder's" in doctor
        assert doctor.count("answers (HTTP 401, as expected without a credential)") == 2

        edit(played.repository, JOB, "0 0 6 * * ?", "0 30 7 * * ?")
        played.working_copy.push(played.branch)
        make(played, "start")
        waiting(played)
        assert "Rejected." in make(played, "reject", "REASON=not today")
        join(played)
        rejected = played.pipeline.executions[-1]
        assert (rejected.status, rejected.stopped_in.name) == ("Failed", "Review")
        assert rejected.stopped_in.actions[-1].message == "Rejected: not today"
        make(played, "start")
        waiting(played)
        make(played, "approve", "YES=1")
        join(played)
        second = played.pipeline.executions[-1]
        assert second.status == "Succeeded"

        releases = make(played, "releases").splitlines()
        assert second.id[:8] in releases[1] and "deployed now" in releases[1]
        assert first.id[:8] in releases[2]

        assert "Drift: none" in make(played, "drift")
        by_hand(played)
        drifted = played.make("drift", ops(played))
        assert "1 of 4 resources in prod are not as deployed" in drifted.stdout
        assert drifted.returncode != 0

        shown = make(played, "rollback", "YES=1")
        assert f"To:   commit {first.commit[:8]}" in shown
        join(played)
        assert played.pipeline.executions[-1].status == "Succeeded"
        assert played.pipeline.executions[-1].rolls_back_to is first
        assert "rollback" in make(played, "status")
        assert make(played, "logs", "BUILD=prod").startswith("my-data-project-prod:")
        assert job_in_prod(played)["schedule"]["quartz_cron_expression"] == "0 0 6 * * ?"

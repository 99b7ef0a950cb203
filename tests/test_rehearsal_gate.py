"""The gate, rehearsed: a plan to decide on, that plan deployed or nothing, and the way back.

The repositories here have one wheel, made beforehand, whose version never changes, and production
deploys without running the job.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from rehearsal import play, promises
from rehearsal.aws.codecommit import AUTHOR
from rehearsal.aws.execution import Answer
from rehearsal.databricks.calls import Call, recorded
from rehearsing import (
    APPROVED,
    JOB,
    NUTTER,
    PRODUCTION_SPEC,
    QA_SPEC,
    RUN_QA,
    by_hand,
    client_on_path,
    decide,
    edit,
    fail,
    in_prod,
    job_in_prod,
    jobs_in_prod,
    line_with,
    said,
    workspace,
)
from releasing import (
    Change,
    another_deployment,
    approving,
    artifact,
    damage,
    drift,
    log,
    meanwhile,
    put_plan,
    state_file,
)

STACK = "cicd/stack.yml"
SCHEMA = """\
resources:
  schemas:
    extra:
      name: extra
      catalog_name: ${var.catalog}
"""


@pytest.fixture(params=["stand-in", "client"])
def client(request: pytest.FixtureRequest, default: Path) -> Path | None:
    """Each test here takes place with the stand-in and with the real client."""
    return client_on_path(default) if request.param == "client" else None


def content(played: play.Rehearsal) -> dict[str, bytes]:
    """Everything that production has: files, state, resources."""
    root = workspace(played)
    skip = {"issued.json"}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in skip
    }


def first_deployment(played: play.Rehearsal) -> None:
    """Somebody else deploys before this pipeline has."""
    root = workspace(played) / "files/Workspace/Users/prodbuild@example.com/.bundle"
    folder = root / "my-data-project/prod/state"
    folder.mkdir(parents=True, exist_ok=True)
    state = {"lineage": "11111111", "serial": 4, "state": {}}
    (folder / "resources.json").write_text(json.dumps(state))


def plan_of_another_client(played: play.Rehearsal) -> None:
    """The newest plan says that another version of the client made it, and so does its checksum."""
    execution = played.pipeline.executions[-1]
    plan = json.loads(artifact(played, execution, "Plan")["plan.json"])
    text = json.dumps(plan | {"cli_version": "1.23.0"}).encode()
    put_plan(played, execution, text)
    execution.variables["PlanVariables"]["PLAN_SHA256"] = hashlib.sha256(text).hexdigest()


def test_what_is_planned_is_shown_approved_deployed_and_rolled_back(
    deploying: Path, rehearsal
) -> None:
    with rehearsal(deploying) as played:
        shown = approving(played)
        first = played.push()
        assert first.status == "Succeeded", said(first, first.stopped_in.name)
        assert shown[0].startswith("It deletes no data. What production's plan does: 4 to create")
        assert f"It is for commit {first.commit}." in shown[0]
        assert "This is the first release." in log(first, "Review")

        edit(played.repository, JOB, "0 0 6 * * ?", "0 30 7 * * ?")
        second = played.push()
        assert second.status == "Succeeded", said(second, second.stopped_in.name)
        assert "It deletes no data. What production's plan does: 0 to create, 1 to up" in shown[1]
        line = '  - schedule.quartz_cron_expression: "0 0 6 * * ?" -> "0 30 7 * * ?"\n'
        plan = artifact(played, second, "Plan")
        assert sorted(plan) == ["plan.json", "plan.md"]
        assert line in plan["plan.md"].decode() and line in log(second, "Review")
        assert f"- changed {JOB}\n\n## In the wheel: " in plan["plan.md"].decode()
        assert "Production has what the plan says: 0 to create, 1 to update" in log(
            second, "Production"
        )
        assert "In the workspace: /Workspace/Users/prodbuild@example.com" in log(
            second, "Production"
        )
        assert played.mails == shown  # so the topic's subscribers read it too

        (played.repository / "README.md").write_text("only words\n")
        third = played.push()
        assert third.status == "Succeeded"
        assert "It changes no resource: files and wheel only." in shown[2]

        back = played.pipeline.rollback("Production", first)
        assert back.status == "Succeeded", said(back, "Production")
        assert "A rollback. What it changes, planned just now:" in log(back, "Production")
        assert '"0 30 7 * * ?" -> "0 0 6 * * ?"' in log(back, "Production")
        assert job_in_prod(played)["schedule"]["quartz_cron_expression"] == "0 0 6 * * ?"
        assert len(shown) == 3  # a rollback is the operator's own decision
        assert not [call for call in played.aws.calls if not call.allowed]

        # What is deployed now is the first release: the next plan is compared with that.
        forward = played.pipeline.start()
        assert '"0 0 6 * * ?" -> "0 30 7 * * ?"' in log(forward, "Review")
        assert f"- changed {JOB}" in log(forward, "Review")


def changing(played: play.Rehearsal, change: Change) -> dict[str, bytes]:
    """Makes a change before the next approval; what production has then is put into the result."""
    contents: dict[str, bytes] = {}

    def happens(played: play.Rehearsal) -> None:
        change(played)
        contents.update(content(played))

    meanwhile(played, happens)
    return contents


STOPS = {
    "stale": (another_deployment, "the plan is stale: since it was made another deployment"),
    "by hand": (by_hand, "prod was changed by hand since the plan was made"),
    "damaged": (damage, "plan.json is not the file that was approved: its SHA-256 is"),
}


def test_a_change_to_production_before_the_approval_stops_the_deployment(
    deploying: Path, rehearsal
) -> None:
    with rehearsal(deploying) as played:
        execution = played.push()
        assert execution.status == "Succeeded"
        for number, (change, message) in enumerate(STOPS.values()):
            edit(played.repository, JOB, f"0 {number} 6", f"0 {number + 1} 6")
            before = changing(played, change)
            stopped = played.push()
            text = said(stopped, "Production")
            assert "deploy.py: prod: " in text and message in text
            assert "Nothing is changed. A new plan, to be approved: make start" in text
            assert "Uploading" not in text
            assert content(played) == before, message
        # The one command that makes a new plan does.
        decide(played, APPROVED)
        assert played.pipeline.start().status == "Succeeded"


def test_a_first_plan_is_stale_when_somebody_else_was_first(deploying: Path, rehearsal) -> None:
    """It names no state that it was made for; the client itself would deploy it all the same."""

    with rehearsal(deploying) as played:
        meanwhile(played, first_deployment)
        execution = played.push()
        text = said(execution, "Production")
        assert "the plan is stale" in text and "its state was 0, it is 4 now" in text


def test_data_is_lost_only_by_an_approved_plan(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        shown = approving(played)
        first = played.push()
        (played.repository / "resources/extra.schema.yml").write_text(SCHEMA)
        second = played.push()
        assert second.status == "Succeeded", said(second, second.stopped_in.name)
        # The way back to a release without that schema would delete it: nobody has agreed to that.
        there = content(played)
        back = played.pipeline.rollback("Production", first)
        text = said(back, "Production")
        assert "would lose data, and nobody has approved that: delete schemas.extra" in text
        assert "Uploading" not in text and content(played) == there
        (played.repository / "resources/extra.schema.yml").unlink()
        third = played.push()
        assert third.status == "Succeeded", said(third, third.stopped_in.name)
        assert "DATA WOULD BE LOST: delete schemas.extra. What" in shown[2]
        assert "1 to delete. It is for commit" in shown[2]
        assert "> **WARNING: delete schemas.extra: data" in log(third, "Review")
        assert "schemas" not in str(state_file(played).read_text())


def test_what_is_made_anew_is_proved_with_its_rights(deploying: Path, rehearsal) -> None:
    """The client goes on reading the rights of the object before: that is no difference."""
    with rehearsal(deploying) as played:
        shown = approving(played)
        played.push()
        pipeline = "resources/my_data_project_etl.pipeline.yml"
        edit(played.repository, pipeline, "      catalog:", "      storage: /other\n      catalog:")
        second = played.push()
        assert second.status == "Succeeded", said(second, second.stopped_in.name)
        assert "DATA WOULD BE LOST: recreate pipelines.my_data_project_etl." in shown[1]
        assert drift(played.look_for_drift()) == ("in-sync", "none")


def test_a_rollback_whose_files_are_gone_changes_nothing(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        first = played.push()
        (played.repository / "README.md").write_text("second\n")
        assert played.push().status == "Succeeded"
        bucket, key = first.artifacts["Source"]
        played.aws.client("s3").delete_object(Bucket=bucket, Key=key)
        there = content(played)
        back = played.pipeline.rollback("Production", first)
        assert "NoSuchKey" in said(back, "Production")
        assert content(played) == there
        # Nor is there anything to compare the next release with; it goes through all the same.
        bucket, key = played.pipeline.executions[1].artifacts["Source"]
        played.aws.client("s3").delete_object(Bucket=bucket, Key=key)
        third = played.pipeline.start()
        assert third.status == "Succeeded", said(third, third.stopped_in.name)
        assert "The last release's files have expired: they are not" in log(third, "Review")


def test_a_deployment_that_stopped_half_way_lists_what_it_applied(
    deploying: Path, rehearsal
) -> None:
    with rehearsal(deploying) as played:
        fail(played, "deploy", after=2)
        execution = played.push()
        text = said(execution, "Production")
        assert "\ndone: create " in text and "\nnot done: create " in text
        assert "bundle deploy -t prod --plan" in text and "make rollback" in text
        # Once that is fixed, it goes on from there.
        (played.home / "databricks/faults.json").unlink()
        again = played.pipeline.start()
        assert again.status == "Succeeded", said(again, again.stopped_in.name)


def test_a_wheel_that_is_missing_after_the_deployment_is_seen(deploying: Path, rehearsal) -> None:
    proof = line_with(deploying, "cicd/steps/deploy.py", "proof.prove(plan)\n")
    indent = proof.partition("proof")[0]
    lines = (
        "import shutil",
        "[shutil.rmtree(folder) for folder in Path(os.environ['GONE']).rglob('.internal')]",
    )
    loses = "".join(f"{indent}{line}\n" for line in lines)
    edit(deploying, "cicd/steps/deploy.py", proof, f"{loses}{proof}")

    with rehearsal(deploying) as played:
        played.codebuild.settings.overrides |= {"GONE": str(workspace(played))}
        execution = played.push()
        text = said(execution, "Production")
        assert "my_data_project-0.1.0-py3-none-any.whl is missing and its job will fail" in text


def test_a_plan_of_another_client_is_deployed_with_a_warning(deploying: Path, rehearsal) -> None:
    """Both builds install what tools.env pins; this plan says that another version made it."""

    with rehearsal(deploying) as played:
        meanwhile(played, plan_of_another_client)
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        assert "Plan was created with CLI version 1.23.0" in log(execution, "Production")


def test_drift_is_what_somebody_changed_by_hand(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        build = played.look_for_drift()
        assert build.status == "SUCCEEDED", build.log.read_text()
        assert drift(build) == ("no-release", "no deployment on record")
        first = played.push()
        # A commit that waits for its approval, or was rejected, is no drift.
        edit(played.repository, JOB, "0 0 6 * * ?", "0 30 7 * * ?")
        decide(played, Answer("Rejected", "not today"))
        played.push()
        build = played.look_for_drift()
        assert drift(build) == ("in-sync", "none"), build.log.read_text()
        sent = len(played.mails)

        by_hand(played)
        build = played.look_for_drift()
        assert build.status == "SUCCEEDED", build.log.read_text()
        summary = "1 of 4 resources in prod are not as deployed"
        assert drift(build) == ("drifted", summary)
        (mail,) = played.mails[sent:]
        assert summary in mail
        assert "- changed jobs.my_data_project_job\n  - max_concurrent_runs" in mail
        assert "7" not in mail.partition("max_concurrent_runs")[2].splitlines()[0]  # no value

        # After a deployment that failed, prod is neither the one release nor the other.
        meanwhile(played, another_deployment)
        assert played.pipeline.start().status == "Failed"
        build = played.look_for_drift()
        assert drift(build) == ("unknown", "not known: the last deployment is Failed")
        assert len(played.mails) == sent + 3  # an approval, a failure, and no drift

        # Where it cannot look, another mail says so.
        bucket, key = first.artifacts["Wheel"]
        played.aws.client("s3").delete_object(Bucket=bucket, Key=key)
        assert played.look_for_drift().status == "FAILED"
        assert "could not compare production with what was deployed" in played.mails[-1]


def delete_in_prod(played: play.Rehearsal) -> None:
    """Somebody deletes every job and pipeline of production's workspace."""
    for kind in ("jobs", "pipelines"):
        shutil.rmtree(workspace(played) / "resources" / kind)


def push_killed(played: play.Rehearsal, after: int) -> None:
    """A push whose deployment to production is killed after so many resources."""
    fail(played, "deploy", after=after, killed=1)
    assert played.push().stopped_in.name == "Production"
    (played.home / "databricks/faults.json").unlink()


def test_a_deployment_that_was_killed_is_not_deployed_beside_itself(
    deploying: Path, rehearsal
) -> None:
    with rehearsal(deploying) as played:
        push_killed(played, after=3)  # the pipeline and the job are there
        (orphan,) = jobs_in_prod(played)
        (lock,) = workspace(played).rglob("deploy.lock")
        text = said(played.pipeline.start(), "Production")
        assert f"its ID is {orphan}. Delete it (databricks jobs delete {orphan})" in text
        assert "databricks workspace delete /Workspace/Users/" in text
        lock.unlink()
        assert f"its ID is {orphan}." in said(played.pipeline.start(), "Production")
        assert list(jobs_in_prod(played)) == [orphan]
        delete_in_prod(played)
        again = played.pipeline.start()
        assert again.status == "Succeeded", said(again, again.stopped_in.name)
        assert len(jobs_in_prod(played)) == 1

        # Killed in an update, nothing is there twice: only the lock has to go.
        edit(played.repository, JOB, "0 0 6 * * ?", "0 30 7 * * ?")
        push_killed(played, after=1)
        lock.unlink()
        last = played.pipeline.start()
        assert last.status == "Succeeded", said(last, last.stopped_in.name)
        assert job_in_prod(played)["schedule"]["quartz_cron_expression"] == "0 30 7 * * ?"


def test_a_job_that_fails_is_no_failed_deployment(repository: Path, rehearsal) -> None:
    for command in (RUN_QA, NUTTER):
        edit(repository, QA_SPEC, line_with(repository, QA_SPEC, command), "")
    with rehearsal(repository) as played:
        fail(played, "run")
        execution = played.push()
        text = said(execution, "Production")
        assert "run_job.sh: prod: my_data_project_job failed, see above. The release is dep" in text
        deploy, run = execution.stopped_in.actions
        assert (deploy.status, run.status) == ("Succeeded", "Failed")
        # Drift is looked for all the same.
        assert drift(played.look_for_drift()) == ("in-sync", "none")
        by_hand(played)
        assert drift(played.look_for_drift())[0] == "drifted"


# ---- What a rehearsal says of it -----------------------------------------------------------------

DEPLOY = 'python "$STEPS/deploy.py" "$CODEBUILD_SRC_DIR_Plan/plan.json"'
OTHER = "Production did not deploy the plan that was approved."
NOT_COMPARED = "Production was not compared with the approved plan before it was deployed."
NOT_PROVED = "Nobody proved after the deployment that production is as planned."


def test_a_build_that_deploys_by_itself_is_not_as_approved(deploying, rehearsal) -> None:
    edit(deploying, PRODUCTION_SPEC, DEPLOY, "databricks bundle deploy -t prod --auto-approve")
    with rehearsal(deploying) as played:
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        calls = recorded(played.home / "databricks")
        assert promises.broken(execution, calls) == [OTHER, NOT_COMPARED, NOT_PROVED]


def test_as_approved_is_what_every_call_says(deploying, rehearsal) -> None:
    with rehearsal(deploying) as played:
        execution = played.push()
        calls = recorded(played.home / "databricks")
    assert promises.broken(execution, calls) == []
    plan, approve = execution.stages[2].actions
    prod = [call for call in calls if call.target == "prod" and call.command.startswith("bundle")]
    assert [call.command.split()[1] for call in prod] == ["plan", "plan", "deploy", "plan"]
    shown, compared, deployed, proved = prod

    def instead(missing: Call, *others: Call) -> list[str]:
        place = calls.index(missing)
        kept = [call for call in calls if call != missing]
        return promises.broken(execution, [*kept[:place], *others, *kept[place:]])

    assert instead(deployed, deployed._replace(what="prod 0123")) == [OTHER]
    assert instead(deployed) == ["Nothing was deployed after the approval."]
    assert instead(shown, shown, deployed._replace(build=plan.build.id)) == [
        "Production was deployed to before anybody had approved."
    ]
    # Two plans of one build are the same call: the one before and the one after it.
    assert compared == proved and instead(compared) == [NOT_COMPARED, NOT_PROVED]

    approve.declared = approve.declared | {"RunOrder": 1}
    assert promises.broken(execution, calls) == [
        "The approval showed no plan: none was made before it."
    ]
    approve.answer = None
    assert promises.broken(execution, calls) == ["Nobody was asked: the pipeline has no approval."]


# ---- Four eyes -----------------------------------------------------------------------------------


def test_who_has_pushed_or_started_a_release_does_not_approve_it(deploying, rehearsal) -> None:
    stack = (deploying / "cicd/stack.yml").read_text()
    head, name, rest = stack.partition("\n  FourEyes:\n")
    changed = rest.replace('Default: "false"', 'Default: "true"', 1)
    (deploying / "cicd/stack.yml").write_text(head + name + changed)
    why = "pushed or started this and approved it; another reviewer must approve: make start"
    with rehearsal(deploying) as played:
        decide(played, APPROVED._replace(by=AUTHOR))
        assert f"four_eyes.py: Ada {why}" in said(played.push(), "Production")
        assert in_prod(played) == []
        decide(played, APPROVED)
        assert f"four_eyes.py: Grace {why}" in said(played.pipeline.start(), "Production")
        execution = played.push()
        assert "Pushed or started by Ada; approved by Grace." in log(execution, "Production")
        assert execution.status == "Succeeded"

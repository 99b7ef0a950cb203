"""`make destroy` where something is missing: a stack that was never whole, or is half gone.

tests/test_tools.py destroys whole ones, against moto's server.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from operating import SLUG, Cloud, Operator, Refusal, Shape, operators

A = "aaaaaaaa-1"
BUCKETS = {"ArtifactBucket": "artifacts-1", "LogBucket": "logs-1"}
RULES = {"PushRule": "push-1", "DriftRule": "drift-1"}
BUILDSPEC = "cicd/buildspecs/destroy.yml"


class Doomed(Cloud):
    """An account whose stack has been deployed to qa and prod, and can be deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.resources |= {"Pipeline": "pipeline-1", "Repository": "0b1c-id", **BUCKETS, **RULES}
        self.outputs["CodeCommitUrl"] = f"codecommit::us-east-1://{SLUG}"
        self.status, self.stuck = "CREATE_COMPLETE", 0
        self.buckets = {name: ["key"] for name in BUCKETS.values()}
        self.rules = dict.fromkeys(RULES.values(), True)
        for project in ("qa", "prod"):
            record = self.action(A, project, "Deploy", inputs=("Source",))
            record["input"]["configuration"] = {"ProjectName": f"{SLUG}-{project}"}
        self.objects[f"{A}/Source"] = b""

    def DescribeStacks(self, given: Shape) -> Shape | Refusal:
        if self.status == "GONE":
            return Refusal("ValidationError", f"Stack with id {SLUG} does not exist")
        found = super().DescribeStacks(given)
        found["Stacks"][0]["StackStatus"] = self.status
        return found

    def DeleteStack(self, given: Shape) -> Shape:
        self.status = "GONE" if not self.stuck else "DELETE_FAILED"
        self.stuck = max(self.stuck - 1, 0)
        return {}

    def ListStackResources(self, given: Shape) -> Shape:
        found = super().ListStackResources(given)
        for one in found["StackResourceSummaries"] if self.status == "DELETE_FAILED" else ():
            if one["LogicalResourceId"] == "LogBucket":
                one |= {"ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": "not empty"}
        return found

    def StartBuild(self, given: Shape) -> Shape:
        (name,) = (k for k, v in self.resources.items() if v == given["projectName"])
        return {"build": self.build(name, source={"type": "S3", "buildspec": BUILDSPEC})}

    def CopyObject(self, given: Shape) -> Shape:
        return {}

    def HeadObject(self, given: Shape) -> Shape | Refusal:
        found = super().HeadObject(given)
        return found if isinstance(found, Refusal) else {"ContentLength": 1}

    def PutBucketLogging(self, given: Shape) -> Shape | Refusal:
        return {} if given["Bucket"] in self.buckets else Refusal("NoSuchBucket")

    def ListObjectVersions(self, given: Shape) -> Shape:
        keys = self.buckets[given["Bucket"]]
        return {"Versions": [{"Key": key, "VersionId": "1"} for key in keys]}

    def DeleteObjects(self, given: Shape) -> Shape:
        self.buckets[given["Bucket"]] = []
        self.objects = {}
        return {}

    def switch(self, given: Shape, on: bool) -> Shape | Refusal:
        if given["Name"] not in self.rules:
            return Refusal("ResourceNotFoundException")
        self.rules[given["Name"]] = on
        return {}

    def EnableRule(self, given: Shape) -> Shape | Refusal:
        return self.switch(given, True)

    def DisableRule(self, given: Shape) -> Shape | Refusal:
        return self.switch(given, False)


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator who has deployed to qa and prod, and types the stack's name."""
    yield from operators(default, monkeypatch, capsys, Doomed())


def test_destroy_switches_off_what_would_come_in_between(operator: Operator) -> None:
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert operator.cloud.status == "GONE"
    assert operator.cloud.rules == {"push-1": False, "drift-1": False}
    assert operator.cloud.buckets == {"artifacts-1": [], "logs-1": []}
    built = [one["projectName"] for one in operator.cloud.called("StartBuild")]
    assert built == [f"{SLUG}-qa", f"{SLUG}-prod"]


def test_a_second_destroy_goes_on_where_the_first_stopped(operator: Operator) -> None:
    """The sources of the deployments went with the bucket; the deployments did before."""
    operator.cloud.stuck = 3
    first = operator.run("destroy", typed=f"{SLUG}\n")
    assert first.code == 1
    assert "destroy.py: CloudFormation could not delete the stack: Waiter " in first.err
    assert "\n  LogBucket: not empty\nMend that, then make destroy again\n" in first.err
    second = operator.run("destroy", typed=f"{SLUG}\n")
    assert (second.code, second.err) == (0, "")
    assert "qa: the deployment is deleted already\nprod: the deployment is" in second.out
    assert operator.cloud.status == "GONE"
    assert len(operator.cloud.called("StartBuild")) == 2
    third = operator.run("destroy")
    said = f"There is no stack {SLUG} in us-east-1: nothing to delete.\n"
    assert third == (0, said, "")


def test_what_was_deployed_after_a_destroy_is_destroyed_again(operator: Operator) -> None:
    operator.cloud.build("QaBuild", source={"type": "S3", "buildspec": BUILDSPEC})
    operator.cloud.build("QaBuild", hour=1)
    operator.cloud.build("ProdBuild", "FAILED", source={"type": "S3", "buildspec": BUILDSPEC})
    assert operator.run("destroy", typed=f"{SLUG}\n").code == 0
    assert len(operator.cloud.called("StartBuild")) == 2


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "REVIEW_IN_PROGRESS"])
def test_a_stack_that_never_came_up_is_deleted(operator: Operator, status: str) -> None:
    cloud = operator.cloud
    cloud.status, cloud.resources, cloud.outputs = status, {}, {}
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert f"({status})" in screen.out
    assert screen.lines[-2:] == [f"Deleting the stack {SLUG} ...", "Deleted. It had no resources."]
    assert "repository" not in screen.out


def test_what_a_failed_creation_has_only_named_is_no_obstacle(operator: Operator) -> None:
    """CloudFormation lists a resource by its name before, or although, it is there."""
    cloud = operator.cloud
    cloud.status, cloud.outputs, cloud.buckets, cloud.rules = "CREATE_FAILED", {}, {}, {}
    cloud.parameters["RepoName"] = "my-repository"
    gone = Refusal("PipelineNotFoundException", "does not exist")
    cloud.answers["GetPipelineState"] = lambda _: gone
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    stays = "the stack has no pipeline; a deployment there, if any, stays"
    assert f"qa: {stays}\nprod: {stays}\n" in screen.out
    assert (
        "aws codecommit delete-repository --region us-east-1 --repository-name my-repository\n"
        in screen.out
    )
    assert cloud.status == "GONE"


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_nothing_is_deleted_while_a_stage_is_at_work(operator: Operator, status: str) -> None:
    operator.cloud.stage("Production", status, A)
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "destroy.py: Production is at work or waits for an approval" in screen.err
    assert operator.cloud.rules == {"push-1": True, "drift-1": True}


def test_where_a_deployment_stays_pushes_and_looks_go_on(operator: Operator) -> None:
    operator.cloud.objects = {}
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "its sources have expired" in screen.err
    assert operator.cloud.rules == {"push-1": True, "drift-1": True}
    assert operator.cloud.status == "CREATE_COMPLETE"
    assert operator.cloud.buckets["artifacts-1"] == ["key"]


def test_a_history_that_is_too_short_to_tell_keeps_the_stack(operator: Operator) -> None:
    """AWS forgets after twelve months what a pipeline has done, and the deployment stays."""
    operator.cloud.actions = []
    told = operator.cloud.answers["DescribeStacks"]

    def old(given: Shape) -> Shape | Refusal:
        found = told(given)
        found["Stacks"][0]["CreationTime"] -= timedelta(days=800)
        return found

    operator.cloud.answers["DescribeStacks"] = old
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "the deployment in qa is not deleted, nor is the stack: AWS keeps a" in screen.err
    assert operator.cloud.status == "CREATE_COMPLETE"

"""`make destroy`: a complete stack, one whose creation failed, one that is partly deleted."""

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from operating import SLUG, Cloud, Operator, Refusal, Shape, at_work, client

A = "aaaaaaaa-1"
BUCKETS = {"ArtifactBucket": "artifacts-1", "CicdBucket": "cicd-1", "LogBucket": "logs-1"}
RULES = {"PushRule": "push-1", "DriftRule": "drift-1"}
BUILDSPEC = "cicd/buildspecs/destroy.yml"


class Doomed(Cloud):
    """An account whose stack has been deployed to qa and prod, and can be deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.resources |= {"Pipeline": "pipeline-1", "Repository": "0b1c-id", **BUCKETS, **RULES}
        self.outputs["CodeCommitUrl"] = f"codecommit::us-east-1://{SLUG}"
        self.status, self.stuck, self.protected = "CREATE_COMPLETE", 0, False
        self.buckets = {name: ["key"] for name in BUCKETS.values()}
        self.rules = dict.fromkeys(RULES.values(), True)
        for project in ("qa", "prod"):
            record = self.action(A, project, "Deploy", inputs=("Source",))
            record["input"]["configuration"] = {"ProjectName": f"{SLUG}-{project}"}
        self.objects[f"{A}/Source"] = b""

    def DescribeStacks(self, request: Shape) -> Shape | Refusal:
        if self.status == "GONE":
            return Refusal("ValidationError", f"Stack with id {SLUG} does not exist")
        answer = super().DescribeStacks(request)
        answer["Stacks"][0]["StackStatus"] = self.status
        answer["Stacks"][0]["EnableTerminationProtection"] = self.protected
        return answer

    def UpdateTerminationProtection(self, request: Shape) -> Shape:
        self.protected = request["EnableTerminationProtection"]
        return {}

    def DeleteStack(self, request: Shape) -> Shape | Refusal:
        if self.protected:
            return Refusal("ValidationError", "the stack is protected")
        self.status = "GONE" if not self.stuck else "DELETE_FAILED"
        self.stuck = max(self.stuck - 1, 0)
        return {}

    def ListStackResources(self, request: Shape) -> Shape:
        answer = super().ListStackResources(request)
        failure = {"ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": "not empty"}
        for summary in answer["StackResourceSummaries"]:
            if (self.status, summary["LogicalResourceId"]) == ("DELETE_FAILED", "LogBucket"):
                summary |= failure
        return answer

    def StartBuild(self, request: Shape) -> Shape:
        (name,) = (k for k, v in self.resources.items() if v == request["projectName"])
        return {"build": self.build(name, source={"type": "S3", "buildspec": BUILDSPEC})}

    def CopyObject(self, request: Shape) -> Shape:
        return {}

    def HeadObject(self, request: Shape) -> Shape | Refusal:
        answer = super().HeadObject(request)
        return answer if isinstance(answer, Refusal) else {"ContentLength": 1}

    def PutBucketLogging(self, request: Shape) -> Shape | Refusal:
        return {} if request["Bucket"] in self.buckets else Refusal("NoSuchBucket")

    def ListObjectVersions(self, request: Shape) -> Shape:
        keys = self.buckets[request["Bucket"]]
        return {"Versions": [{"Key": key, "VersionId": "1"} for key in keys]}

    def DeleteObjects(self, request: Shape) -> Shape:
        self.buckets[request["Bucket"]] = []
        self.objects = {}
        return {}

    def switch(self, request: Shape, on: bool) -> Shape | Refusal:
        if request["Name"] not in self.rules:
            return Refusal("ResourceNotFoundException")
        self.rules[request["Name"]] = on
        return {}

    def EnableRule(self, request: Shape) -> Shape | Refusal:
        return self.switch(request, True)

    def DisableRule(self, request: Shape) -> Shape | Refusal:
        return self.switch(request, False)


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator who has deployed to qa and prod, and types the stack's name."""
    with at_work(default, monkeypatch, capsys, Doomed()) as operator:
        yield operator


def test_destroy_switches_off_what_would_come_in_between(operator: Operator) -> None:
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert operator.cloud.status == "GONE"
    assert operator.cloud.rules == {"push-1": False, "drift-1": False}
    assert operator.cloud.buckets == {"artifacts-1": [], "cicd-1": [], "logs-1": []}
    built = [request["projectName"] for request in operator.cloud.called("StartBuild")]
    assert built == [f"{SLUG}-qa", f"{SLUG}-prod"]


@pytest.mark.parametrize(
    ("terminal", "typed", "yes", "said"),
    [
        (False, f"{SLUG}\n", "", "nothing is deleted: there is no terminal to ask at."),
        (False, "", "1", "that is another name; nothing is deleted"),
        (True, "1\n", "", "that is another name; nothing is deleted"),
        (True, "y\n", "", "that is another name; nothing is deleted"),
    ],
)
def test_a_stack_is_deleted_by_its_name_only(operator, terminal, typed, yes, said) -> None:
    operator.terminal = terminal
    screen = operator.run("destroy", *(["--yes", yes] if yes else []), typed=typed)
    assert (screen.code, said in screen.err) == (1, True), screen.err
    assert operator.cloud.status == "CREATE_COMPLETE"
    assert operator.cloud.rules == {"push-1": True, "drift-1": True}


def test_a_script_names_the_stack_beforehand(operator: Operator) -> None:
    assert operator.run("destroy", "--yes", SLUG).code == 0
    assert operator.cloud.status == "GONE"


@pytest.mark.parametrize(("protected", "calls"), [(True, 1), (False, 0)])
def test_protection_against_deletion_goes_last(operator: Operator, protected, calls: int) -> None:
    operator.cloud.protected = protected
    assert operator.run("destroy", typed="no\n").code == 1
    assert operator.cloud.called("UpdateTerminationProtection") == []
    assert operator.run("destroy", typed=f"{SLUG}\n").code == 0
    off = {"StackName": SLUG, "EnableTerminationProtection": False}
    assert operator.cloud.called("UpdateTerminationProtection") == [off] * calls
    assert operator.cloud.status == "GONE"


def test_a_second_destroy_goes_on_where_the_first_stopped(operator: Operator) -> None:
    """The sources of the deployments went with the bucket; the deployments did before."""
    operator.cloud.stuck = 3
    first = operator.run("destroy", typed=f"{SLUG}\n")
    assert first.code == 1
    assert "destroy: CloudFormation could not delete the stack: Waiter " in first.err
    assert "\n  LogBucket: not empty\nFix that, then make destroy again\n" in first.err
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
def test_a_stack_whose_creation_failed_is_deleted(operator: Operator, status: str) -> None:
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
def test_nothing_is_deleted_while_a_stage_is_running(operator: Operator, status: str) -> None:
    operator.cloud.stage("Production", status, A)
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "destroy: Production is running or waits for an approval" in screen.err
    assert operator.cloud.rules == {"push-1": True, "drift-1": True}


def test_if_a_deployment_stays_the_rules_are_enabled_again(operator: Operator) -> None:
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
    describe = operator.cloud.answers["DescribeStacks"]

    def old(request: Shape) -> Shape | Refusal:
        answer = describe(request)
        answer["Stacks"][0]["CreationTime"] -= timedelta(days=800)
        return answer

    operator.cloud.answers["DescribeStacks"] = old
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "the deployment in qa is not deleted, nor is the stack: AWS keeps a" in screen.err
    assert operator.cloud.status == "CREATE_COMPLETE"


def test_a_build_that_was_renamed_is_not_overlooked(operator: Operator) -> None:
    operator.cloud.resources["ProductionBuild"] = operator.cloud.resources.pop("ProdBuild")
    screen = operator.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "the stack has no ProdBuild; if it was renamed, change ops/builds.py too" in screen.err
    assert operator.cloud.status == "CREATE_COMPLETE"


# ---- A whole stack, in moto's account ------------------------------------------------------------

OF_CODEPIPELINE = ("GetPipelineState", "ListActionExecutions")
NEW, GOOD, OLD = "cccccccc-1", "bbbbbbbb-1", "aaaaaaaa-1"


def parameter(name: str) -> Shape:
    """A resource of a name, which moto can create, in the place of one that it cannot."""
    properties = {"Name": name, "Type": "String", "Value": "x"}
    return {"Type": "AWS::SSM::Parameter", "Properties": properties}


def bucket(name: str) -> Shape:
    """A bucket that keeps versions."""
    versioning = {"VersioningConfiguration": {"Status": "Enabled"}}
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, **versioning}}


def policy(name: str) -> Shape:
    """A policy that people can have."""
    right = {"Effect": "Allow", "Action": "codepipeline:Get*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [right]}
    properties = {"ManagedPolicyName": name, "PolicyDocument": document}
    return {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}


def create_stack(outputs: dict[str, str], **resources: Shape) -> None:
    """Creates the project's stack."""
    template = {
        "Resources": resources,
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    client("cloudformation").create_stack(StackName=SLUG, TemplateBody=json.dumps(template))


def create_project(name: str) -> None:
    """Creates a project of CodeBuild."""
    place = {"type": "CODEPIPELINE", "location": "x"}  # moto wants locations, which AWS does not
    client("codebuild").create_project(
        name=name,
        source=place,
        artifacts=place,
        environment={
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
        serviceRole="arn:aws:iam::123456789012:role/build",
    )


@pytest.fixture
def deployed(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator whose buckets hold versions and delete markers."""
    cloud = Cloud()
    cloud.answers = {name: cloud.answers[name] for name in OF_CODEPIPELINE}
    with at_work(default, monkeypatch, capsys, cloud, moto=True) as operator:
        operator.waiting = itertools.repeat(lambda: None)
        rule = {"Name": "push-1", "ScheduleExpression": "rate(1 day)", "State": "ENABLED"}
        create_stack(
            {"CodeCommitUrl": f"codecommit::us-east-1://{SLUG}"},
            QaBuild=parameter(f"{SLUG}-qa"),
            ProdBuild=parameter(f"{SLUG}-prod"),
            Pipeline=parameter("pipeline-1"),
            Repository=parameter("0b1c2d3e-id"),
            ArtifactBucket=bucket("artifacts-1"),
            CicdBucket=bucket("cicd-1"),
            LogBucket=bucket("logs-1"),
            PushRule={"Type": "AWS::Events::Rule", "Properties": rule},
            ReviewerPolicy=policy("reviewer"),
        )
        s3 = client("s3")
        for name in BUCKETS.values():
            for key in (f"{GOOD}/Source", "other", "other"):
                s3.put_object(Bucket=name, Key=key, Body=b"x")
            s3.delete_object(Bucket=name, Key="other")
        for project in (f"{SLUG}-qa", f"{SLUG}-prod"):
            create_project(project)
        yield operator


def deploy(operator: Operator, *targets: str) -> None:
    """Has the pipeline deployed three times, the last one in vain."""
    for target in targets:
        for execution, status in ((OLD, "Succeeded"), (GOOD, "Succeeded"), (NEW, "Failed")):
            inputs = ("Wheel", "Source")
            record = operator.cloud.action(execution, target, "Deploy", inputs=inputs)
            record["status"] = status
            record["input"]["configuration"] = {"ProjectName": f"{SLUG}-{target}"}


def attach(policy: str) -> None:
    """Gives the stack's policy to a user, a group and a role."""
    iam, arn = client("iam"), f"arn:aws:iam::123456789012:policy/{policy}"
    iam.create_user(UserName="ann")
    iam.create_group(GroupName="team")
    iam.create_role(RoleName="reviewers", AssumeRolePolicyDocument="{}")
    iam.attach_user_policy(UserName="ann", PolicyArn=arn)
    iam.attach_group_policy(GroupName="team", PolicyArn=arn)
    iam.attach_role_policy(RoleName="reviewers", PolicyArn=arn)


def remains() -> tuple[list[str], list[str]]:
    """The stacks and the buckets that are left."""
    stacks = client("cloudformation").list_stacks()["StackSummaries"]
    buckets = client("s3").list_buckets()["Buckets"]
    alive = [stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"]
    return alive, [bucket["Name"] for bucket in buckets]


WHOLE = ([SLUG], sorted(BUCKETS.values()))


def test_destroy_deletes_deployments_buckets_and_stack_and_says_what_is_left(deployed) -> None:
    deploy(deployed, "qa", "prod")
    screen = deployed.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert remains() == ([], [])
    builds = deployed.cloud.called("StartBuild")
    assert [build["projectName"] for build in builds] == [f"{SLUG}-qa", f"{SLUG}-prod"]
    assert {build["buildspecOverride"] for build in builds} == {BUILDSPEC}
    # The administrator's scripts, on what was deployed.
    assert {build["sourceLocationOverride"] for build in builds} == {"cicd-1/cicd.zip"}
    copied = [request["CopySource"] for request in deployed.cloud.called("CopyObject")]
    assert copied == [f"artifacts-1/{GOOD}/Source"] * 2
    assert "UNDROP" in screen.out
    assert (
        f"aws codecommit delete-repository --region us-east-1 --repository-name {SLUG}"
        in screen.out
    )
    assert "personal access tokens" in screen.out
    again = deployed.run("destroy", typed="")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith(f"There is no stack {SLUG} in us-east-1")


def test_destroy_takes_the_policies_from_who_has_them(deployed) -> None:
    attach("reviewer")
    screen = deployed.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert remains() == ([], [])
    for who in ("the user ann", "the group team", "the role reviewers"):
        assert f"reviewer: taken from {who}\n" in screen.out
    iam = client("iam")
    assert iam.list_attached_user_policies(UserName="ann")["AttachedPolicies"] == []
    assert iam.list_attached_group_policies(GroupName="team")["AttachedPolicies"] == []
    assert iam.list_attached_role_policies(RoleName="reviewers")["AttachedPolicies"] == []
    assert f"--approval-rule-template-name {SLUG}-reviewers" in screen.out


def test_destroy_before_the_first_deployment(deployed) -> None:
    screen = deployed.run("destroy", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert "qa: nothing was ever deployed\nprod: nothing was ever deployed\n" in screen.out
    assert remains() == ([], [])


def test_destroy_waits_for_an_approval(deployed) -> None:
    deploy(deployed, "qa")
    deployed.cloud.stage("Review", "InProgress", NEW)
    screen = deployed.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert "Review is running or waits for an approval; nothing is deleted" in screen.err
    assert remains() == WHOLE
    assert client("events").describe_rule(Name="push-1")["State"] == "ENABLED"


def test_destroy_deletes_a_stack_that_has_no_resources(default, monkeypatch, capsys) -> None:
    cloud = Cloud()
    cloud.answers = {}
    with at_work(default, monkeypatch, capsys, cloud, moto=True) as operator:
        topic = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
        client("cloudformation").create_change_set(
            StackName=SLUG,
            ChangeSetName="x",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps(topic),
        )
        screen = operator.run("destroy", typed=f"{SLUG}\n")
        assert (screen.code, screen.err) == (0, "")
        assert "(REVIEW_IN_PROGRESS)" in screen.out
        assert remains() == ([], [])


@pytest.mark.parametrize("name", ["", "yes", "my-data-projec"])
def test_destroy_deletes_nothing_under_another_name(deployed, name: str) -> None:
    deploy(deployed, "qa")
    screen = deployed.run("destroy", typed=f"{name}\n")
    assert screen.code == 1
    assert screen.err == "destroy: that is another name; nothing is deleted\n"
    assert remains() == WHOLE


def test_destroy_stops_where_a_deployment_cannot_be_deleted(deployed) -> None:
    deploy(deployed, "qa")
    client("s3").delete_object(Bucket="artifacts-1", Key=f"{GOOD}/Source")
    screen = deployed.run("destroy", typed=f"{SLUG}\n")
    assert screen.code == 1
    assert f"its sources have expired (artifacts-1/{GOOD}/Source)" in screen.err
    assert "make destroy KEEP_DEPLOYMENTS=1" in screen.err
    # The stack stays, and so does what a push starts.
    assert client("events").describe_rule(Name="push-1")["State"] == "ENABLED"
    assert remains() == WHOLE
    screen = deployed.run("destroy", "--keep-deployments", typed=f"{SLUG}\n")
    assert (screen.code, screen.err) == (0, "")
    assert remains() == ([], [])

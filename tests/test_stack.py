"""The resolved stack: who may do what, what the rules start, what is refused as a parameter."""

import copy
import fnmatch
import functools
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from cloud_radar.cf.unit import Template
from moto.events.models import EventPattern

from rehearsal.aws.events import transform
from rehearsal.aws.iam import allows
from rehearsal.aws.stack import without_no_value
from steps import load

AUTHS = ["pat", "oauth-m2m", "aws-iam"]
WITH_SECRETS = ["pat", "oauth-m2m"]


class Build(NamedTuple):
    """What is expected of a CodeBuild project."""

    environment: str  # whose role it has; also whose secret and workspace, if it has any
    stream: str  # the prefix of the log streams that it writes
    starter: str  # the role that starts it


# A build that you add is a row here.
BUILDS = {
    "QaBuild": Build("Qa", "qa", "PipelineRole"),
    "PlanBuild": Build("Prod", "plan", "PipelineRole"),
    "ProdBuild": Build("Prod", "prod", "PipelineRole"),
    "DriftBuild": Build("Prod", "drift", "BuildRuleRole"),
    "PullRequestBuild": Build("PullRequest", "pull-request", "BuildRuleRole"),
}
OWN = {name: build.environment for name, build in BUILDS.items()}
STREAM = "arn:aws:logs:us-east-1:555555555555:log-group:BuildLogs:log-stream:"
ADA = "arn:aws:sts::123456789012:assumed-role/Developer/ada@example.com"
VPC = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}


@pytest.fixture(scope="session")
def template(rendering):
    """A function from a variant's authentication to its stack, not yet resolved; only read it."""

    @functools.cache
    def parse(auth: str) -> dict:
        return Template.from_yaml(rendering(f"{auth}-serverless") / "cicd/stack.yml").template

    return parse


@pytest.fixture(scope="session")
def stack(template):
    """Resolves the stack of a variant: `stack("pat", BranchName="x")` is its template as a dict.

    Only read it: the next test gets the same.
    """

    @functools.cache
    def resolve(auth: str, region: str = "us-east-1", **parameters: str) -> dict:
        source = Template(copy.deepcopy(template(auth)))
        return without_no_value(source.render(parameters, region=region))

    return resolve


def of_type(template: dict, kind: str) -> dict[str, dict]:
    """Properties by logical ID of the resources of one type."""
    properties = {
        name: item["Properties"]
        for name, item in template["Resources"].items()
        if item["Type"] == f"AWS::{kind}"
    }
    assert properties, kind
    return properties


def as_list(value: object) -> list:
    """A policy's value, which may be a single item, as a list."""
    return value if isinstance(value, list) else [value]


def statements(template: dict, name: str) -> list[dict]:
    """Every statement of a role's policies, its own and those that the stack attaches to it."""
    role = template["Resources"][name]["Properties"]
    assert "PermissionsBoundary" not in role
    documents = [policy["PolicyDocument"] for policy in role["Policies"]]
    attached = set(role.get("ManagedPolicyArns", []))
    for logical, item in template["Resources"].items():
        properties = item["Properties"]
        if item["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy") and (
            logical in attached or name in properties.get("Roles", [])
        ):
            documents.append(properties["PolicyDocument"])
            attached.discard(logical)
    assert attached == set()  # nothing of AWS's own
    return [item for document in documents for item in document["Statement"]]


def allowed(template: dict, action: str, resource: str) -> set[str]:
    """The roles that may do `action` on `resource`, wildcards read as IAM reads them."""
    return {
        name
        for name in of_type(template, "IAM::Role")
        for statement in statements(template, name)
        for pattern in as_list(statement["Action"])
        for target in as_list(statement["Resource"])
        if fnmatch.fnmatchcase(action.lower(), pattern.lower())
        and fnmatch.fnmatchcase(resource, target)
    }


# ---- Who may do what -----------------------------------------------------------------------------


@pytest.mark.parametrize("auth", WITH_SECRETS)
@pytest.mark.parametrize("env", ["Qa", "Prod"])
def test_a_secret_is_read_by_its_own_build_only(stack, auth: str, env: str) -> None:
    readers = allowed(stack(auth), "secretsmanager:GetSecretValue", f"{env}Secret")
    assert readers == {f"{env}BuildRole"}


@pytest.mark.parametrize("auth", WITH_SECRETS)
@pytest.mark.parametrize("build", [name for name in OWN if OWN[name] in ("Qa", "Prod")])
def test_a_build_gets_its_own_secret_only(stack, auth: str, build: str) -> None:
    project, env = of_type(stack(auth), "CodeBuild::Project")[build], OWN[build]
    variables = {item["Name"]: item for item in project["Environment"]["EnvironmentVariables"]}
    secret = {name for name, item in variables.items() if item.get("Type") == "SECRETS_MANAGER"}
    expected = {
        "pat": {"DATABRICKS_TOKEN": f"{env}Secret:token"},
        "oauth-m2m": {
            "DATABRICKS_CLIENT_ID": f"{env}Secret:client_id",
            "DATABRICKS_CLIENT_SECRET": f"{env}Secret:client_secret",
        },
    }[auth]
    assert {name: variables[name]["Value"] for name in secret} == expected


@pytest.mark.parametrize("auth", WITH_SECRETS)
def test_a_fresh_secret_holds_the_placeholder_that_the_preflight_knows(stack, auth: str) -> None:
    for secret in of_type(stack(auth), "SecretsManager::Secret").values():
        value = json.loads(secret["GenerateSecretString"]["SecretStringTemplate"])
        assert set(value.values()) == {load("names").PLACEHOLDER} == {"not-set"}
        assert secret["KmsKeyId"] == "Key.Arn"


def test_aws_iam_stores_nothing_and_mints_for_databricks_only(stack) -> None:
    template = stack("aws-iam")
    kinds = {item["Type"] for item in template["Resources"].values()}
    assert "AWS::SecretsManager::Secret" not in kinds
    assert allowed(template, "secretsmanager:GetSecretValue", "any") == set()
    minting = allowed(template, "sts:GetWebIdentityToken", "*")
    assert minting == {"QaBuildRole", "ProdBuildRole"}
    for name in minting:
        (statement,) = (
            item
            for item in statements(template, name)
            if item["Action"] == "sts:GetWebIdentityToken"
        )
        assert statement["Condition"] == {
            "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "databricks"},
            "Null": {"sts:IdentityTokenAudience": "false"},
            "StringEquals": {"sts:SigningAlgorithm": "RS256"},
            "NumericLessThanEquals": {"sts:DurationSeconds": 900},
        }


@pytest.mark.parametrize("auth", AUTHS)
def test_no_role_is_allowed_everything_of_anything(stack, auth: str) -> None:
    template = stack(auth)
    for name in of_type(template, "IAM::Role"):
        for statement in statements(template, name):
            assert statement["Effect"] == "Allow"
            # AWS offers no resource to narrow this one by.
            if as_list(statement["Action"]) != ["sts:GetWebIdentityToken"]:
                assert "*" not in as_list(statement["Resource"]), (name, statement)
            assert not [action for action in as_list(statement["Action"]) if "*" in action], name


def test_every_role_is_used_and_trusts_one_service(stack) -> None:
    template = stack("pat")
    trusted = {
        name: [item["Principal"]["Service"] for item in trust["Statement"]]
        for name, role in of_type(template, "IAM::Role").items()
        for trust in [role["AssumeRolePolicyDocument"]]
    }
    assert trusted == {
        "PushRuleRole": ["events.amazonaws.com"],
        "BuildRuleRole": ["events.amazonaws.com"],
        "PipelineRole": ["codepipeline.amazonaws.com"],
        **{f"{own}BuildRole": ["codebuild.amazonaws.com"] for own in OWN.values()},
    }
    text = json.dumps(template["Resources"])
    assert [name for name in trusted if f'"{name}.Arn"' not in text] == []


def test_a_role_is_for_its_own_builds_only(stack) -> None:
    template = stack("pat")
    projects = of_type(template, "CodeBuild::Project")
    assert {name: item["ServiceRole"] for name, item in projects.items()} == {
        name: f"{own}BuildRole.Arn" for name, own in OWN.items()
    }
    for own in set(OWN.values()):
        role = template["Resources"][f"{own}BuildRole"]["Properties"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert as_list(trust["Condition"]["StringEquals"]["aws:SourceArn"]) == [
            f"arn:aws:codebuild:us-east-1:555555555555:project/{projects[name]['Name']}"
            for name in OWN
            if OWN[name] == own
        ]


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("action", ["logs:CreateLogStream", "logs:PutLogEvents"])
def test_a_log_stream_is_written_by_its_own_build_only(stack, auth: str, action: str) -> None:
    template = stack(auth)
    writers = {name: allowed(template, action, f"{STREAM}{BUILDS[name].stream}/1") for name in OWN}
    assert writers == {name: {f"{own}BuildRole"} for name, own in OWN.items()}
    for stream in ("", "1", "other/1", "qa", "qa-2/1", "x/qa/1"):
        assert allowed(template, action, f"{STREAM}{stream}") == set()
    assert allowed(template, action, STREAM.replace("BuildLogs", "Other") + "qa/1") == set()


def test_each_build_writes_its_log_into_a_stream_of_its_own(stack) -> None:
    template = stack("pat")
    logs = {
        name: project["LogsConfig"]["CloudWatchLogs"]
        for name, project in of_type(template, "CodeBuild::Project").items()
    }
    assert logs == {
        name: {"Status": "ENABLED", "GroupName": "BuildLogs", "StreamName": BUILDS[name].stream}
        for name in OWN
    }
    group = of_type(template, "Logs::LogGroup")["BuildLogs"]
    assert group == {
        "LogGroupName": "/aws/codebuild/my-cloud-radar-stack",
        "RetentionInDays": 90,
        "KmsKeyId": "Key.Arn",
    }
    key = of_type(template, "KMS::Key")["Key"]["KeyPolicy"]["Statement"]
    (logs_service,) = (item for item in key if "logs." in str(item["Principal"].get("Service", "")))
    arn = f"arn:aws:logs:us-east-1:555555555555:log-group:{group['LogGroupName']}"
    assert logs_service["Condition"] == {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arn}}


@pytest.mark.parametrize("parameters", [{}, VPC])
@pytest.mark.parametrize("auth", AUTHS)
def test_a_pull_request_reaches_nothing(stack, auth: str, parameters: dict) -> None:
    """Its code has been reviewed by nobody: no secret, no artifact, no key, no identity token."""
    template = stack(auth, **parameters)
    rights = {
        (action, target)
        for statement in statements(template, "PullRequestBuildRole")
        for action in as_list(statement["Action"])
        for target in as_list(statement["Resource"])
        if not action.startswith("ec2:")
    }
    assert rights == {
        ("logs:CreateLogStream", f"{STREAM}pull-request/*"),
        ("logs:PutLogEvents", f"{STREAM}pull-request/*"),
        ("codecommit:GitPull", "Repository.Arn"),
        ("codecommit:PostCommentForPullRequest", "Repository.Arn"),
        ("codebuild:BatchPutTestCases", "PullRequestUnitReports.Arn"),
        ("codebuild:CreateReport", "PullRequestUnitReports.Arn"),
        ("codebuild:CreateReportGroup", "PullRequestUnitReports.Arn"),
        ("codebuild:UpdateReport", "PullRequestUnitReports.Arn"),
    }
    project = of_type(template, "CodeBuild::Project")["PullRequestBuild"]
    variables = project["Environment"]["EnvironmentVariables"]
    assert variables == [{"Name": "REPOSITORY_NAME", "Value": "Repository.Name"}]
    assert project["Artifacts"] == {"Type": "NO_ARTIFACTS"}


def test_a_build_reads_and_writes_its_own_artifacts_only(stack) -> None:
    template, bucket = stack("pat"), "ArtifactBucket.Arn"

    def may(action: str, key: str) -> set[str]:
        return allowed(template, f"s3:{action}", f"{bucket}/{key}") - {"PipelineRole"}

    # <first 20 characters of the pipeline's name>/<first 10 of the artifact's>/<7 random>
    assert may("PutObject", "my-data-project-Pipe/Wheel/aB3xY7z") == {"QaBuildRole"}
    assert may("PutObject", "my-data-project-Pipe/Plan/aB3xY7z") == {"ProdBuildRole"}
    assert may("GetObject", "my-data-project-Pipe/Plan/aB3xY7z") == {"ProdBuildRole"}
    assert may("PutObject", "my-data-project-Pipe/Source/aB3xY7z") == set()
    assert may("PutObject", "my-data-project-Pipe/Cicd/aB3xY7z") == set()
    assert may("PutObject", "destroy/prod.zip") == set()
    # What looks like the wheel's artifact, and lies below another one.
    for artifact in ("Cicd", "Plan", "Source"):
        assert may("PutObject", f"my-data-project-Pipe/{artifact}/Wheel/x") <= {"ProdBuildRole"}
    assert may("PutObject", "my-data-project-Pipe/Source/Plan/x") == set()
    assert may("GetObject", "my-data-project-Pipe/Source/aB3xY7z") == {
        "QaBuildRole",
        "ProdBuildRole",
    }
    assert may("GetObject", "my-data-project-Pipe/Wheel/aB3xY7z") == {"ProdBuildRole"}
    assert may("GetObject", "destroy/prod.zip") == {"ProdBuildRole"}
    assert may("GetObject", "destroy/qa.zip") == {"QaBuildRole"}


@pytest.mark.parametrize("auth", AUTHS)
def test_no_role_writes_what_production_runs(stack, auth: str) -> None:
    template, key = stack(auth), "CicdBucket.Arn/cicd.zip"
    for action in ("PutObject", "DeleteObject", "DeleteObjectVersion", "PutObjectAcl"):
        assert allowed(template, f"s3:{action}", key) == set()
    readers = {"PipelineRole", "QaBuildRole", "ProdBuildRole"}  # QA's for make destroy
    assert allowed(template, "s3:GetObject", key) == readers


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("env", ["Qa", "Prod"])
def test_a_build_uses_the_key_through_services_only(stack, auth: str, env: str) -> None:
    """One key protects both secrets: who could decrypt by itself would need no other right."""
    uses = [
        statement["Condition"]
        for statement in statements(stack(auth), f"{env}BuildRole")
        if "Key.Arn" in as_list(statement["Resource"])
    ]
    services = ["s3", "sns", *(["secretsmanager"] if auth in WITH_SECRETS else [])]
    hosts = [f"{service}.us-east-1.amazonaws.com" for service in services]
    assert uses == [{"StringEquals": {"kms:ViaService": hosts}}]


def test_who_starts_what(stack) -> None:
    template = stack("pat")
    starts = {name: allowed(template, "codebuild:StartBuild", f"{name}.Arn") for name in OWN}
    assert starts == {name: {build.starter} for name, build in BUILDS.items()}
    start = "arn:aws:codepipeline:us-east-1:555555555555:Pipeline"
    assert allowed(template, "codepipeline:StartPipelineExecution", start) == {"PushRuleRole"}


# ---- What people may do --------------------------------------------------------------------------

PIPELINE = "arn:aws:codepipeline:us-east-1:555555555555:Pipeline"
BRANCH = {"codecommit:References": "refs/heads/main"}
OTHER_BRANCH = {"codecommit:References": "refs/heads/feature"}
BY_S3 = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
PLAN_KEY, WHEEL_KEY = (
    f"ArtifactBucket.Arn/my-data-project-Pipe/{name}/x" for name in ("Plan", "Wheel")
)
REPOSITORY, APPROVAL = "Repository.Arn", f"{PIPELINE}/Review/Approve"
ALL = {"Developer", "Reviewer", "Operator"}  # each with the policy Read


def may(template: dict, action: str, resource: str, context: dict) -> set[str]:
    """Which of the people may do it, with the policy Read and their own."""

    def statements(name: str) -> list[dict]:
        policies = of_type(template, "IAM::ManagedPolicy")
        return policies[f"{name}Policy"]["PolicyDocument"]["Statement"]

    return {
        name
        for name in ALL
        if allows(statements("Read") + statements(name), action, resource, context)
    }


@pytest.mark.parametrize(
    ("who", "action", "resource", "context"),
    [
        (ALL, "codepipeline:GetPipelineState", PIPELINE, {}),
        (ALL, "logs:GetLogEvents", "BuildLogs.Arn", {}),
        (ALL, "codebuild:BatchGetBuilds", "ProdBuild.Arn", {}),
        (ALL, "codecommit:GitPull", REPOSITORY, {}),
        ({"Developer", "Reviewer"}, "codecommit:PostCommentForPullRequest", REPOSITORY, {}),
        # The approval.
        ({"Reviewer"}, "codepipeline:PutApprovalResult", APPROVAL, {}),
        (set(), "codepipeline:PutApprovalResult", f"{PIPELINE}/Other/Approve", {}),
        (set(), "codepipeline:PutApprovalResult", PIPELINE.replace("Pipeline", "Other"), {}),
        ({"Reviewer", "Operator"}, "s3:GetObject", PLAN_KEY, {}),
        ({"Reviewer"}, "kms:Decrypt", "Key.Arn", BY_S3),
        (set(), "kms:Decrypt", "Key.Arn", {}),
        (set(), "kms:Decrypt", "Key.Arn", {"kms:ViaService": "secretsmanager.amazonaws.com"}),
        # The branch.
        ({"Developer"}, "codecommit:GitPush", REPOSITORY, OTHER_BRANCH),
        ({"Developer"}, "codecommit:GitPush", REPOSITORY, {}),
        (set(), "codecommit:GitPush", REPOSITORY, BRANCH),
        *((set(), f"codecommit:{name}", REPOSITORY, BRANCH) for name in (
            "CreateBranch CreateCommit DeleteBranch DeleteFile PutFile MergeBranchesByFastForward"
            " MergeBranchesBySquash MergeBranchesByThreeWay"
        ).split()),
        *(({"Reviewer"}, f"codecommit:MergePullRequestBy{name}", REPOSITORY, BRANCH)
          for name in ("FastForward", "Squash", "ThreeWay")),
        ({"Reviewer"}, "codecommit:UpdatePullRequestApprovalState", REPOSITORY, {}),
        ({"Developer"}, "codecommit:CreatePullRequest", REPOSITORY, {}),
        *((set(), f"codecommit:{name}", REPOSITORY, {}) for name in (
            "OverridePullRequestApprovalRules UpdatePullRequestApprovalRuleContent DeleteRepository"
            " DeletePullRequestApprovalRule DisassociateApprovalRuleTemplateFromRepository"
        ).split()),
        # Starting.
        ({"Operator"}, "codepipeline:StartPipelineExecution", PIPELINE, {}),
        ({"Operator"}, "codepipeline:StopPipelineExecution", PIPELINE, {}),
        ({"Operator"}, "codepipeline:RetryStageExecution", f"{PIPELINE}/Review", {}),
        ({"Operator"}, "codepipeline:RollbackStage", f"{PIPELINE}/Production", {}),
        ({"Operator"}, "codebuild:StartBuild", "DriftBuild.Arn", {}),
        *((set(), "codebuild:StartBuild", f"{name}.Arn", {})
          for name in ("QaBuild", "PlanBuild", "ProdBuild", "PullRequestBuild")),
        *((set(), "codebuild:StartBuild", "DriftBuild.Arn", {f"codebuild:{key}": "x"}) for key in (
            "source.buildspec source.location serviceRole environment.image environment.certificate"
            " environment.privilegedMode environment.environmentVariables.name"
            " environment.fleet.fleetArn"
        ).split()),
        # Nobody's.
        (set(), "codebuild:StopBuild", "ProdBuild.Arn", {}),
        (set(), "codebuild:UpdateProject", "ProdBuild.Arn", {}),
        (set(), "codepipeline:UpdatePipeline", PIPELINE, {}),
        (set(), "s3:PutObject", WHEEL_KEY, {}),
        (set(), "secretsmanager:GetSecretValue", "ProdSecret", {}),
        (set(), "iam:PassRole", "ProdBuildRole.Arn", {}),
        (set(), "cloudformation:UpdateStack", "arn:aws:cloudformation:us-east-1:1:stack/x/y", {}),
    ],
)  # fmt: skip
def test_people_may_do_what_their_policy_says(stack, who, action, resource, context) -> None:
    assert may(stack("pat"), action, resource, context) == who


@pytest.mark.parametrize("auth", AUTHS)
def test_people_have_the_same_rights_however_builds_sign_in(stack, auth: str) -> None:
    policies = of_type(stack(auth), "IAM::ManagedPolicy")
    for name in ALL:
        assert (
            policies[f"{name}Policy"]
            == of_type(stack("pat"), "IAM::ManagedPolicy")[f"{name}Policy"]
        )
    (read,) = policies["ReadPolicy"]["PolicyDocument"]["Statement"]
    assert ("secretsmanager:ListSecretVersionIds" in read["Action"]) == (auth != "aws-iam")


def test_a_developer_with_more_rights_still_cannot_push_to_the_branch(stack) -> None:
    """Deny wins over what another policy allows."""
    developer = of_type(stack("pat"), "IAM::ManagedPolicy")["DeveloperPolicy"]
    everything = {"Effect": "Allow", "Action": "codecommit:*", "Resource": "*"}
    rights = [everything, *developer["PolicyDocument"]["Statement"]]
    for action in ("GitPush", "PutFile", "MergePullRequestBySquash", "DeleteBranch"):
        assert not allows(rights, f"codecommit:{action}", REPOSITORY, BRANCH)
        assert allows(rights, f"codecommit:{action}", REPOSITORY, OTHER_BRANCH)


@pytest.mark.parametrize("path", ["/", "/teams/data/"])
@pytest.mark.parametrize("boundary", ["", "arn:aws:iam::123456789012:policy/boundary"])
def test_every_role_has_the_path_and_the_boundary(stack, path: str, boundary: str) -> None:
    template = stack("pat", RolePath=path, PermissionsBoundary=boundary, **VPC)
    for name, role in of_type(template, "IAM::Role").items():
        assert (role["Path"], role.get("PermissionsBoundary", "")) == (path, boundary), name
    for policy in of_type(template, "IAM::ManagedPolicy").values():
        assert policy["Path"] == path


# ---- What the rules start ------------------------------------------------------------------------

PUSH = {  # as the CodeCommit User Guide documents it
    "version": "0",
    "id": "01234567-EXAMPLE",
    "detail-type": "CodeCommit Repository State Change",
    "source": "aws.codecommit",
    "account": "123456789012",
    "time": "2026-11-24T12:00:00Z",
    "region": "us-east-1",
    "resources": ["Repository.Arn"],
    "detail": {
        "event": "referenceUpdated",
        "repositoryName": "my-data-project",
        "repositoryId": "12345678-1234-5678-abcd-12345678abcd",
        "referenceType": "branch",
        "referenceName": "main",
        "referenceFullName": "refs/heads/main",
        "commitId": "3e5983DESTINATION",
        "oldCommitId": "3e5983DESTINATION0",
    },
}


def changed(original: dict, **changes: object) -> dict:
    """The event with some of its own or its detail's fields changed."""
    outer = {key: value for key, value in changes.items() if key in original}
    detail = {key: value for key, value in changes.items() if key not in original}
    return original | outer | {"detail": original["detail"] | detail}


def matches(template: dict, rule: str, event: dict) -> bool:
    """Whether moto's EventBridge would fire the rule."""
    pattern = template["Resources"][rule]["Properties"]["EventPattern"]
    return EventPattern.load(json.dumps(pattern)).matches_event(event)


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({}, True),
        ({"event": "referenceCreated"}, True),
        ({"event": "referenceDeleted"}, False),
        ({"referenceName": "feature"}, False),
        ({"referenceType": "tag"}, False),
        ({"resources": ["arn:aws:codecommit:us-east-1:123456789012:other"]}, False),
    ],
)
def test_a_push_to_the_branch_starts_the_pipeline(stack, changes: dict, starts: bool) -> None:
    assert matches(stack("pat"), "PushRule", changed(PUSH, **changes)) is starts


def test_the_pipeline_starts_with_the_commit_that_was_pushed(stack) -> None:
    (target,) = stack("pat")["Resources"]["PushRule"]["Properties"]["Targets"]
    transformer = target["InputTransformer"]
    assert transformer["InputPathsMap"]["commit"] == "$.detail.commitId"
    start = transform(transformer, PUSH)
    model = botocore.session.get_session().get_service_model("codepipeline")
    shape = model.operation_model("StartPipelineExecution").input_shape
    report = ParamValidator().validate({"name": "pipeline", **start}, shape)
    assert report.generate_report() == ""
    assert start["sourceRevisions"] == [
        {
            "actionName": "Source",
            "revisionType": "COMMIT_ID",
            "revisionValue": "3e5983DESTINATION",
        }
    ]
    assert target["RoleArn"] == "PushRuleRole.Arn"


@pytest.mark.parametrize(("wanted", "by"), [("true", ADA), ("false", "referenceUpdated")])
def test_with_four_eyes_the_pipeline_knows_who_pushed(stack, wanted: str, by: str) -> None:
    """The documented event lacks the field, so it is read only where a team wants it."""
    template = stack("pat", FourEyes=wanted)
    (target,) = template["Resources"]["PushRule"]["Properties"]["Targets"]
    start = transform(target["InputTransformer"], changed(PUSH, callerUserArn=ADA))
    assert start["variables"] == [{"name": "PUSHED_BY", "value": by}]
    declared = template["Resources"]["Pipeline"]["Properties"]["Variables"]
    assert declared == [{"Name": "PUSHED_BY", "DefaultValue": "unknown"}]
    build = of_type(template, "CodeBuild::Project")["ProdBuild"]
    variables = {
        item["Name"]: item.get("Value") for item in build["Environment"]["EnvironmentVariables"]
    }
    assert variables["FOUR_EYES"] == wanted


REQUEST = {  # as the CodeCommit User Guide documents it
    "version": "0",
    "id": "98377d67-EXAMPLE",
    "detail-type": "CodeCommit Pull Request State Change",
    "source": "aws.codecommit",
    "account": "123456789012",
    "time": "2026-11-24T12:00:00Z",
    "region": "us-east-1",
    "resources": ["Repository.Arn"],
    "detail": {
        "author": "arn:aws:sts::123456789012:assumed-role/Admin/Mary_Major",
        "callerUserArn": "arn:aws:sts::123456789012:assumed-role/Admin/Mary_Major",
        "creationDate": "Tue Nov 24 2026 10:18:42 PDT",
        "description": 'A "quoted" description.',
        "destinationCommit": "12241970EXAMPLE",
        "destinationReference": "refs/heads/main",
        "event": "pullRequestCreated",
        "isMerged": "False",
        "lastModifiedDate": "Tue Nov 24 2026 10:18:42 PDT",
        "notificationBody": "A pull request event occurred in the following repository: ...",
        "pullRequestId": "1",
        "pullRequestStatus": "Open",
        "repositoryNames": ["my-data-project"],
        "revisionId": "bdc0cb9bEXAMPLE",
        "sourceCommit": "2774290EXAMPLE",
        "sourceReference": "refs/heads/test-branch",
        "title": "My Example Pull Request",
    },
}
OTHER_EVENTS = """
    pullRequestStatusChanged pullRequestMergeStatusUpdated pullRequestApprovalStateChanged
    pullRequestApprovalRuleCreated pullRequestApprovalRuleUpdated pullRequestApprovalRuleDeleted
    pullRequestApprovalRuleOverridden
""".split()
MERGED = {"isMerged": "True", "pullRequestStatus": "Closed"}


@pytest.mark.parametrize(
    ("event", "starts"),
    [
        (REQUEST, True),
        (changed(REQUEST, event="pullRequestSourceBranchUpdated"), True),
        *((changed(REQUEST, event=event), False) for event in OTHER_EVENTS),
        (changed(REQUEST, event="pullRequestStatusChanged", **MERGED), False),
        (changed(REQUEST, event="pullRequestMergeStatusUpdated", **MERGED), False),
        (changed(REQUEST, resources=["arn:aws:codecommit:us-east-1:123456789012:other"]), False),
        (PUSH, False),
    ],
)
def test_each_revision_of_a_pull_request_starts_its_build(stack, event, starts: bool) -> None:
    template = stack("pat")
    assert matches(template, "PullRequestRule", event) is starts
    assert matches(template, "PushRule", event) is (event is PUSH)


def test_a_pull_request_is_built_as_its_source_commit(stack) -> None:
    (target,) = stack("pat")["Resources"]["PullRequestRule"]["Properties"]["Targets"]
    assert (target["Arn"], target["RoleArn"]) == ("PullRequestBuild.Arn", "BuildRuleRole.Arn")
    start = transform(target["InputTransformer"], REQUEST)
    model = botocore.session.get_session().get_service_model("codebuild")
    shape = model.operation_model("StartBuild").input_shape
    assert set(start) <= set(shape.members)
    report = ParamValidator().validate({"projectName": "p", **start}, shape)
    assert report.generate_report() == ""
    variables = start["environmentVariablesOverride"]
    assert start["sourceVersion"] == "2774290EXAMPLE"
    assert {item["name"]: item["value"] for item in variables} == {
        "PULL_REQUEST_ID": "1",
        "SOURCE_COMMIT": "2774290EXAMPLE",
        "DESTINATION_COMMIT": "12241970EXAMPLE",
    }
    assert {item["type"] for item in variables} == {"PLAINTEXT"}


@pytest.mark.parametrize("schedule", ["cron(0 5 * * ? *)", "rate(6 hours)"])
def test_the_schedule_starts_the_drift_build(stack, schedule: str) -> None:
    rule = stack("pat", DriftSchedule=schedule)["Resources"]["DriftRule"]["Properties"]
    assert rule["ScheduleExpression"] == schedule
    (target,) = rule["Targets"]
    assert (target["Arn"], target["RoleArn"]) == ("DriftBuild.Arn", "BuildRuleRole.Arn")


def test_the_drift_build_runs_what_an_administrator_has_deployed(stack, rendering) -> None:
    source = of_type(stack("pat"), "CodeBuild::Project")["DriftBuild"]["Source"]
    assert (source["Type"], source["Location"]) == ("S3", "CicdBucket/cicd.zip")
    spec = yaml.safe_load((rendering("pat-serverless") / source["BuildSpec"]).read_text())
    names = load("names")
    assert set(spec["env"]["exported-variables"]) == {names.DRIFT, names.DRIFT_STATUS}


def test_without_a_schedule_the_drift_build_runs_on_demand_only(stack) -> None:
    template = stack("pat", DriftSchedule="")
    assert "DriftRule" not in template["Resources"]
    assert "DriftBuild" in template["Resources"]
    assert stack("pat")["Resources"]["DriftRule"]["Properties"]["ScheduleExpression"]


STAGE = {
    "detail-type": "CodePipeline Stage Execution State Change",
    "source": "aws.codepipeline",
    "detail": {"pipeline": "Pipeline", "execution-id": "1", "stage": "QA", "state": "FAILED"},
}
BUILT = {
    "detail-type": "CodeBuild Build State Change",
    "source": "aws.codebuild",
    "detail": {"build-status": "FAILED", "project-name": "DriftBuild"},
}


@pytest.mark.parametrize(
    ("rule", "event", "mails"),
    [
        ("PipelineFailedRule", STAGE, True),
        ("PipelineFailedRule", changed(STAGE, state="SUCCEEDED"), False),
        ("PipelineFailedRule", changed(STAGE, pipeline="another"), False),
        ("DriftFailedRule", BUILT, True),
        ("DriftFailedRule", changed(BUILT, **{"build-status": "TIMED_OUT"}), True),
        ("DriftFailedRule", changed(BUILT, **{"build-status": "SUCCEEDED"}), False),
        ("DriftFailedRule", changed(BUILT, **{"build-status": "IN_PROGRESS"}), False),
        ("DriftFailedRule", changed(BUILT, **{"project-name": "PullRequestBuild"}), False),
    ],
)
def test_mail_is_sent_for_this_pipelines_events_only(stack, rule, event, mails) -> None:
    template = stack("pat")
    assert matches(template, rule, event) is mails
    (target,) = template["Resources"][rule]["Properties"]["Targets"]
    assert target["Arn"] == "Topic"
    text = target["InputTransformer"]["InputTemplate"]
    assert set(re.findall("<(.+?)>", text)) == set(target["InputTransformer"]["InputPathsMap"])


def test_events_may_publish_to_the_encrypted_topic(stack) -> None:
    template = stack("pat")
    (statement,) = of_type(template, "SNS::TopicPolicy")["TopicPolicy"]["PolicyDocument"][
        "Statement"
    ]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert "Condition" not in statement  # EventBridge supports none here
    key = of_type(template, "KMS::Key")["Key"]["KeyPolicy"]["Statement"]
    (events,) = (item for item in key if item["Principal"] == statement["Principal"])
    assert events["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert "Condition" not in events


def test_who_else_may_publish_may_use_the_key_of_the_topic(stack) -> None:
    template = stack("pat")
    publishers = allowed(template, "sns:Publish", "Topic")
    assert publishers == {"PipelineRole", "ProdBuildRole"}  # the approval's mail, drift's mail
    for right in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert publishers <= allowed(template, right, "Key.Arn")


# ---- The pipeline --------------------------------------------------------------------------------

SOURCE_VARIABLES = {
    "AuthorDate",
    "BranchName",
    "CommitId",
    "CommitMessage",
    "CommitterDate",
    "RepositoryName",
}


@pytest.mark.parametrize("auth", AUTHS)
def test_every_variable_of_the_pipeline_is_exported_by_an_earlier_action(
    stack, rendering, auth: str
) -> None:
    template = stack(auth)
    projects = of_type(template, "CodeBuild::Project")
    known: dict[str, set[str]] = {}
    used = set()
    for stage in template["Resources"]["Pipeline"]["Properties"]["Stages"]:
        for action in stage["Actions"]:
            configuration = action["Configuration"]
            for value in configuration.values():
                for namespace, name in re.findall(r"#\{(\w+)\.(\w+)\}", str(value)):
                    used.add(name)
                    assert name in known[namespace], (action["Name"], namespace, name)
            if action["ActionTypeId"]["Provider"] == "CodeCommit":
                known[action["Namespace"]] = SOURCE_VARIABLES
            elif "Namespace" in action:
                buildspec = projects[configuration["ProjectName"]]["Source"]["BuildSpec"]
                root = rendering(f"{auth}-serverless")
                env = yaml.safe_load((root / buildspec).read_text())["env"]
                known[action["Namespace"]] = set(env["exported-variables"])
    assert {"COMMIT_AUTHOR", "CommitId", "BUILD_ID", "DATA_LOSS", "PLAN_SHA256"} <= used


def test_the_approval_says_who_what_and_where_to_look(stack) -> None:
    pipeline = stack("pat")["Resources"]["Pipeline"]["Properties"]
    assert [stage["Name"] for stage in pipeline["Stages"]] == [
        "Source",
        "QA",
        "Review",
        "Production",
    ]
    plan, approval = pipeline["Stages"][2]["Actions"]
    assert (plan["Name"], plan["RunOrder"]) == ("Plan", 1)
    assert (approval["Name"], approval["RunOrder"]) == ("Approve", 2)
    assert approval["Configuration"]["NotificationArn"] == "Topic"
    text = approval["Configuration"]["CustomData"]
    used = set(re.findall(r"#\{(.+?)\}", text))
    assert {"PlanVariables.COMMIT", "PlanVariables.DELETES", "PlanVariables.DATA_LOSS"} <= used
    link = approval["Configuration"]["ExternalEntityLink"]
    assert link.startswith("https://us-east-1.console.aws.amazon.com/codesuite/codebuild/")
    assert link.endswith("/PlanBuild/build/#{PlanVariables.BUILD_ID}/?region=us-east-1")
    assert max(len(text), len(link)) <= 1000


def test_production_takes_the_commit_from_the_source_and_from_qa_only_the_wheel(stack) -> None:
    stages = stack("pat")["Resources"]["Pipeline"]["Properties"]["Stages"]
    assert stages[0]["Actions"][0]["OutputArtifacts"] == [{"Name": "Source"}]
    assert stages[1]["Actions"][0]["OutputArtifacts"] == [{"Name": "Wheel"}]
    plan, (production, run) = stages[2]["Actions"][0], stages[3]["Actions"]
    assert (production["Name"], run["Name"]) == ("Deploy", "Run")
    assert production["RunOrder"] < run["RunOrder"]
    assert plan["InputArtifacts"] == [{"Name": "Cicd"}, {"Name": "Source"}, {"Name": "Wheel"}]
    assert plan["OutputArtifacts"] == [{"Name": "Plan"}]
    assert production["InputArtifacts"] == [
        {"Name": "Cicd"},
        {"Name": "Source"},
        {"Name": "Wheel"},
        {"Name": "Plan"},
    ]
    # Their buildspec and scripts are the administrator's: the commit's would run unapproved.
    assert plan["Configuration"]["PrimarySource"] == "Cicd"
    assert production["Configuration"]["PrimarySource"] == "Cicd"
    cicd = stages[0]["Actions"][1]
    assert cicd["OutputArtifacts"] == [{"Name": "Cicd"}]
    assert cicd["Configuration"] == {
        "S3Bucket": "CicdBucket",
        "S3ObjectKey": "cicd.zip",
        "PollForSourceChanges": False,
    }


def test_production_knows_which_plan_was_approved(stack) -> None:
    stages = stack("pat")["Resources"]["Pipeline"]["Properties"]["Stages"]
    variables = stages[3]["Actions"][0]["Configuration"]["EnvironmentVariables"]
    assert json.loads(variables) == [
        {"name": name, "value": f"#{{PlanVariables.{name}}}"}
        for name in ("PLAN_SHA256", "WHEEL_SHA256")
    ]


# ---- The network ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "outside"),
    [({}, {"PullRequestBuild"}), ({"PullRequestsInVpc": "true"}, set())],
    ids=["as it is", "pull requests too"],
)
def test_in_a_vpc_are_all_builds_of_code_that_was_merged(stack, parameters, outside) -> None:
    template = stack("pat", **VPC, **parameters)
    inside = {
        "VpcId": "vpc-1",
        "Subnets": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-1"],
    }
    assert {
        name: project.get("VpcConfig")
        for name, project in of_type(template, "CodeBuild::Project").items()
    } == {name: None if name in outside else inside for name in BUILDS}
    attached = {
        name: role.get("ManagedPolicyArns") for name, role in of_type(template, "IAM::Role").items()
    }
    # A build's rights in EC2 are those of its role: the whole account's network interfaces.
    with_access = {f"{OWN[name]}BuildRole" for name in BUILDS if name not in outside}
    assert attached == {name: ["VpcAccess"] if name in with_access else None for name in attached}
    document = of_type(template, "IAM::ManagedPolicy")["VpcAccess"]["PolicyDocument"]
    everything, permission = document["Statement"]
    assert {action.split(":")[0] for action in everything["Action"]} == {"ec2"}
    assert not [action for action in everything["Action"] if "*" in action]
    assert permission["Condition"]["StringEquals"] == {
        "ec2:AuthorizedService": "codebuild.amazonaws.com"
    }

    plain = stack("pat")
    projects = of_type(plain, "CodeBuild::Project")
    assert [name for name, project in projects.items() if "VpcConfig" in project] == []
    assert "VpcAccess" not in plain["Resources"]
    assert not [
        role for role in of_type(plain, "IAM::Role").values() if role.get("ManagedPolicyArns")
    ]


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({}, []),
        (VPC, []),
        (VPC | {"SubnetIds": ""}, ["SubnetIds"]),
        (VPC | {"SecurityGroupIds": ""}, ["SecurityGroupIds"]),
    ],
)
def test_half_a_vpc_is_refused(template, parameters: dict, refused: list[str]) -> None:
    source = copy.deepcopy(template("pat"))
    rule = source["Rules"]["WholeVpc"]
    # cloud-radar evaluates no rules, but conditions.
    source["Conditions"]["Rule"] = rule["RuleCondition"]
    asserts = {item["AssertDescription"]: item["Assert"] for item in rule["Assertions"]}
    source["Conditions"] |= asserts
    holds = Template(source).render(parameters)["Conditions"]
    failed = [text for text in asserts if holds["Rule"] and not holds[text]]
    assert [text.split("set ")[1].split()[0] for text in failed] == refused


INDEX = "https://pypi.example.com/simple"


@pytest.mark.parametrize(
    ("url", "expected"), [("", {}), (INDEX, {"UV_DEFAULT_INDEX": INDEX, "PIP_INDEX_URL": INDEX})]
)
def test_every_build_takes_its_packages_from_the_index(stack, url: str, expected: dict) -> None:
    for project in of_type(stack("pat", PackageIndexUrl=url), "CodeBuild::Project").values():
        variables = project["Environment"]["EnvironmentVariables"]
        indexes = {item["Name"]: item["Value"] for item in variables if "_INDEX" in item["Name"]}
        assert indexes == expected


# ---- The whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [[], ["TAGS=owner=data 'cost center=42'"]])
def test_make_stack_gives_the_stack_its_tags(default: Path, typed: list[str]) -> None:
    """CloudFormation gives a stack's tags to each of its resources that can have tags."""
    command = ["make", "--dry-run", "stack", *typed]
    recipe = subprocess.run(command, cwd=default, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in recipe.splitlines() if " stack --tags " in " ".join(line.split()))
    words = shlex.split(line)
    expected = typed[0].partition("=")[2] if typed else "project=my-data-project"
    assert words[words.index("--tags") + 1] == expected


@pytest.mark.parametrize("auth", AUTHS)
def test_everything_that_takes_tags_takes_the_tag_of_the_stack(stack, auth: str) -> None:
    resources = stack(auth)["Resources"]
    assert [name for name, item in resources.items() if "Tags" in item["Properties"]] == []
    for kind in {item["Type"] for item in resources.values()}:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
        # A type without this part is older than it; CloudFormation tags it all the same.
        taggable = schema.get("tagging", {}).get("taggable", True)
        assert taggable or "Tags" not in schema["properties"], kind


def test_a_new_stack_takes_the_template(rendered: Path) -> None:
    """CloudFormation takes 51,200 bytes in a request. What a team adds later is an update."""
    assert len((rendered / "cicd/stack.yml").read_bytes()) <= 48 * 1024


@pytest.mark.parametrize("auth", AUTHS)
def test_two_stacks_can_exist_in_one_account(stack, auth: str) -> None:
    """Every physical name carries the stack's name, or is the one parameter that must differ."""
    for name, item in stack(auth, RepoName="copy", **VPC)["Resources"].items():
        if item["Type"] == "AWS::IAM::Policy":  # its name is within the role's
            continue
        short = item["Type"].rsplit("::", 1)[1]
        for key in ("Name", f"{short}Name", "BucketName", "AliasName"):
            value = item["Properties"].get(key, "my-cloud-radar-stack")
            assert value.removeprefix("/aws/codebuild/").startswith("my-cloud-radar-stack") or (
                (name, value) == ("Repository", "copy")
            ), (name, value)


def test_only_the_repository_outlives_the_stack(template) -> None:
    resources = template("pat")["Resources"]
    kept = {
        name
        for name, item in resources.items()
        if "Retain" in f"{item.get('DeletionPolicy')} {item.get('UpdateReplacePolicy')}"
    }
    assert kept == {"Repository"}
    # A creation that failed would otherwise leave a repository that the next one meets.
    assert resources["Repository"]["DeletionPolicy"] == "RetainExceptOnCreate"
    # The stack's key dies with the stack: what it encrypts would be unreadable.
    assert "KmsKeyId" not in resources["Repository"]["Properties"]


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("bucket", ["ArtifactBucket", "CicdBucket", "LogBucket"])
def test_buckets_are_closed(stack, auth: str, bucket: str) -> None:
    template = stack(auth)
    properties = of_type(template, "S3::Bucket")[bucket]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    policy = of_type(template, "S3::BucketPolicy")[f"{bucket}Policy"]["PolicyDocument"]
    (tls,) = (item for item in policy["Statement"] if item["Effect"] == "Deny")
    assert tls["Principal"] == "*"
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert tls["Resource"] == [f"{bucket}.Arn", f"{bucket}.Arn/*"]


def test_no_mail_without_an_address(stack) -> None:
    assert "EmailSubscription" in stack("pat")["Resources"]
    assert "EmailSubscription" not in stack("pat", NotificationEmail="")["Resources"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("RepoName", "a b"),
        ("RepoName", "repo.git"),
        ("RepoName", ""),
        ("BranchName", ""),
        ("BranchName", "a b"),
        ("BranchName", "-x"),
        ("QaWorkspaceHost", "http://qa.example"),
        ("QaWorkspaceHost", "https://qa.example/"),
        ("ProdWorkspaceHost", "prod.example"),
        ("ProdWorkspaceHost", "https://user@prod.example"),
        ("NotificationEmail", "nobody"),
        ("QaClientId", ""),
        ("ProdClientId", "1234"),
        ("DriftSchedule", "0 5 * * *"),
        ("DriftSchedule", "cron()"),
        ("VpcId", "vpc"),
        ("SubnetIds", "subnet-1, subnet-2"),
        ("SecurityGroupIds", "subnet-1"),
        ("FourEyes", "yes"),
        ("PermissionsBoundary", "boundary"),
        ("PermissionsBoundary", "arn:aws:iam::123456789012:role/boundary"),
        ("RolePath", "teams/data/"),
        ("RolePath", "/teams"),
        ("PackageIndexUrl", "http://pypi.example.com/simple"),
        ("PackageIndexUrl", "https://user:password@pypi.example.com/simple"),
    ],
)
def test_a_wrong_parameter_is_refused_with_a_reason(stack, template, parameter, value) -> None:
    with pytest.raises(ValueError, match=parameter):
        stack("aws-iam", **{parameter: value})
    assert template("aws-iam")["Parameters"][parameter]["ConstraintDescription"]


PARAMETERS = {
    *("RepoName", "BranchName", "QaWorkspaceHost", "ProdWorkspaceHost", "NotificationEmail"),
    *("DriftSchedule", "VpcId", "SubnetIds", "SecurityGroupIds", "PullRequestsInVpc"),
    *("PackageIndexUrl", "FourEyes", "PermissionsBoundary", "RolePath"),
}
OUTPUTS = {
    "CloneUrl",
    "CodeCommitUrl",
    "PipelineName",
    "PipelineUrl",
    "QaBuildRoleArn",
    "ProdBuildRoleArn",
    "TopicArn",
    "ArtifactBucketName",
    "CicdBucketName",
    "LogBucketName",
    *(f"{name}PolicyArn" for name in ("Read", "Developer", "Reviewer", "Operator")),
}
SECRETS = {"QaSecretArn", "ProdSecretArn"}


@pytest.mark.parametrize(
    ("auth", "parameters", "outputs"),
    [
        ("pat", PARAMETERS, OUTPUTS | SECRETS),
        ("oauth-m2m", PARAMETERS, OUTPUTS | SECRETS),
        ("aws-iam", PARAMETERS | {"QaClientId", "ProdClientId"}, OUTPUTS),
    ],
)
def test_parameters_and_outputs(stack, auth: str, parameters: set, outputs: set) -> None:
    template = stack(auth)
    assert set(template["Parameters"]) == parameters
    assert set(template["Outputs"]) == outputs
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    shown = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(shown) == sorted(parameters)
    assert [name for name in parameters if not template["Parameters"][name]["Description"]] == []


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("us-east-1", "us-east-1.console.aws.amazon.com"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_every_partition_has_its_console(template, monkeypatch, region, console) -> None:
    partition = {"us": "aws", "us-gov": "aws-us-gov", "cn": "aws-cn"}[region.rsplit("-", 2)[0]]
    monkeypatch.setattr(Template, "Partition", partition)
    rendered = Template(copy.deepcopy(template("pat"))).render({}, region=region)
    assert rendered["Outputs"]["PipelineUrl"]["Value"].startswith(f"https://{console}/codesuite/")
    assert "arn:aws:" not in json.dumps(rendered).replace(f"arn:{partition}:", "")

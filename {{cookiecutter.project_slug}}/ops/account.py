"""What `make doctor` probes in the AWS account: caller, stack, repository and rights."""

from collections import defaultdict
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)

from ops import NotChecked, Note, Problem
from ops.aws import Stack
from ops.delivery import archive, deployed_digest, digest_of
from ops.project import Project

UNREACHABLE = (ConnectTimeoutError, EndpointConnectionError, HTTPClientError)
RECREATE = "make destroy, then make stack"
# What fixes a stack in this state. In any other it is as it should be.
FIXES = {
    "REVIEW_IN_PROGRESS": "make stack",
    "CREATE_FAILED": RECREATE,
    "ROLLBACK_COMPLETE": RECREATE,
    "ROLLBACK_FAILED": RECREATE,
    "DELETE_FAILED": RECREATE,
    "UPDATE_FAILED": "make stack",
    "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback --stack-name {stack}",
}


class Account:
    """The account that the caller's credentials belong to, and the stack in it."""

    def __init__(self, stack: Stack, project: Project) -> None:
        self.stack, self.project = stack, project
        self.caller: dict[str, str] = {}

    def identity(self) -> str:
        """Who calls. If that is not known, AWS is asked nothing else."""
        try:
            self.caller = self.stack.client("sts").get_caller_identity()
        except UNREACHABLE as error:
            fix = "fix the network, or name another region: make doctor REGION=..."
            raise Problem(f"AWS does not answer in this region ({error})", fix) from None
        except (BotoCoreError, ClientError) as error:
            fix = "aws sso login, or aws configure"
            raise Problem(f"not signed in to AWS ({error})", fix) from None
        return self.caller["Arn"]

    def region(self) -> str:
        """The region that make names. boto3 may be older than what AWS has there."""
        region, session = self.stack.region, boto3.Session()
        known = [
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("codecommit", partition)
        ]
        if region not in known:
            raise Note(f"{region} is not known to have CodeCommit", "see REGION in the Makefile")
        return region

    def client(self, service: str) -> Any:
        """A client, for a caller who is known."""
        if not self.caller:
            raise NotChecked("not signed in to AWS")
        return self.stack.client(service)

    def existing(self) -> Stack:
        """The stack. Without one there is nothing to check."""
        self.client("cloudformation")
        if not self.stack.description:
            raise NotChecked("there is no stack yet")
        return self.stack

    def state(self) -> str:
        """The stack's state."""
        self.client("cloudformation")
        if not self.stack.description:
            raise Problem(f"{self.stack.name} does not exist", "make stack")
        state = str(self.stack.description["StackStatus"])
        if state in FIXES:
            raise Problem(state, FIXES[state].format(stack=self.stack.name))
        if state.endswith("_IN_PROGRESS"):
            raise Problem(f"{state}: it is being changed", "wait for it, then make doctor")
        if state == "UPDATE_ROLLBACK_COMPLETE":
            raise Note(f"{state}: the last change failed and was undone", "make stack")
        return f"{self.stack.name} is {state}"

    def parameters(self) -> str:
        """Whether the stack has the parameters that `make stack` would pass."""
        deployed = self.existing().parameters
        differences = [
            f"{name} is {deployed.get(name, '(unknown)')!r}, not {value!r}"
            for name, value in self.project.parameters.items()
            if deployed.get(name) != value
        ]
        if differences:
            raise Problem("; ".join(differences), "make stack")
        return "as cicd/stack.yml has them"

    def cicd(self) -> str:
        """Whether the pipeline runs the cicd/ of this folder. Its plan stops at any other."""
        if "CicdBucketName" not in self.existing().outputs:
            raise NotChecked("the stack has no bucket for it yet")
        deployed = deployed_digest(self.stack)
        if not deployed:
            raise Problem("is not deployed", "make stack")
        if deployed != digest_of(archive()):
            what = "the pipeline's differs from this folder's, whose commit would stop at the plan"
            raise Problem(what, "git pull, or make stack by who may change the gate")
        return "the pipeline runs this folder's"

    def same_host(self, target: str) -> str:
        """A target's host, if databricks.yml, cicd/stack.yml and the stack agree about it."""
        name = f"{target.capitalize()}WorkspaceHost"
        host, declared = self.project.host(target), self.project.parameters.get(name)
        if host != declared:
            what = f"databricks.yml says {host}, cicd/stack.yml says {declared}"
            raise Problem(what, "make them equal, commit, then make stack push")
        try:
            deployed = self.existing().parameters.get(name)
        except NotChecked as reason:
            return f"{host} in both files; the stack is not compared ({reason})"
        if host != deployed:
            raise Problem(f"databricks.yml says {host}, the stack says {deployed}", "make stack")
        return host

    def repository(self) -> str:
        """The repository, and the branch in it that starts the pipeline."""
        codecommit = self.client("codecommit")
        rename = "give RepoName in cicd/stack.yml another name, commit, then make stack push"
        values = self.project.parameters | self.stack.parameters
        name, branch = values["RepoName"], values["BranchName"]
        try:
            codecommit.get_repository(repositoryName=name)
        except codecommit.exceptions.RepositoryDoesNotExistException:
            self.existing()
            raise Problem(f"{name} was deleted", rename) from None
        if not self.stack.description:
            raise Problem(f"{name} exists, and a new stack cannot take it over", rename)
        try:
            head = codecommit.get_branch(repositoryName=name, branchName=branch)["branch"]
        except codecommit.exceptions.BranchDoesNotExistException:
            raise Problem(f"{name} has no branch {branch} yet", f"on {branch}: make push") from None
        return f"{name}, {branch} is at {head['commitId'][:8]}"


# ---- What the caller may do ----------------------------------------------------------------------

# What `make stack` calls itself, and then, in the caller's name, for a resource of
# each type. A policy may be narrowed to names, so IAM is asked about names such as the stack's.
STACK_ARN = "cloudformation:{region}:{account}:stack/{stack}/x"
BUCKET = "s3:::{stack}-artifactbucket-x"
DELIVERY = "s3:::{stack}-cicdbucket-x/cicd.zip"
KEY = "kms:{region}:{account}:key/x"
ROLE = "iam::{account}:role{RolePath}{stack}-QaBuildRole-x"
TOPIC = "sns:{region}:{account}:{stack}-Topic-x"
DEPLOY = (
    "cloudformation: CreateChangeSet DeleteChangeSet DescribeChangeSet DescribeStackEvents"
    " DescribeStacks ExecuteChangeSet UpdateTerminationProtection"
)
DELIVER = "s3: GetObject PutObject"
CREATE = {
    "AWS::CodeBuild::Project": {
        "codebuild:{region}:{account}:project/{stack}-qa": "codebuild: CreateProject",
        ROLE: "iam: PassRole",
    },
    "AWS::CodeBuild::ReportGroup": {
        "codebuild:{region}:{account}:report-group/{stack}-qa-unit": "codebuild: CreateReportGroup",
    },
    "AWS::CodeCommit::Repository": {
        "codecommit:{region}:{account}:{RepoName}": (
            "codecommit: CreateRepository GetRepository TagResource"
        ),
    },
    "AWS::CodePipeline::Pipeline": {
        "codepipeline:{region}:{account}:{stack}-Pipeline-x": (
            "codepipeline: CreatePipeline GetPipeline TagResource"
        ),
        ROLE: "iam: PassRole",
    },
    "AWS::Events::Rule": {
        "events:{region}:{account}:rule/{stack}-PushRule-x": (
            "events: DescribeRule PutRule PutTargets TagResource"
        ),
        ROLE: "iam: PassRole",
    },
    "AWS::IAM::ManagedPolicy": {
        "iam::{account}:policy{RolePath}{stack}-x": "iam: CreatePolicy",
        ROLE: "iam: AttachRolePolicy",
    },
    "AWS::IAM::Policy": {ROLE: "iam: GetRolePolicy PutRolePolicy"},
    "AWS::IAM::Role": {ROLE: "iam: CreateRole GetRole PutRolePolicy TagRole"},
    "AWS::KMS::Key": {
        KEY: "kms: CreateKey DescribeKey EnableKeyRotation PutKeyPolicy TagResource",
    },
    "AWS::Logs::LogGroup": {
        "logs:{region}:{account}:log-group:/aws/codebuild/{stack}": (
            "logs: CreateLogGroup DescribeLogGroups PutRetentionPolicy TagResource"
        ),
    },
    "AWS::S3::Bucket": {
        BUCKET: (
            "s3: CreateBucket PutBucketLogging PutBucketOwnershipControls"
            " PutBucketPublicAccessBlock PutBucketTagging PutBucketVersioning"
            " PutEncryptionConfiguration PutLifecycleConfiguration"
        ),
    },
    "AWS::S3::BucketPolicy": {BUCKET: "s3: GetBucketPolicy PutBucketPolicy"},
    "AWS::SecretsManager::Secret": {
        "secretsmanager:{region}:{account}:secret:QaSecret-x": (
            "secretsmanager: CreateSecret DescribeSecret GetRandomPassword TagResource"
        ),
        KEY: "kms: Decrypt GenerateDataKey",
    },
    "AWS::SNS::Subscription": {TOPIC: "sns: Subscribe"},
    "AWS::SNS::Topic": {TOPIC: "sns: CreateTopic GetTopicAttributes TagResource"},
    "AWS::SNS::TopicPolicy": {TOPIC: "sns: SetTopicAttributes"},
}


class Question(NamedTuple):
    """What IAM is asked about: a resource and, if a role is passed on, the service that gets it."""

    arn: str
    service: str = ""

    def context(self, region: str) -> list[dict[str, Any]]:
        """The values that a policy's conditions may refer to."""
        values = {"aws:RequestedRegion": region, "iam:PassedToService": self.service}
        return [
            {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
            for key, value in values.items()
            if value
        ]


def principal(account: Account) -> str:
    """The user or role whose policies decide about the caller."""
    iam, arn = account.client("iam"), account.caller["Arn"]
    kind, *path = arn.split(":", 5)[5].split("/")
    if kind == "user":
        return arn
    if kind != "assumed-role":
        raise NotChecked(f"IAM simulates users and roles only, and the caller is {arn}")
    try:
        return str(iam.get_role(RoleName=path[0])["Role"]["Arn"])
    except ClientError:  # perhaps not allowed; the session's ARN lacks only the role's path
        return f"{arn.split(':sts:')[0]}:iam::{account.caller['Account']}:role/{path[0]}"


def questions(account: Account) -> dict[Question, set[str]]:
    """The actions to ask about."""
    partition = account.caller["Arn"].split(":")[1]
    values = account.project.parameters | {
        "account": account.caller["Account"],
        "region": account.stack.region,
        "stack": account.stack.name,
    }
    rows = [("", STACK_ARN, DEPLOY), ("", DELIVERY, DELIVER)]
    for kind in account.project.resource_types & CREATE.keys():
        rows += [(kind, resource, actions) for resource, actions in CREATE[kind].items()]
    actions_by_question: dict[Question, set[str]] = defaultdict(set)
    for kind, resource, text in rows:
        service, actions = text.split(": ")
        arn = f"arn:{partition}:{resource}".format(**values)
        passed_to = f"{kind.split('::')[1].lower()}.amazonaws.com" if actions == "PassRole" else ""
        question = Question(arn, passed_to)
        actions_by_question[question] |= {f"{service}:{name}" for name in actions.split()}
    return actions_by_question


def rights(account: Account) -> str:
    """Whether the caller may do all that `make stack` needs to create the stack."""
    source = principal(account)
    simulator = account.client("iam").get_paginator("simulate_principal_policy")
    missing, unsure = set(), set()
    for question, actions in questions(account).items():
        pages = simulator.paginate(
            PolicySourceArn=source,
            ActionNames=sorted(actions),
            ResourceArns=[question.arn],
            ContextEntries=question.context(account.stack.region),
        )
        for result in (item for page in pages for item in page["EvaluationResults"]):
            if result["EvalDecision"] == "allowed":
                continue
            if result.get("MissingContextValues"):  # a condition on what only the real call has
                unsure.add(result["EvalActionName"])
            else:
                missing.add(result["EvalActionName"])
    if missing:
        fix = "have an administrator allow them, then make doctor"
        raise Problem(f"{source} lacks {', '.join(sorted(missing))}", fix)
    if unsure:
        raise NotChecked(f"the answer depends on conditions for {', '.join(sorted(unsure))}")
    if unknown := account.project.resource_types - CREATE.keys():
        raise NotChecked(f"ops/account.py does not know {', '.join(sorted(unknown))}")
    return "all that make stack needs"

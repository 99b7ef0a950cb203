"""A probe of what the caller may do: IAM simulates the calls that creating the stack makes."""

import os
from collections import defaultdict

import aws_stack
from botocore.exceptions import ClientError

from probes import NotChecked, Problem
from probes.account import Account

STACK = "cloudformation:{region}:{account}:stack/{stack}/x"
BUCKET = "s3:::{stack}-artifactbucket-x"
KEY = "kms:{region}:{account}:key/x"
ROLE = "iam::{account}:role/{stack}-QaBuildRole-x"
TOPIC = "sns:{region}:{account}:{stack}-Topic-x"
# What `aws cloudformation deploy` calls itself, and then, in the caller's name, for a resource of
# each type. A policy may be narrowed to names, so IAM is asked about names such as the stack's.
DEPLOY = "cloudformation: CreateChangeSet DescribeChangeSet DescribeStacks ExecuteChangeSet"
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
        "iam::{account}:policy/{stack}-x": "iam: CreatePolicy",
        ROLE: "iam: AttachRolePolicy",
    },
    "AWS::IAM::Policy": {ROLE: "iam: GetRolePolicy PutRolePolicy"},
    "AWS::IAM::Role": {ROLE: "iam: CreateRole GetRole PutRolePolicy TagRole"},
    "AWS::KMS::Key": {
        KEY: "kms: CreateKey DescribeKey EnableKeyRotation PutKeyPolicy TagResource",
    },
    "AWS::Logs::LogGroup": {
        "logs:{region}:{account}:log-group:/aws/codebuild/{stack}-qa": (
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


def principal(account: Account) -> str:
    """The user or role whose policies decide about the caller."""
    iam, arn = account.client("iam"), account.caller["Arn"]
    kind, *names = arn.split(":", 5)[5].split("/")
    if kind == "user":
        return arn
    if kind != "assumed-role":
        raise NotChecked(f"IAM simulates users and roles only, and the caller is {arn}")
    try:
        return iam.get_role(RoleName=names[0])["Role"]["Arn"]
    except ClientError:  # perhaps not allowed; the session's ARN lacks only the role's path
        return f"{arn.split(':sts:')[0]}:iam::{account.caller['Account']}:role/{names[0]}"


def questions(account: Account) -> dict[tuple[str, str], set[str]]:
    """The actions to ask about, by resource and, for a role, by the service that it is given to."""
    caller, types = account.caller, account.project.resource_types
    partition = caller["Arn"].split(":")[1]
    names = account.project.parameters | {
        "account": caller["Account"],
        "region": os.environ["AWS_REGION"],
        "stack": aws_stack.STACK,
    }
    rows = [("", STACK, DEPLOY)]
    rows += [(kind, *row) for kind in types & CREATE.keys() for row in CREATE[kind].items()]
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for kind, resource, line in rows:
        service, actions = line.split(": ")
        arn = f"arn:{partition}:{resource}"
        given_to = f"{kind.split('::')[1].lower()}.amazonaws.com" if actions == "PassRole" else ""
        found[arn.format(**names), given_to] |= {f"{service}:{one}" for one in actions.split()}
    return found


def rights(account: Account) -> str:
    """Whether the caller may do all that `make stack` needs to create the stack."""
    source, region = principal(account), os.environ["AWS_REGION"]
    simulator = account.client("iam").get_paginator("simulate_principal_policy")
    lacking, unsure = set(), set()
    for (arn, given_to), actions in questions(account).items():
        context = {"aws:RequestedRegion": region, "iam:PassedToService": given_to}
        pages = simulator.paginate(
            PolicySourceArn=source,
            ActionNames=sorted(actions),
            ResourceArns=[arn],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
                for key, value in context.items()
                if value
            ],
        )
        for result in (item for page in pages for item in page["EvaluationResults"]):
            if result["EvalDecision"] != "allowed":
                # A condition on something that only the real call has: who knows.
                kind = unsure if result.get("MissingContextValues") else lacking
                kind.add(result["EvalActionName"])
    if lacking:
        mend = "have an administrator allow them, then make doctor"
        raise Problem(f"{source} lacks {', '.join(sorted(lacking))}", mend)
    if unsure:
        raise NotChecked(f"conditions decide about {', '.join(sorted(unsure))}")
    if unknown := account.project.resource_types - CREATE.keys():
        raise NotChecked(f"ops/probes/rights.py does not know {', '.join(sorted(unknown))}")
    return "all that make stack needs"

"""Probes of the AWS account: who calls, the stack, and what the stack's builds sign in with."""

import os
from functools import cached_property

import aws_stack
import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)

from probes import NotChecked, Note, Problem
from probes.project import Project

AGAIN = "make destroy, then make stack"
WAIT = "wait for it, then make doctor"
UNREACHABLE = (ConnectTimeoutError, EndpointConnectionError, HTTPClientError)
# What a stack in this state needs. In any other it is as it should be.
MEND = {
    "REVIEW_IN_PROGRESS": "make stack",
    "CREATE_FAILED": AGAIN,
    "ROLLBACK_COMPLETE": AGAIN,
    "ROLLBACK_FAILED": AGAIN,
    "DELETE_FAILED": AGAIN,
    "UPDATE_FAILED": "make stack",
    "UPDATE_ROLLBACK_FAILED": (
        f"aws cloudformation continue-update-rollback --stack-name {aws_stack.STACK}"
    ),
}


class Account:
    """The account that the caller's credentials belong to."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.caller: dict[str, str] = {}

    def identity(self) -> str:
        """Who calls. Without this nothing else is asked of AWS."""
        try:
            self.caller = aws_stack.client("sts").get_caller_identity()
        except UNREACHABLE as error:
            mend = "mend the network, or name another: make doctor REGION=..."
            raise Problem(f"AWS does not answer in this region ({error})", mend) from None
        except (BotoCoreError, ClientError) as error:
            mend = "aws sso login, or aws configure"
            raise Problem(f"not signed in to AWS ({error})", mend) from None
        return self.caller["Arn"]

    def region(self) -> str:
        """The region that make names. boto3 may be older than what AWS has there."""
        region, session = os.environ["AWS_REGION"], boto3.Session()
        known = [
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("codecommit", partition)
        ]
        if region not in known:
            raise Note(f"{region} is not known to have CodeCommit", "see REGION in the Makefile")
        return region

    def client(self, service: str):
        """A client, for a caller who is known."""
        if not self.caller:
            raise NotChecked("not signed in to AWS")
        return aws_stack.client(service)

    @cached_property
    def stack(self) -> dict:
        """The stack as CloudFormation describes it, or nothing where there is none."""
        try:
            found = self.client("cloudformation").describe_stacks(StackName=aws_stack.STACK)
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return {}
            raise
        return found["Stacks"][0]

    def deployed(self) -> dict[str, str]:
        """The stack's parameters."""
        if not self.stack:
            raise NotChecked("there is no stack yet")
        found = self.stack.get("Parameters", [])
        return {item["ParameterKey"]: item["ParameterValue"] for item in found}

    def state(self) -> str:
        """The stack's state."""
        if not self.stack:
            raise Problem(f"{aws_stack.STACK} does not exist", "make stack")
        state = self.stack["StackStatus"]
        if state in MEND:
            raise Problem(state, MEND[state])
        if state.endswith("_IN_PROGRESS"):
            raise Problem(f"{state}: it is being changed", WAIT)
        if state == "UPDATE_ROLLBACK_COMPLETE":
            raise Note(f"{state}: the last change failed and was undone", "make stack")
        return f"{aws_stack.STACK} is {state}"

    def parameters(self) -> str:
        """Whether the stack has the parameters that `make stack` would pass."""
        deployed, told = self.deployed(), self.project.parameters
        differ = [
            f"{name} is {deployed.get(name, '(unknown)')!r}, not {value!r}"
            for name, value in told.items()
            if deployed.get(name) != value
        ]
        if differ:
            raise Problem("; ".join(differ), "make stack")
        return "as cicd/stack.yml has them"
{%- if cookiecutter.auth == "aws-iam" %}

    def federation(self) -> str:
        """The issuer of the account's identity tokens."""
        enable = "aws iam enable-outbound-web-identity-federation (docs/security.md)"
        try:
            info = self.client("iam").get_outbound_web_identity_federation_info()
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("FeatureDisabled"):
                raise
            raise Problem("the account may not sign identity tokens", enable) from None
        if not info["JwtVendingEnabled"]:
            raise Problem("the account may not sign identity tokens", enable)
        return f"enabled, issuer {info['IssuerIdentifier']}"

    def client_id(self, target: str) -> str:
        """Which service principal a target's builds sign in as."""
        name = f"{target.capitalize()}ClientId"
        client_id = self.deployed().get(name, "not-set")
        if client_id == "not-set":
            raise Problem(f"{name} is not set", "set it in cicd/stack.yml, then make stack")
        return client_id
{%- else %}

    def secret(self, target: str) -> str:
        """Whether a target's secret was ever set; its value is not read."""
        name, mend = f"{target.capitalize()}SecretArn", f"make secrets ENV={target}"
        self.deployed()
        outputs = {item["OutputKey"]: item["OutputValue"] for item in self.stack.get("Outputs", [])}
        if name not in outputs:
            raise NotChecked("the stack has none yet")
        secret = self.client("secretsmanager").describe_secret(SecretId=outputs[name])
        # The stack creates it with a placeholder, which the first value that is put there makes the
        # previous one. LastChangedDate says less: it moves with a tag or a description, too.
        stages = secret.get("VersionIdsToStages", {}).values()
        if not any("AWSPREVIOUS" in item for item in stages):
            raise Problem("is still the stack's placeholder", mend)
        return "is set"
{%- endif %}

    def repository(self) -> str:
        """The repository, and the branch in it that starts the pipeline."""
        codecommit = self.client("codecommit")
        rename = "give RepoName in cicd/stack.yml another name, then make stack push"
        told = self.project.parameters | (self.deployed() if self.stack else {})
        name, branch = told["RepoName"], told["BranchName"]
        try:
            codecommit.get_repository(repositoryName=name)
        except codecommit.exceptions.RepositoryDoesNotExistException:
            if self.stack:
                raise Problem(f"{name} was deleted", rename) from None
            raise NotChecked("there is no stack yet") from None
        if not self.stack:
            raise Problem(f"{name} exists, and a new stack cannot take it over", rename)
        try:
            found = codecommit.get_branch(repositoryName=name, branchName=branch)["branch"]
        except codecommit.exceptions.BranchDoesNotExistException:
            raise Problem(f"{name} has no branch {branch} yet", f"on {branch}: make push") from None
        return f"{name}, {branch} is at {found['commitId'][:8]}"

"""The deployed stack, and how text is shown on the screen."""

import re
import sys
from datetime import datetime
from functools import cached_property
from typing import Any

from ops import Stop

COLORS_AND_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r(?=\n)")


class Stack:
    """The CloudFormation stack of a name in a region, and the clients for what is in it."""

    def __init__(self, name: str, region: str) -> None:
        self.name, self.region = name, region
        self.config: Any = None  # botocore's; doctor sets short timeouts

    def client(self, service: str) -> Any:
        """A boto3 client in the stack's region."""
        if not (self.name and self.region):
            raise Stop("which stack? Pass --stack and --region before the command, or use make")
        import boto3  # here, because `check` runs where boto3 is not installed

        return boto3.client(service, region_name=self.region, config=self.config)

    @cached_property
    def description(self) -> dict[str, Any]:
        """The stack as CloudFormation describes it, asked for once; empty if there is none."""
        cloudformation = self.client("cloudformation")
        try:
            stacks = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except cloudformation.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            return {}
        return dict(stacks[0])

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name."""
        listed = self.description.get("Outputs", [])
        return {item["OutputKey"]: item["OutputValue"] for item in listed}

    @property
    def parameters(self) -> dict[str, str]:
        """The stack's parameters by name."""
        listed = self.description.get("Parameters", [])
        return {item["ParameterKey"]: item["ParameterValue"] for item in listed}

    def output(self, name: str) -> str:
        """An output. If the stack does not have it, Stop says how to get it."""
        if name in self.outputs:
            return self.outputs[name]
        if not self.description:
            raise Stop(f"the stack {self.name} does not exist; create it: make stack")
        state, fix = self.description["StackStatus"], "make stack"
        if state.startswith(("ROLLBACK_", "DELETE_FAILED")):
            fix = "make destroy, then make stack"
        raise Stop(f"the stack {self.name} is {state}, without {name}; bring it up: {fix}")

    def summaries(self) -> list[dict[str, Any]]:
        """What CloudFormation lists of each resource; nothing if there is no stack."""
        cloudformation = self.client("cloudformation")
        paginator = cloudformation.get_paginator("list_stack_resources")
        try:
            pages = list(paginator.paginate(StackName=self.name))
        except cloudformation.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            return []
        return [summary for page in pages for summary in page["StackResourceSummaries"]]

    def resources(self) -> dict[str, str]:
        """Physical names of the stack's resources, by logical ID."""
        return {
            summary["LogicalResourceId"]: summary["PhysicalResourceId"]
            for summary in self.summaries()
            if summary.get("PhysicalResourceId") and summary["ResourceStatus"] != "DELETE_COMPLETE"
        }


def is_missing(error: Any) -> bool:
    """Whether CloudFormation's refusal only means that there is no such stack."""
    return "does not exist" in error.response["Error"]["Message"]


def refusal(error: Any) -> str:
    """A ClientError in one line that names the call."""
    return f"AWS refuses {error.operation_name}: {error.response['Error']['Message']}"


# ---- The screen ----------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text from outside, without characters that move the cursor, hide a line or reverse it."""
    text = COLORS_AND_CURSOR.sub("", text)
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def when(moment: datetime) -> str:
    """A moment in local time, with its year unless that is the current one."""
    local = moment.astimezone()
    year = "" if local.year == datetime.now().astimezone().year else f" {local:%Y}"
    return f"{local:%d %b}{year} {local:%H:%M}"


def agreed(question: str, yes: str, otherwise: str) -> None:
    """Returns if a person agrees: with YES, or at the terminal. Raises Stop in every other case."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Stop(f"{otherwise}: there is no terminal to ask at. To do it unasked, add YES=1")
    if input(f"{question} [y/N] ").strip().lower() != "y":
        raise Stop(otherwise)

"""The deployed stack, for the commands beside this file. `make` names it: STACK and AWS_REGION."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

STACK = os.environ.get("STACK", "")


def client(service: str):
    """A boto3 client in the stack's region."""
    return boto3.client(service)


def status() -> str | None:
    """The stack's status, or None where there is no stack."""
    try:
        (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    return stack["StackStatus"]


def age() -> timedelta:
    """How long the stack has been there; raises ClientError without a stack."""
    (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return datetime.now(UTC) - stack["CreationTime"]


def find_outputs() -> dict[str, str]:
    """The stack's outputs by name, as far as it has any; raises ClientError without a stack."""
    (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def outputs() -> dict[str, str]:
    """The stack's outputs by name. Exits while it has none; raises ClientError without a stack."""
    found = find_outputs()
    if not found:
        now = status() or "gone"
        broken = now.startswith(("ROLLBACK_", "DELETE_FAILED"))
        mend = "make destroy, then make stack" if broken else "make stack"
        sys.exit(f"the stack {STACK} is {now}; bring it up first: {mend}")
    return found


def parameters() -> dict[str, str]:
    """The stack's parameters by name; raises ClientError without a stack."""
    (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", [])}


def resources() -> dict[str, str]:
    """Physical names of what the stack has now, by logical ID; empty where there is no stack."""
    paginator = client("cloudformation").get_paginator("list_stack_resources")
    try:
        pages = list(paginator.paginate(StackName=STACK))
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return {}
        raise
    return {
        item["LogicalResourceId"]: item["PhysicalResourceId"]
        for page in pages
        for item in page["StackResourceSummaries"]
        if item.get("PhysicalResourceId") and item["ResourceStatus"] != "DELETE_COMPLETE"
    }


def run(main: Callable[[], None], failure: int = 1) -> NoReturn:
    """Runs a command and exits; what AWS refuses becomes one line that names the call.

    `failure` is the exit code of a command that stops with a message.
    """
    name = os.path.basename(sys.argv[0])
    sys.stdout.reconfigure(errors="replace")  # a terminal may lack what others have written
    try:
        if not STACK:
            sys.exit(f"{name}: STACK is not set; call it through make (make help)")
        main()
        sys.exit(0)
    except ClientError as error:
        message = error.response["Error"]["Message"]
        if "does not exist" in message and error.operation_name == "DescribeStacks":
            message += "; create it: make stack"
        why = f"{name}: AWS refuses {error.operation_name}: {message}"
    except BotoCoreError as error:
        why = f"{name}: {error} Are you signed in to AWS? Try: aws sts get-caller-identity"
    except (KeyboardInterrupt, EOFError):
        why = f"\n{name}: stopped"
    except SystemExit as stop:
        if not isinstance(stop.code, str):
            raise
        why = stop.code
    print(why, file=sys.stderr)
    sys.exit(failure)

"""CloudFormation's API, as far as operators ask it about the one stack.

https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Operations.html
moto's own would import all of moto: two seconds for these two answers.
"""

import functools
from collections.abc import Mapping

from rehearsal.aws.errors import AwsError
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.stack import Stack

CREATED = "2026-01-01T00:00:00Z"


def describe_stacks(stack: Stack, request: Request) -> Shape:
    """DescribeStacks"""
    require_stack(stack, request)
    outputs = [
        {"OutputKey": key, "OutputValue": output["Value"]}
        for key, output in stack.template["Outputs"].items()
    ]
    description = {
        "StackName": stack.name,
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": outputs,
        "StackId": stack.id,
        "CreationTime": CREATED,
    }
    return {"Stacks": [description]}


def list_stack_resources(stack: Stack, request: Request) -> Shape:
    """ListStackResources"""
    require_stack(stack, request)
    summaries = [
        {
            "LogicalResourceId": logical,
            "PhysicalResourceId": stack.ref(logical),
            "ResourceType": resource["Type"],
            "ResourceStatus": "CREATE_COMPLETE",
            "LastUpdatedTimestamp": CREATED,
        }
        for logical, resource in stack.template["Resources"].items()
    ]
    return {"StackResourceSummaries": summaries}


def require_stack(stack: Stack, request: Request) -> None:
    """Raises AwsError where another stack is asked for."""
    name = request.parameters.get("StackName", stack.name)
    if name not in (stack.name, stack.id):
        raise AwsError("ValidationError", f"Stack with id {name} does not exist")


def operations(stack: Stack) -> Mapping[str, Operation]:
    """What is answered here."""
    return {
        "DescribeStacks": functools.partial(describe_stacks, stack),
        "ListStackResources": functools.partial(list_stack_resources, stack),
    }

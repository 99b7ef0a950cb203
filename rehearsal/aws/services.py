"""The small services: CloudFormation for the one stack, SNS's topics, who calls and may do what."""

import base64
import functools
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from rehearsal.aws.errors import AwsError
from rehearsal.aws.events import EventBus, Message
from rehearsal.aws.front import Operation, audience
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.stack import ACCOUNT, Stack

CREATED = "2026-01-01T00:00:00Z"
OPERATOR = "operator"  # the name of the person whose commands these are


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
        "Parameters": [parameter(stack, name) for name in stack.source.get("Parameters", {})],
        "Outputs": outputs,
        "StackId": stack.id,
        "CreationTime": CREATED,
    }
    return {"Stacks": [description]}


def parameter(stack: Stack, name: str) -> Shape:
    """A parameter of the stack as DescribeStacks shows it."""
    declared = stack.source["Parameters"][name]
    value = stack.parameters.get(name, declared.get("Default", ""))
    shown = "****" if str(declared.get("NoEcho")).lower() == "true" else value
    return {"ParameterKey": name, "ParameterValue": shown}


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


class Sns:
    """`mails` has every message in the order in which it came, whoever sent it."""

    def __init__(self, stack: Stack, bus: EventBus) -> None:
        self.stack = stack
        self.mails: list[Any] = []
        bus.connect("sns", self.receive)

    def publish(self, request: Request) -> Shape:
        """https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""
        self.stack.logical("SNS::Topic", request.parameters["TopicArn"])  # or it is refused
        subject, message = request.parameters.get("Subject"), request.parameters["Message"]
        self.mails.append("\n\n".join(filter(None, [subject, message])))
        return {"MessageId": uuid.uuid4()}

    def receive(self, message: Message) -> None:
        """Takes what a rule sends to a topic."""
        self.stack.logical("SNS::Topic", message.target)
        self.mails.append(message.input)


def get_caller_identity(stack: Stack, request: Request) -> Shape:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""
    arn = f"arn:aws:iam::{ACCOUNT}:user/{OPERATOR}"
    if request.role:
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{stack.ref(request.role)}/rehearsal"
    return {"UserId": "AIDAREHEARSAL", "Account": ACCOUNT, "Arn": arn}


def simulate_principal_policy(request: Request) -> Shape:
    """Allows everything: no policy restricts the operator of a rehearsal.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    actions = [text for key, text in request.parameters.items() if key.startswith("ActionNames.")]
    results = [{"EvalActionName": action, "EvalDecision": "allowed"} for action in actions]
    return {"EvaluationResults": results, "IsTruncated": "false"}


def get_web_identity_token(stack: Stack, request: Request) -> Shape:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html"""
    now, parameters = int(time.time()), request.parameters
    claims = {
        "iss": "https://rehearsal.tokens.sts.global.api.aws",
        "sub": stack.arn(request.role) if request.role else OPERATOR,
        "aud": audience(parameters),
        "iat": now,
        "exp": now + int(parameters.get("DurationSeconds", 300)),
        "jti": str(uuid.uuid4()),
    }
    header = {"alg": parameters.get("SigningAlgorithm"), "typ": "JWT"}
    token = f"{encoded(header)}.{encoded(claims)}.not-signed-in-a-rehearsal"
    return {"WebIdentityToken": token}


def encoded(part: Shape) -> str:
    """A part of a JSON web token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def operations(stack: Stack, sns: Sns) -> dict[str, Mapping[str, Operation]]:
    """What is answered here, by service."""
    return {
        "cloudformation": {
            "DescribeStacks": functools.partial(describe_stacks, stack),
            "ListStackResources": functools.partial(list_stack_resources, stack),
        },
        "sns": {"Publish": sns.publish},
        "iam": {"SimulatePrincipalPolicy": simulate_principal_policy},
        "sts": {
            "GetCallerIdentity": functools.partial(get_caller_identity, stack),
            "GetWebIdentityToken": functools.partial(get_web_identity_token, stack),
        },
    }

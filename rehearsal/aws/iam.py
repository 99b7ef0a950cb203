"""Decides on a role's calls as IAM does, on the policies that the stack gives it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import fnmatch
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.aws.errors import Unsupported, access_denied
from rehearsal.aws.stack import ACCOUNT, Properties, Stack

Statement = Mapping[str, Any]


def as_list(value: Any) -> list[Any]:
    """The values of a policy's element, which may be one value or a list."""
    return value if isinstance(value, list) else [value]


def like(pattern: str, value: str) -> bool:
    """IAM's wildcards: * and ?, and nothing else that fnmatch would read as one."""
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def boolean(expected: str, value: str) -> bool:
    """Whether two booleans, which IAM writes as text, are equal."""
    return str(expected).lower() == value.lower()


def number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    """A comparison of numbers that are written as words."""
    return lambda expected, value: compare(float(value), float(expected))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: str(expected) == value,
    "StringNotEquals": lambda expected, value: str(expected) != value,
    "StringLike": like,
    "ArnLike": like,
    "ArnEquals": like,
    "Bool": boolean,
    "NumericEquals": number(operator.eq),
    "NumericLessThan": number(operator.lt),
    "NumericLessThanEquals": number(operator.le),
    "NumericGreaterThan": number(operator.gt),
    "NumericGreaterThanEquals": number(operator.ge),
}


def holds(name: str, key: str, expected: list[Any], context: Mapping[str, Any]) -> bool:
    """Whether one condition holds. Raises Unsupported for an operator that is not here."""
    quantifier, _, bare = name.rpartition(":")
    if bare == "Null":
        return (key not in context) is (str(expected[0]).lower() == "true")
    optional, bare = bare.endswith("IfExists"), bare.removesuffix("IfExists")
    if bare not in OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise Unsupported(f"the rehearsal does not know IAM's condition operator {name}")
    if key not in context:
        return optional or quantifier == "ForAllValues"
    # StringNotEquals holds only where the value equals none of those that are listed.
    combine = all if "Not" in bare else any
    results = [
        combine(OPERATORS[bare](item, str(value)) for item in expected)
        for value in as_list(context[key])
    ]
    return any(results) if quantifier == "ForAnyValue" else all(results)


def names_action(statement: Statement, key: str, action: str) -> bool:
    """Whether a statement's Action or NotAction names an action, in capitals or not."""
    return any(like(pattern.lower(), action.lower()) for pattern in as_list(statement[key]))


def names_resource(statement: Statement, key: str, resource: str) -> bool:
    """Whether a statement's Resource or NotResource names a resource."""
    return any(like(pattern, resource) for pattern in as_list(statement[key]))


def matches(statement: Statement, action: str, resource: str, context: Mapping[str, Any]) -> bool:
    """Whether a statement is about this call."""
    if "Action" in statement and not names_action(statement, "Action", action):
        return False
    if "NotAction" in statement and names_action(statement, "NotAction", action):
        return False
    if "Resource" in statement and not names_resource(statement, "Resource", resource):
        return False
    if "NotResource" in statement and names_resource(statement, "NotResource", resource):
        return False
    return all(
        holds(name, key, as_list(expected), context)
        for name, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
    )


def allows(
    statements: Iterable[Statement], action: str, resource: str, context: Mapping[str, Any]
) -> bool:
    """Whether the statements allow a call: at least one allows it, and none denies it."""
    effects = {
        statement["Effect"]
        for statement in statements
        if matches(statement, action, resource, context)
    }
    return effects == {"Allow"}


def trusts(role: Mapping[str, Any], service: str, context: Mapping[str, Any]) -> bool:
    """Whether a role's trust policy lets a service assume it."""
    statements = [
        statement
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
        if service in as_list(statement.get("Principal", {}).get("Service", []))
    ]
    return allows(statements, "sts:AssumeRole", "*", context)


POLICIES = ("IAM::Policy", "IAM::ManagedPolicy", "IAM::RolePolicy")


@dataclass(frozen=True)
class Call:
    """One decided call: the role's logical ID, the action, the resource's ARN, the decision."""

    role: str
    action: str
    resource: str
    allowed: bool


class Authorizer:
    """Decides on calls; `calls` has every decision in order."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.calls: list[Call] = []
        self.lock = threading.Lock()

    def statements(self, role: str) -> Iterator[Statement]:
        """Every statement of a role's policies, those attached to it from outside too."""
        for document in self.documents(role):
            yield from as_list(document["Statement"])

    def documents(self, role: str) -> list[Properties]:
        """The policy documents of a role. Raises Unsupported for AWS's own managed policies."""
        properties = self.stack.properties(role)
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        managed = set(properties.get("ManagedPolicyArns", []))
        name = self.stack.ref(role)
        for kind in POLICIES:
            for logical, policy in self.stack.of_type(kind).items():
                arn = self.stack.ref(logical)
                if arn in managed or name in [*policy.get("Roles", []), policy.get("RoleName")]:
                    documents.append(policy["PolicyDocument"])
                managed.discard(arn)
        if managed:
            raise Unsupported(f"{role}: the rehearsal does not know AWS's managed policies")
        return documents

    def require(self, role: str, action: str, resource: str, **context: Any) -> None:
        """Decides on a call and records it. Raises AwsError where the role may not make it."""
        context = {"aws:SecureTransport": "true", "aws:SourceAccount": ACCOUNT, **context}
        allowed = allows(self.statements(role), action, resource, context)
        with self.lock:
            self.calls.append(Call(role, action, resource, allowed))
        if not allowed:
            arn = self.stack.arn(role)
            user = arn.replace(":iam::", ":sts::").replace(":role/", ":assumed-role/")
            raise access_denied(
                f"User: {user}"
                f" is not authorized to perform: {action} on resource: {resource}"
                f" because no identity-based policy allows the {action} action"
            )

    def require_trust(self, role: str, service: str, source_arn: str) -> None:
        """Raises AwsError where a role's trust policy does not let a service assume it."""
        context = {"aws:SourceArn": source_arn, "aws:SourceAccount": ACCOUNT}
        if not trusts(self.stack.properties(role), service, context):
            arn = self.stack.arn(role)
            raise access_denied(f"{service} is not authorized to assume {arn} for {source_arn}")

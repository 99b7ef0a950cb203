"""Decides on a role's calls, on the policies that the stack gives it, and records each decision."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rehearsal.aws import iam
from rehearsal.aws.errors import Unsupported, access_denied
from rehearsal.aws.stack import ACCOUNT, Properties, Stack

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

    def statements(self, role: str) -> Iterator[iam.Statement]:
        """Every statement of a role's policies, those attached to it from outside too."""
        for document in self.documents(role):
            yield from iam.as_list(document["Statement"])

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
        allowed = iam.allows(self.statements(role), action, resource, context)
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
        if not iam.trusts(self.stack.properties(role), service, context):
            arn = self.stack.arn(role)
            raise access_denied(f"{service} is not authorized to assume {arn} for {source_arn}")

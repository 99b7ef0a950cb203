"""The policies that the stack offers to people: each one's part, and no more."""

import fnmatch

from ops.check.reading import Findings, Map, check, items
from ops.check.stack import POLICY, Stack, plain
from ops.check.trust import allows, conditions, statements


def names(statement: Map, action: str) -> bool:
    """Whether a statement is about an action."""
    patterns = [plain(pattern) for pattern in items(statement.get("Action"))]
    return any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)


def limited(policy: list[Map], action: str, key: str) -> bool:
    """Whether a policy allows an action only under a condition, or denies it under one."""
    about = [statement for statement in policy if names(statement, action)]
    held = [any(key in one for one in conditions(statement)) for statement in about]
    allowed = [is_held for statement, is_held in zip(about, held, strict=True) if allows(statement)]
    return all(allowed) or any(held)


# Rights that some people have, and the condition that limits each.
LIMITS = {
    "codecommit:GitPush": "codecommit:References",
    "codebuild:StartBuild": "codebuild:",
}


@check
def people_have_their_part_only(stack: Stack) -> Findings:
    """Nobody pushes to the branch and approves; no policy for people goes beyond its part."""
    for name, properties in stack.of_type(POLICY).items():
        policy = statements(properties.get("PolicyDocument"))
        place = stack.resources.at[name]
        approves = [
            one for one in policy if allows(one) and names(one, "codepipeline:PutApprovalResult")
        ]
        for statement in approves:
            arns = [plain(resource) for resource in items(statement.get("Resource"))]
            if any("${Pipeline}" in one and not one.endswith("/Review/Approve") for one in arns):
                message = "approves more than Review/Approve; name that action"
                yield statement.at["Resource"], f"{name} {message}"
            if any(names(one, "codecommit:GitPush") for one in policy if allows(one)):
                yield place, f"{name} pushes and approves; give each its own policy"
        for action, key in LIMITS.items():
            if not limited(policy, action, key):
                message = f"allows {action} without a condition on {key.rstrip(':')}"
                yield place, f"{name} {message}; restore it"

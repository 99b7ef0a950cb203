"""Proves that prod is what the plan promised, with every wheel that its jobs name."""

from collections.abc import Iterator

import accepted
import plan as plans
from client import PROD, Stop, databricks, fresh_plan


def prove(plan: plans.Plan) -> None:
    """Raises Stop unless prod is what the plan promised, with every wheel that its jobs name."""
    remaining, warnings = difference(plan)
    if is_only_late_rights(plan, remaining):
        print(
            f"Deploying again, for the permissions of new objects: {', '.join(remaining.actions)}"
        )
        databricks("bundle", "deploy", "-t", PROD, "--plan", "left.json")
        remaining, warnings = difference(plan)
    if remaining.actions:
        print(plans.show(remaining))
        raise Stop(
            "after the deployment prod still differs from the release, as above. What is left is"
            " in the next plan: make start"
        )
    for warning in warnings:
        print(warning)
    check_wheels(remaining)
    print(f"Production has what the plan says: {plans.summary(plan)}.")


def difference(plan: plans.Plan) -> tuple[plans.Plan, list[str]]:
    """Returns what a new plan would change that was neither accepted nor just deployed in vain.

    And a warning for each resource with fields that were.
    """
    remaining = fresh_plan("left.json")
    accepted.leave_out(remaining)
    lasting = [key for key in remaining.actions if is_not_kept(key, plan, remaining)]
    warnings = [warning(key, remaining) for key in lasting]
    for key in lasting:
        del remaining.actions[key]
    return remaining, warnings


def is_not_kept(key: str, plan: plans.Plan, remaining: plans.Plan) -> bool:
    """Whether the deployment has just set all that still differs in a resource.

    What it created, it set as a whole. Of what it updated it must be the same field, with the same
    value before and after: any other difference is somebody's change.
    """
    action = plan.actions.get(key)
    if remaining.actions[key] != "update":
        return False
    if action == "update":
        return all(field in plan.fields(key) for field in remaining.fields(key))
    return action in ("create", "recreate")


def warning(key: str, remaining: plans.Plan) -> str:
    """Returns the warning about a resource with fields that the workspace does not keep."""
    values = [
        f"{line.path}: {line.before}, and not {line.after}"
        for line in plans.field_lines(remaining, key)
    ]
    return (
        f"WARNING: the workspace does not keep {key} as deployed: {'; '.join(values)}. The search"
        f" for drift will report it. If it may stay so, list it in {accepted.FILE}"
    )


def is_only_late_rights(plan: plans.Plan, remaining: plans.Plan) -> bool:
    """Whether only permissions of the plan are left to create.

    The client cannot create them together with an object that the same deployment makes anew.
    """
    return bool(remaining.actions) and all(
        action == "create" and key in plan.actions and key.endswith(plans.RIGHTS)
        for key, action in remaining.actions.items()
    )


def check_wheels(plan: plans.Plan) -> None:
    """Raises Stop unless each wheel that prod's resources name is in the workspace."""
    states = [entry.get("remote_state") for entry in plan.entries.values()]
    for path in sorted(set(wheels(states))):
        try:
            databricks("workspace", "get-status", path)
        except Stop:
            raise Stop(
                f"prod is deployed, but {path} is missing and its job will fail. Deploy again:"
                " make start; or go back: make rollback"
            ) from None
        print(f"In the workspace: {path}")


def wheels(node: object) -> Iterator[str]:
    """Yields every wheel of the workspace that is named at or below a node."""
    if isinstance(node, str) and node.startswith("/") and node.endswith(".whl"):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from wheels(value)
    elif isinstance(node, list):
        for value in node:
            yield from wheels(value)

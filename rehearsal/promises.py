"""Whether an execution that succeeded has kept the gate's promises, by the workspaces' record."""

import json
from collections.abc import Iterator

from rehearsal.aws.build import Build
from rehearsal.aws.execution import Action, Execution
from rehearsal.databricks.calls import DEPLOY, DESTROY, PLAN, RESOURCE, TASK, Call

CHECKSUM = "PLAN_SHA256"  # the variable of the build that made the plan
Place = tuple[int, int]  # of an action: the number of its stage, and its order in there


def places(execution: Execution) -> Iterator[tuple[Place, Action]]:
    """Every action by its place, in order. Actions of one place run beside each other."""
    for number, stage in enumerate(execution.stages):
        for action in sorted(stage.actions, key=lambda action: action.order):
            yield (number, action.order), action


def broken(execution: Execution, calls: list[Call]) -> list[str]:
    """The promises that an execution has broken, in words."""
    actions = list(places(execution))
    approved = [place for place, action in actions if is_approved(action)]
    if not approved:
        return ["Nobody was asked: the pipeline has no approval."]
    asked = approved[-1]
    builds = [(place, action.build) for place, action in actions if action.build]
    planned = [one for place, one in builds if place < asked and CHECKSUM in one.exported]
    if not planned:
        return ["The approval showed no plan: none was made before it."]
    plan = planned[-1]
    made = next((one for one in calls if one.command == PLAN and one.build == plan.id), None)
    if made is None:
        return ["The approval showed a plan that no client has made."]
    later = {build.id for place, build in builds if place > asked}
    before = [call for call in calls if call.build not in later]
    after = [call for call in calls if call.build in later and is_about(call, made)]
    return [*too_early(before, made), *not_as_approved(after, plan)]


def is_about(call: Call, plan: Call) -> bool:
    """Whether a call is about the deployment that a plan is for: also if it names no target."""
    return call.host == plan.host and call.target in (plan.target, "")


def not_run(calls: list[Call]) -> tuple[list[str], int]:
    """The tasks that ran nowhere, each with the reason, and how many tasks there were."""
    reasons = dict(json.loads(call.what) for call in calls if call.command == TASK)
    return [f"{task} ({reason})" for task, reason in reasons.items() if reason], len(reasons)


def is_approved(action: Action) -> bool:
    """Whether an action is an approval that was given."""
    return action.answer is not None and action.answer.status == "Approved"


def too_early(calls: list[Call], plan: Call) -> Iterator[str]:
    """What is wrong with the calls up to the approval of a plan."""
    if any(call.command in (DEPLOY, DESTROY) and is_about(call, plan) for call in calls):
        yield "Production was deployed to before anybody had approved."
    # A build that deploys to another target of the same workspace changes that.
    others = {one.build for one in calls if one.command == DEPLOY and not is_about(one, plan)}
    changes = [one for one in calls if one.command == RESOURCE and one.host == plan.host]
    if any(one.build not in others for one in changes):
        yield "Production was changed before anybody had approved."


def not_as_approved(calls: list[Call], plan: Build) -> Iterator[str]:
    """What is wrong with the calls after the approval of a plan."""
    calls = [call for call in calls if call.command in (PLAN, DEPLOY, DESTROY)]
    deployments = [number for number, call in enumerate(calls) if call.command == DEPLOY]
    if not deployments:
        yield "Nothing was deployed after the approval."
        return
    first, last = deployments[0], deployments[-1]
    checksums = {calls[number].what.rpartition(" ")[2] for number in deployments}
    if checksums != {plan.exported[CHECKSUM]} or any(call.command == DESTROY for call in calls):
        yield "Production did not deploy the plan that was approved."
    if first == 0:
        yield "Production was not compared with the approved plan before it was deployed."
    if last == len(calls) - 1:
        yield "Nobody proved after the deployment that production is as planned."

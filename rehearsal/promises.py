"""Whether an execution that succeeded has kept the gate's promises, by the workspaces' record."""

import json
from collections.abc import Iterator

from rehearsal.aws.build import Build
from rehearsal.aws.execution import Action, Execution
from rehearsal.databricks.calls import DEPLOY, PLAN, TASK, Call

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
    calls = [call for call in calls if call.command in (PLAN, DEPLOY)]
    target = next((call.target for call in calls if call.build == plan.id), "")
    later = {build.id for place, build in builds if place > asked}
    before = [call for call in calls if call.target == target and call.build not in later]
    after = [call for call in calls if call.target == target and call.build in later]
    return [*too_early(before), *not_as_approved(after, plan)]


def not_run(calls: list[Call]) -> tuple[list[str], int]:
    """The tasks that ran nowhere, each with the reason, and how many tasks there were."""
    reasons = dict(json.loads(call.what) for call in calls if call.command == TASK)
    return [f"{task} ({reason})" for task, reason in reasons.items() if reason], len(reasons)


def is_approved(action: Action) -> bool:
    """Whether an action is an approval that was given."""
    return action.answer is not None and action.answer.status == "Approved"


def too_early(calls: list[Call]) -> Iterator[str]:
    """What is wrong with the calls up to the approval."""
    if any(call.command == DEPLOY for call in calls):
        yield "Production was deployed to before anybody had approved."


def not_as_approved(calls: list[Call], plan: Build) -> Iterator[str]:
    """What is wrong with the calls after the approval of a plan."""
    deployments = [number for number, call in enumerate(calls) if call.command == DEPLOY]
    if not deployments:
        yield "Nothing was deployed after the approval."
        return
    first, last = deployments[0], deployments[-1]
    if calls[first].what != f"{calls[first].target} {plan.exported[CHECKSUM]}":
        yield "Production did not deploy the plan that was approved."
    if first == 0:
        yield "Production was not compared with the approved plan before it was deployed."
    if last == len(calls) - 1:
        yield "Nobody proved after the deployment that production is as planned."

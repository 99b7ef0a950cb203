"""Whether an execution that succeeded has kept the gate's promises, by the workspaces' record."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rehearsal.aws.build import Build
from rehearsal.aws.execution import Action, Execution

CHECKSUM = "PLAN_SHA256"  # the variable of the build that made the plan
PLAN, DEPLOY = "bundle plan", "bundle deploy"
Place = tuple[int, int]  # of an action: the number of its stage, and its order in there


class Call(NamedTuple):
    """What a workspace has recorded of a call; `build` is the ID of the build that made it."""

    host: str
    user: str
    command: str
    what: str  # of a plan: its target; of a deployment: its target, and its plan's SHA-256
    build: str

    @property
    def target(self) -> str:
        """The bundle's target."""
        return self.what.partition(" ")[0]


def recorded(home: Path) -> list[Call]:
    """Every recorded call of a rehearsal, in order."""
    record = home / "databricks/calls.jsonl"
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    return [Call(**json.loads(line)) for line in lines]


def places(execution: Execution) -> Iterator[tuple[Place, Action]]:
    """Every action by its place, in order. Actions of one place run beside each other."""
    for number, stage in enumerate(execution.stages):
        for action in sorted(stage.actions, key=lambda action: action.order):
            yield (number, action.order), action


def broken(execution: Execution, calls: list[Call]) -> list[str]:
    """The promises that an execution has broken, in words."""
    approved = [place for place, action in places(execution) if is_approved(action)]
    if not approved:
        return ["Nobody was asked: the pipeline has no approval."]
    asked = approved[-1]
    builds = {action.build.id: place for place, action in places(execution) if action.build}
    shown = [action.build for place, action in places(execution) if place < asked and action.build]
    plan = next((build for build in reversed(shown) if CHECKSUM in build.exported), None)
    if plan is None:
        return ["The approval showed no plan: none was made before it."]
    calls = [call for call in calls if call.command in (PLAN, DEPLOY)]
    planned = next((call.target for call in calls if call.build == plan.id), "")
    steps = [call for call in calls if call.target == planned]
    before = [call for call in steps if builds.get(call.build, asked) <= asked]
    after = [call for call in steps if builds.get(call.build, asked) > asked]
    return [*too_early(before), *not_as_approved(after, plan)]


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

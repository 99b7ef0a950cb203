"""Deploys a plan to production: exactly the one that was approved, or none.

Usage: python cicd/steps/deploy.py PLAN.JSON

PLAN_SHA256 and WHEEL_SHA256 are the checksums that the approval was about. This looks for every
reason to stop before it calls the client to deploy, because a deployment that the client refuses
has already uploaded the new code. A rollback brings an old release, whose plan is always stale: it
is planned anew.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import plan as plans
from release import Refused, latest

PROD = "prod"
UNCHANGED = "Nothing is changed."
NEW_PLAN = "A new plan, to be approved: make start"


class Stop(Exception):
    """Why nothing more is done, and what to do."""


def databricks(*arguments: str) -> str:
    """Returns what the Databricks CLI prints; its messages go to the log. Raises Stop."""
    result = subprocess.run(["databricks", *arguments], stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise Stop(f"databricks {' '.join(arguments)} failed with exit code {result.returncode}")
    return result.stdout


def fresh_plan(name: str) -> plans.Plan:
    """Returns what a deployment would do now, and writes it to a file. Raises Stop, Damaged."""
    text = databricks("bundle", "plan", "-t", PROD, "-o", "json")
    Path(name).write_text(text, encoding="utf-8")
    return plans.read(name)


# ---- Before the deployment -----------------------------------------------------------------------


def check_sum(path: Path, variable: str) -> None:
    """Raises Stop unless the variable has the file's SHA-256."""
    actual, approved = hashlib.sha256(path.read_bytes()).hexdigest(), os.environ.get(variable)
    if actual != approved:
        raise Stop(
            f"{path.name} is not the file that was approved: its SHA-256 is {actual}, not"
            f" {approved}. {UNCHANGED} {NEW_PLAN}"
        )


def approved_plan(name: str) -> plans.Plan:
    """Returns the plan in the file. Raises Stop if it is not the one that was approved."""
    try:
        check_sum(Path(name), "PLAN_SHA256")
        return plans.read(name)
    except (OSError, plans.Damaged) as error:
        raise Stop(f"{name}: {error}. {UNCHANGED} {NEW_PLAN}") from None


def check_still_true(approved: plans.Plan, now: plans.Plan) -> None:
    """Raises Stop if prod is not as it was when the plan was made."""
    if approved.state != now.state:
        raise Stop(
            "the plan is stale: since it was made another deployment changed prod (its state was"
            f" {approved.state[1]}, it is {now.state[1]} now). Another execution of this pipeline,"
            " a first try of this one, or somebody with this deployer's credential; make releases"
            f" lists the pipeline's. {UNCHANGED} {NEW_PLAN}"
        )
    if not approved.same_as(now):
        print(plans.show(now))
        raise Stop(
            "prod was changed by hand since the plan was made: above is what the release would do"
            f" now, which nobody has approved. {UNCHANGED} {NEW_PLAN}"
        )


def check_losses(plan: plans.Plan) -> None:
    """Raises Stop if a plan that nobody has approved loses data."""
    if plan.losses:
        raise Stop(
            "this rollback would lose data, and nobody has approved that:"
            f" {', '.join(plan.losses)}. {UNCHANGED}"
            " Revert the commit and push it: that plan can be approved"
        )


# ---- The deployment ------------------------------------------------------------------------------


def deploy(plan: plans.Plan, name: str) -> None:
    """Deploys the plan in a file. Raises Stop; before that, prints which part was applied."""
    plan.check_secrets()
    # Without this option the client refuses to lose data, approved or not.
    options = ["--auto-approve"] if plan.losses else []
    try:
        databricks("bundle", "deploy", "-t", PROD, "--plan", name, *options)
    except Stop as failure:
        raise Stop(f"{failure}; {what_was_applied(plan)}") from None


def what_was_applied(plan: plans.Plan) -> str:
    """Prints how far a deployment that failed came; returns what to do."""
    try:
        remaining = fresh_plan("left.json").actions
    except (Stop, plans.Damaged) as error:
        return f"what was applied is not known, because {error}"
    for key, action in plan.actions.items():
        print(f"{progress(action, remaining.get(key))}: {action} {key}")
    return (
        "the lines above say what was applied; files may already be new."
        " Fix the cause and push, or: make rollback"
    )


def progress(action: str, remaining: str | None) -> str:
    """Returns whether an action is done, by the one that is left to do."""
    if remaining is None:
        return "done"
    return "not done" if remaining == action else f"half done ({remaining})"


# ---- After the deployment ------------------------------------------------------------------------


def prove(plan: plans.Plan) -> None:
    """Raises Stop unless prod is what the plan promised, with every wheel that its jobs name."""
    remaining = fresh_plan("left.json")
    if is_only_late_rights(plan, remaining):
        print(
            f"Deploying again, for the permissions of new objects: {', '.join(remaining.actions)}"
        )
        databricks("bundle", "deploy", "-t", PROD, "--plan", "left.json")
        remaining = fresh_plan("left.json")
    if remaining.actions:
        print(plans.show(remaining))
        raise Stop(
            "after the deployment prod still differs from the release, as above. What is left is"
            " in the next plan: make start"
        )
    check_wheels(remaining)
    print(f"Production has what the plan says: {plans.summary(plan)}.")


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


def release_plan(name: str) -> None:
    """Checks, deploys and proves the approved plan, or a new one if this is a rollback."""
    (wheel,) = Path("dist").glob("*.whl")
    check_sum(wheel, "WHEEL_SHA256")
    now = fresh_plan("now.json")
    pipeline = os.environ["CODEBUILD_INITIATOR"].removeprefix("codepipeline/")
    if latest(pipeline, "type") == "ROLLBACK":
        plan, name = now, "now.json"
        print(f"A rollback. What it changes, planned just now:\n\n{plans.show(plan)}")
        check_losses(plan)
    else:
        plan = approved_plan(name)
        check_still_true(plan, now)
        print(plans.show(plan))
    deploy(plan, name)
    prove(plan)


def main() -> None:
    """Deploys the plan that the command line names; exits with one line if that fails."""
    parser = argparse.ArgumentParser(description="Deploys the approved plan to production.")
    parser.add_argument("plan", metavar="PLAN.JSON")
    name = parser.parse_args().plan
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in order with the client's own messages
    try:
        release_plan(name)
    except (Stop, plans.Damaged) as stop:
        sys.exit(f"deploy.py: {PROD}: {stop}")
    except Refused as refused:
        sys.exit(f"deploy.py: {refused}")


if __name__ == "__main__":
    main()

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
import sys
from pathlib import Path

import accepted
import leftovers
import plan as plans
import proof
import wheels
from client import PROD, Stop, databricks, fresh_plan
from release import Refused, latest

UNCHANGED = "Nothing is changed."
NEW_PLAN = "A new plan, to be approved: make start"


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
    if approved.same_as(now):
        return
    if is_part_of(now, approved):
        print(
            "An earlier deployment of this release was cut off: prod has a part of the approved"
            f" plan already. This deployment does the rest: {plans.summary(now)}."
        )
        return
    print(plans.show(now))
    raise Stop(
        "prod was changed by hand since the plan was made: above is what the release would do"
        f" now, which nobody has approved. {UNCHANGED} {NEW_PLAN}"
    )


def is_part_of(now: plans.Plan, approved: plans.Plan) -> bool:
    """Whether all that is left to do was approved, with the same values.

    Both plans are of the same release: where the new one changes nothing, prod has its values.
    """
    return all(
        approved.actions.get(key) == action
        and all(field in approved.fields(key) for field in now.fields(key))
        for key, action in now.actions.items()
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


def release_plan(name: str) -> None:
    """Checks, deploys and proves the approved plan, or a new one if this is a rollback."""
    check_sum(wheels.only("dist"), "WHEEL_SHA256")
    accepted.read()  # a list that cannot be read stops the release before anything is deployed
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
    leftovers.check(plan)
    deploy(plan, name)
    proof.prove(plan)


def main() -> None:
    """Deploys the plan that the command line names; exits with one line if that fails."""
    parser = argparse.ArgumentParser(description="Deploys the approved plan to production.")
    parser.add_argument("plan", metavar="PLAN.JSON")
    name = parser.parse_args().plan
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in order with the client's own messages
    try:
        release_plan(name)
    except (Stop, plans.Damaged, accepted.Unreadable, wheels.Unusable) as stop:
        sys.exit(f"deploy.py: {PROD}: {stop}")
    except Refused as refused:
        sys.exit(f"deploy.py: {refused}")


if __name__ == "__main__":
    main()

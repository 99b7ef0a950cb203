"""Deploys a plan to production: exactly the one that was approved, or none.

Usage: python cicd/steps/deploy.py PLAN.JSON

PLAN_SHA256 is the checksum of the plan that the approval was about. Every reason to stop is found
before the client is called to deploy, for a deployment that it refuses has already uploaded the new
code. A rollback brings an old release, whose plan is stale by nature: it is planned anew.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import plan as plans
from release import latest

ANEW = "A new plan, to be approved: make start"


class Stop(Exception):
    """Why nothing more is done, and what to do."""


def client(*arguments: str) -> str:
    """What the Databricks CLI prints; what it says about its work goes to the log. Raises Stop."""
    done = subprocess.run(["databricks", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Stop(f"databricks {' '.join(arguments)} failed with exit code {done.returncode}")
    return done.stdout


def fresh_plan(name: str) -> plans.Plan:
    """What a deployment would do now, also written to a file."""
    Path(name).write_text(client("bundle", "plan", "-t", "prod", "-o", "json"), encoding="utf-8")
    return plans.read(name)


def check_sum(path: Path, variable: str) -> None:
    """Raises Stop unless the file is the one that the variable has the SHA-256 of."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != os.environ.get(variable):
        raise Stop(
            f"{path.name} is not the file that was approved: its SHA-256 is {found}, not"
            f" {os.environ.get(variable)}. Nothing is changed. {ANEW}"
        )


def approved_plan(name: str) -> plans.Plan:
    """The plan in the file, if it is the one that was approved. Raises Stop."""
    try:
        check_sum(Path(name), "PLAN_SHA256")
        return plans.read(name)
    except (OSError, plans.Damaged) as error:
        raise Stop(f"{name}: {error}. Nothing is changed. {ANEW}") from None


def check_still_true(approved: plans.Plan, now: plans.Plan) -> None:
    """Raises Stop where prod is not as it was when the plan was made."""
    if approved.state != now.state:
        raise Stop(
            "the plan is stale: since it was made another deployment changed prod (its state was"
            f" {approved.state[1]}, it is {now.state[1]} now). Another execution of this pipeline,"
            " a first try of this one, or somebody with this deployer's credential; make releases"
            f" lists the pipeline's. Nothing is changed. {ANEW}"
        )
    if not approved.same_as(now):
        print(plans.show(now))
        raise Stop(
            "prod was changed by hand since the plan was made: above is what the release would do"
            f" now, which nobody has approved. Nothing is changed. {ANEW}"
        )


def deploy(plan: plans.Plan, name: str, approved: bool) -> None:
    """Deploys the plan. Raises Stop, having said which part of it was applied."""
    plan.check_secrets()
    losses = plan.losses
    if losses and not approved:
        raise Stop(
            f"this rollback would lose data, and nobody has approved that: {', '.join(losses)}."
            " Nothing is changed. Revert the commit and push it: that plan can be approved"
        )
    agreed = ["--auto-approve"] if losses else []
    try:
        client("bundle", "deploy", "-t", "prod", "--plan", name, *agreed)
    except Stop as failed:
        try:
            left = fresh_plan("left.json").actions
        except (Stop, plans.Damaged) as unknown:
            raise Stop(f"{failed}; what was applied is not known, for {unknown}") from None
        for key, action in plan.actions.items():
            then = left.get(key)
            did = "done" if not then else "not done" if then == action else f"half done ({then})"
            print(f"{did}: {action} {key}")
        raise Stop(
            f"{failed}; what was applied stands above, files may be new already. Mend the cause"
            " and push, or: make rollback"
        ) from None


def wheels(node: object) -> Iterator[str]:
    """Every wheel in the workspace that is named at or below a node."""
    if isinstance(node, str) and node.startswith("/") and node.endswith(".whl"):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from wheels(one)


def prove(plan: plans.Plan) -> None:
    """Raises Stop unless prod is what the plan wanted, with every wheel that its jobs name."""
    left = fresh_plan("left.json")
    late = [
        key
        for key, action in left.actions.items()
        if action == "create" and key in plan.actions and key.endswith(plans.RIGHTS)
    ]
    if late and len(late) == len(left.actions):
        print(f"Once more, for an object that is new: {', '.join(late)}")
        client("bundle", "deploy", "-t", "prod", "--plan", "left.json")
        left = fresh_plan("left.json")
    if left.actions:
        print(plans.show(left))
        raise Stop(
            "after the deployment prod still differs from the release, as above. What is left is"
            " in the next plan: make start"
        )
    deployed = [entry.get("remote_state") for entry in left.entries.values()]
    for path in sorted(set(wheels(deployed))):
        try:
            client("workspace", "get-status", path)
        except Stop:
            raise Stop(
                f"prod is deployed, but {path} is missing and its job will fail. Deploy again:"
                " make start; or go back: make rollback"
            ) from None
        print(f"There: {path}")
    print(f"Production has what the plan says: {plans.summary(plan)}.")


def main() -> None:
    """Plans anew if this is a rollback, checks, deploys, proves."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.reconfigure(line_buffering=True)  # in order with what the client says
    try:
        (wheel,) = Path("dist").glob("*.whl")
        check_sum(wheel, "WHEEL_SHA256")
        now = fresh_plan("now.json")
        pipeline = os.environ["CODEBUILD_INITIATOR"].removeprefix("codepipeline/")
        if latest(pipeline, "type") == "ROLLBACK":
            print(f"A rollback. What it changes, planned just now:\n\n{plans.show(now)}")
            deploy(now, "now.json", approved=False)
            prove(now)
            return
        plan = approved_plan(sys.argv[1])
        check_still_true(plan, now)
        print(plans.show(plan))
        deploy(plan, sys.argv[1], approved=True)
        prove(plan)
    except (Stop, plans.Damaged) as stop:
        sys.exit(f"deploy.py: prod: {stop}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"deploy.py: {' '.join(error.cmd[:3])}: {error.stderr.strip()}")


if __name__ == "__main__":
    main()

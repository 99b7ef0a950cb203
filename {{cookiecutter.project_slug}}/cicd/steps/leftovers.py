"""Finds what a deployment that was killed has left in the workspace.

It has recorded nothing: what it created is in no state, so the next deployment would create it a
second time. Its lock is still there. Jobs and pipelines are looked for by name; of most other kinds
the workspace itself refuses a second one of the same name.
"""

import re
import subprocess
from typing import Any

import plan as plans
from client import PROD, Stop, answer

# The field with the ID of a resource, by kind.
IDS = {"jobs": "job_id", "pipelines": "pipeline_id"}
GUIDE = "docs/operations.md#when-a-deployment-was-cut-off"


def listed(kind: str, name: str) -> list[dict[str, Any]]:
    """Returns the workspace's jobs or pipelines of about this name. Raises Stop."""
    if kind == "jobs":
        return answer("jobs", "list", "--name", name) or []
    pattern = re.sub(r"['\\]", "_", name)  # `_` matches any character
    return answer("pipelines", "list-pipelines", "--filter", f"name LIKE '{pattern}'") or []


def own(kind: str, name: str, user: str) -> list[str]:
    """Returns the IDs of the resources that this user has under exactly this name."""
    return [
        str(item[IDS[kind]])
        for item in listed(kind, name)
        if item.get("settings", item).get("name") == name and item["creator_user_name"] == user
    ]


def known(plan: plans.Plan) -> set[str]:
    """Returns the IDs of all resources that the deployment's state knows."""
    states = [entry.get("remote_state") or {} for entry in plan.entries.values()]
    return {str(state[id_]) for state in states for id_ in IDS.values() if id_ in state}


def created(plan: plans.Plan) -> dict[str, str]:
    """Returns the names of what the plan creates, by key; "" where that is not looked for."""
    return {
        key: plan.entries[key]["new_state"]["value"].get("name", "") if kind in IDS else ""
        for key, action in plan.actions.items()
        for kind, *more in [key.split(".")]
        if action == "create" and len(more) == 1  # permissions go with their resource
    }


def orphans(plan: plans.Plan) -> list[str]:
    """Returns a sentence for each object of the workspace that the plan would create again."""
    names = created(plan)
    if unseen := [key for key, name in names.items() if not name]:
        print(f"Whether the workspace has one already is not looked up: {', '.join(unseen)}")
    user = answer("current-user", "me")["userName"] if any(names.values()) else ""
    return [
        f"{key} would be created, but this deployer has one of that name already: its ID is {id_}."
        f" Delete it (databricks {kind} delete {id_}), or adopt it"
        for key, name in names.items()
        if name
        for kind in [key.split(".")[0]]
        for id_ in own(kind, name, user)
        if id_ not in known(plan)
    ]


def lock() -> list[str]:
    """Returns a sentence about the lock of another deployment, if there is one."""
    state = answer("bundle", "summary", "-t", PROD)["workspace"]["state_path"]
    path = f"{state}/deploy.lock"
    status = subprocess.run(["databricks", "workspace", "get-status", path], capture_output=True)
    if status.returncode:
        return []
    return [f"prod is locked; if no build is running: databricks workspace delete {path}"]


def check(plan: plans.Plan) -> None:
    """Raises Stop if a deployment that was cut off must be cleaned up before this one."""
    problems = [*lock(), *orphans(plan)]
    if problems:
        raise Stop(
            "an earlier deployment was cut off before it recorded what it did, or one is running:"
            f" {'; '.join(problems)}. See {GUIDE}. Nothing is changed; afterwards: Retry stage"
        )

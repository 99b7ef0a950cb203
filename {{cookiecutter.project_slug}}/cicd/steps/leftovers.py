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
LISTS = {"jobs": ["jobs", "list"], "pipelines": ["pipelines", "list-pipelines"]}
MANY = 20  # of more names than that, one list of all that the workspace has is the quicker one
GUIDE = "docs/operations.md#when-a-deployment-was-cut-off"


def listed(kind: str, names: set[str]) -> list[dict[str, Any]]:
    """Returns the workspace's jobs or pipelines, of about these names or all. Raises Stop."""
    calls = [LISTS[kind]] if len(names) > MANY else [named(kind, name) for name in sorted(names)]
    items = [item for call in calls for item in answer(*call)]
    return list({item[IDS[kind]]: item for item in items}.values())


def named(kind: str, name: str) -> list[str]:
    """Returns the call that lists the jobs or pipelines of about this name."""
    if kind == "jobs":
        return [*LISTS[kind], "--name", name]
    pattern = re.sub(r"['\\]", "_", name)  # `_` matches any character
    return [*LISTS[kind], "--filter", f"name LIKE '{pattern}'"]


def metadata(resource: dict[str, Any]) -> str:
    """Returns the file that says which bundle's deployment a job belongs to, or ""."""
    return str((resource.get("deployment") or {}).get("metadata_file_path", ""))


def is_leftover(item: dict[str, Any], new: dict[str, Any], user: str) -> bool:
    """Whether an object of the workspace is what a deployment of this bundle would create."""
    settings = item.get("settings", item)
    return (
        settings.get("name") == new["name"]
        and item["creator_user_name"] == user
        and metadata(settings) in ("", metadata(new))  # another bundle's is not ours to delete
    )


def own(kind: str, resources: dict[str, dict[str, Any]], user: str) -> list[tuple[str, str]]:
    """Returns key and ID of each object of a kind that the deployment would create again."""
    new = {key: value for key, value in resources.items() if value and key.startswith(f"{kind}.")}
    there = listed(kind, {value["name"] for value in new.values()})
    return [
        (key, str(item[IDS[kind]]))
        for key, value in new.items()
        for item in there
        if is_leftover(item, value, user)
    ]


def known(plan: plans.Plan) -> set[str]:
    """Returns the IDs of all resources that the deployment's state knows."""
    states = [entry.get("remote_state") or {} for entry in plan.entries.values()]
    return {str(state[id_]) for state in states for id_ in IDS.values() if id_ in state}


def created(plan: plans.Plan) -> dict[str, dict[str, Any]]:
    """Returns what the plan creates, by key; {} where nothing is looked for."""
    return {
        key: looked_for(kind, plan.entries[key]["new_state"]["value"])
        for key, action in plan.actions.items()
        for kind, *more in [key.split(".")]
        if action == "create" and len(more) == 1  # permissions go with their resource
    }


def looked_for(kind: str, new: dict[str, Any]) -> dict[str, Any]:
    """Returns a new resource if the workspace can be asked for it by its name, or {}."""
    return new if kind in IDS and new.get("name") else {}


def orphans(plan: plans.Plan) -> list[str]:
    """Returns a sentence for each object of the workspace that the plan would create again."""
    resources = created(plan)
    if unseen := [key for key, new in resources.items() if not new]:
        print(f"Whether the workspace has one already is not looked up: {', '.join(unseen)}")
    user = answer("current-user", "me")["userName"] if any(resources.values()) else ""
    return [
        f"{key} would be created, but this deployer has one of that name already: its ID is {id_}."
        f" Delete it (databricks {kind} delete {id_}), or adopt it"
        for kind in IDS
        for key, id_ in own(kind, resources, user)
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

"""What the client sets by itself: a mode's rules and presets, and defaults of resources.

docs.databricks.com/aws/en/dev-tools/bundles/deployment-modes
"""

import copy
import re
from typing import Any

from rehearsal.databricks.bundle.source import Map
from rehearsal.databricks.errors import Invalid

PRINCIPAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRIGGERS = ("schedule", "continuous", "trigger")
JOB_DEFAULTS = {"queue": {"enabled": True}, "edit_mode": "UI_LOCKED", "format": "MULTI_TASK"}
PIPELINE_DEFAULTS = {"channel": "CURRENT", "edition": "ADVANCED"}


def apply_mode(config: Map, mode: str, user: str, explicit_root: bool) -> None:
    """Checks the rules of a target's mode, and sets its presets. Raises Invalid.

    `explicit_root` is whether the bundle itself has a root_path.
    """
    if mode == "development":
        _apply_development(config, user)
    elif mode == "production":
        _check_production(config, user, explicit_root)
    elif mode:
        allowed = "must be either 'development' or 'production'"
        raise Invalid(f"unsupported value '{mode}' specified for 'mode': {allowed}")


def _apply_development(config: Map, user: str) -> None:
    root, presets = config["workspace"]["root_path"], config.get("presets") or Map()
    short_name = config["workspace"]["current_user"]["short_name"]
    if presets.get("trigger_pause_status") == "UNPAUSED":
        raise Invalid(
            "target with 'mode: development' cannot set trigger pause status to UNPAUSED by default"
        )
    if short_name not in root and user not in root:
        raise Invalid(
            "root_path must start with '~/' or contain the current username to ensure uniqueness"
            " when using 'mode: development'"
        )
    defaults = {
        "name_prefix": f"[dev {short_name}] ",
        "jobs_max_concurrent_runs": 4,
        "trigger_pause_status": "PAUSED",
        "pipelines_development": True,
        "tags": {"dev": short_name},
    }
    config["presets"] = defaults | presets


def _check_production(config: Map, user: str, explicit_root: bool) -> None:
    pipelines = config.section("resources").get("pipelines") or {}
    if any(pipeline.get("development") for pipeline in pipelines.values()):
        raise Invalid(
            "target with 'mode: production' cannot include a pipeline with 'development: true'"
        )
    if not (explicit_root or PRINCIPAL.fullmatch(user) or config.get("run_as")):
        raise Invalid(
            "target with 'mode: production' must set 'workspace.root_path' to make sure only one"
            " copy is deployed\n\nA common practice is to use a username or principal name in this"
            f" path, i.e. use\n\n  root_path: /Workspace/Users/{user}/.bundle/"
            "${bundle.name}/${bundle.target}"
        )


def complete_resources(config: Map, user: str) -> None:
    """Applies presets and run_as to each resource, and sets what the client sets by itself."""
    presets = config.get("presets") or {}
    prefix = _plain_prefix(presets)
    for kind, named in config.section("resources").items():
        for resource in (named or {}).values():
            if kind == "jobs":
                _complete_object(config, user, resource, presets)
                _complete_job(resource, presets)
            elif kind == "pipelines":
                _complete_object(config, user, resource, presets)
                _complete_pipeline(resource, presets)
            elif prefix and kind != "volumes" and "name" in resource:
                resource["name"] = prefix + resource["name"]


def _plain_prefix(presets: dict[str, Any]) -> str:
    """The prefix for names that take no blanks or brackets, like a schema's."""
    prefix = presets.get("name_prefix", "")
    return re.sub(r"\W+", "_", prefix).strip("_") + "_" if prefix else ""


def _complete_object(config: Map, user: str, resource: Map, presets: dict[str, Any]) -> None:
    """Completes what jobs and pipelines share."""
    resource["name"] = presets.get("name_prefix", "") + resource.get("name", "")
    if config.get("run_as"):
        resource.setdefault("run_as", config["run_as"])
    if presets.get("tags"):
        resource["tags"] = presets["tags"] | (resource.get("tags") or {})
    if resource.get("permissions"):
        # The workspace lists the owner too: without this entry each plan would show a change.
        owner = "user_name" if "@" in user else "service_principal_name"
        resource["permissions"].append({"level": "IS_OWNER", owner: user})
    metadata = f"{config['workspace']['state_path']}/metadata.json"
    resource["deployment"] = {"kind": "BUNDLE", "metadata_file_path": metadata}


def _complete_job(job: Map, presets: dict[str, Any]) -> None:
    pause_status = presets.get("trigger_pause_status") or "UNPAUSED"
    for trigger in TRIGGERS:
        if trigger in job:
            job[trigger].setdefault("pause_status", pause_status)
    runs = {"max_concurrent_runs": presets.get("jobs_max_concurrent_runs", 1)}
    _set_defaults(job, runs | JOB_DEFAULTS)


def _complete_pipeline(pipeline: Map, presets: dict[str, Any]) -> None:
    if presets.get("pipelines_development"):
        pipeline["development"] = True
    if presets.get("trigger_pause_status") == "PAUSED":  # continuous pipelines have no pause status
        pipeline.pop("continuous", None)
    _set_defaults(pipeline, PIPELINE_DEFAULTS)


def _set_defaults(resource: Map, defaults: dict[str, Any]) -> None:
    for key, value in defaults.items():
        resource.setdefault(key, copy.deepcopy(value))

"""What the client sets by itself: a mode's rules and presets, resources' defaults, and paths.

docs.databricks.com/aws/en/dev-tools/bundles/deployment-modes
"""

import copy
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rehearsal.databricks.bundle_yaml import Map, leaves
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace import is_notebook

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


# The fields of resources that name files or folders of the bundle.
REMOTE = re.compile(
    r"jobs\.[^.]+\.tasks\[\d+\]\.(for_each_task\.task\.)?(notebook_task\.notebook_path"
    r"|spark_python_task\.python_file|sql_task\.file\.path|dbt_task\.project_directory)"
    r"|pipelines\.[^.]+\.(root_path|libraries\[\d+\]\.((notebook|file)\.path|glob\.include))"
)
# The fields that name wheels or packages.
LIBRARY = re.compile(r"(jobs|pipelines)\..+\.(libraries\[\d+\]\.(whl|jar)|dependencies\[\d+\])")
ABSOLUTE = re.compile(r"/|\w+:|\$\{")


def translate(root: Path, config: Map) -> None:
    """Makes paths, which are relative to the file that has them, the workspace's.

    Paths of wheels become relative to the bundle's root. Raises Invalid for a missing file.
    """
    for path, container, key, value in leaves(config.section("resources")):
        if not isinstance(value, str) or ABSOLUTE.match(value):
            continue
        if not REMOTE.fullmatch(path) and not _is_local_library(path, value):
            continue
        source = container.places[key][1].partition(":")[0]
        local = os.path.normpath(Path(source).parent / value)
        if REMOTE.fullmatch(path):
            container[key] = f"{config['workspace']['file_path']}/{_checked(root, path, local)}"
        else:
            container[key] = f"./{local}"


def _is_local_library(path: str, value: str) -> bool:
    return bool(LIBRARY.fullmatch(path)) and (value.startswith(".") or ".whl" in value)


def _checked(root: Path, path: str, local: str) -> str:
    """The path of a file as the workspace has it, without a notebook's suffix."""
    if path.endswith("root_path") or not path.endswith(("path", "file")):
        return local  # a folder or a pattern
    field = path.split(".", 2)[2]
    kind = "notebook" if "notebook" in field else "file"
    if not (root / local).is_file():
        raise Invalid(f"{kind} {local} not found")
    if kind == "file":
        return local
    if not is_notebook(root / local):
        raise Invalid(f"expected a notebook for {path}: {local} is not one")
    return local.removesuffix(".py")


def _local_libraries(root: Path, config: Map) -> Iterator[tuple[Any, Any, list[Path]]]:
    """Container, key and files of each path to local wheels. Raises Invalid if there is no file."""
    for path, container, key, value in leaves(config.section("resources")):
        if not (LIBRARY.fullmatch(path) and str(value).startswith("./")):
            continue
        files = sorted(root.glob(value[2:]))
        if not files:
            is_pattern = any(sign in value for sign in "*?[")
            problem = "no files match pattern:" if is_pattern else "file doesn't exist"
            place = container.places[key][1]
            raise Invalid(f"{problem} {value}\n  at resources.{path}\n  in {place}")
        yield container, key, files


def place_libraries(root: Path, config: Map) -> list[Path]:
    """Puts the uploaded wheels' paths into the resources; returns the local files."""
    if config.get("artifacts"):
        raise NotSupported("building artifacts")
    folder = f"{config['workspace']['artifact_path']}/.internal"
    uploads: list[Path] = []
    for container, key, files in list(_local_libraries(root, config)):
        paths = [f"{folder}/{file.name}" for file in files]
        if isinstance(container, list):  # a pattern stands for all files that match
            container[key : key + 1] = paths
        else:
            container[key] = paths[0]
        uploads += files
    return list(dict.fromkeys(uploads))


def synced_files(root: Path, sync: Map) -> list[str]:
    """The files to upload, relative to root: those of sync's paths that git does not ignore."""
    paths = [os.path.normpath(path) for path in sync["paths"]]
    patterns = [".databricks", *(sync.get("exclude") or ())]
    exclude = [f"--exclude={pattern}" for pattern in patterns]
    include = [f":(glob){pattern}" for pattern in sync.get("include") or ()]
    # Git knows how to read .gitignore files, but the bundle need not be a repository: an empty one
    # elsewhere, with the bundle as its work tree, has only files that are not tracked.
    with tempfile.TemporaryDirectory() as scratch:
        git = ["git", f"--git-dir={scratch}/git", "--work-tree=."]
        _run(root, *git, "init", "--quiet")
        list_files = [*git, "ls-files", "--others", "-z"]
        files = _run(
            root, *list_files, "--exclude-per-directory=.gitignore", *exclude, "--", *paths
        )
        if include:
            files += _run(root, *list_files, "--", *include)
        return sorted(set(files))


def _run(root: Path, *command: str) -> list[str]:
    """The names that a git command prints. The caller's own repository has no part in it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, check=True)
    return [name for name in result.stdout.decode().split("\0") if name]

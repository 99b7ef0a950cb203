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

from rehearsal.databricks.bundle_yaml import Map, Seq, leaves, merge_items
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace import is_notebook, without_suffix

PRINCIPAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRIGGERS = ("schedule", "continuous", "trigger")
JOB_DEFAULTS = {"queue": {"enabled": True}, "edit_mode": "UI_LOCKED", "format": "MULTI_TASK"}
PIPELINE_DEFAULTS = {"channel": "CURRENT", "edition": "ADVANCED"}
KEYED_LISTS = (  # lists whose items are merged by one of their fields, and its value if it is unset
    ("jobs", "tasks", "task_key", ""),  # in their order
    ("jobs", "job_clusters", "job_cluster_key", ""),
    ("jobs", "parameters", "name", ""),
    ("pipelines", "clusters", "label", "default"),
    ("schemas", "grants", "principal", ""),
    ("volumes", "grants", "principal", ""),
)


def merge_lists(config: Map) -> None:
    """Merges what a target adds to a list with what is there; the client sorts the tasks."""
    for kind, field, key, default in KEYED_LISTS:
        for resource in config["resources"].get(kind, {}).values():
            if field in resource:
                resource[field] = merge_items(resource[field], key, default)


def apply_mode(config: Map, mode: str, user: str, has_root: bool) -> None:
    """Checks the rules of a target's mode, and sets its presets. Raises Invalid.

    `has_root` is whether the target has a root_path of its own.
    """
    pause_status = (config.get("presets") or {}).get("trigger_pause_status", "PAUSED")
    if pause_status not in ("PAUSED", "UNPAUSED"):
        raise Invalid("Invalid value for trigger_pause_status, should be PAUSED or UNPAUSED")
    if mode == "development":
        _apply_development(config, user)
    elif mode == "production":
        _check_production(config, user, has_root)
    elif mode:
        allowed = "must be either 'development' or 'production'"
        raise Invalid(f"unsupported value '{mode}' specified for 'mode': {allowed}")


def _apply_development(config: Map, user: str) -> None:
    workspace, presets = config["workspace"], config.get("presets") or Map()
    short_name = workspace["current_user"]["short_name"]
    if presets.get("trigger_pause_status") == "UNPAUSED":
        raise Invalid(
            "target with 'mode: development' cannot set trigger pause status to UNPAUSED by default"
        )
    for name in ("root_path", "file_path", "resource_path", "artifact_path", "state_path"):
        if short_name not in workspace[name] and user not in workspace[name]:
            raise Invalid(
                f"{name} must start with '~/' or contain the current username to ensure uniqueness"
                " when using 'mode: development'"
            )
    if short_name not in presets.get("name_prefix", short_name):
        raise Invalid("prefix should contain the current username when using 'mode: development'")
    defaults = {
        "name_prefix": f"[dev {short_name}] ",
        "jobs_max_concurrent_runs": 4,
        "trigger_pause_status": "PAUSED",
        "pipelines_development": True,
    }
    tags = {"dev": short_name} | presets.get("tags", {})
    config["presets"] = Map(defaults | presets | {"tags": tags})


def _check_production(config: Map, user: str, has_root: bool) -> None:
    resources = config["resources"]
    pipelines, presets = resources.get("pipelines", {}), config.get("presets") or {}
    if any(
        pipeline.get("development") or presets.get("pipelines_development")
        for pipeline in pipelines.values()
    ):
        raise Invalid(
            "target with 'mode: production' cannot include a pipeline with 'development: true'"
        )
    run_as = config.get("run_as") or all(
        job.get("run_as") for job in resources.get("jobs", {}).values()
    )
    if not (has_root or PRINCIPAL.fullmatch(user) or run_as):
        raise Invalid(
            "target with 'mode: production' must set 'workspace.root_path' to make sure only one"
            " copy is deployed\n\nA common practice is to use a username or principal name in this"
            f" path, i.e. use\n\n  root_path: /Workspace/Users/{user}/.bundle/"
            "${bundle.name}/${bundle.target}"
        )


def complete_resources(config: Map, user: str) -> None:
    """Applies presets and run_as to each resource, and sets what the client sets by itself."""
    presets, resources = config.get("presets") or {}, config["resources"]
    for job in resources.get("jobs", {}).values():
        _complete_object(config, user, job, presets)
        _complete_job(job, presets)
    for pipeline in resources.get("pipelines", {}).values():
        _complete_object(config, user, pipeline, presets)
        _complete_pipeline(pipeline, presets)
    for schema in resources.get("schemas", {}).values():
        schema["name"] = _plain_prefix(presets) + schema.get("name", "")
    for volume in resources.get("volumes", {}).values():
        volume.setdefault("volume_type", "MANAGED")


def _plain_prefix(presets: dict[str, Any]) -> str:
    """The prefix of a schema's name, which takes no blanks or brackets. Raises NotSupported."""
    prefix = presets.get("name_prefix", "")
    if prefix and not re.fullmatch(r"\[\w+( \w+)*\] ", prefix):
        raise NotSupported(f"presets.name_prefix {prefix!r} together with schemas")
    return re.sub(r"\W+", "_", prefix).lstrip("_").lower()


def _complete_object(config: Map, user: str, resource: Map, presets: dict[str, Any]) -> None:
    """Completes what jobs and pipelines share."""
    resource["name"] = presets.get("name_prefix", "") + resource.get("name", "")
    if config.get("run_as") and not resource.get("run_as"):
        resource["run_as"] = Map(config["run_as"])
    if presets.get("tags"):
        resource["tags"] = Map(presets["tags"] | (resource.get("tags") or {}))
    if resource.get("permissions"):
        # The workspace lists the owner too: without this entry each plan would show a change.
        owner = "service_principal_name" if PRINCIPAL.fullmatch(user) else "user_name"
        resource["permissions"].append(Map({"level": "IS_OWNER", owner: user}))
    metadata = f"{config['workspace']['state_path']}/metadata.json"
    resource["deployment"] = {"kind": "BUNDLE", "metadata_file_path": metadata}


def _complete_job(job: Map, presets: dict[str, Any]) -> None:
    job["name"] = job["name"] or "Untitled"
    pause_status = presets.get("trigger_pause_status") or "UNPAUSED"
    for trigger in TRIGGERS:
        if trigger in job:
            job[trigger].setdefault("pause_status", pause_status)
    for cluster in job.get("job_clusters", ()):
        if "new_cluster" in cluster and "autoscale" not in cluster["new_cluster"]:
            cluster["new_cluster"].setdefault("num_workers", 0)
    runs = {"max_concurrent_runs": presets.get("jobs_max_concurrent_runs", 1)}
    _set_defaults(job, runs | JOB_DEFAULTS)


def _complete_pipeline(pipeline: Map, presets: dict[str, Any]) -> None:
    if presets.get("pipelines_development"):
        pipeline["development"] = True
    if presets.get("trigger_pause_status") == "PAUSED":  # continuous pipelines have no pause status
        pipeline.pop("continuous", None)
    for cluster in pipeline.get("clusters", ()):
        cluster["label"] = cluster.get("label", "default").lower()
    _set_defaults(pipeline, PIPELINE_DEFAULTS)


def _set_defaults(resource: Map, defaults: dict[str, Any]) -> None:
    for key, value in defaults.items():
        resource.setdefault(key, copy.deepcopy(value))


# The fields of resources that name a file, a notebook, a folder or a pattern of the bundle.
TASK = r"jobs\.[^.]+\.tasks\[\d+\]\.(for_each_task\.task\.)?"
REMOTE = re.compile(
    TASK + r"(notebook_task\.notebook_path|spark_python_task\.python_file|sql_task\.file\.path)"
    r"|pipelines\.[^.]+\.(root_path|libraries\[\d+\]\.((notebook|file)\.path|glob\.include))"
)
# The fields that name wheels or packages.
LIBRARY = re.compile(TASK + r"libraries\[\d+\]\.whl|(jobs|pipelines)\..+\.dependencies\[\d+\]")
ELSEWHERE = re.compile(r"/.*|\w+:.*|\$\{resources\..*")
LOCAL_WHEEL = re.compile(r"[\w.][\w./*-]*\.whl")
PACKAGE = re.compile(
    r"[\w-]+(\[[\w,-]+\])?( ?(==|!=|<=|>=|~=|>|<) ?\d+(\.\d+)*,?)*|--editable /\S+"
)


def translate(root: Path, config: Map) -> None:
    """Makes paths, which are relative to the file that has them, the workspace's.

    Paths of wheels become relative to the bundle's root. Raises Invalid for a missing file.
    """
    for path, container, key, value in leaves(config["resources"]):
        if REMOTE.fullmatch(path) and not ELSEWHERE.fullmatch(value):
            local = _local(root, container.places[key][1], path, value)
            container[key] = f"{config['workspace']['file_path']}/{local}"
        elif LIBRARY.fullmatch(path) and _is_local_library(path, value, container.places[key][1]):
            folder = Path(container.places[key][1].partition(":")[0]).parent
            container[key] = f"./{os.path.normpath(folder / value)}"


def _is_local_library(path: str, value: str, place: str) -> bool:
    """Whether a library is a file of the bundle. Raises NotSupported for what may be either."""
    if LOCAL_WHEEL.fullmatch(value):
        return True
    is_package = path.endswith("]") and PACKAGE.fullmatch(value)
    if value.startswith("/") or is_package:
        return False
    raise NotSupported(f"the library {value} (it knows packages and ./x.whl)", place)


def _local(root: Path, place: str, path: str, value: str) -> str:
    """The path of a file as the workspace has it, without a notebook's suffix. Raises Invalid."""
    local = os.path.normpath(Path(place.partition(":")[0]).parent / value)
    if local.startswith(".."):
        raise Invalid(f"path {local} is not contained in sync root path")
    if path.endswith("glob.include"):
        return local
    if path.endswith("root_path"):
        if not (root / local).is_dir():
            raise Invalid(f"{local} is no directory\n  at resources.{path}")
        return local
    if path.startswith("pipelines") and re.search(r"[*?\[]", value):
        raise NotSupported(f"a pattern in {path}", place)
    kind = "notebook" if "notebook" in path.rpartition("]")[2] else "file"
    if not (root / local).is_file():
        raise Invalid(f"{kind} {local} not found")
    if is_notebook(root / local) != (kind == "notebook"):
        raise Invalid(f'expected a {kind} for "resources.{path}": {local} is not one')
    return without_suffix(local) if kind == "notebook" else local


def _local_libraries(root: Path, config: Map) -> Iterator[tuple[Any, Any, Path]]:
    """Container, key and file of each path to a local wheel. Raises Invalid if there is none."""
    for path, container, key, value in leaves(config["resources"]):
        if not (LIBRARY.fullmatch(path) and value.startswith("./")):
            continue
        files = sorted(root.glob(value[2:]))
        if not files:
            problem = "no files match pattern:" if "*" in value else "file doesn't exist"
            place = container.places[key][1]
            raise Invalid(f"{problem} {value}\n  at resources.{path}\n  in {place}")
        if len(files) > 1:  # the client takes the latest versions
            raise NotSupported(f"a pattern that several wheels match: {value}")
        yield container, key, files[0]


def place_libraries(root: Path, config: Map) -> list[Path]:
    """Puts the uploaded wheels' paths into the resources; returns the local files."""
    libraries = list(_local_libraries(root, config))
    if config.get("artifacts") or (libraries and (root / "setup.py").exists()):
        raise NotSupported("building artifacts")
    folder = f"{config['workspace']['artifact_path']}/.internal"
    uploads: dict[str, Path] = {}
    for container, key, file in libraries:
        if uploads.setdefault(file.name, file) != file:
            raise Invalid(f"Duplicate local library names: {file.name}")
        container[key] = f"{folder}/{file.name}"
    return list(uploads.values())


SYNC_PATTERN = re.compile(r"[\w.*][\w./*-]*")


def _sync_patterns(sync: Map, name: str) -> list[str]:
    """The patterns of sync's include or exclude, relative to the root. Raises NotSupported."""
    patterns = sync.get(name) or Seq()
    for pattern, (_, place) in zip(patterns, patterns.places, strict=True):
        if not SYNC_PATTERN.fullmatch(pattern):
            raise NotSupported(f"the pattern {pattern!r} in sync.{name}", place)
    return [
        os.path.normpath(Path(place.partition(":")[0]).parent / pattern)
        for pattern, (_, place) in zip(patterns, patterns.places, strict=True)
    ]


def sync_paths(sync: Map) -> list[str]:
    """The folders and files to upload, relative to the root. Raises NotSupported."""
    places = [place.partition(":")[0] for _, place in sync["paths"].places]
    paths = [
        os.path.normpath(Path(place).parent / path)
        for path, place in zip(sync["paths"], places, strict=True)
    ]
    for path in paths:
        if path.startswith(("..", "/")):
            raise NotSupported(f"sync.paths outside of the bundle: {path}")
    return paths


def check_sync(root: Path, sync: Map) -> Iterator[str]:
    """Warnings about patterns without a match, and about nothing to upload."""
    for name in ("exclude", "include"):
        for index, pattern in enumerate(_sync_patterns(sync, name)):
            if not _matches(root, pattern):
                place = f"at sync.{name}[{index}]\n  in {sync[name].places[index][1]}"
                yield f"Pattern {sync[name][index]} does not match any files\n  {place}"
    if sync["paths"] and not synced_files(root, sync):
        yield "There are no files to sync, please check your .gitignore"


def synced_files(root: Path, sync: Map) -> list[str]:
    """The files to upload, relative to root: those of sync's paths that git does not ignore."""
    paths = sync_paths(sync)
    for path in paths:
        if not (root / path).exists():
            raise Invalid(f"sync.paths: stat {path}: no such file or directory")
    rules = ["--exclude-per-directory=.gitignore", "--exclude=.databricks"]
    files = set(_list(root, *rules, "--", *paths)) if paths else set()
    for pattern in _sync_patterns(sync, "include"):
        files |= _matches(root, pattern)
    for pattern in _sync_patterns(sync, "exclude"):
        files -= _matches(root, pattern)
    return sorted(files)


def _matches(root: Path, pattern: str) -> set[str]:
    """The files that a pattern matches, as in .gitignore."""
    return set(_list(root, "--ignored", f"--exclude={pattern}"))


def _list(root: Path, *options: str) -> list[str]:
    """The files of a folder that git lists.

    Git knows how to read .gitignore files, but the bundle need not be a repository: an empty one
    elsewhere, with the bundle as its work tree, has only files that are not tracked. The caller's
    own repository has no part in it.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with tempfile.TemporaryDirectory() as scratch:
        git = ["git", f"--git-dir={scratch}/git", "--work-tree=."]
        for command in (["init", "--quiet"], ["ls-files", "--others", "-z", *options]):
            result = subprocess.run(
                [*git, *command], cwd=root, env=env, capture_output=True, check=True
            )
    return [name for name in result.stdout.decode().split("\0") if name]

"""The client's rules for jobs, permissions and run_as that are no matter of types."""

from collections.abc import Iterator
from typing import Any

from rehearsal.databricks.bundle_yaml import Map
from rehearsal.databricks.errors import Invalid, NotSupported

COMPUTE = ("job_cluster_key", "environment_key", "existing_cluster_id", "new_cluster")
ON_COMPUTE = ("python_wheel_task", "spark_python_task")
WHO = ("user_name", "group_name", "service_principal_name")
FIRST_RUNTIME = 14  # whose wheel tasks take local libraries in every version


def check(config: Map, user: str) -> Iterator[str]:
    """The warnings. Raises Invalid and NotSupported."""
    check_run_as(config.get("run_as"))
    check_artifacts(config.get("artifacts") or {})
    resources = config["resources"]
    for kind, named in resources.items():
        for key, resource in named.items():
            path = f"resources.{kind}.{key}"
            check_permissions(resource.get("permissions", ()), path, user)
            check_grants(resource.get("grants", ()), path)
            check_clusters(resource.get("clusters", ()), path)
    for key, job in resources.get("jobs", {}).items():
        yield from check_job(job, f"resources.jobs.{key}")


def check_artifacts(artifacts: dict[str, Any]) -> None:
    """Raises NotSupported for what is no wheel that a command builds."""
    for name, artifact in artifacts.items():
        if artifact.get("type") != "whl" or not artifact.get("build"):
            raise NotSupported(f"artifacts.{name}, which is no wheel that a command builds")


def check_run_as(run_as: Any) -> None:
    """Raises Invalid if run_as has not exactly one identity."""
    if run_as is None:
        return
    names = [name for name in run_as.values() if name]
    if not names:
        raise Invalid(
            "run_as section must specify exactly one identity."
            " Neither service_principal_name nor user_name is specified"
        )
    if len(names) > 1:
        raise Invalid("run_as section cannot specify both user_name and service_principal_name")


def check_permissions(entries: Any, path: str, user: str) -> None:
    """Raises NotSupported unless each entry is about somebody else, who is no owner."""
    seen = {user}
    for entry in entries:
        names = [entry[name] for name in WHO if entry.get(name)]
        if len(names) != 1 or names[0] in seen or entry.get("level", "IS_OWNER") == "IS_OWNER":
            rule = "each entry needs one principal, not the deployer, once, and no IS_OWNER"
            raise NotSupported(f"such {path}.permissions ({rule})")
        seen.add(names[0])


def check_grants(entries: Any, path: str) -> None:
    """Raises Invalid for an entry without principal or privileges."""
    for index, entry in enumerate(entries):
        for name in ("principal", "privileges"):
            if not entry.get(name):
                raise Invalid(f"grant {name} is required\n  at {path}.grants[{index}]")


def check_job(job: Map, path: str) -> Iterator[str]:
    """Warnings about a job's clusters. Raises Invalid and NotSupported."""
    clusters = {cluster.get("job_cluster_key"): cluster for cluster in job.get("job_clusters", ())}
    check_clusters([cluster.get("new_cluster", {}) for cluster in clusters.values()], path)
    for index, task in enumerate(job.get("tasks", ())):
        task_path = f"{path}.tasks[{index}]"
        inner = task.get("for_each_task", {}).get("task")
        inner_path = f"{task_path}.for_each_task.task"
        for each, place in [(task, task_path), *([(inner, inner_path)] if inner else [])]:
            check_clusters([each.get("new_cluster", {})], place)
            check_compute(each, place)
            key = each.get("job_cluster_key")
            if key and key not in clusters:
                where = each.places["job_cluster_key"][1]
                yield (
                    f"job_cluster_key {key} is not defined\n  at {place}.job_cluster_key"
                    f"\n  in {where}"
                )


def check_compute(task: Map, path: str) -> None:
    """Raises Invalid for a task that says nothing of its compute, though it needs some."""
    if any(name in task for name in ON_COMPUTE) and not any(task.get(name) for name in COMPUTE):
        raise Invalid(f"Missing required cluster or environment settings\n  at {path}")


def check_clusters(clusters: Any, path: str) -> None:
    """Raises NotSupported for a single node, and for an old runtime."""
    for cluster in clusters:
        is_single = cluster.get("is_single_node") or cluster.get("policy_id")
        if cluster.get("num_workers") == 0 and not is_single:
            raise NotSupported(f"a cluster without workers and without is_single_node at {path}")
        major = str(cluster.get("spark_version", "")).partition(".")[0]
        if major.isdigit() and int(major) < FIRST_RUNTIME:
            raise NotSupported(f"a runtime before {FIRST_RUNTIME} at {path}")

"""What the stand-in knows of a bundle: sections, resources and fields; all else is NotSupported.

`Reader.fit` gives values the types of their fields, as the client does, and collects its warnings.
The classes of resources are those of Databricks' own package, `databricks-bundles`, which has the
types, the required fields and the enumerations.
"""

import dataclasses
import enum
import functools
import importlib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from rehearsal.databricks.bundle_yaml import REFERENCE, Map, Seq
from rehearsal.databricks.errors import NotSupported

KINDS = ("jobs", "pipelines", "schemas", "volumes")


class Section(dict[str, Any]):
    """The fields of a section of the bundle, and their types."""


class Kinds(Section):
    """The section `resources`: each kind by the class that the package has for it."""


IDENTITY = Section(user_name=str, service_principal_name=str)
SHARED = Section(  # a target has these too
    artifacts=dict[str, Section(type=str, build=str, path=str, dynamic_version=bool)],  # type: ignore[misc]
    presets=Section(
        name_prefix=str,
        tags=dict[str, str],
        trigger_pause_status=str,
        jobs_max_concurrent_runs=int,
        pipelines_development=bool,
    ),
    resources=Kinds(),
    run_as=IDENTITY,
    sync=Section(paths=list[str], include=list[str], exclude=list[str]),
    variables=dict[str, Section(default=Any, description=str, type=str)],  # type: ignore[misc]
    workspace=Section(
        host=str, root_path=str, artifact_path=str, file_path=str, resource_path=str, state_path=str
    ),
)
TARGET = Section(SHARED, mode=str, default=bool, git=Section(branch=str))
ROOT = Section(
    SHARED,
    bundle=Section(name=str, databricks_cli_version=str),
    experimental=Section(skip_artifact_cleanup=bool),
    include=list[str],
    targets=dict[str, TARGET],  # type: ignore[valid-type]
)

EVENTS = (
    "on_start on_success on_failure on_duration_warning_threshold_exceeded"
    " on_streaming_backlog_exceeded"
)
CLUSTER = (
    "autoscale aws_attributes cluster_log_conf custom_tags driver_node_type_id init_scripts"
    " node_type_id num_workers policy_id spark_conf spark_env_vars"
)
WAITING = "min_time_between_triggers_seconds wait_after_last_change_seconds"
# The fields of the package's classes.
FIELDS = {
    "Job": "name description tags permissions schedule trigger continuous email_notifications"
    " webhook_notifications notification_settings health timeout_seconds max_concurrent_runs queue"
    " parameters tasks job_clusters environments run_as performance_target budget_policy_id",
    "Task": "task_key description depends_on run_if disabled notebook_task spark_python_task"
    " python_wheel_task pipeline_task run_job_task condition_task for_each_task sql_task"
    " job_cluster_key environment_key existing_cluster_id new_cluster libraries timeout_seconds"
    " max_retries min_retry_interval_millis retry_on_timeout email_notifications health"
    " webhook_notifications notification_settings disable_auto_optimization",
    "TaskDependency": "task_key outcome",
    "NotebookTask": "notebook_path base_parameters source warehouse_id",
    "SparkPythonTask": "python_file parameters",
    "PythonWheelTask": "package_name entry_point parameters named_parameters",
    "PipelineTask": "pipeline_id full_refresh",
    "RunJobTask": "job_id job_parameters",
    "ConditionTask": "op left right",
    "ForEachTask": "inputs concurrency task",
    "SqlTask": "warehouse_id parameters file query",
    "SqlTaskFile": "path",
    "SqlTaskQuery": "query_id",
    "Library": "whl pypi maven",
    "PythonPyPiLibrary": "package repo",
    "MavenLibrary": "coordinates exclusions repo",
    "JobCluster": "job_cluster_key new_cluster",
    "ClusterSpec": f"{CLUSTER} data_security_mode is_single_node kind runtime_engine"
    " single_user_name spark_version",
    "AutoScale": "min_workers max_workers",
    "AwsAttributes": "availability ebs_volume_count ebs_volume_size ebs_volume_type"
    " first_on_demand instance_profile_arn spot_bid_price_percent zone_id",
    "ClusterLogConf": "s3 volumes",
    "S3StorageInfo": "destination region",
    "InitScriptInfo": "s3 volumes workspace",
    "VolumesStorageInfo": "destination",
    "WorkspaceStorageInfo": "destination",
    "JobEnvironment": "environment_key spec",
    "Environment": "environment_version dependencies",
    "CronSchedule": "quartz_cron_expression timezone_id pause_status",
    "Continuous": "pause_status",
    "TriggerSettings": "pause_status periodic file_arrival table_update",
    "PeriodicTriggerConfiguration": "interval unit",
    "FileArrivalTriggerConfiguration": f"url {WAITING}",
    "JobEmailNotifications": f"{EVENTS} no_alert_for_skipped_runs",
    "TaskEmailNotifications": f"{EVENTS} no_alert_for_skipped_runs",
    "WebhookNotifications": EVENTS,
    "Webhook": "id",
    "JobNotificationSettings": "no_alert_for_skipped_runs no_alert_for_canceled_runs",
    "TaskNotificationSettings": "no_alert_for_skipped_runs no_alert_for_canceled_runs"
    " alert_on_last_attempt",
    "JobsHealthRules": "rules",
    "JobsHealthRule": "metric op value",
    "JobParameterDefinition": "name default",
    "JobRunAs": "user_name service_principal_name",
    "JobPermission": "level user_name group_name service_principal_name",
    "QueueSettings": "enabled",
    "Pipeline": "name catalog schema serverless libraries configuration clusters permissions"
    " root_path environment notifications continuous development photon channel edition tags"
    " storage run_as budget_policy_id",
    "PipelineCluster": f"{CLUSTER} label",
    "PipelineClusterAutoscale": "min_workers max_workers mode",
    "PipelineLibrary": "glob file notebook",
    "PathPattern": "include",
    "FileLibrary": "path",
    "NotebookLibrary": "path",
    "PipelinesEnvironment": "dependencies",
    "Notifications": "alerts email_recipients",
    "RunAs": "user_name service_principal_name",
    "PipelinePermission": "level user_name group_name service_principal_name",
    "Schema": "name catalog_name comment properties storage_root grants",
    "Volume": "name catalog_name schema_name comment volume_type storage_location grants",
    "PrivilegeAssignment": "principal privileges",
}
# The client knows these fields of jobs and pipelines, too, which the package has not.
BESIDE_THE_PACKAGE = {"deployment", "edit_mode", "format", "id", "url"}
MAY_BE_EMPTY = ("default", "left", "right")  # the client sends these texts as they are
TYPE_NAMES: dict[Any, str] = {Map: "map", Seq: "sequence", str: "string"}
SHOWN = 150  # characters of a list of fields in a message
NOT_A_TYPE = ("Variable", "NoneType")  # the package's fields take these beside their type


@functools.cache
def resource_class(kind: str) -> type:
    """The class that databricks-bundles has for a kind of resource."""
    from databricks.bundles.core import Resource  # slow to import, and most commands do without

    module = importlib.import_module(f"databricks.bundles.{kind}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Resource)
    )


class Misfit(Exception):
    """A value that its field does not take: the client warns of it, and leaves it out."""


class Spot(NamedTuple):
    """Where a value is: its path in the bundle, and `file:line:column`."""

    path: str
    place: str


class Reader:
    """Gives values the types of their fields; `warnings` are what the client says meanwhile."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def fit(self, value: Any, hint: Any, spot: Spot) -> Any:
        """A value as its field takes it. Raises Misfit, and NotSupported."""
        if is_reference(value) or hint is Any:
            return self._reference(value, hint, spot)
        if isinstance(hint, Section) or dataclasses.is_dataclass(hint):
            return self._fields(self._container(value, Map, spot), hint, spot)
        if typing.get_origin(hint) is dict:
            items = self._container(value, Map, spot)
            return self._items(items, dict.fromkeys(items, _plain(typing.get_args(hint)[-1])), spot)
        if typing.get_origin(hint) is list:
            return self._sequence(self._container(value, Seq, spot), hint, spot)
        return self._scalar(value, hint, spot)

    def _reference(self, value: Any, hint: Any, spot: Spot) -> Any:
        """A reference, whose type is known once it is replaced. Raises NotSupported."""
        is_number = hint is int and re.fullmatch(r"\$\{resources\.jobs\..*\.id\}", str(value))
        if str(value).startswith("${resources.") and not (is_number or hint in (str, Any)):
            raise NotSupported(f"the reference {value} at {spot.path}", spot.place)
        return value

    def warn(self, problem: str, spot: Spot) -> None:
        """Notes a warning."""
        at = f"\n  at {spot.path}" if spot.path else ""
        self.warnings.append(f"{problem}{at}\n  in {spot.place}")

    def _misfit(self, problem: str, spot: Spot) -> Misfit:
        self.warn(problem, spot)
        return Misfit(problem)

    def _container(self, value: Any, expected: type, spot: Spot) -> Any:
        if isinstance(value, expected):
            return value
        if value is None:
            raise NotSupported(f"{spot.path} without a value", spot.place)
        problem = f"expected {TYPE_NAMES[expected]}, found {_type_name(value)}"
        raise self._misfit(problem, spot)

    def _fields(self, value: Map, hint: Any, spot: Spot) -> Map:
        """A mapping whose fields are named."""
        hints = known_fields(hint)
        for name, item in value.items():
            if name not in hints and not getattr(item, "is_anchor", False):
                self._unknown(name, hint, Spot(spot.path, value.places[name][0]))
        return self._items(value, hints, spot)

    def _unknown(self, name: str, hint: Any, spot: Spot) -> None:
        """Warns of a field that the client does not know. Raises NotSupported."""
        if not isinstance(hint, Section):
            fields = {field.name for field in dataclasses.fields(hint)} | BESIDE_THE_PACKAGE
            if name not in fields:
                return self.warn(f"unknown field: {name}", spot)
        where = f" at {spot.path}" if spot.path else ""
        known = ", ".join(sorted(known_fields(hint)))
        shown = f" (it knows {known})" if len(known) < SHOWN else ""
        raise NotSupported(f"the field {name}{where}{shown}", spot.place)

    def _items(self, value: Map, hints: dict[str, Any], spot: Spot) -> Map:
        fitted = Map(places=value.places)
        for name in value.keys() & hints.keys():
            path, places = f"{spot.path}.{name}".lstrip("."), value.places.get(name)
            place = places[1] if places else spot.place
            try:
                fitted[name] = self.fit(value[name], hints[name], Spot(path, place))
            except Misfit:
                continue
        return Map({name: fitted[name] for name in value if name in fitted}, value.places)

    def _sequence(self, value: Seq, hint: Any, spot: Spot) -> Seq:
        item_hint, fitted = _plain(typing.get_args(hint)[-1]), Seq()
        for item, place in zip(value, value.places, strict=True):
            try:
                path = f"{spot.path}[{len(fitted)}]"
                fitted.append(self.fit(item, item_hint, Spot(path, place[1])))
            except Misfit:
                continue
            fitted.places.append(place)
        return fitted

    def _scalar(self, value: Any, hint: type, spot: Spot) -> Any:
        name = "string" if issubclass(hint, enum.Enum) else TYPE_NAMES.get(hint) or hint.__name__
        if value is None:
            raise self._misfit(f"expected a {name} value, found null", spot)
        if name == "bool" and isinstance(value, str):
            raise NotSupported(f"a text for {spot.path}, which is true or false", spot.place)
        converted = _convert(value, name)
        if converted is None:
            raise self._misfit(f"expected {name}, found {_type_name(value)}", spot)
        return converted


def is_reference(value: Any) -> bool:
    """Whether a value is a reference and nothing else, which has no type yet."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def known_fields(hint: Any) -> dict[str, Any]:
    """The fields of a section or a class that the stand-in knows, and their types."""
    if isinstance(hint, Kinds):
        return {kind: dict[str, resource_class(kind)] for kind in KINDS}  # type: ignore[misc]
    if isinstance(hint, Section):
        return hint
    hints = typing.get_type_hints(hint)
    return {name: _plain(hints[name]) for name in FIELDS.get(hint.__name__, "").split()}


def _plain(hint: Any) -> Any:
    """A field's type without the package's own `Variable` and without None."""
    while typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        hint = next(o for o in options if getattr(o, "__name__", "") not in NOT_A_TYPE)
    return hint


def _type_name(value: Any) -> str:
    return TYPE_NAMES.get(type(value)) or type(value).__name__


def _convert(value: Any, name: str) -> Any:
    """A value as a string, int or bool; None if the client does not take it for one."""
    if isinstance(value, Map | Seq) or (name == "int" and isinstance(value, bool)):
        return None
    text = value if isinstance(value, str) else str(value).lower().removesuffix(".0")
    if name == "int":
        return int(text) if re.fullmatch(r"[-+]?[0-9]{1,18}", text) else None
    return text if name == "string" else value if isinstance(value, bool) else None


def check_resources(resources: Map) -> Iterator[str]:
    """The client's warnings about the resources in their last form: missing fields, other values.

    Raises NotSupported for a required text that is empty.
    """
    for kind, named in resources.items():
        for key, resource in named.items():
            spot = Spot(f"resources.{kind}.{key}", named.places[key][1])
            yield from _check(resource, resource_class(kind), spot)


def _check(value: Any, hint: Any, spot: Spot) -> Iterator[str]:
    """Warnings about a value and what is inside of it."""
    if isinstance(value, Seq):
        for index, item in enumerate(value):
            inside = Spot(f"{spot.path}[{index}]", value.places[index][1])
            yield from _check(item, _plain(typing.get_args(hint)[-1]), inside)
    elif isinstance(value, Map) and dataclasses.is_dataclass(hint):
        yield from _check_fields(value, hint, spot)
    elif isinstance(value, str) and isinstance(hint, type) and issubclass(hint, enum.Enum):
        values = sorted(member.value for member in hint)
        if value not in values and not REFERENCE.search(value):
            valid = " ".join(values)
            problem = f'invalid value "{value}" for enum field. Valid values are [{valid}]'
            yield f"{problem}\n  at {spot.path}\n  in {spot.place}"


def _check_fields(value: Map, hint: Any, spot: Spot) -> Iterator[str]:
    hints = known_fields(hint)
    for field in dataclasses.fields(hint):
        required = field.default is field.default_factory  # both are dataclasses.MISSING
        if required and field.name not in value:
            yield f'required field "{field.name}" is not set\n  at {spot.path}\n  in {spot.place}'
        if value.get(field.name) == "" and field.name not in MAY_BE_EMPTY:
            if required:
                raise NotSupported(f"an empty {spot.path}.{field.name}", spot.place)
            del value[field.name]  # the client does not send it
    for name, item in value.items():
        if name in hints:
            inside = Spot(f"{spot.path}.{name}", value.places.get(name, ("", ""))[1])
            yield from _check(item, hints[name], inside)

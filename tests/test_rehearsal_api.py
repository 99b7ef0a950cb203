"""A workspace's HTTP API, as the real client calls it: without the client, which is no package."""

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from rehearsal import promises
from rehearsal.databricks import calls, identities, real_client
from rehearsal.databricks.api import runs
from rehearsal.databricks.api.objects import COLLECTIONS, Collection
from rehearsal.databricks.api.workspace_api import WorkspaceApi
from rehearsal.databricks.compute import Outcome
from rehearsal.databricks.identities import Identity

HOST, USER, TOKEN = "https://workspace.example", "ada@example.com", "dapi-canary"
PROD = "/Workspace/Users/ada@example.com/.bundle/p/prod"


class Api:
    """Asks a workspace; `headers` go with every request."""

    def __init__(self, home: Path) -> None:
        identities.declare(home, {HOST: [Identity(USER, token=TOKEN)]})
        self.home, self.api = home, WorkspaceApi(home, HOST, {})
        self.headers = {"Authorization": f"Bearer {TOKEN}"}

    def __call__(
        self, method: str, path: str, body: Any = None, /, **query: Any
    ) -> tuple[int, Any]:
        """Status and answer."""
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        target = f"{path}?{urlencode(query)}"
        status, answer = self.api.respond(method, target, self.headers, content)
        return status, answer if query.get("direct_download") else json.loads(answer)

    def good(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """The answer, which must be a good one."""
        status, answer = self(method, path, body, **query)
        assert status == 200, answer
        return answer

    def upload(self, path: str, content: bytes, overwrite: str = "false") -> tuple[int, Any]:
        """Writes a file as the client does."""
        place = quote(path.lstrip("/"), safe="")
        name = f"/api/2.0/workspace-files/import-file/{place}"
        return self("POST", name, content, overwrite=overwrite)


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """An empty workspace."""
    return Api(tmp_path / "databricks")


def test_what_the_workspace_does_not_know_is_no_fault_of_the_team(api: Api) -> None:
    status, answer = api("GET", "/api/3.0/unheard-of")
    assert (status, answer["error_code"]) == (501, "NOT_IN_THIS_REHEARSAL")
    assert answer["message"].endswith("GET /api/3.0/unheard-of; yours may")
    assert api("POST", "/api/2.2/jobs/delete", b"[")[0] == 400
    assert "'job_id' is missing" in api("POST", "/api/2.2/jobs/delete")[1]["message"]
    api.headers = {}
    assert api("GET", "/api/2.2/jobs/list")[0] == 401
    assert api("GET", "/.well-known/databricks-config")[0] == 200


def test_files_are_written_into_folders_that_exist(api: Api) -> None:
    assert api.upload(f"{PROD}/files/a+b.py", b"1")[0] == 404
    api.good("POST", "/api/2.0/workspace/mkdirs", {"path": f"{PROD}/files"})
    assert api.upload(f"{PROD}/files/a+b.py", b"1") == (200, {})
    assert api.upload(f"{PROD}/files/a+b.py", b"2")[0] == 409
    assert api.upload(f"{PROD}/files/a+b.py", b"2", overwrite="true")[0] == 200
    file = {"path": f"{PROD}/files/a+b.py"}
    assert api.good("GET", "/api/2.0/workspace/export", direct_download="true", **file) == b"2"
    content = api.good("GET", "/api/2.0/workspace/export", **file)["content"]
    assert base64.b64decode(content) == b"2"
    assert api("POST", "/api/2.0/workspace/mkdirs", file)[0] == 400

    api.upload(f"{PROD}/files/notebook.py", b"# Databricks notebook source\n1")
    listed = api.good("GET", "/api/2.0/workspace/list", path=f"{PROD}/files")["objects"]
    kinds = {entry["path"].rpartition("/")[2]: entry["object_type"] for entry in listed}
    assert kinds == {"a+b.py": "FILE", "notebook": "NOTEBOOK"}

    not_empty = api("POST", "/api/2.0/workspace/delete", {"path": PROD})
    assert (not_empty[0], not_empty[1]["error_code"]) == (400, "DIRECTORY_NOT_EMPTY")
    api.good("POST", "/api/2.0/workspace/delete", {"path": PROD, "recursive": True})
    assert api("GET", "/api/2.0/workspace/get-status", path=PROD)[0] == 404


def test_a_job_has_the_services_defaults_its_rights_and_an_end(api: Api) -> None:
    settings = {"name": "j", "tasks": [{"task_key": "t", "notebook_task": {"notebook_path": "/x"}}]}
    id_ = api.good("POST", "/api/2.2/jobs/create", settings)["job_id"]
    job = api.good("GET", "/api/2.2/jobs/get", job_id=id_)
    assert job["creator_user_name"] == USER
    assert job["settings"]["tasks"][0]["run_if"] == "ALL_SUCCESS"
    rights = f"/api/2.0/permissions/jobs/{id_}"
    (owner,) = api.good("GET", rights)["access_control_list"]
    assert owner["user_name"] == USER
    assert owner["all_permissions"][0]["permission_level"] == "IS_OWNER"
    entry = {"group_name": "users", "permission_level": "CAN_VIEW"}
    api.good("PUT", rights, {"access_control_list": [entry]})
    (given,) = api.good("GET", rights)["access_control_list"]
    assert (given["group_name"], given["all_permissions"][0]["inherited"]) == ("users", False)

    api.good("POST", "/api/2.2/jobs/reset", {"job_id": id_, "new_settings": {"name": "k"}})
    (job,) = api.good("GET", "/api/2.2/jobs/list", name="K")["jobs"]
    assert job["settings"]["name"] == "k" and "tasks" not in job["settings"]
    api.good("POST", "/api/2.2/jobs/delete", {"job_id": id_})
    assert api("GET", "/api/2.2/jobs/get", job_id=id_)[0] == 404
    assert api.good("GET", rights)["access_control_list"] == [given]


def test_many_tasks_come_by_pages(api: Api) -> None:
    tasks = [{"task_key": f"t{number}"} for number in range(150)]
    id_ = api.good("POST", "/api/2.2/jobs/create", {"name": "j", "tasks": tasks})["job_id"]
    first = api.good("GET", "/api/2.2/jobs/get", job_id=id_)
    rest = api.good("GET", "/api/2.2/jobs/get", job_id=id_, page_token=first["next_page_token"])
    assert first["has_more"] and "has_more" not in rest
    shown = [*first["settings"]["tasks"], *rest["settings"]["tasks"]]
    assert [task["task_key"] for task in shown] == [task["task_key"] for task in tasks]


def test_a_pipeline_is_shown_with_its_spec(api: Api) -> None:
    created = {"name": "p", "catalog": "c", "run_as": {"user_name": "eve"}, "dry_run": False}
    id_ = api.good("POST", "/api/2.0/pipelines", created)["pipeline_id"]
    pipeline = api.good("GET", f"/api/2.0/pipelines/{id_}")
    assert pipeline["spec"] == {"name": "p", "catalog": "c", "id": id_}
    assert pipeline["run_as"] == {"user_name": "eve"}
    api.good("PUT", f"/api/2.0/pipelines/{id_}", {"name": "q", "pipeline_id": id_})
    pipeline = api.good("GET", f"/api/2.0/pipelines/{id_}")
    assert (pipeline["spec"]["name"], pipeline["run_as"]) == ("q", {"user_name": "eve"})
    listed = api.good("GET", "/api/2.0/pipelines", filter="name LIKE 'q'")["statuses"]
    assert [entry["pipeline_id"] for entry in listed] == [id_]
    assert api("GET", "/api/2.0/pipelines", filter="id = 1")[0] == 501
    assert api("POST", "/api/2.0/pipelines", {"name": "p", "schema": "a.b"})[0] == 400
    api.good("DELETE", f"/api/2.0/pipelines/{id_}")
    assert api("GET", f"/api/2.0/pipelines/{id_}")[0] == 404


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda collection: collection.kind)
def test_an_object_is_created_once_changed_and_deleted(api: Api, collection: Collection) -> None:
    settings = {name: f"my_{name}" for name in ("catalog_name", "schema_name", "name")}
    created = api.good("POST", collection.path, settings)
    place = f"{collection.path}/{quote(created[collection.id_field], safe='')}"
    assert api.good("GET", place) == created
    changes = {"comment": "new"}
    api.good(collection.changed_by, f"{place}{collection.changed_at}", changes)
    expected = {collection.changes: changes} if collection.changes else changes
    assert api.good("GET", place) == created | expected
    again = api("POST", collection.path, settings)[0]
    assert again == (409 if collection.named else 200)
    api.good("DELETE", place)
    assert api("GET", place)[0] == 404


def test_a_volume_can_be_renamed_and_its_grants_are_changed_one_by_one(api: Api) -> None:
    unity = "/api/2.1/unity-catalog"
    volume = {"catalog_name": "c", "schema_name": "S", "name": "Old"}
    assert api.good("POST", f"{unity}/volumes", volume)["full_name"] == "c.s.old"
    renamed = api.good("PATCH", f"{unity}/volumes/c.s.old", {"new_name": "new"})
    assert renamed["full_name"] == "c.s.new"
    assert api("GET", f"{unity}/volumes/c.s.old")[0] == 404
    grants = f"{unity}/permissions/volume/c.s.new"
    add = {"changes": [{"principal": "team", "add": ["WRITE_VOLUME", "READ_VOLUME"]}]}
    api.good("PATCH", grants, add)
    remove = {"changes": [{"principal": "team", "remove": ["WRITE_VOLUME"]}]}
    entry = {"principal": "team", "privileges": ["READ_VOLUME"]}
    assert api.good("PATCH", grants, remove) == {"privilege_assignments": [entry]}
    assert api.good("GET", grants) == {"privilege_assignments": [entry]}


OTHERS = {
    "experiment": (
        ("POST", "/api/2.0/mlflow/experiments/create", {"name": "/Workspace/Shared/e"}),
        ("GET", "/api/2.0/mlflow/experiments/get", "experiment_id"),
        ("POST", "/api/2.0/mlflow/experiments/delete", "experiment_id"),
    ),
    "cluster": (
        ("POST", "/api/2.1/clusters/create", {"cluster_name": "c"}),
        ("GET", "/api/2.1/clusters/get", "cluster_id"),
        ("POST", "/api/2.1/clusters/permanent-delete", "cluster_id"),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_an_object_with_calls_of_its_own_comes_and_goes(api: Api, kind: str) -> None:
    (_, create, settings), (_, get, name), (_, delete, _) = OTHERS[kind]
    one = {name: api.good("POST", create, settings)[name]}
    assert one[name] in json.dumps(api.good("GET", get, **one))
    api.good("POST", delete, one)
    assert api("GET", get, **one)[0] == 404


def test_an_app_is_changed_by_a_call_of_its_own(api: Api) -> None:
    api.good("POST", "/api/2.0/apps", {"name": "a", "description": "old"})
    change = {"update_mask": "description", "app": {"description": "new"}}
    updated = api.good("POST", "/api/2.0/apps/a/update", change)
    assert (
        updated == api.good("GET", "/api/2.0/apps/a/update") == {"status": {"state": "SUCCEEDED"}}
    )
    assert api.good("GET", "/api/2.0/apps/a")["description"] == "new"


def test_a_model_a_scope_and_a_dashboard(api: Api) -> None:
    models, scopes = "/api/2.0/mlflow/registered-models", "/api/2.0/secrets"
    api.good("POST", f"{models}/create", {"name": "m"})
    api.good("PATCH", f"{models}/update", {"name": "m", "description": "new"})
    found = api.good("GET", "/api/2.0/mlflow/databricks/registered-models/get", name="m")
    assert found["registered_model_databricks"]["description"] == "new"
    api.good("DELETE", f"{models}/delete", name="m")

    api.good("POST", f"{scopes}/scopes/create", {"scope": "s"})
    assert api("POST", f"{scopes}/scopes/create", {"scope": "s"})[0] == 400
    assert api.good("GET", f"{scopes}/scopes/list")["scopes"][0]["name"] == "s"
    team = {"scope": "s", "principal": "team"}
    api.good("POST", f"{scopes}/acls/put", team | {"permission": "READ"})
    api.good("POST", f"{scopes}/acls/delete", team)
    (mine,) = api.good("GET", f"{scopes}/acls/list", scope="s")["items"]
    assert mine == {"principal": USER, "permission": "MANAGE"}
    api.good("POST", f"{scopes}/scopes/delete", {"scope": "s"})

    dashboards = "/api/2.0/lakeview/dashboards"
    new = {"display_name": "d", "serialized_dashboard": "{}", "parent_path": "/Workspace/Shared"}
    first = api.good("POST", dashboards, new)
    place = f"{dashboards}/{first['dashboard_id']}"
    assert api("GET", f"{place}/published")[0] == 404
    api.good("POST", f"{place}/published", {"embed_credentials": True})
    assert api.good("GET", f"{place}/published")["embed_credentials"]
    second = api.good("PATCH", place, {"serialized_dashboard": "{1}"})
    assert second["etag"] != first["etag"] and second["path"] == "/Shared/d.lvdash.json"
    api.good("DELETE", f"{place}/published")
    api.good("DELETE", place)
    assert api("GET", place)[0] == 404


# ---- Runs ----------------------------------------------------------------------------------------


class Compute:
    """Runs notebooks: `/bad` fails."""

    def __init__(self, *_: object) -> None:
        pass

    def notebook(
        self, path: str, parameters: dict[str, str], libraries: list[str], values: object
    ) -> Outcome:
        """What a notebook prints."""
        error = "ValueError: no\nTraceback" if path == "/bad" else ""
        return Outcome(not error, f"{path} {parameters}", error)

    def pipeline(self, spec: dict[str, Any]) -> Outcome:
        """An update fails if the pipeline's name says so."""
        return Outcome(spec["name"] != "bad", "", "no table" if spec["name"] == "bad" else "")


LOOPED = {
    "/limit": Outcome(False, "", "UnsupportedHere: %sql select 1\nTraceback"),
    "/bad": Outcome(False, "", "ValueError: no\nTraceback"),
}


def ended(api: Api, run_id: int) -> dict[str, Any]:
    """A run, once it is over."""
    for _ in range(1000):
        run = api.good("GET", "/api/2.2/jobs/runs/get", run_id=run_id)
        if run["state"] != runs.RUNNING:
            return run
        time.sleep(0.02)
    raise TimeoutError


def start(api: Api, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs a job of these tasks to its end."""
    job_id = api.good("POST", "/api/2.2/jobs/create", {"name": "j", "tasks": tasks})["job_id"]
    asked = {"job_id": job_id, "job_parameters": {"day": "monday"}}
    return ended(api, api.good("POST", "/api/2.2/jobs/run-now", asked)["run_id"])


def task(key: str, path: str, *needs: str) -> dict[str, Any]:
    """A task that runs a notebook after others."""
    depends_on = [{"task_key": need} for need in needs]
    return {"task_key": key, "notebook_task": {"notebook_path": path}, "depends_on": depends_on}


def test_a_run_says_what_each_task_printed(api: Api, monkeypatch) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    run = start(api, [task("b", "/two", "a"), task("a", "/one")])
    assert run["state"] == runs.SUCCESS
    assert run["run_page_url"].startswith(f"{HOST}/jobs/")
    by_key = {entry["task_key"]: entry for entry in run["tasks"]}
    assert by_key["a"]["end_time"] < by_key["b"]["end_time"]
    output = api.good("GET", "/api/2.2/jobs/runs/get-output", run_id=by_key["a"]["run_id"])
    assert output["logs"] == "/one {'day': 'monday'}"


def test_a_run_that_fails_says_why_and_what_it_left_out(api: Api, monkeypatch) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    run = start(api, [task("a", "/bad"), task("b", "/two", "a")])
    assert run["state"]["result_state"] == "FAILED"
    assert run["state"]["state_message"].startswith("Task a failed with message: Workload failed")
    first, second = run["tasks"]
    assert first["state"]["result_state"] == "FAILED"
    assert second["state"]["result_state"] == "UPSTREAM_FAILED"
    output = api.good("GET", "/api/2.2/jobs/runs/get-output", run_id=first["run_id"])
    assert (output["error"], output["error_trace"]) == ("ValueError: no", "Traceback")


def test_a_failure_in_a_loop_is_no_limit_of_the_rehearsal(api: Api, monkeypatch) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    each = task("each", "{{input}}")
    monkeypatch.setattr(Compute, "notebook", lambda self, path, *_: LOOPED[path])
    inputs = [{"task_key": "loop", "for_each_task": {"inputs": "[1, 2]", "task": each}}]
    each["notebook_task"]["notebook_path"] = "/limit"
    assert start(api, inputs)["state"]["result_state"] == "SUCCESS"
    assert promises.not_run(calls.recorded(api.home))[0] == ["j: loop (%sql select 1)"]
    each["notebook_task"]["notebook_path"] = "/bad"
    assert start(api, inputs)["state"]["result_state"] == "FAILED"


def test_an_option_of_a_run_that_is_not_played_is_refused(api: Api) -> None:
    job_id = api.good("POST", "/api/2.2/jobs/create", {"name": "j"})["job_id"]
    status, answer = api("POST", "/api/2.2/jobs/run-now", {"job_id": job_id, "only": ["a"]})
    assert (status, answer["error_code"]) == (501, "NOT_IN_THIS_REHEARSAL")
    assert api.good("GET", "/api/2.2/jobs/runs/list", job_id=job_id) == {"runs": []}


def test_a_fault_of_the_rehearsal_ends_the_run_and_says_so(api: Api, monkeypatch) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", lambda *_: None)
    run = start(api, [task("a", "/one")])
    assert run["state"]["result_state"] == "FAILED"
    output = api.good("GET", "/api/2.2/jobs/runs/get-output", run_id=run["tasks"][0]["run_id"])
    assert output["error"].startswith("the rehearsal itself has failed: AttributeError(")


def ran(api: Api, monkeypatch, tasks: list[dict[str, Any]]) -> dict[str, str]:
    """Runs a job of these tasks; returns the result of each, and of the job as ""."""
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    run = start(api, tasks)
    states = {entry["task_key"]: entry["state"]["result_state"] for entry in run["tasks"]}
    return states | {"": run["state"]["result_state"]}


def test_a_task_that_no_machine_can_run_is_counted_and_stops_nothing(api, monkeypatch) -> None:
    query = {"task_key": "sql", "sql_task": {"warehouse_id": "1"}}
    dynamic = task("dynamic", "/x", "sql")
    dynamic["notebook_task"]["base_parameters"] = {"a": "{{tasks.sql.output.rows}}"}
    states = ran(api, monkeypatch, [query, dynamic, task("after", "/two", "dynamic")])
    assert set(states.values()) == {"SUCCESS"}
    left_out, count = promises.not_run(calls.recorded(api.home))
    assert (left_out, count) == (
        [
            "j: sql (sql_task needs a workspace)",
            "j: dynamic (sql, whose value it takes, was not run)",
        ],
        3,
    )


def test_what_depends_on_a_condition_that_cannot_run_is_not_run_either(api, monkeypatch) -> None:
    unknown = {"op": "EQUAL_TO", "left": "{{tasks.z.values.q}}", "right": "1"}
    branch = task("branch", "/x") | {"depends_on": [{"task_key": "if", "outcome": "true"}]}
    states = ran(api, monkeypatch, [{"task_key": "if", "condition_task": unknown}, branch])
    assert states[""] == "SUCCESS"
    left_out, _ = promises.not_run(calls.recorded(api.home))
    assert left_out[1] == "j: branch (if, on which it depends, was not run)"


def test_excluded_and_disabled_tasks(api: Api, monkeypatch) -> None:
    never = task("never", "/x", "good") | {"run_if": "ALL_FAILED"}
    off = task("off", "/x") | {"disabled": True}
    tasks = [task("good", "/x"), never, task("beside", "/x", "good", "never"), off]
    tasks += [task("alone", "/x", "never") | {"run_if": "ALL_DONE"}, task("after", "/x", "off")]
    states = ran(api, monkeypatch, [*tasks, task("first", "/x") | {"run_if": "ALL_FAILED"}])
    assert states == {
        "good": "SUCCESS",
        "never": "EXCLUDED",
        "beside": "SUCCESS",
        "alone": "EXCLUDED",
        "off": "DISABLED",
        "after": "DISABLED",
        "first": "SUCCESS",
        "": "SUCCESS",
    }


def test_run_if_decides_by_the_tasks_before(api: Api, monkeypatch) -> None:
    always = task("always", "/two", "bad") | {"run_if": "ALL_DONE"}
    repair = task("repair", "/two", "bad") | {"run_if": "AT_LEAST_ONE_FAILED"}
    never = task("never", "/two", "good") | {"run_if": "ALL_FAILED"}
    states = ran(api, monkeypatch, [task("bad", "/bad"), task("good", "/x"), always, repair, never])
    assert states == {
        "bad": "FAILED",
        "good": "SUCCESS",
        "always": "SUCCESS",
        "repair": "SUCCESS",
        "never": "EXCLUDED",
        "": "SUCCESS",  # the tasks at the end decide
    }


@pytest.mark.parametrize(
    ("op", "left", "right", "outcome"),
    [
        ("EQUAL_TO", "{{job.parameters.day}}", "monday", "true"),
        ("NOT_EQUAL", "a", "a", "false"),
        ("GREATER_THAN", "10", "9", "true"),
        ("LESS_THAN_OR_EQUAL", "10", "9", "false"),
    ],
)
def test_a_condition_chooses_what_follows(api, monkeypatch, op, left, right, outcome) -> None:
    condition = {"task_key": "if", "condition_task": {"op": op, "left": left, "right": right}}
    branches = [
        task(word, "/two") | {"depends_on": [{"task_key": "if", "outcome": word}]}
        for word in ("true", "false")
    ]
    states = ran(api, monkeypatch, [condition, *branches])
    other = {"true": "false", "false": "true"}[outcome]
    assert (states[outcome], states[other], states[""]) == ("SUCCESS", "EXCLUDED", "SUCCESS")


def test_a_condition_on_numbers_needs_numbers(api: Api, monkeypatch) -> None:
    condition = {"op": "LESS_THAN", "left": "one", "right": "2"}
    assert ran(api, monkeypatch, [{"task_key": "if", "condition_task": condition}])[""] == "FAILED"


def loop(inputs: str) -> dict[str, Any]:
    """A task that runs a notebook for each input."""
    each = task("each", "/one")
    each["notebook_task"]["base_parameters"] = {"city": "{{input.name}}"}
    return {"task_key": "loop", "for_each_task": {"inputs": inputs, "task": each}}


def test_a_task_for_each_input_and_a_job_in_a_job(api: Api, monkeypatch) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    run = start(api, [loop('[{"name": "Paris"}, {"name": "Rome"}]')])
    (entry,) = run["tasks"]
    output = api.good("GET", "/api/2.2/jobs/runs/get-output", run_id=entry["run_id"])
    assert output["logs"].count("'city': 'Paris'") == output["logs"].count("'city': 'Rome'") == 1
    assert start(api, [loop("Paris")])["state"]["result_state"] == "FAILED"
    assert start(api, [loop('[{"name": ""}, {}]')])["state"]["result_state"] == "SUCCESS"

    inner = {"task_key": "inner", "run_job_task": {"job_id": run["job_id"]}}
    assert start(api, [inner])["state"]["result_state"] == "SUCCESS"
    gone = {"task_key": "inner", "run_job_task": {"job_id": 1}}
    assert start(api, [gone])["state"]["result_state"] == "FAILED"


@pytest.mark.parametrize(("name", "state"), [("good", "COMPLETED"), ("bad", "FAILED")])
def test_an_update_of_a_pipeline(api: Api, monkeypatch, name: str, state: str) -> None:
    monkeypatch.setattr("rehearsal.databricks.api.workspace_api.Compute", Compute)
    id_ = api.good("POST", "/api/2.0/pipelines", {"name": name})["pipeline_id"]
    place = f"/api/2.0/pipelines/{id_}"
    update = api.good("POST", f"{place}/updates")["update_id"]
    for _ in range(1000):
        ended = api.good("GET", f"{place}/updates/{update}")["update"]["state"]
        if ended != "RUNNING":
            break
        time.sleep(0.02)
    assert ended == state
    (event,) = api.good("GET", f"{place}/events", filter=f"update_id = '{update}'")["events"]
    assert event["event_type"] == "update_progress" and event["message"] == f"Update is {state}."


# ---- The client's own calls ----------------------------------------------------------------------

CALLS = {
    "bundle plan -t prod -o json": ("bundle plan", "prod"),
    "bundle --target=qa deploy --auto-approve": ("bundle deploy", "qa without a plan"),
    "bundle destroy -t qa": ("bundle destroy", "qa"),
    "bundle -t prod deploy": ("bundle deploy", "prod without a plan"),
    "--profile p -o json bundle plan -tprod": ("bundle plan", "prod"),
    "bundle deploy -t dev --environment prod": ("bundle deploy", "prod without a plan"),
    "bundle deploy": ("bundle deploy", " without a plan"),
    "workspace delete /x --recursive": ("workspace delete", ""),
    "bundle validate --strict": ("", ""),
}


@pytest.mark.parametrize("arguments", CALLS)
def test_a_call_of_the_client_is_understood(arguments: str) -> None:
    assert real_client.call(arguments.split()) == CALLS[arguments]


def note(api: Api, *arguments: str) -> None:
    """Lets the next requests be those of a call of the client, in a build."""
    number = str(time.time_ns())
    command, what = real_client.call(list(arguments))
    (api.home / real_client.NOTES).mkdir(parents=True, exist_ok=True)
    text = json.dumps(real_client.Note(number, 1, "qa:1", command, what))
    (api.home / real_client.NOTES / number).write_text(text)
    api.headers["User-Agent"] = f"cli/1 upstream/rehearsal upstream-version/{number}"


def test_a_plan_is_recorded_once_and_a_deployment_from_its_first_change_on(
    api: Api, tmp_path: Path
) -> None:
    note(api, "bundle", "plan", "-t", "prod")
    for _ in range(2):
        api.good("GET", "/api/2.0/preview/scim/v2/Me")
    (tmp_path / "plan.json").write_text("{}")
    note(api, "bundle", "deploy", "-t", "prod", "--plan", str(tmp_path / "plan.json"))
    api.good("GET", "/api/2.0/preview/scim/v2/Me")
    api.good("POST", "/telemetry-ext", {"protoLogs": [""]})
    assert calls.DEPLOY not in [call.command for call in calls.recorded(api.home)]
    for _ in range(2):
        api.good("POST", "/api/2.0/workspace/mkdirs", {"path": f"{PROD}/state"})
    made = [call for call in calls.recorded(api.home) if call.command != calls.SIGN_IN]
    checksum = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert [(call.command, call.what, call.build) for call in made] == [
        (calls.PLAN, "prod", "qa:1"),
        (calls.DEPLOY, f"prod {checksum}", "qa:1"),
    ]


OLD = "#!/bin/sh\necho Version 0.18.0\n"
PINNED = "#!/bin/sh\necho Databricks CLI v1.22.1\n"


def test_the_client_on_path_is_the_pinned_one_or_none(tmp_path: Path, monkeypatch) -> None:
    for folder, text in (("old", OLD), ("new", PINNED)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "databricks").write_text(text)
        (tmp_path / folder / "databricks").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}/old:{tmp_path}/new:/usr/bin:/bin")
    assert real_client.installed("1.22.1") == tmp_path / "new/databricks"
    assert real_client.installed("1.23.0") is None
    with pytest.raises(ValueError, match=r"is no Databricks CLI: .* 'Version 0.18.0"):
        real_client.version(tmp_path / "old/databricks")

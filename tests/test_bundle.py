"""The real Databricks client on every rendering, against a workspace that is a small HTTP server.

Nothing here leaves the machine. The client is in no package registry, so these tests skip where it
is not on PATH, in CI too.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from loopback import Answer, Request, serve

TARGETS = ["development", "qa", "prod"]
USER = "jane.doe@example.com"
SERVICE_PRINCIPAL = "11111111-2222-3333-4444-555555555555"


def find_client() -> str | None:
    """Returns the first `databricks` on PATH that is the client, not the old Python package."""
    for folder in os.get_exec_path():
        program = shutil.which("databricks", path=folder)
        if program:
            # Left to itself, the old package hands over to the client when it sees one.
            env = {"PATH": folder, "DATABRICKS_CLI_DO_NOT_EXECUTE_NEWER_VERSION": "1"}
            shown = subprocess.run([program, "--version"], capture_output=True, text=True, env=env)
            if shown.stdout.startswith("Databricks CLI v"):
                return program
    return None


CLIENT = find_client()
pytestmark = pytest.mark.skipif(
    CLIENT is None, reason="no `databricks` client on PATH: the bundle was not validated with it"
)


class Workspace:
    """Answers what `bundle validate` asks a workspace."""

    def __init__(self):
        self.user = USER
        self.url = ""

    def answer(self, request: Request) -> Answer:
        address = urlsplit(request.path)
        known = {
            "/.well-known/databricks-config": {},
            "/api/2.0/preview/scim/v2/Me": {"id": "1", "userName": self.user},
            "/api/2.0/workspace/get-status": {
                "object_type": "DIRECTORY",
                "object_id": 1,
                "path": parse_qs(address.query).get("path", [""])[0],
            },
            "/api/2.0/workspace/mkdirs": {},
            "/telemetry-ext": {},
        }
        if address.path not in known:
            return Answer(404, json.dumps({"message": f"unknown: {request.path}"}).encode())
        return Answer(200, json.dumps(known[address.path]).encode())


@pytest.fixture(scope="module")
def server():
    workspace = Workspace()
    with serve(workspace.answer) as (workspace.url, _):
        yield workspace


@pytest.fixture
def workspace(server):
    server.user = USER
    return server


def copy(rendered: Path, tmp_path: Path, workspace: Workspace) -> Path:
    """Returns a copy of a rendering that takes the loopback server for its workspaces."""
    tree = shutil.copytree(rendered, tmp_path / "tree")
    lines = (tree / "databricks.yml").read_text().splitlines()
    hosts = [number for number, line in enumerate(lines) if line.strip().startswith("host:")]
    assert len(hosts) == 2, "one host for qa, one for prod, none for development"
    for number in hosts:
        lines[number] = lines[number].partition("host:")[0] + f"host: {workspace.url}"
    (tree / "databricks.yml").write_text("\n".join(lines) + "\n")
    return tree


def validate(tree: Path, target: str, workspace: Workspace, *arguments: str):
    """Runs `bundle validate --strict` with none of this machine's own settings."""
    home = tree.parent / "home"
    home.mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DATABRICKS_CONFIG_FILE": str(home / "none"),
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_TOKEN": "made-up",
    }
    return subprocess.run(
        [CLIENT, "bundle", "validate", "--strict", "-t", target, *arguments],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def resolved(tree: Path, target: str, workspace: Workspace) -> dict:
    """Returns the bundle as the client resolves it for a target."""
    ran = validate(tree, target, workspace, "-o", "json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def edit(file: Path, old: str, new: str) -> None:
    """Replaces a text that must be there, once."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_every_variant_is_valid(rendered, target, tmp_path, workspace):
    ran = validate(copy(rendered, tmp_path, workspace), target, workspace)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Validation OK!" in ran.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_a_service_principal_can_deploy(default, target, tmp_path, workspace):
    workspace.user = SERVICE_PRINCIPAL

    bundle = resolved(copy(default, tmp_path, workspace), target, workspace)

    assert bundle["workspace"]["root_path"].startswith(f"/Workspace/Users/{SERVICE_PRINCIPAL}/")


def test_nobody_gets_mail_when_no_address_was_given(cookies, tmp_path, workspace):
    baked = cookies.bake(extra_context={"notification_email": ""})
    assert baked.exception is None, baked.exception

    bundle = resolved(copy(baked.project_path, tmp_path, workspace), "prod", workspace)

    assert "email_notifications" not in bundle["resources"]["jobs"]["my_data_project_job"]
    assert "notification_email" not in bundle["variables"]


def test_development_is_each_users_own_copy(default, tmp_path, workspace):
    bundle = resolved(copy(default, tmp_path, workspace), "development", workspace)

    jobs = bundle["resources"]["jobs"]
    assert jobs.keys() == {"my_data_project_job", "nutter"}
    assert jobs["my_data_project_job"]["schedule"]["pause_status"] == "PAUSED"
    assert jobs["my_data_project_job"]["name"].startswith("[dev jane_doe] ")
    assert jobs["my_data_project_job"]["email_notifications"]["on_failure"] == [USER]
    assert bundle["resources"]["pipelines"]["my_data_project_etl"]["schema"].endswith("jane_doe")
    assert bundle["artifacts"].keys() == {"wheel"}


def test_qa_has_a_prefix_and_paused_schedules(default, tmp_path, workspace):
    bundle = resolved(copy(default, tmp_path, workspace), "qa", workspace)

    jobs = bundle["resources"]["jobs"]
    assert jobs.keys() == {"my_data_project_job", "nutter"}
    assert jobs["my_data_project_job"]["schedule"]["pause_status"] == "PAUSED"
    assert all(job["name"].startswith("[qa] ") for job in jobs.values())
    assert "artifacts" not in bundle


def test_prod_runs_every_day_and_has_no_tests(default, tmp_path, workspace):
    bundle = resolved(copy(default, tmp_path, workspace), "prod", workspace)

    jobs = bundle["resources"]["jobs"]
    assert jobs.keys() == {"my_data_project_job"}
    assert jobs["my_data_project_job"]["schedule"]["pause_status"] == "UNPAUSED"
    assert jobs["my_data_project_job"]["email_notifications"]["on_failure"]
    assert "artifacts" not in bundle


@pytest.mark.parametrize("target", ["qa", "prod"])
def test_every_user_of_the_workspace_may_view(default, target, tmp_path, workspace):
    bundle = resolved(copy(default, tmp_path, workspace), target, workspace)

    resources = [item for kind in bundle["resources"].values() for item in kind.values()]
    assert len(resources) >= 2
    for resource in resources:
        assert {"group_name": "users", "level": "CAN_VIEW"} in resource["permissions"]
        assert {item["level"] for item in resource["permissions"]} == {"CAN_VIEW", "IS_OWNER"}
    # Without the deployer's own entry this would be a warning, and fail the strict validation.
    assert "permissions" not in bundle


def test_prod_runs_as_its_deployer_by_default(default, tmp_path, workspace):
    tree = copy(default, tmp_path, workspace)

    assert "run_as" not in resolved(tree, "prod", workspace)

    config = tree / "databricks.yml"
    (default_line,) = [line for line in config.read_text().splitlines() if "identity:  #" in line]
    edit(config, default_line, f"      identity: {{service_principal_name: {SERVICE_PRINCIPAL}}}")
    resources = resolved(tree, "prod", workspace)["resources"]
    expected = {"service_principal_name": SERVICE_PRINCIPAL}
    assert resources["jobs"]["my_data_project_job"]["run_as"] == expected
    assert resources["pipelines"]["my_data_project_etl"]["run_as"] == expected
    assert "run_as" not in resolved(tree, "qa", workspace)["resources"]["jobs"]["nutter"]


def test_qa_and_prod_keep_apart_in_a_shared_catalog(cookies, tmp_path, workspace):
    baked = cookies.bake(extra_context={"qa_catalog": "main", "prod_catalog": "main"})
    assert baked.exception is None, baked.exception
    tree = copy(baked.project_path, tmp_path, workspace)

    schemas = {
        resolved(tree, target, workspace)["resources"]["pipelines"]["my_data_project_etl"]["schema"]
        for target in TARGETS
    }

    assert len(schemas) == 3


JOB = "resources/my_data_project.job.yml"
BREAKS = {
    "unknown field": (JOB, "email_notifications:", "email_notification:", "email_notification"),
    "unknown variable": (JOB, "${var.source_table}", "${var.sorce_table}", "sorce_table"),
    "missing notebook": (JOB, "sample_notebook.py", "simple_notebook.py", "simple_notebook"),
    "wrong type": (JOB, "timezone_id: UTC", "timezone_id: [UTC]", "timezone_id"),
    "unknown target": ("databricks.yml", "\n  qa:", "\n  quality:", "qa"),
    "wrong client": ("databricks.yml", ">= 1.22.1, < 2.0.0", ">= 2.0.0", "2.0.0"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_broken_is_refused_by_name(default, broken, tmp_path, workspace):
    file, old, new, named = BREAKS[broken]
    tree = copy(default, tmp_path, workspace)
    edit(tree / file, old, new)

    ran = validate(tree, "qa", workspace)

    assert ran.returncode != 0, ran.stdout
    assert named in ran.stdout + ran.stderr

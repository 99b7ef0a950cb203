"""The rehearsal's stand-in for the Databricks client, against what the real client answered.

The contract is data/client-recordings.json: commands in order, with exit codes and outputs.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import traceback
import zipfile
from pathlib import Path
from typing import ClassVar, NamedTuple
from urllib.parse import urlencode

import pytest

from rehearsal import play
from rehearsal.databricks import client as databricks
from rehearsal.databricks import workspace
from rehearsal.databricks.client import run_command
from rehearsal.databricks.workspace import Identity
from rehearsal.machine import warm
from test_bundle import find_client

DATA = json.loads((Path(__file__).parent / "data/client-recordings.json").read_text())
RECORDED = {one["name"]: one for one in DATA["recordings"]}
HOST = "https://workspace.example"
USER = "tester@databricks.com"
TOKEN = "dapi-canary-0123456789abcdef"


class Outcome(NamedTuple):
    """As rehearsal.databricks.spark.Compute returns it."""

    ok: bool
    output: str
    error: str


class Compute:
    """Runs notebooks and wheels as plain Python, as the recordings' workspace did."""

    calls: ClassVar[list[tuple]] = []
    runs = True  # else it only notes the calls

    def __init__(self, home: Path, files: Path):
        self.files = files

    def run(self, program) -> Outcome:
        output = io.StringIO()
        if not self.runs:
            return Outcome(True, "", "")
        try:
            with contextlib.redirect_stdout(output):
                program()
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            return Outcome(False, output.getvalue(), f"{type(error).__name__}: {error}\n{trace}")
        return Outcome(True, output.getvalue(), "")

    def notebook(self, path, parameters, libraries) -> Outcome:
        self.calls.append(("notebook", path, parameters, libraries))
        return self.run(lambda: runpy.run_path(str(self.files / f"{path[1:]}.py")))

    def wheel(self, package, entry_point, parameters, libraries) -> Outcome:
        self.calls.append(("wheel", package, parameters, libraries))

        def program():
            wheel = str(self.files / libraries[0][1:])
            names = zipfile.ZipFile(wheel).namelist()
            points = next(n for n in names if n.endswith("entry_points.txt"))
            line = re.search(
                rf"{entry_point} = (\S+):(\S+)", zipfile.ZipFile(wheel).read(points).decode()
            )
            namespace: dict = {}
            exec(zipfile.ZipFile(wheel).read(line[1].replace(".", "/") + ".py"), namespace)
            namespace[line[2]]()

        return self.run(program)

    def pipeline(self, spec) -> Outcome:
        self.calls.append(("pipeline", spec["name"]))
        return Outcome(True, "", "")


class Ran(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A rehearsal's home with one workspace; nothing of this machine's own Databricks settings."""
    for name in [n for n in os.environ if n.startswith(("DATABRICKS_", "BUNDLE_VAR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_HOST", HOST)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    monkeypatch.setattr(run_command, "Compute", Compute)
    Compute.calls = []
    found = tmp_path / "databricks"
    workspace.declare(found, {HOST: [Identity(USER, token=TOKEN)]})
    return found


@pytest.fixture
def client(home, capsys):
    """Runs the stand-in, in this process."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = databricks.main(list(arguments), home)
        return Ran(code, *capsys.readouterr())

    return run


# ---- What the real client answered ---------------------------------------------------------------


JOB, PIPELINE = "resources/demo.job.yml", "resources/etl.pipeline.yml"
NOTEBOOK = "notebooks/sample.py"
# What was changed in the bundle before a recording: file, old and new text (None: it was removed).
CHANGED = {
    "validate-unknown-field": [(JOB, "      trigger:", "      nme: x\n      trigger:")],
    "validate-missing-notebook": [
        (JOB, "      nme: x\n", ""),
        (JOB, "notebooks/sample.py", "notebooks/gone.py"),
    ],
    "validate-old-client": [
        (JOB, "notebooks/gone.py", "notebooks/sample.py"),
        ("databricks.yml", ">= 1.22.0", ">= 99.0.0"),
    ],
    "no-credentials": [("databricks.yml", ">= 99.0.0", ">= 1.22.0")],
    "plan-update": [(JOB, "interval: 2", "interval: 3")],
    "deploy-code-only": [(NOTEBOOK, 'print("hi")', 'raise ValueError("boom")')],
    "plan-recreate": [(PIPELINE, "${var.catalog}", "other")],
    "plan-delete": [(PIPELINE, None, None), (NOTEBOOK, 'raise ValueError("boom")', 'print("hi")')],
}
ENVIRONMENT = {
    "no-credentials": {"DATABRICKS_TOKEN": ""},
    "host-mismatch": {"DATABRICKS_HOST": "https://another.example"},
    "me-no-dns": {"DATABRICKS_HOST": "https://nowhere.invalid"},
}
# Where the stand-in does not answer as recorded, and why.
DEVIATIONS = {
    "build": "no command of the client; the test packs the same wheel without a network",
    "me-closed-port": "a stand-in has no port; a lost network is a fault, and answers at once",
}
# The recordings' workspace has no oidc_endpoint and says so; it adds these to what it stores.
NOISE = "Warn: Host metadata missing oidc_endpoint; skipping discovery URL resolution\n"
OTHER_STATE = """created_time creator_user_name job_id run_as_user_name effective_publishing_mode id
    last_modified pipeline_id state""".split()


def edit(file: Path, old: str, new: str) -> None:
    """Replaces a text that must be there."""
    text = file.read_text()
    assert old in text, f"{file.name} has no {old!r}"
    file.write_text(text.replace(old, new))


def pack_wheel(tree: Path) -> None:
    """Writes the wheel that `uv build` makes of the recordings' bundle."""
    (tree / "dist").mkdir()
    with zipfile.ZipFile(tree / "dist/demo-0.0.1-py3-none-any.whl", "w") as wheel:
        wheel.write(tree / "src/demo/main.py", "demo/main.py")
        points = "[console_scripts]\nmain = demo.main:main\n"
        wheel.writestr("demo-0.0.1.dist-info/entry_points.txt", points)


@pytest.fixture
def recorded_bundle(tmp_path, monkeypatch) -> Path:
    """The recordings' bundle, as the working directory."""
    tree = tmp_path / "bundle"
    # There too, as the outputs tell: the first two were exported, and 11 files were uploaded.
    more = {
        "src/demo/__init__.py": "",
        "src/demo/__main__.py": "from demo.main import main\n\nmain()\n",
    }
    files = DATA["bundle"] | more | {".gitignore": "dist/\n"}
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    monkeypatch.chdir(tree)
    return tree


def normalized(text: str) -> str:
    """A text without ids, times and the frames of a traceback."""
    text = text.replace(NOISE, "")
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME", text)
    text = re.sub(r"\b\d{9,}\b", "1234567890", text)
    text = re.sub(r'(  File ".*\n(    .*\n)*)+', "  FRAMES\n", text)
    text = re.sub(r"workspace_id=1234567890, |, workspace_id=1234567890", "", text)
    return re.sub(
        r"(Available targets: )(.*)", lambda m: m[1] + " ".join(sorted(m[2].split(", "))), text
    )


def without_server_fields(value):
    """JSON without what only the recordings' workspace knows of a resource."""
    if isinstance(value, dict) and "remote_state" in value:
        state = value["remote_state"]
        kept = {key: item for key, item in state.items() if key not in OTHER_STATE}
        return value | {"remote_state": kept}
    if isinstance(value, dict):
        return {key: without_server_fields(item) for key, item in value.items()}
    return value


def same(name: str, ran: Ran) -> None:
    """Asserts that a command answered as recorded."""
    recorded = RECORDED[name]
    assert ran.exit_code == recorded["exit_code"], ran.stderr
    assert normalized(ran.stderr) == normalized(recorded["stderr"])
    if recorded["stdout"].startswith(("{", "[\n")):
        answers = [json.loads(normalized(out)) for out in (ran.stdout, recorded["stdout"])]
        assert without_server_fields(answers[0]) == without_server_fields(answers[1])
    else:
        assert normalized(ran.stdout) == normalized(recorded["stdout"])


def change(name: str, tree: Path) -> None:
    """Makes the changes in the bundle that a recording names."""
    for file, old, new in CHANGED.get(name, ()):
        if old is None:
            (tree / file).unlink()
        else:
            edit(tree / file, old, new)
    if name == "deploy-plan-broken":
        plan = (tree / "plan.json").read_text()
        (tree / "broken.json").write_text(plan[: len(plan) // 2])


def keep_plan(name: str, tree: Path, ran: Ran) -> None:
    """Keeps the plan that the recordings after this one deploy."""
    if re.fullmatch(r"plan-(update|recreate|delete)-json", name):
        (tree / "plan.json").write_text(ran.stdout)


def test_it_answers_as_the_real_client_did(recorded_bundle, home, client, monkeypatch):
    for name, recorded in RECORDED.items():
        change(name, recorded_bundle)
        if name == "build":
            pack_wheel(recorded_bundle)
        faults = []
        if status := re.search(r"-(401|403)$", name):
            message = {"message": "Invalid access token."}
            faults = [{"host": HOST, "on": "sign-in", "status": int(status[1])} | message]
        (home / "faults.json").write_text(json.dumps(faults))
        if name in DEVIATIONS:
            continue
        with monkeypatch.context() as patch:
            for variable, value in ENVIRONMENT.get(name, {}).items():
                patch.setenv(variable, value)
            ran = client(*recorded["command"].split()[1:])
        same(name, ran)
        keep_plan(name, recorded_bundle, ran)


# What a test workspace that anybody runs cannot be made to do.
NOT_AT_WILL = "me-401 validate-401 me-403 validate-403 me-closed-port host-mismatch".split()


def test_the_real_client_still_answers_so(recorded_bundle, tmp_path):
    """Where it and its own test workspace (databricks/cli, libs/testserver) are here."""
    real, url = find_client(), os.environ.get("DATABRICKS_TEST_WORKSPACE")
    if not (real and url):
        pytest.skip("needs the real client on PATH, and DATABRICKS_TEST_WORKSPACE, its URL")
    edit(recorded_bundle / "databricks.yml", HOST, url)
    path = f"{Path(real).parent}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if "DATABRICKS" not in name}
    env |= {"PATH": path, "HOME": str(tmp_path)}  # a home without a .databrickscfg
    env |= {"DATABRICKS_TOKEN": "made-up", "DATABRICKS_HOST": url}
    with contextlib.ExitStack() as after:
        command = [real, "bundle", "destroy", "-t", "qa", "--auto-approve"]
        after.callback(subprocess.run, command, env=env, capture_output=True)
        for name, recorded in RECORDED.items():
            change(name, recorded_bundle)
            if name in NOT_AT_WILL:
                continue
            command = recorded["command"].split()
            given = {n: v for n, v in (env | ENVIRONMENT.get(name, {})).items() if v}
            ran = subprocess.run(command, env=given, capture_output=True, text=True)
            outputs = (
                re.sub(r"[?&][ow]=\d+", "", o.replace(url, HOST)) for o in (ran.stdout, ran.stderr)
            )
            same(name, answer := Ran(ran.returncode, *outputs))
            keep_plan(name, recorded_bundle, answer)


def test_every_change_is_before_a_recording():
    assert {*CHANGED, *ENVIRONMENT, *DEVIATIONS, *NOT_AT_WILL} <= RECORDED.keys()


# ---- The bundle of every rendering ---------------------------------------------------------------


@pytest.fixture
def rendering_of(tmp_path, monkeypatch, home):
    """A function that makes a copy of a rendering the working directory, signed in everywhere."""

    def enter(rendered: Path) -> Path:
        tree = shutil.copytree(rendered, tmp_path / "tree")
        hosts = re.findall(r"^ +host: (\S+)", (tree / "databricks.yml").read_text(), re.M)
        workspace.declare(home, {host: [Identity(USER, token=TOKEN)] for host in hosts})
        monkeypatch.setenv("DATABRICKS_HOST", hosts[0])
        monkeypatch.chdir(tree)
        return tree

    return enter


def with_wheel(tree: Path) -> Path:
    """Puts a wheel into dist/ of a rendering; nobody looks into it."""
    (tree / "dist").mkdir()
    (wheel := tree / "dist/my_data_project-0.1.0-py3-none-any.whl").write_bytes(b"PK")
    return wheel


def test_every_target_of_every_variant_is_valid(rendered, rendering_of, client):
    rendering_of(rendered)

    for target in ("development", "qa", "prod"):
        ran = client("bundle", "validate", "--strict", "-t", target)
        assert ran.exit_code == 0, ran
        assert "Validation OK!" in ran.stdout


def test_development_is_ones_own_copy(default, rendering_of, client):
    tree = rendering_of(default)
    edit(tree / "databricks.yml", "    mode: development", "    mode: development\n    presets: {}")

    bundle = json.loads(client("bundle", "validate", "-o", "json").stdout)

    job = bundle["resources"]["jobs"]["my_data_project_job"]
    pipeline = bundle["resources"]["pipelines"]["my_data_project_etl"]
    assert job["name"] == "[dev tester] my_data_project_job"
    assert job["schedule"]["pause_status"] == "PAUSED"
    assert (job["max_concurrent_runs"], job["tags"]) == (4, {"dev": "tester"})
    assert pipeline["development"] and pipeline["schema"].endswith("_dev_tester")
    assert bundle["workspace"]["root_path"].startswith(f"/Workspace/Users/{USER}/.bundle/")


MY_JOB = "resources/my_data_project.job.yml"
BREAKS = {
    "unknown field": (MY_JOB, "email_notifications:", "email_notification:", "email_notification"),
    "unknown variable": (
        MY_JOB,
        "${var.source_table}",
        "${var.sorce_table}",
        "${var.source_table}",
    ),
    "missing notebook": (MY_JOB, "sample_notebook.py", "simple_notebook.py", "simple_notebook"),
    "wrong type": (
        MY_JOB,
        "timezone_id: UTC",
        "timezone_id: [UTC]",
        "expected string, found sequence",
    ),
    "missing field": (MY_JOB, "entry_point: main", "", 'required field "entry_point" is not set'),
    "unknown target": ("databricks.yml", "\n  qa:", "\n  quality:", "required variable catalog"),
    "wrong client": ("databricks.yml", ">= 1.22.1, < 2.0.0", ">= 2.0.0", "2.0.0"),
    "unknown section": ("databricks.yml", "\n    presets:", "\n    prests:", "at targets.qa\n"),
    "unknown mode": ("databricks.yml", "mode: production", "mode: prod", "unsupported value"),
    "no root path": ("databricks.yml", "      root_path:", "      # root_path:", "root_path"),
    "variable of nobody": ("databricks.yml", "      catalog:", "      ctalog:", "ctalog"),
    "broken yaml": ("databricks.yml", "variables:", "variables: [", "yaml: line"),
    "unknown resource": (MY_JOB, "pipelines.my_data", "pipelines.your_data", "no such node"),
    "development pipeline": (
        "resources/my_data_project_etl.pipeline.yml",
        "serverless: true",
        "development: true",
        "cannot include a pipeline with 'development: true'",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_broken_is_refused_by_name(default, broken, rendering_of, client):
    file, old, new, named = BREAKS[broken]
    tree = rendering_of(default)
    with_wheel(tree)
    edit(tree / file, old, new)

    command = "plan" if broken == "unknown resource" else "validate"
    ran = client("bundle", command, "-t", "qa", *["--strict"][: command == "validate"])

    assert ran.exit_code == 1
    assert named in ran.stderr


def test_a_service_principal_and_run_as(default, rendering_of, client, home):
    tree = rendering_of(default)
    principal = "11111111-2222-3333-4444-555555555555"
    (given,) = [
        li for li in (tree / "databricks.yml").read_text().splitlines() if "identity:  #" in li
    ]
    edit(tree / "databricks.yml", given, f"      identity: {{service_principal_name: {principal}}}")

    bundle = json.loads(client("bundle", "validate", "-t", "prod", "-o", "json").stdout)

    job = bundle["resources"]["jobs"]["my_data_project_job"]
    assert job["run_as"] == {"service_principal_name": principal}
    assert job["schedule"]["pause_status"] == "UNPAUSED"


def test_only_what_a_workspace_needs_is_uploaded(default, rendering_of, client, home):
    tree = rendering_of(default)
    with_wheel(tree)
    (tree / ".gitignore").write_text("__pycache__/\n")
    (tree / "src/__pycache__").mkdir()
    (tree / "src/__pycache__/x.pyc").write_text("x")

    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    (files,) = home.glob("*/files/Workspace/Users/*/.bundle/*/qa/files")
    uploaded = {str(f.relative_to(files)) for f in files.rglob("*") if f.is_file()}
    there = {f for f in tree.rglob("*.py") if f.relative_to(tree).parts[:2] != ("tests", "unit")}
    wanted = {
        str(f.relative_to(tree)) for f in there if f.relative_to(tree).parts[0] in ("src", "tests")
    }
    assert uploaded == wanted


# ---- Deploying and running -----------------------------------------------------------------------


def state_of(home: Path, target: str) -> dict:
    """The state of a deployed target."""
    (file,) = home.glob(f"*/files/Workspace/Users/*/.bundle/*/{target}/state/resources.json")
    return json.loads(file.read_text())


def test_the_default_rendering_deploys_and_runs(default, rendering_of, client, home, monkeypatch):
    monkeypatch.setattr(Compute, "runs", False)
    tree = rendering_of(default)
    wheel = with_wheel(tree)

    for target in ("qa", "prod"):
        assert client("bundle", "deploy", "-t", target).exit_code == 0
        ran = client("bundle", "run", "-t", target, "my_data_project_job")
        assert ran.exit_code == 0, ran
        again = client("bundle", "plan", "-t", target)
        assert "Plan: 0 to add, 0 to change, 0 to delete" in again.stdout

    kinds = [call[0] for call in Compute.calls]
    assert kinds == ["notebook", "pipeline", "wheel"] * 2
    (_, package, arguments, libraries), name = Compute.calls[-1], "[qa] my_data_project_etl"
    assert package == "my_data_project" and "--catalog=prod" in arguments
    assert libraries[0].endswith(f"/prod/artifacts/.internal/{wheel.name}")
    assert Compute.calls[1] == ("pipeline", name)
    calls = [json.loads(line) for line in (home / "calls.jsonl").read_text().splitlines()]
    deployed = {(c["host"], c["what"]) for c in calls if c["command"] == "bundle deploy"}
    assert ("prod-workspace.cloud.databricks.com", "create jobs.my_data_project_job") in deployed


def test_job_parameters_reach_notebooks_and_win(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    edit(
        recorded_bundle / JOB,
        "notebook_path: ../notebooks/sample.py",
        "notebook_path: ../notebooks/sample.py,"
        " base_parameters: {own: 'is {{job.parameters.day}}', day: monday, odd: '1'}",
    )
    edit(
        recorded_bundle / JOB,
        "      tasks:",
        "      parameters: [{name: day, default: sunday}]\n      tasks:",
    )
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    assert client("bundle", "run", "demo_job", "-t", "qa").exit_code == 0
    assert (
        client("bundle", "run", "--params", "day=friday,odd=a=b", "demo_job", "-t", "qa").exit_code
        == 0
    )

    first, second = (call for call in Compute.calls if call[0] == "notebook")
    assert first[2] == {"own": "is sunday", "day": "sunday", "odd": "1"}
    assert second[2] == {"own": "is friday", "day": "friday", "odd": "a=b"}


def test_a_failing_task_stops_those_after_it(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    edit(recorded_bundle / NOTEBOOK, 'print("hi")', "1 / 0")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    ran = client("bundle", "run", "-t", "qa", "demo_job")

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "ZeroDivisionError: division by zero" in ran.stderr
    assert [call[0] for call in Compute.calls] == ["notebook"]


def test_a_job_whose_wheel_is_gone_fails(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    (wheel,) = home.glob("*/files/**/.internal/*.whl")
    wheel.unlink()

    ran = client("bundle", "run", "-t", "qa", "demo_job")

    assert ran.exit_code == 1
    assert (
        f"Library installation failed: {'/' + str(wheel).partition('/files/')[2]} not found"
        in ran.stderr
    )
    assert [call[0] for call in Compute.calls] == ["notebook"]


def test_a_deployment_that_fails_half_way_is_finished_by_the_next(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    fault = {"host": HOST, "on": "deploy", "after": 2, "message": "INJECTED (500 UNKNOWN)"}
    (home / "faults.json").write_text(json.dumps([fault]))

    ran = client("bundle", "deploy", "-t", "qa")

    assert ran.exit_code == 1
    assert (
        "Error: cannot create resources.pipelines.demo_etl: INJECTED (500 UNKNOWN)\n" in ran.stderr
    )
    assert "Created" not in ran.stderr and "Files: 11 uploaded" in ran.stderr
    state = state_of(home, "qa")
    assert state["serial"] == 1
    assert state["state"].keys() == {"resources.jobs.demo_job", "resources.jobs.nutter"}
    (home / "faults.json").unlink()
    rest = client("bundle", "plan", "-t", "qa").stdout
    assert rest.startswith("create pipelines.demo_etl\n\nPlan: 1 to add, 0 to change")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    assert state_of(home, "qa")["serial"] == 2


def test_what_depends_on_a_failed_resource_is_not_deployed(default, rendering_of, client, home):
    with_wheel(rendering_of(default))
    fault = {"host": os.environ["DATABRICKS_HOST"], "on": "deploy", "message": "INJECTED"}
    (home / "faults.json").write_text(json.dumps([fault]))

    ran = client("bundle", "deploy", "-t", "qa")

    assert "cannot create resources.pipelines.my_data_project_etl: INJECTED" in ran.stderr
    waits = "resources.jobs.my_data_project_job: dependency failed: resources.pipelines."
    assert f"cannot create {waits}my_data_project_etl" in ran.stderr
    assert not list(home.glob("*/resources.json"))


def test_what_somebody_changed_by_hand_is_in_the_plan(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    file = home / "workspace.example/resources.json"
    remote = json.loads(file.read_text())
    (job,) = [j for j in remote["jobs"].values() if "trigger" in j]
    job["trigger"]["periodic"]["interval"] = 9
    remote["pipelines"] = {}
    file.write_text(json.dumps(remote))

    plan = json.loads(client("bundle", "plan", "-t", "qa", "-o", "json").stdout)["plan"]

    change = plan["resources.jobs.demo_job"]["changes"]["trigger.periodic.interval"]
    assert change == {"action": "update", "old": 2, "new": 2, "remote": 9}
    actions = {key.removeprefix("resources."): entry["action"] for key, entry in plan.items()}
    assert actions == {
        "jobs.demo_job": "update",
        "jobs.nutter": "skip",
        "pipelines.demo_etl": "create",
    }


def test_a_plan_of_another_client_or_state(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    plan = json.loads(client("bundle", "plan", "-t", "qa", "-o", "json").stdout)
    Path("old.json").write_text(json.dumps(plan | {"cli_version": "1.21.0"}))
    Path("alien.json").write_text(json.dumps(plan | {"lineage": "other", "serial": 1}))
    Path("array.json").write_text("[]")

    alien = client("bundle", "deploy", "-t", "qa", "--plan", "alien.json")
    array = client("bundle", "deploy", "-t", "qa", "--plan", "array.json")
    old = client("bundle", "deploy", "-t", "qa", "--plan", "old.json")

    assert alien.exit_code == 1 and 'plan lineage "other" does not match' in alien.stderr
    assert array.exit_code == 1 and "parsing plan JSON" in array.stderr
    assert old.exit_code == 0
    assert (
        "Warn: Plan was created with CLI version 1.21.0 but current version is 1.22.1" in old.stderr
    )


def test_a_recreated_schema_needs_approval(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    (recorded_bundle / "resources/schema.yml").write_text(
        "resources: {schemas: {raw: {name: raw, catalog_name: dev}}}"
    )
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    before = state_of(home, "qa")["state"]["resources.schemas.raw"]["__id__"]
    edit(recorded_bundle / "resources/schema.yml", "dev", "other")

    refused = client("bundle", "deploy", "-t", "qa")
    done = client("bundle", "deploy", "-t", "qa", "--auto-approve")

    assert refused.exit_code == 1 and "  recreate resources.schemas.raw" in refused.stderr
    assert done.exit_code == 0 and "Recreated schemas.raw" in done.stderr
    assert state_of(home, "qa")["state"]["resources.schemas.raw"]["__id__"] != before


def test_the_branch_is_checked_where_there_is_git(default, rendering_of, client):
    tree = rendering_of(default)
    with_wheel(tree)
    (tree / ".git/HEAD").write_text("ref: refs/heads/feature\n")

    assert client("bundle", "validate", "-t", "prod").exit_code == 0
    refused = client("bundle", "deploy", "-t", "prod")
    (tree / ".git/HEAD").write_text("ref: refs/heads/main\n")

    assert refused.exit_code == 1 and "  actual: feature" in refused.stderr
    assert client("bundle", "deploy", "-t", "prod").exit_code == 0


@pytest.mark.parametrize("kept", [True, False])
def test_earlier_wheels_go_unless_they_are_kept(recorded_bundle, client, home, kept):
    pack_wheel(recorded_bundle)
    config = recorded_bundle / "databricks.yml"
    config.write_text(f"experimental: {{skip_artifact_cleanup: {kept}}}\n{config.read_text()}")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    first, second = "demo-0.0.1-py3-none-any.whl", "demo-0.0.2-py3-none-any.whl"
    (recorded_bundle / "dist" / first).rename(recorded_bundle / "dist" / second)

    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    wheels = {wheel.name for wheel in home.glob("*/files/**/.internal/*")}
    assert wheels == ({first, second} if kept else {second})


def test_permissions_are_resources_of_their_own(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    old = "      name: demo_job\n"
    edit(
        recorded_bundle / JOB,
        old,
        f"{old}      permissions: [{{group_name: a, level: CAN_VIEW}}]\n",
    )
    assert "Created jobs.demo_job.permissions" in client("bundle", "deploy", "-t", "qa").stderr
    edit(recorded_bundle / JOB, "CAN_VIEW", "CAN_MANAGE")

    plan = json.loads(client("bundle", "plan", "-t", "qa", "-o", "json").stdout)["plan"]

    told = plan["resources.jobs.demo_job.permissions"]["changes"]["[group_name='a'].level"]
    assert told["action"] == "update"
    assert [told[name] for name in ("old", "new", "remote")] == [
        "CAN_VIEW",
        "CAN_MANAGE",
        "CAN_VIEW",
    ]


# ---- Signing in ----------------------------------------------------------------------------------


ROLE = "arn:aws:iam::123456789012:role/qa-build"
ONE_EACH = [
    Identity("pat@example.com", token=TOKEN),
    Identity("m2m", client_id="m2m", client_secret="canary-secret"),
    Identity("federated", client_id="federated", subject=ROLE),
]


def jwt(subject: str = ROLE, audience: object = "databricks", seconds: int = 300) -> str:
    """A token of AWS's, as far as a workspace reads it."""
    claims = {"sub": subject, "aud": audience, "exp": time.time() + seconds}
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode() for p in ({}, claims)]
    return ".".join([*(part.rstrip("=") for part in parts), "signature"])


def file_oidc(tmp_path: Path, token: str, client_id: str = "federated") -> dict:
    """The variables of file-oidc."""
    (tmp_path / "jwt").write_text(token)
    return {
        "DATABRICKS_AUTH_TYPE": "file-oidc",
        "DATABRICKS_CLIENT_ID": client_id,
        "DATABRICKS_OIDC_TOKEN_FILEPATH": str(tmp_path / "jwt"),
    }


def m2m(secret: str) -> dict:
    return {"DATABRICKS_CLIENT_ID": "m2m", "DATABRICKS_CLIENT_SECRET": secret}


AS_PAT, AS_M2M = {"DATABRICKS_AUTH_TYPE": "pat"}, {"DATABRICKS_AUTH_TYPE": "oauth-m2m"}
SIGNED_IN = {
    "pat": (lambda _: {"DATABRICKS_TOKEN": TOKEN}, "pat@example.com"),
    "m2m": (lambda _: m2m("canary-secret"), "m2m"),
    "file-oidc": (lambda path: file_oidc(path, jwt()), "federated"),
    "pat, asked for": (lambda _: AS_PAT | {"DATABRICKS_TOKEN": TOKEN}, "pat@example.com"),
    "m2m, asked for": (lambda _: AS_M2M | m2m("canary-secret"), "m2m"),
    "one of two, asked for": (
        lambda _: AS_M2M | m2m("canary-secret") | {"DATABRICKS_TOKEN": TOKEN},
        "m2m",
    ),
    "file-oidc, audiences": (
        lambda path: file_oidc(path, jwt(audience=["databricks"])),
        "federated",
    ),
}
REFUSED = {
    "nothing": (lambda _: {}, "cannot configure default credentials"),
    "wrong token": (lambda _: {"DATABRICKS_TOKEN": "dapi-wrong"}, "Invalid access token."),
    "wrong secret": (lambda _: m2m("wrong-secret"), "cannot configure default credentials"),
    "no token": (lambda _: AS_PAT, "pat auth: token is required"),
    "no secret": (lambda _: AS_M2M | {"DATABRICKS_TOKEN": TOKEN}, "oauth-m2m auth: not configured"),
    "wrong token, asked for": (
        lambda _: AS_PAT | {"DATABRICKS_TOKEN": "dapi-wrong"},
        "Error: Invalid access token.\n\nHost:      https://workspace.example\nAuth type: Personal",
    ),
    "wrong secret, asked for": (
        lambda _: AS_M2M | m2m("wrong"),
        'error getting token: Post "https://workspace.example/oidc/v1/token": {"error": "in',
    ),
    "another way": (lambda _: {"DATABRICKS_AUTH_TYPE": "azure-cli"}, "does not know"),
    "the hash for the secret": (
        lambda _: {"DATABRICKS_TOKEN": hashlib.sha256(TOKEN.encode()).hexdigest()},
        "Invalid access token.",
    ),
    "two ways": (
        lambda _: m2m("canary-secret") | {"DATABRICKS_TOKEN": TOKEN},
        "more than one authorization method configured: oauth and pat",
    ),
    "other role": (lambda path: file_oidc(path, jwt(ROLE + "-prod")), "file-oidc auth: Post"),
    "other audience": (lambda path: file_oidc(path, jwt(audience="aws")), "file-oidc auth: Post"),
    "expired": (lambda path: file_oidc(path, jwt(seconds=-1)), "file-oidc auth: Post"),
    "no jwt": (lambda path: file_oidc(path, "nonsense"), "file-oidc auth: Post"),
    "other client": (lambda path: file_oidc(path, jwt(), "m2m"), "file-oidc auth: Post"),
    "empty file": (lambda path: file_oidc(path, ""), "is empty"),
    "no file": (
        lambda path: file_oidc(path, "") | {"DATABRICKS_OIDC_TOKEN_FILEPATH": "/nowhere"},
        'file "/nowhere" does not exist',
    ),
}


@pytest.fixture
def sign_in_with(home, client, monkeypatch, tmp_path):
    """Runs `current-user me` with the variables that a function of a path returns."""
    workspace.declare(home, {HOST: ONE_EACH})
    monkeypatch.delenv("DATABRICKS_TOKEN")

    def run(variables) -> Ran:
        for name, value in variables(tmp_path).items():
            monkeypatch.setenv(name, value)
        return client("current-user", "me")

    return run


@pytest.mark.parametrize("way", SIGNED_IN)
def test_each_way_to_sign_in(way, sign_in_with):
    variables, user = SIGNED_IN[way]

    assert json.loads(sign_in_with(variables).stdout)["userName"] == user


@pytest.mark.parametrize("way", REFUSED)
def test_what_does_not_sign_in(way, sign_in_with):
    variables, message = REFUSED[way]

    ran = sign_in_with(variables)

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert message in ran.stderr


def ask(
    home: Path, method: str, path: str, authorization: str = "", **form: str
) -> tuple[int, dict]:
    """What the workspace answers to HTTP."""
    headers = {"Authorization": authorization}
    return workspace.respond(home, HOST, method, path, headers, urlencode(form).encode())


def test_the_preflight_signs_in_over_http_too(home):
    workspace.declare(home, {f"{HOST}/": ONE_EACH})
    me, oidc = "/api/2.0/preview/scim/v2/Me", "/oidc/v1/token"
    basic = "Basic " + base64.b64encode(b"m2m:canary-secret").decode()
    wrong = "Basic " + base64.b64encode(b"m2m:wrong").decode()
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "client_id": "federated",
    }

    assert ask(home, "GET", me, f"Bearer {TOKEN}")[1]["userName"] == "pat@example.com"
    assert ask(home, "GET", me, "Bearer wrong")[0] == 401
    assert ask(home, "GET", me)[0] == 401
    assert ask(home, "GET", "/api/2.1/jobs/list", f"Bearer {TOKEN}")[0] == 404
    for user, authorization, form in (
        ("m2m", basic, {"grant_type": "client_credentials", "scope": "all-apis"}),
        ("federated", "", exchange | {"subject_token": jwt()}),
    ):
        status, token = ask(home, "POST", oidc, authorization, **form)
        assert (status, token["token_type"]) == (200, "Bearer")
        signed_in = ask(home, "GET", me, f"Bearer {token['access_token']}")
        assert signed_in == (200, {"id": signed_in[1]["id"], "userName": user})
    assert ask(home, "POST", oidc, wrong, grant_type="client_credentials")[0] == 401
    bad = exchange | {"subject_token": jwt("arn:aws:iam::123456789012:role/other")}
    assert ask(home, "POST", oidc, "", **bad)[0] == 401
    with pytest.raises(workspace.Unreachable):
        workspace.respond(home, "https://another.example", "GET", me, {}, b"")


def test_a_lost_network_and_a_refusal_can_be_planned(home, client):
    fault = {"host": HOST, "on": "sign-in", "message": "i/o timeout"}
    (home / "faults.json").write_text(json.dumps([fault]))
    assert "dial tcp: i/o timeout" in client("current-user", "me").stderr
    (home / "faults.json").write_text(json.dumps([fault | {"status": 403}]))
    assert ask(home, "GET", "/api/2.0/preview/scim/v2/Me", f"Bearer {TOKEN}")[0] == 403


def test_no_secret_is_stored_or_printed(recorded_bundle, home, client, tmp_path):
    pack_wheel(recorded_bundle)
    workspace.declare(home, {HOST: [*ONE_EACH, Identity(USER, token=TOKEN)]})
    printed = [
        client("bundle", "deploy", "-t", "qa"),
        client("bundle", "run", "-t", "qa", "demo_job"),
        client("bundle", "summary", "-t", "qa", "-o", "json"),
        client("api", "get", TOKEN),
    ]
    _, token = ask(
        home,
        "POST",
        "/oidc/v1/token",
        "Basic " + base64.b64encode(b"m2m:canary-secret").decode(),
        grant_type="client_credentials",
    )

    kept = [file.read_bytes() for file in home.rglob("*") if file.is_file()]
    kept += [text.encode() for ran in printed for text in ran[1:]]
    assert any(USER.encode() in content for content in kept)  # the search finds what is there
    for secret in (TOKEN, "canary-secret", token["access_token"]):
        assert not any(secret.encode() in content for content in kept)


# ---- What it does not know -----------------------------------------------------------------------


UNKNOWN = [
    "bundle frobnicate",
    "bundle",
    "",
    "--help",
    "bundle validate --frob",
    "bundle validate extra -t qa",
    "bundle deploy --only x",
    "bundle deploy -p prod",
    "bundle run -t qa demo_job --no-wait",
    "bundle run -t qa",
    "bundle plan --strict",
    "jobs list",
    "api get /api/2.1/jobs/list",
    "workspace import-dir . /Workspace/x",
    "workspace list /Workspace",
    "fs ls dbfs:/",
]


@pytest.mark.parametrize("command", UNKNOWN)
def test_what_it_does_not_know_fails_loudly(command, recorded_bundle, client):
    ran = client(*command.split())

    assert (ran.exit_code, ran.stdout) == (1, "")
    said = "Error: the rehearsal's stand-in client does not know: databricks"
    assert ran.stderr.startswith(f"{said} {command}".rstrip() if command else said)


NOT_DONE = {
    "building": ("development", "", "building artifacts"),
    "permissions of all": (
        "qa",
        "permissions: [{group_name: a, level: CAN_VIEW}]\n",
        "permissions",
    ),
    "Python for bundles": ("qa", "python: {resources: ['a:b']}\n", "python of a bundle"),
    "another field's reference": ("qa", "", "the reference ${resources.jobs.demo_job.name}"),
}


@pytest.mark.parametrize("what", NOT_DONE)
def test_what_it_cannot_deploy_fails_loudly(what, recorded_bundle, client, home):
    target, more, named = NOT_DONE[what]
    pack_wheel(recorded_bundle)
    config = recorded_bundle / "databricks.yml"
    config.write_text(more + config.read_text())
    if "reference" in what:
        edit(recorded_bundle / PIPELINE, "schema: demo", "schema: ${resources.jobs.demo_job.name}")

    ran = client("bundle", "deploy", "-t", target)

    assert ran.exit_code == 1
    assert "does not know: databricks bundle deploy" in ran.stderr and named in ran.stderr
    assert not list(home.glob("*/files"))


@pytest.mark.parametrize(
    "task",
    [
        "spark_python_task: {python_file: ../src/demo/main.py}",
        "condition_task: {op: NOT, left: a, right: b}",
    ],
)
def test_a_task_that_it_cannot_run_fails_loudly(task, recorded_bundle, client):
    pack_wheel(recorded_bundle)
    edit(recorded_bundle / JOB, "notebook_task: {notebook_path: ../notebooks/sample.py}", task)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    ran = client("bundle", "run", "-t", "qa", "demo_job")

    assert ran.exit_code == 1
    assert "does not know" in ran.stderr and "the task notebook" in ran.stderr


@pytest.fixture
def program(home):
    """The client as a build finds it: a program that asks a server, which knows the workspaces."""
    address = home.parent / "client.socket"
    path = home.parent / "databricks-program"
    names = {"root": str(play.ROOT), "address": str(address)}
    path.write_text(play.CLIENT.format(python=sys.executable, **names))
    path.chmod(0o755)
    with warm.serving(sys.executable, address, "rehearsal.databricks.client", str(home)):
        yield path


def test_it_is_a_program(recorded_bundle, program, monkeypatch):
    validated = subprocess.run(
        [program, "bundle", "validate", "-t", "qa"], capture_output=True, text=True
    )
    monkeypatch.setenv("DATABRICKS_TOKEN", "another")
    refused = subprocess.run([program, "current-user", "me"], capture_output=True, text=True)
    unknown = subprocess.run([program, "bundle", "frobnicate"], capture_output=True, text=True)

    assert validated.returncode == 0 and "Target: qa" in validated.stdout, validated
    assert (refused.returncode, refused.stdout) == (1, "") and "Invalid access" in refused.stderr
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "does not know: databricks bundle frobnicate" in unknown.stderr


def test_files_of_the_workspace(recorded_bundle, client, home, tmp_path):
    pack_wheel(recorded_bundle)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    root = f"/Workspace/Users/{USER}/.bundle/demo/qa"

    entry = json.loads(client("workspace", "get-status", f"{root}/files/notebooks/sample").stdout)
    assert (entry["object_type"], entry["language"]) == ("NOTEBOOK", "PYTHON")
    assert client("workspace", "export", f"{root}/files/notebooks/sample.py").exit_code == 1
    assert client("workspace", "delete", f"{root}/files/src").exit_code == 1
    assert client("workspace", "delete", f"{root}/files/src", "--recursive").exit_code == 0
    assert client("workspace", "get-status", f"{root}/files/src").exit_code == 1
    missing = client(
        "workspace", "export-dir", f"{root}/nothing", str(tmp_path / "to"), "--overwrite"
    )
    assert (missing.exit_code, (tmp_path / "to").exists()) == (1, False)
    climbing = client("workspace", "export", "/Workspace/../../workspaces.json")
    assert climbing.exit_code == 1 and not climbing.stdout

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
import time
import traceback
import zipfile
from pathlib import Path
from typing import ClassVar, NamedTuple
from urllib.parse import urlencode

import pytest

from rehearsal import play, promises
from rehearsal.databricks import calls, identities, runs
from rehearsal.databricks import client as databricks
from rehearsal.databricks.api.workspace_api import WorkspaceApi
from rehearsal.databricks.compute import Outcome
from rehearsal.databricks.errors import Unreachable
from rehearsal.databricks.identities import Identity
from rehearsal.databricks.workspace import Resources
from test_bundle import find_client

DATA = json.loads((Path(__file__).parent / "data/client-recordings.json").read_text())
RECORDED = {recording["name"]: recording for recording in DATA["recordings"]}
HOST = "https://workspace.example"
USER = "tester@databricks.com"
TOKEN = "dapi-canary-0123456789abcdef"


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

    def notebook(self, path, parameters, libraries, values) -> Outcome:
        self.calls.append(("notebook", path, parameters, libraries))
        return self.run(lambda: runpy.run_path(str(self.files / f"{path[1:]}.py")))

    def wheel(self, package, entry_point, parameters, libraries) -> Outcome:
        self.calls.append(("wheel", package, parameters, libraries))

        def program():
            with zipfile.ZipFile(self.files / libraries[0][1:]) as wheel:
                points = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
                line = re.search(rf"{entry_point} = (\S+):(\S+)", wheel.read(points).decode())
                source = wheel.read(line[1].replace(".", "/") + ".py")
            namespace: dict = {}
            exec(source, namespace)
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
    monkeypatch.setattr(runs, "Compute", Compute)
    Compute.calls = []
    home = tmp_path / "databricks"
    identities.declare(home, {HOST: [Identity(USER, token=TOKEN)]})
    return home


def set_faults(home: Path, *faults: dict) -> None:
    """Sets what fails from now on, and nothing else."""
    (home / "faults.json").write_text(json.dumps(faults))


@pytest.fixture
def client(home, capsys):
    """Runs the stand-in, in this process."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = databricks.main([str(home), *arguments])
        return Ran(code, *capsys.readouterr())

    return run


# ---- What the real client answered ---------------------------------------------------------------


CONFIG, JOB, PIPELINE = "databricks.yml", "resources/demo.job.yml", "resources/etl.pipeline.yml"
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
        (CONFIG, ">= 1.22.0", ">= 99.0.0"),
    ],
    "no-credentials": [(CONFIG, ">= 99.0.0", ">= 1.22.0")],
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


def answer(exit_code: int, stdout: str, stderr: str) -> tuple:
    """An answer as it is compared: normalized, and parsed where it is JSON."""
    output = normalized(stdout)
    if stdout.startswith(("{", "[\n")):
        output = without_server_fields(json.loads(output))
    return exit_code, normalized(stderr), output


def recorded_answer(name: str) -> tuple:
    """What the real client answered."""
    recording = RECORDED[name]
    return answer(recording["exit_code"], recording["stdout"], recording["stderr"])


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


def sign_in_faults(name: str) -> list[dict]:
    """How the workspace refused the sign-in of a recording."""
    status = re.search(r"-(401|403)$", name)
    fault = {"host": HOST, "on": "sign-in", "message": "Invalid access token."}
    return [fault | {"status": int(status[1])}] if status else []


def test_the_stand_in_gives_the_recorded_answers(recorded_bundle, home, client, monkeypatch):
    for name, recorded in RECORDED.items():
        change(name, recorded_bundle)
        if name == "build":
            pack_wheel(recorded_bundle)
        if name in DEVIATIONS:
            continue
        set_faults(home, *sign_in_faults(name))
        with monkeypatch.context() as patch:
            for variable, value in ENVIRONMENT.get(name, {}).items():
                patch.setenv(variable, value)
            ran = client(*recorded["command"].split()[1:])

        assert answer(*ran) == recorded_answer(name), name
        keep_plan(name, recorded_bundle, ran)


# What a test workspace that anybody runs cannot be made to do.
NOT_AT_WILL = "me-401 validate-401 me-403 validate-403 me-closed-port host-mismatch".split()


def run_real(command: list[str], env: dict[str, str], url: str) -> Ran:
    """Runs the real client; in its output, HOST stands for the URL of its workspace."""
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    outputs = (output.replace(url, HOST) for output in (ran.stdout, ran.stderr))
    return Ran(ran.returncode, *(re.sub(r"[?&][ow]=\d+", "", output) for output in outputs))


def test_the_real_client_gives_the_recorded_answers(recorded_bundle, tmp_path):
    """Where it and its own test workspace (databricks/cli, libs/testserver) are here."""
    url = os.environ.get("DATABRICKS_TEST_WORKSPACE")
    if not (url and (real := find_client())):
        pytest.skip("needs the real client on PATH, and DATABRICKS_TEST_WORKSPACE, its URL")
    edit(recorded_bundle / CONFIG, HOST, url)
    path = f"{Path(real).parent}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if "DATABRICKS" not in name}
    env |= {"PATH": path, "HOME": str(tmp_path)}  # a home without a .databrickscfg
    env |= {"DATABRICKS_TOKEN": "made-up", "DATABRICKS_HOST": url}
    with contextlib.ExitStack() as after:
        destroy = [real, "bundle", "destroy", "-t", "qa", "--auto-approve"]
        after.callback(subprocess.run, destroy, env=env, capture_output=True)
        for name, recorded in RECORDED.items():
            change(name, recorded_bundle)
            if name in NOT_AT_WILL:
                continue
            own = {n: value for n, value in (env | ENVIRONMENT.get(name, {})).items() if value}
            ran = run_real(recorded["command"].split(), own, url)

            assert answer(*ran) == recorded_answer(name), name
            keep_plan(name, recorded_bundle, ran)


def test_every_change_is_before_a_recording():
    assert {*CHANGED, *ENVIRONMENT, *DEVIATIONS, *NOT_AT_WILL} <= RECORDED.keys()


# ---- The bundle of every rendering ---------------------------------------------------------------


@pytest.fixture
def rendering_of(tmp_path, monkeypatch, home):
    """A function that makes a copy of a rendering the working directory, signed in everywhere."""

    def enter(rendered: Path) -> Path:
        tree = shutil.copytree(rendered, tmp_path / "tree")
        hosts = re.findall(r"^ +host: (\S+)", (tree / CONFIG).read_text(), re.M)
        identities.declare(home, {host: [Identity(USER, token=TOKEN)] for host in hosts})
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


def test_development_is_the_users_own_copy(default, rendering_of, client):
    tree = rendering_of(default)
    edit(tree / CONFIG, "    mode: development", "    mode: development\n    presets: {}")

    bundle = json.loads(client("bundle", "validate", "-o", "json").stdout)

    job = bundle["resources"]["jobs"]["my_data_project_job"]
    pipeline = bundle["resources"]["pipelines"]["my_data_project_etl"]
    assert job["name"] == "[dev tester] my_data_project_job"
    assert job["schedule"]["pause_status"] == "PAUSED"
    assert (job["max_concurrent_runs"], job["tags"]) == (4, {"dev": "tester"})
    assert pipeline["development"] and pipeline["schema"].endswith("_dev_tester")
    assert bundle["workspace"]["root_path"].startswith(f"/Workspace/Users/{USER}/.bundle/")


MY_JOB = "resources/my_data_project.job.yml"
MY_PIPELINE = "resources/my_data_project_etl.pipeline.yml"


class Break(NamedTuple):
    """A change that breaks a bundle, and a part of what the client says of it."""

    file: str
    old: str
    new: str
    message: str


BREAKS = {
    "unknown field": Break(
        MY_JOB, "email_notifications:", "email_notification:", message="email_notification"
    ),
    "unknown variable": Break(
        MY_JOB, "${var.source_table}", "${var.sorce_table}", message="${var.source_table}"
    ),
    "missing notebook": Break(
        MY_JOB, "sample_notebook.py", "simple_notebook.py", message="simple_notebook"
    ),
    "wrong type": Break(
        MY_JOB,
        "timezone_id: UTC",
        "timezone_id: [UTC]",
        message="expected string, found sequence",
    ),
    "missing field": Break(
        MY_JOB, "entry_point: main", "", message='required field "entry_point" is not set'
    ),
    "unknown target": Break(CONFIG, "\n  qa:", "\n  quality:", message="required variable catalog"),
    "wrong client": Break(CONFIG, ">= 1.22.1, < 2.0.0", ">= 2.0.0", message="2.0.0"),
    "unknown section": Break(
        CONFIG, "\n    presets:", "\n    prests:", message="field prests at targets.qa"
    ),
    "unknown mode": Break(CONFIG, "mode: production", "mode: prod", message="unsupported value"),
    "no root path": Break(CONFIG, "      root_path:", "      # root_path:", message="root_path"),
    "value of an undefined variable": Break(
        CONFIG, "      catalog:", "      ctalog:", message="ctalog"
    ),
    "broken yaml": Break(CONFIG, "variables:", "variables: [", message="yaml: line"),
    "development pipeline": Break(
        MY_PIPELINE,
        "serverless: true",
        "development: true",
        message="cannot include a pipeline with 'development: true'",
    ),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_what_is_broken_is_refused_by_name(default, broken, rendering_of, client):
    tree = rendering_of(default)
    with_wheel(tree)
    edit(tree / broken.file, broken.old, broken.new)

    ran = client("bundle", "validate", "-t", "qa", "--strict")

    assert ran.exit_code == 1
    assert broken.message in ran.stderr


def test_a_reference_to_an_unknown_resource_is_refused_by_the_plan(default, rendering_of, client):
    tree = rendering_of(default)
    with_wheel(tree)
    edit(tree / MY_JOB, "pipelines.my_data", "pipelines.your_data")

    ran = client("bundle", "plan", "-t", "qa")

    assert ran.exit_code == 1
    assert "no such node" in ran.stderr


def test_a_service_principal_and_run_as(default, rendering_of, client, home):
    tree = rendering_of(default)
    principal = "11111111-2222-3333-4444-555555555555"
    lines = (tree / CONFIG).read_text().splitlines()
    (unset,) = [line for line in lines if "identity:  #" in line]
    edit(tree / CONFIG, unset, f"      identity: {{service_principal_name: {principal}}}")

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
    uploaded = {str(file.relative_to(files)) for file in files.rglob("*") if file.is_file()}
    sources = {str(file.relative_to(tree)) for file in tree.rglob("*.py")}
    needed = {name for name in sources if name.startswith(("src/", "tests/"))}
    assert uploaded == {name for name in needed if not name.startswith("tests/unit/")}


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
    assert Compute.calls[1] == ("pipeline", "[qa] my_data_project_etl")
    _, package, arguments, libraries = Compute.calls[-1]
    assert package == "my_data_project" and "--catalog=prod" in arguments
    assert libraries[0].endswith(f"/prod/artifacts/.internal/{wheel.name}")
    deployed = {
        (call.host, call.what) for call in calls.recorded(home) if call.command == calls.RESOURCE
    }
    assert ("prod-workspace.cloud.databricks.com", "create jobs.my_data_project_job") in deployed


def test_job_parameters_reach_notebooks_and_win(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    notebook = "notebook_path: ../notebooks/sample.py"
    own = "base_parameters: {own: 'is {{job.parameters.day}}', day: monday, odd: '1'}"
    edit(recorded_bundle / JOB, notebook, f"{notebook}, {own}")
    default = "      parameters: [{name: day, default: sunday}]\n"
    edit(recorded_bundle / JOB, "      tasks:", f"{default}      tasks:")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    run = "bundle", "run", "demo_job", "-t", "qa"
    assert client(*run).exit_code == 0
    assert client(*run, "--params", "day=friday,odd=a=b").exit_code == 0

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
    path = "/" + str(wheel).partition("/files/")[2]
    assert f"Library installation failed: {path} not found" in ran.stderr
    assert [call[0] for call in Compute.calls] == ["notebook"]


def test_a_deployment_that_fails_half_way_is_finished_by_the_next(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    fault = {"host": HOST, "on": "deploy", "after": 2, "message": "INJECTED (500 UNKNOWN)"}
    set_faults(home, fault)

    ran = client("bundle", "deploy", "-t", "qa")

    assert ran.exit_code == 1
    error = "Error: cannot create resources.pipelines.demo_etl: INJECTED (500 UNKNOWN)\n"
    assert error in ran.stderr
    assert "Created" not in ran.stderr and "Files: 11 uploaded" in ran.stderr
    state = state_of(home, "qa")
    assert state["serial"] == 1
    assert state["state"].keys() == {"resources.jobs.demo_job", "resources.jobs.nutter"}

    set_faults(home)
    rest = client("bundle", "plan", "-t", "qa").stdout
    assert rest.startswith("create pipelines.demo_etl\n\nPlan: 1 to add, 0 to change")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    assert state_of(home, "qa")["serial"] == 2


def test_what_depends_on_a_failed_resource_is_not_deployed(default, rendering_of, client, home):
    with_wheel(rendering_of(default))
    set_faults(home, {"host": os.environ["DATABRICKS_HOST"], "on": "deploy", "message": "INJECTED"})

    ran = client("bundle", "deploy", "-t", "qa")

    job, pipeline = "jobs.my_data_project_job", "pipelines.my_data_project_etl"
    assert f"cannot create resources.{pipeline}: INJECTED" in ran.stderr
    dependency = f"dependency failed: resources.{pipeline}"
    assert f"cannot create resources.{job}: {dependency}" in ran.stderr
    assert not list(home.glob("*/resources"))


def test_what_somebody_changed_by_hand_is_in_the_plan(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    remote = Resources(home / "workspace.example/resources")
    ((id_, job),) = [(i, job) for i, job, _ in remote.list("jobs") if "trigger" in job]
    job["trigger"]["periodic"]["interval"] = 9
    remote.put("jobs", id_, job)
    shutil.rmtree(home / "workspace.example/resources/pipelines")

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
    versions = "CLI version 1.21.0 but current version is 1.22.1"
    assert f"Warn: Plan was created with {versions}" in old.stderr


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


FIRST, SECOND = "demo-0.0.1-py3-none-any.whl", "demo-0.0.2-py3-none-any.whl"


@pytest.mark.parametrize(
    ("skip_cleanup", "wheels"), [("true", {FIRST, SECOND}), ("false", {SECOND})]
)
def test_earlier_wheels_go_unless_they_are_kept(
    recorded_bundle, client, home, skip_cleanup, wheels
):
    pack_wheel(recorded_bundle)
    config = recorded_bundle / CONFIG
    experimental = f"experimental: {{skip_artifact_cleanup: {skip_cleanup}}}\n"
    config.write_text(f"{experimental}{config.read_text()}")
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    (recorded_bundle / "dist" / FIRST).rename(recorded_bundle / "dist" / SECOND)

    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    assert {wheel.name for wheel in home.glob("*/files/**/.internal/*")} == wheels


def test_permissions_are_resources_of_their_own(recorded_bundle, client):
    pack_wheel(recorded_bundle)
    name = "      name: demo_job\n"
    permissions = "      permissions: [{group_name: a, level: CAN_VIEW}]\n"
    edit(recorded_bundle / JOB, name, f"{name}{permissions}")
    assert "Created jobs.demo_job.permissions" in client("bundle", "deploy", "-t", "qa").stderr
    edit(recorded_bundle / JOB, "CAN_VIEW", "CAN_MANAGE")

    plan = json.loads(client("bundle", "plan", "-t", "qa", "-o", "json").stdout)["plan"]

    change = plan["resources.jobs.demo_job.permissions"]["changes"]["[group_name='a'].level"]
    assert change == {
        "action": "update",
        "old": "CAN_VIEW",
        "new": "CAN_MANAGE",
        "remote": "CAN_VIEW",
    }


# ---- Signing in ----------------------------------------------------------------------------------


ROLE = "arn:aws:iam::123456789012:role/qa-build"
IDENTITIES = [
    Identity("pat@example.com", token=TOKEN),
    Identity("m2m", client_id="m2m", client_secret="canary-secret"),
    Identity("federated", client_id="federated", subject=ROLE),
]


def jwt(subject: str = ROLE, audience: object = "databricks", seconds: int = 300) -> str:
    """A token of AWS's, as far as a workspace reads it."""
    claims = {"sub": subject, "aud": audience, "exp": time.time() + seconds}
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode() for p in ({}, claims)]
    return ".".join([*(part.rstrip("=") for part in parts), "signature"])


PAT, WRONG_PAT = {"DATABRICKS_TOKEN": TOKEN}, {"DATABRICKS_TOKEN": "dapi-wrong"}
M2M = {"DATABRICKS_CLIENT_ID": "m2m", "DATABRICKS_CLIENT_SECRET": "canary-secret"}
WRONG_M2M = M2M | {"DATABRICKS_CLIENT_SECRET": "wrong-secret"}
FEDERATED = {"DATABRICKS_AUTH_TYPE": "file-oidc", "DATABRICKS_CLIENT_ID": "federated"}
NO_FILE = {"DATABRICKS_OIDC_TOKEN_FILEPATH": "/nowhere"}
ASK_PAT, ASK_M2M = {"DATABRICKS_AUTH_TYPE": "pat"}, {"DATABRICKS_AUTH_TYPE": "oauth-m2m"}
TOKEN_HASH = {"DATABRICKS_TOKEN": hashlib.sha256(TOKEN.encode()).hexdigest()}
# The environment, what file-oidc's file holds (None: there is no such variable), and the user.
SIGNED_IN = {
    "pat": (PAT, None, "pat@example.com"),
    "m2m": (M2M, None, "m2m"),
    "file-oidc": (FEDERATED, {}, "federated"),
    "pat, asked for": (ASK_PAT | PAT, None, "pat@example.com"),
    "m2m, asked for": (ASK_M2M | M2M, None, "m2m"),
    "two ways, m2m asked for": (ASK_M2M | M2M | PAT, None, "m2m"),
    "file-oidc, audiences": (FEDERATED, {"audience": ["databricks"]}, "federated"),
}
# The same with a part of what the client says.
REFUSED = {
    "nothing": ({}, None, "cannot configure default credentials"),
    "wrong token": (WRONG_PAT, None, "Invalid access token."),
    "wrong secret": (WRONG_M2M, None, "cannot configure default credentials"),
    "no token": (ASK_PAT, None, "pat auth: token is required"),
    "no secret": (ASK_M2M | PAT, None, "oauth-m2m auth: not configured"),
    "wrong token, asked for": (
        ASK_PAT | WRONG_PAT,
        None,
        "Error: Invalid access token.\n\nHost:      https://workspace.example\nAuth type: Personal",
    ),
    "wrong secret, asked for": (
        ASK_M2M | WRONG_M2M,
        None,
        'error getting token: Post "https://workspace.example/oidc/v1/token": {"error": "in',
    ),
    "another way": ({"DATABRICKS_AUTH_TYPE": "azure-cli"}, None, "does not know"),
    "the hash for the secret": (TOKEN_HASH, None, "Invalid access token."),
    "two ways": (
        M2M | PAT,
        None,
        "more than one authorization method configured: oauth and pat",
    ),
    "other role": (FEDERATED, {"subject": ROLE + "-prod"}, "file-oidc auth: Post"),
    "other audience": (FEDERATED, {"audience": "aws"}, "file-oidc auth: Post"),
    "expired": (FEDERATED, {"seconds": -1}, "file-oidc auth: Post"),
    "no jwt": (FEDERATED, "nonsense", "file-oidc auth: Post"),
    "other client": (FEDERATED | {"DATABRICKS_CLIENT_ID": "m2m"}, {}, "file-oidc auth: Post"),
    "empty file": (FEDERATED, "", "is empty"),
    "no file": (FEDERATED | NO_FILE, None, 'file "/nowhere" does not exist'),
}


def jwt_file(folder: Path, content: dict | str) -> dict[str, str]:
    """The variable of a file that holds a JWT with these properties, or this text."""
    text = jwt(**content) if isinstance(content, dict) else content
    (folder / "jwt").write_text(text)
    return {"DATABRICKS_OIDC_TOKEN_FILEPATH": str(folder / "jwt")}


@pytest.fixture
def sign_in_with(home, client, monkeypatch, tmp_path):
    """Runs `current-user me` with variables, and with a file for file-oidc."""
    identities.declare(home, {HOST: IDENTITIES})
    monkeypatch.delenv("DATABRICKS_TOKEN")

    def run(variables: dict[str, str], content: dict | str | None) -> Ran:
        file = {} if content is None else jwt_file(tmp_path, content)
        for name, value in (variables | file).items():
            monkeypatch.setenv(name, value)
        return client("current-user", "me")

    return run


@pytest.mark.parametrize(("variables", "file", "user"), SIGNED_IN.values(), ids=SIGNED_IN)
def test_each_way_to_sign_in(variables, file, user, sign_in_with):
    ran = sign_in_with(variables, file)

    assert json.loads(ran.stdout)["userName"] == user


@pytest.mark.parametrize(("variables", "file", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_sign_in(variables, file, message, sign_in_with):
    ran = sign_in_with(variables, file)

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert message in ran.stderr


ME, OIDC = "/api/2.0/preview/scim/v2/Me", "/oidc/v1/token"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "client_id": "federated",
}


def basic(client_id: str, secret: str) -> str:
    """The header of OAuth's client credentials."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def ask(
    home: Path, method: str, path: str, authorization: str = "", **form: str
) -> tuple[int, dict]:
    """What the workspace answers to HTTP."""
    headers = {"Authorization": authorization}
    api = WorkspaceApi(home, HOST, {})
    status, body = api.respond(method, path, headers, urlencode(form).encode())
    return status, json.loads(body)


def test_a_token_signs_in_over_http_too(home):
    identities.declare(home, {f"{HOST}/": IDENTITIES})

    assert ask(home, "GET", ME, f"Bearer {TOKEN}")[1]["userName"] == "pat@example.com"
    assert ask(home, "GET", ME, "Bearer wrong")[0] == 401
    assert ask(home, "GET", ME)[0] == 401
    with pytest.raises(Unreachable):
        WorkspaceApi(home, "https://another.example", {}).respond("GET", ME, {}, b"")


@pytest.mark.parametrize(
    ("user", "authorization", "form"),
    [
        (
            "m2m",
            basic("m2m", "canary-secret"),
            {"grant_type": "client_credentials", "scope": "all-apis"},
        ),
        ("federated", "", EXCHANGE | {"subject_token": jwt(seconds=3600)}),
    ],
    ids=["m2m", "federated"],
)
def test_an_issued_token_signs_in_over_http(home, user, authorization, form):
    identities.declare(home, {f"{HOST}/": IDENTITIES})

    status, token = ask(home, "POST", OIDC, authorization, **form)

    assert (status, token["token_type"]) == (200, "Bearer")
    signed_in = ask(home, "GET", ME, f"Bearer {token['access_token']}")
    assert (signed_in[0], signed_in[1]["userName"]) == (200, user)


def test_no_token_is_issued_for_wrong_credentials(home):
    identities.declare(home, {f"{HOST}/": IDENTITIES})
    other = EXCHANGE | {"subject_token": jwt("arn:aws:iam::123456789012:role/other")}

    wrong_secret = ask(home, "POST", OIDC, basic("m2m", "wrong"), grant_type="client_credentials")
    wrong_subject = ask(home, "POST", OIDC, "", **other)

    assert (wrong_secret[0], wrong_subject[0]) == (401, 401)


def test_a_lost_network_and_a_refusal_can_be_planned(home, client):
    fault = {"host": HOST, "on": "sign-in", "message": "i/o timeout"}

    set_faults(home, fault)
    assert "dial tcp: i/o timeout" in client("current-user", "me").stderr

    set_faults(home, fault | {"status": 403})
    assert ask(home, "GET", ME, f"Bearer {TOKEN}")[0] == 403


def test_no_secret_is_stored_or_printed(recorded_bundle, home, client, tmp_path):
    pack_wheel(recorded_bundle)
    identities.declare(home, {HOST: [*IDENTITIES, Identity(USER, token=TOKEN)]})
    printed = [
        client("bundle", "deploy", "-t", "qa"),
        client("bundle", "run", "-t", "qa", "demo_job"),
        client("bundle", "summary", "-t", "qa", "-o", "json"),
        client("api", "get", TOKEN),
    ]
    credentials = basic("m2m", "canary-secret")
    _, token = ask(home, "POST", OIDC, credentials, grant_type="client_credentials")

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
    "clusters list",
    "api get /api/2.1/jobs/list",
    "workspace import-dir . /Workspace/x",
    "workspace list /Workspace",
    "fs ls dbfs:/",
]


@pytest.mark.parametrize("command", UNKNOWN)
def test_an_unknown_command_is_an_error(command, recorded_bundle, client):
    ran = client(*command.split())

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: the rehearsal's stand-in client does not know ")
    assert ran.stderr.endswith(f": take the real one with --client PATH (databricks {command})\n")


NOT_DONE = {  # target, file, a text of it, what comes in its place, and a part of the message
    "building": ("development", CONFIG, "name: demo", "name: demo", "building artifacts"),
    "permissions of all": (
        "qa",
        CONFIG,
        "bundle:\n",
        "permissions: [{group_name: a, level: CAN_VIEW}]\nbundle:\n",
        "the field permissions",
    ),
    "Python for bundles": (
        "qa",
        CONFIG,
        "bundle:\n",
        "python: {resources: ['a:b']}\nbundle:\n",
        "the field python",
    ),
    "another field's reference": (
        "qa",
        PIPELINE,
        "schema: demo",
        "schema: ${resources.jobs.demo_job.tasks[0].task_key}",
        "the reference ${resources.jobs.demo_job.tasks[0].task_key}",
    ),
}


@pytest.mark.parametrize(
    ("target", "file", "old", "new", "message"), NOT_DONE.values(), ids=NOT_DONE
)
def test_a_resource_that_it_cannot_deploy_is_an_error(
    target, file, old, new, message, recorded_bundle, client, home
):
    pack_wheel(recorded_bundle)
    edit(recorded_bundle / file, old, new)

    ran = client("bundle", "deploy", "-t", target)

    assert ran.exit_code == 1
    assert "stand-in client does not know" in ran.stderr and message in ran.stderr
    assert not list(home.glob("*/files"))


def test_a_task_that_no_machine_can_run_is_deployed_and_counted(recorded_bundle, client, home):
    pack_wheel(recorded_bundle)
    notebook = "notebook_task: {notebook_path: ../notebooks/sample.py}"
    query = 'sql_task: {warehouse_id: "1", query: {query_id: "2"}}'
    edit(recorded_bundle / JOB, notebook, query)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0

    assert client("bundle", "run", "-t", "qa", "demo_job").exit_code == 0

    (left_out,), count = promises.not_run(calls.recorded(home))
    assert left_out.endswith("demo_job: notebook (sql_task needs a workspace)") and count > 1


@pytest.fixture
def program(home):
    """The client as a build finds it: a program that asks a server, which knows the workspaces."""
    path = home.parent / "databricks-program"
    path.write_text(play.warm_client("rehearsal.databricks.client", str(home)))
    path.chmod(0o755)
    return path


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
    assert "(databricks bundle frobnicate)" in unknown.stderr


@pytest.fixture
def deployed_root(recorded_bundle, client) -> str:
    """The path, in the workspace, of a deployment of the recordings' bundle."""
    pack_wheel(recorded_bundle)
    assert client("bundle", "deploy", "-t", "qa").exit_code == 0
    return f"/Workspace/Users/{USER}/.bundle/demo/qa"


def test_a_notebook_has_no_suffix(deployed_root, client):
    notebook = f"{deployed_root}/files/notebooks/sample"

    entry = json.loads(client("workspace", "get-status", notebook).stdout)

    assert (entry["object_type"], entry["language"]) == ("NOTEBOOK", "PYTHON")
    assert client("workspace", "export", f"{notebook}.py").exit_code == 1


def test_a_folder_with_files_is_deleted_recursively_only(deployed_root, client):
    folder = f"{deployed_root}/files/src"

    assert client("workspace", "delete", folder).exit_code == 1
    assert client("workspace", "delete", folder, "--recursive").exit_code == 0
    assert client("workspace", "get-status", folder).exit_code == 1


def test_what_the_workspace_does_not_have_is_not_exported(deployed_root, client, tmp_path):
    target = tmp_path / "to"

    missing = client(
        "workspace", "export-dir", f"{deployed_root}/nothing", str(target), "--overwrite"
    )
    climbing = client("workspace", "export", "/Workspace/../../workspaces.json")

    assert (missing.exit_code, target.exists()) == (1, False)
    assert climbing.exit_code == 1 and not climbing.stdout

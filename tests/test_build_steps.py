"""The shell scripts of cicd/steps, run as the builds run them."""

import json
import os
import select
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopback import Answer, serve
from steps import STEPS, load


def program(folder: Path, name: str, script: str) -> Path:
    """Writes a program that is found before the real one; returns its folder."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path.parent


# ---- run_nutter.sh -------------------------------------------------------------------------------

DATABRICKS = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1 $2" in
  "bundle summary") echo '{"workspace": {"root_path": "/Workspace/root"}}' ;;
  "bundle run") exit "$RUN" ;;
  "workspace export-dir")
    case "$REPORT" in
      yes) echo '<testsuite/>' > "$4/fixture.xml" ;;
      empty) touch "$4/fixture.xml" ;;
      none) ;;  # the client succeeds on a folder without files
      *) exit 1 ;;
    esac ;;
  "workspace delete") ;;
  *) exit 99 ;;
esac
"""


@pytest.fixture
def nutter(tmp_path: Path):
    """Runs run_nutter.sh with a `databricks` that only answers; returns result, calls, reports."""
    programs = program(tmp_path, "databricks", DATABRICKS)

    def run(run_exit: int, report: str) -> tuple[subprocess.CompletedProcess, list[str], list[str]]:
        result = subprocess.run(
            ["bash", STEPS / "run_nutter.sh", "qa"],
            cwd=tmp_path,
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "LOG": str(tmp_path / "calls"),
                "RUN": str(run_exit),
                "REPORT": report,
                "CODEBUILD_BUILD_NUMBER": "7",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        reports = sorted(path.name for path in (tmp_path / "reports/nutter").glob("*"))
        return result, (tmp_path / "calls").read_text().splitlines(), reports

    return run


RESULTS = "/Workspace/root/nutter/build-7"
CALLS = [
    "bundle summary -t qa -o json",
    f"bundle run -t qa nutter --params results={RESULTS}",
    f"workspace export-dir {RESULTS} reports/nutter --overwrite",
]


@pytest.mark.parametrize("run_exit", [0, 1])
def test_the_report_is_fetched_whether_or_not_tests_passed(nutter, run_exit: int) -> None:
    result, calls, reports = nutter(run_exit, "yes")
    assert result.returncode == run_exit
    assert calls == [*CALLS, f"workspace delete --recursive {RESULTS}"]
    assert reports == ["fixture.xml"]


@pytest.mark.parametrize("run_exit", [0, 1])
@pytest.mark.parametrize("report", ["", "none", "empty"])
def test_a_run_without_a_report_is_a_failure(nutter, run_exit: int, report: str) -> None:
    result, calls, _ = nutter(run_exit, report)
    assert result.returncode == 1
    assert f"run_nutter.sh: no test report in {RESULTS}" in result.stderr
    assert calls == CALLS


# ---- run_job.sh ----------------------------------------------------------------------------------

RUNNING = """#!/bin/sh
echo "$@" >>calls
case "$1 $2" in
  "bundle summary") cat summary ;;
  "bundle run") exec sleep "$SECONDS_OF_THE_RUN" ;;
  *) exit 99 ;;
esac
"""
# A minute is a tenth of a second here.
TIMEOUT = """#!/bin/sh
minutes=${1%m}
shift
exec /usr/bin/timeout "$((minutes * 100))e-3" "$@"
"""


def run_job(tmp_path: Path, job: object, minutes: object, seconds: str = "0"):
    """Runs run_job.sh for prod; returns its result and the client's calls."""
    programs = program(tmp_path, "databricks", RUNNING)
    program(tmp_path, "timeout", TIMEOUT)
    variables = {"job": {"value": job}, "job_minutes": {"value": minutes}}
    (tmp_path / "summary").write_text(json.dumps({"variables": variables}))
    result = subprocess.run(
        ["bash", STEPS / "run_job.sh", "prod"],
        cwd=tmp_path,
        env={
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "SECONDS_OF_THE_RUN": seconds,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result, (tmp_path / "calls").read_text().splitlines()[1:]


def test_no_module_of_the_commit_is_imported(tmp_path: Path) -> None:
    """The commit is the current directory, where `python -c` looks for modules first."""
    (tmp_path / "json.py").write_text("open('reached', 'w')\n")
    result, _ = run_job(tmp_path, "daily", 60)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "reached").exists()


def test_the_job_of_the_bundle_is_run(tmp_path: Path) -> None:
    result, calls = run_job(tmp_path, "daily", 60)
    assert (result.returncode, result.stderr) == (0, "")
    assert calls == ["bundle run -t prod daily"]


def test_no_job_is_run_where_the_bundle_names_none(tmp_path: Path) -> None:
    result, calls = run_job(tmp_path, "", 60)
    assert (result.returncode, calls) == (0, [])
    assert "run_job.sh: prod: no job is to run" in result.stdout


def test_a_build_waits_for_a_job_only_so_long(tmp_path: Path) -> None:
    started = time.monotonic()
    result, _ = run_job(tmp_path, "daily", 3, seconds="50")
    assert time.monotonic() - started < 30
    assert result.returncode == 124
    assert "run_job.sh: prod: daily still runs after 3 minutes" in result.stderr
    assert "the run goes on in the workspace" in result.stderr
    assert result.stderr.endswith("The release is deployed.\n")


def test_a_job_that_fails_is_no_failed_deployment(tmp_path: Path) -> None:
    result, _ = run_job(tmp_path, "daily", 3, seconds="no number")
    assert result.returncode == 1
    assert "run_job.sh: prod: daily failed, see above. The release is deployed." in result.stderr


@pytest.mark.parametrize(
    ("job", "minutes"),
    [("--", 60), ("a b", 60), ("$(touch x)", 60), ("daily", 0), ("daily", 101), ("daily", "1h")],
)
def test_a_job_or_limit_that_cannot_be_is_refused(tmp_path: Path, job, minutes) -> None:
    result, calls = run_job(tmp_path, job, minutes)
    assert (result.returncode, calls) == (1, [])
    assert "job must be the key of a job or pipeline, job_minutes 1 to 100" in result.stderr


# ---- mint_token.sh -------------------------------------------------------------------------------

TOKEN = """<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetWebIdentityTokenResult><WebIdentityToken>token-{}</WebIdentityToken>
<Expiration>2026-11-24T12:00:00Z</Expiration></GetWebIdentityTokenResult>
</GetWebIdentityTokenResponse>"""
DISABLED = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>OutboundWebIdentityFederationDisabled</Code>
<Message>Outbound web identity federation is disabled</Message></Error></ErrorResponse>"""


def mint(tmp_path: Path, url: str, file: Path, *inherited: int) -> subprocess.CompletedProcess:
    """Runs mint_token.sh with the real aws client, and a `sleep` that makes 300 seconds 0.2."""
    programs = program(tmp_path, "sleep", '#!/bin/sh\n[ "$1" = 300 ] && exec /bin/sleep 0.2\n')
    return subprocess.run(
        ["bash", STEPS / "mint_token.sh", str(file)],
        cwd=tmp_path,
        pass_fds=inherited,
        env={
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_STS": url,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_identity_token_is_minted_anew_while_the_build_runs(tmp_path: Path) -> None:
    file = tmp_path / "oidc/token"
    file.parent.mkdir()
    minted = iter(range(1, 1000))
    alive, held = os.pipe()  # at its end when no process of the script holds it any more
    with serve(lambda _: Answer(200, TOKEN.format(next(minted)).encode())) as (url, seen):
        result = mint(tmp_path, url, file, held)
        os.close(held)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert file.read_text() == "token-1\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        body = seen[0].body.decode()
        assert "Audience.member.1=databricks" in body
        assert "DurationSeconds=900&SigningAlgorithm=RS256" in body
        deadline = time.monotonic() + 30
        while (token := file.read_text()) == "token-1\n" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert token == "token-2\n"
        assert select.select([alive], [], [], 0)[0] == []  # it still runs
        shutil.rmtree(file.parent)  # ends the loop
        assert select.select([alive], [], [], 30)[0] == [alive]
        assert os.read(alive, 1) == b""
    os.close(alive)


def test_without_federation_the_message_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with serve(lambda _: Answer(403, DISABLED)) as (url, _):
        result = mint(tmp_path, url, file)
    assert result.returncode == 1
    assert "aws iam enable-outbound-web-identity-federation (docs/security.md)" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


# ---- drift.sh ------------------------------------------------------------------------------------

AWS = """#!/bin/sh
case "$1 $2" in
  "codepipeline get-pipeline-state") echo "\\"$STATUS\\"" ;;
  "sns publish") echo "$@" >mailed ;;
  *) exit 99 ;;
esac
"""
CHANGE = {"action": "update", "old": 1, "new": 1, "remote": 9}
ENTRY = {"action": "update", "remote_state": {}, "changes": {"max_concurrent_runs": CHANGE}}
SKIP = {"action": "skip"}


@pytest.fixture
def drift(tmp_path: Path):
    """Runs drift.sh as the drift build does; returns what that exports, and the mail."""
    steps = shutil.copytree(STEPS, tmp_path / "cicd/steps")
    (steps / "preflight.py").write_text("")
    (steps / "deployed.py").write_text("from pathlib import Path\nPath('release').mkdir()\n")
    programs = program(tmp_path, "aws", AWS)
    program(tmp_path, "databricks", "#!/bin/sh\ncat ../plan\n")
    (tmp_path / "mailed").touch()

    def run(status: str, **entries: dict) -> tuple[str, str, str]:
        resources = {f"resources.jobs.{key}": entry for key, entry in entries.items()}
        (tmp_path / "plan").write_text(json.dumps({"plan_version": 2, "plan": resources}))
        command = "bash cicd/steps/drift.sh >log && . ./drift.env && env -0"
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={
                "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
                "PIPELINE": "p",
                "TOPIC": "t",
                "STATUS": status,
                "STEPS": str(steps),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        exported = dict(pair.split("=", 1) for pair in result.stdout.split("\0") if pair)
        mail = (tmp_path / "mailed").read_text()
        return exported["DRIFT_STATUS"], exported["DRIFT"], mail

    return run


def test_prod_is_as_deployed(drift) -> None:
    assert drift("Succeeded", a=SKIP) == (load("names").IN_SYNC, "none", "")


def test_prod_has_drifted(drift, tmp_path: Path) -> None:
    status, sentence, mail = drift("Succeeded", a=ENTRY, b=SKIP)
    assert status == load("names").DRIFTED
    assert sentence == "1 of 2 resources in prod are not as deployed"
    assert "--topic-arn t --subject p: production has drifted --message file://mail.txt" in mail
    lines = (tmp_path / "mail.txt").read_text().splitlines()
    assert lines[2:4] == ["- changed jobs.a", "  - max_concurrent_runs"]


@pytest.mark.parametrize("status", ["Failed", "InProgress", "Stopped"])
def test_drift_is_unknown_after_a_deployment_that_did_not_succeed(drift, status: str) -> None:
    sentence = f"not known: the last deployment is {status}"
    assert drift(status, a=ENTRY) == (load("names").UNKNOWN, sentence, "")

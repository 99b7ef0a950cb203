"""cicd/steps/run_nutter.sh and cicd/steps/mint_token.sh, run as the buildspecs run them."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopback import Answer, serve

DATABRICKS = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1 $2" in
  "bundle summary") echo '{"workspace": {"root_path": "/Workspace/root"}}' ;;
  "bundle run") exit "$RUN" ;;
  "workspace export-dir") [ -n "$REPORT" ] && echo '<testsuite/>' > "$4/fixture.xml" ;;
  "workspace delete") ;;
  *) exit 99 ;;
esac
"""


@pytest.fixture
def nutter(default: Path, tmp_path: Path):
    """Runs run_nutter.sh with a `databricks` that only answers; returns result, calls, reports."""
    shutil.copytree(default / "cicd", tmp_path / "cicd")
    client = tmp_path / "bin/databricks"
    client.parent.mkdir()
    client.write_text(DATABRICKS)
    client.chmod(0o755)

    def run(run_exit: int, report: str) -> tuple[subprocess.CompletedProcess, list[str], list[str]]:
        result = subprocess.run(
            ["bash", "cicd/steps/run_nutter.sh", "qa"],
            cwd=tmp_path,
            env={
                "PATH": f"{client.parent}:{os.environ['PATH']}",
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
def test_a_run_without_a_report_is_a_failure(nutter, run_exit: int) -> None:
    result, calls, reports = nutter(run_exit, "")
    assert result.returncode == 1
    assert f"run_nutter.sh: no test report in {RESULTS}" in result.stderr
    assert (calls, reports) == (CALLS, [])


TOKEN = """<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetWebIdentityTokenResult><WebIdentityToken>token-{}</WebIdentityToken>
<Expiration>2026-11-24T12:00:00Z</Expiration></GetWebIdentityTokenResult>
</GetWebIdentityTokenResponse>"""
DISABLED = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>OutboundWebIdentityFederationDisabled</Code>
<Message>Outbound web identity federation is disabled</Message></Error></ErrorResponse>"""


def mint(rendering: Path, tmp_path: Path, url: str, file: Path) -> subprocess.CompletedProcess:
    """Runs mint_token.sh with the real aws client, and a `sleep` that makes 300 seconds 1."""
    sleep = tmp_path / "bin/sleep"
    sleep.parent.mkdir()
    sleep.write_text('#!/bin/sh\n[ "$1" = 300 ] && exec /bin/sleep 1\n')
    sleep.chmod(0o755)
    return subprocess.run(
        ["bash", "cicd/steps/mint_token.sh", str(file)],
        cwd=rendering,
        env={
            "PATH": f"{sleep.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
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


def test_the_identity_token_is_minted_anew_while_the_build_runs(rendering, tmp_path: Path) -> None:
    file = tmp_path / "oidc/token"
    file.parent.mkdir()
    minted = iter(range(1, 1000))
    with serve(lambda _: Answer(200, TOKEN.format(next(minted)).encode())) as (url, seen):
        result = mint(rendering("aws-iam-serverless"), tmp_path, url, file)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert file.read_text() == "token-1\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        body = seen[0].body.decode()
        assert "Audience.member.1=databricks" in body
        assert "DurationSeconds=900&SigningAlgorithm=RS256" in body
        deadline = time.monotonic() + 30
        while file.read_text() == "token-1\n" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert file.read_text() == "token-2\n"
        shutil.rmtree(file.parent)  # ends the loop
        time.sleep(2.5)
        ended = len(seen)
        time.sleep(2.5)
    assert len(seen) == ended


def test_an_account_without_federation_is_told_what_to_do(rendering, tmp_path: Path) -> None:
    file = tmp_path / "token"
    with serve(lambda _: Answer(403, DISABLED)) as (url, _):
        result = mint(rendering("aws-iam-serverless"), tmp_path, url, file)
    assert result.returncode == 1
    assert "aws iam enable-outbound-web-identity-federation (docs/security.md)" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]

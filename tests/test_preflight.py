"""cicd/steps/preflight.py: one line that says what is wrong, before the first `databricks` call."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

from loopback import Answer, Request, serve

CANARY = "dapi-Canary/0123+secret"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
VARIANTS = {
    "pat": {"DATABRICKS_TOKEN": CANARY},
    "oauth-m2m": {"DATABRICKS_CLIENT_ID": CLIENT_ID, "DATABRICKS_CLIENT_SECRET": CANARY},
    "aws-iam": {"DATABRICKS_CLIENT_ID": CLIENT_ID},
}
BASIC = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CANARY}".encode()).decode()


def workspace(request: Request) -> Answer:
    """Signs in who shows the canary, as PAT, as client secret or as identity token."""
    form = dict(urllib.parse.parse_qsl(request.body.decode()))
    authorization = request.headers.get("Authorization")
    match request.path, form.get("grant_type"):
        case "/api/2.0/preview/scim/v2/Me", None:
            good = authorization in (f"Bearer {CANARY}", "Bearer exchanged")
            return Answer(200, b'{"userName": "builder"}') if good else Answer(401)
        case "/oidc/v1/token", "client_credentials":
            good = authorization == BASIC and form["scope"] == "all-apis"
        case "/oidc/v1/token", "urn:ietf:params:oauth:grant-type:token-exchange":
            good = (form["client_id"], form["subject_token"]) == (CLIENT_ID, CANARY)
        case _:
            return Answer(404)
    return Answer(200, b'{"access_token": "exchanged"}') if good else Answer(401)


def preflight(
    rendering: Path, tmp_path: Path, host: str, env: dict[str, str], *, bundle_host: str = ""
) -> subprocess.CompletedProcess:
    """Runs it for qa, in a repository whose databricks.yml names `bundle_host` (or `host`)."""
    (tmp_path / "cicd/steps").mkdir(parents=True, exist_ok=True)
    shutil.copy(rendering / "cicd/steps/preflight.py", tmp_path / "cicd/steps")
    text = (rendering / "databricks.yml").read_text()
    told = "https://qa-workspace.cloud.databricks.com"
    assert text.count(f"host: {told}\n") == 1
    (tmp_path / "databricks.yml").write_text(text.replace(told, bundle_host or host))
    (tmp_path / "identity").write_text(CANARY)
    return subprocess.run(
        [sys.executable, "cicd/steps/preflight.py", "qa"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "DATABRICKS_HOST": host,
            "DATABRICKS_OIDC_TOKEN_FILEPATH": str(tmp_path / "identity"),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_no_secret(result: subprocess.CompletedProcess) -> None:
    said = result.stdout + result.stderr
    encoded = base64.b64encode(CANARY.encode()).decode().rstrip("=")
    assert not [form for form in (CANARY, encoded, urllib.parse.quote(CANARY)) if form in said]


@pytest.mark.parametrize("auth", VARIANTS)
def test_it_signs_in(rendering, tmp_path: Path, auth: str) -> None:
    with serve(workspace) as (host, seen):
        result = preflight(rendering(f"{auth}-serverless"), tmp_path, host, VARIANTS[auth])
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"preflight.py: qa: signed in to {host} as builder\n"
    assert seen[-1].path == "/api/2.0/preview/scim/v2/Me"
    assert_no_secret(result)


def one_line(result: subprocess.CompletedProcess) -> str:
    """The one line that a failing preflight says."""
    assert result.returncode == 1, result.stdout
    assert_no_secret(result)
    (line,) = result.stderr.splitlines()
    assert line.startswith("preflight.py: qa: ")
    return line


LAST = {"pat": "DATABRICKS_TOKEN", "oauth-m2m": "DATABRICKS_CLIENT_SECRET"}
LAST["aws-iam"] = "DATABRICKS_CLIENT_ID"
MEND = {"pat": "make secrets ENV=qa", "oauth-m2m": "make secrets ENV=qa"}
MEND["aws-iam"] = "set QaClientId in cicd/stack.yml, then: make stack"


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "has no value"),
        ("not-set", "is still the stack's placeholder"),
        (f"{CANARY}\nsecond", "holds more than one word"),
    ],
)
def test_a_value_that_cannot_be_right(rendering, tmp_path: Path, auth, value, said) -> None:
    env = VARIANTS[auth] | {LAST[auth]: value}
    with serve(workspace) as (host, seen):
        line = one_line(preflight(rendering(f"{auth}-serverless"), tmp_path, host, env))
    assert f"{LAST[auth]} {said}" in line
    assert line.endswith(MEND[auth])
    assert seen == []


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential(rendering, tmp_path: Path, auth: str, status: int) -> None:
    with serve(lambda _: Answer(status, CANARY.encode())) as (host, _):
        line = one_line(preflight(rendering(f"{auth}-serverless"), tmp_path, host, VARIANTS[auth]))
    assert f"{host} refuses the credential (HTTP {status})" in line


@pytest.mark.parametrize("auth", VARIANTS)
def test_an_address_that_is_not_on_the_access_list(rendering, tmp_path: Path, auth: str) -> None:
    body = b"Source IP address: 198.51.100.7 is blocked by Databricks IP ACL for workspace: 1"
    with serve(lambda _: Answer(403, json.dumps({"message": body.decode()}).encode())) as (host, _):
        line = one_line(preflight(rendering(f"{auth}-serverless"), tmp_path, host, VARIANTS[auth]))
    assert f"{host} refuses this build's address (HTTP 403)" in line
    assert "IP access list" in line


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, b"<html>sign in</html>"), "does not answer as a Databricks workspace"),
        (Answer(200, b"[]"), "does not answer as a Databricks workspace"),
        (Answer(503), "answers HTTP 503"),
        (Answer(302, b"", (("Location", "http://127.0.0.1:1/"),)), "answers HTTP 302"),
    ],
    ids=["page", "list", "busy", "redirect"],
)
def test_something_else_answers(rendering, tmp_path: Path, auth, answer, said) -> None:
    with serve(lambda _: answer) as (host, seen):
        line = one_line(preflight(rendering(f"{auth}-serverless"), tmp_path, host, VARIANTS[auth]))
    assert f"{host} {said}" in line
    assert len(seen) == 1


@pytest.mark.parametrize("host", ["http://127.0.0.1:1", "https://nowhere.invalid"])
def test_an_unreachable_host(default: Path, tmp_path: Path, host: str) -> None:
    line = one_line(preflight(default, tmp_path, host, VARIANTS["pat"]))
    assert f"{host} cannot be reached" in line


def test_a_host_that_never_answers_costs_15_seconds(default: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with serve(lambda _: time.sleep(20) or Answer()) as (host, _):
        result = preflight(default, tmp_path, host, VARIANTS["pat"])
        took = time.monotonic() - started
    assert f"{host} does not answer within 15 seconds" in one_line(result)
    assert 14 < took < 17


def test_databricks_yml_names_another_workspace(default: Path, tmp_path: Path) -> None:
    with serve(workspace) as (host, seen):
        other = "https://other.cloud.databricks.com"
        result = preflight(default, tmp_path, host, VARIANTS["pat"], bundle_host=other)
    assert f"databricks.yml says {other}, the stack says {host}; make " in one_line(result)
    assert seen == []


def test_the_other_targets_host_does_not_count(default: Path, tmp_path: Path) -> None:
    """The stack's qa host stands in databricks.yml, but for prod."""
    prod = "https://prod-workspace.cloud.databricks.com"
    line = one_line(
        preflight(default, tmp_path, prod, VARIANTS["pat"], bundle_host="https://qa.example")
    )
    assert f"databricks.yml says https://qa.example, the stack says {prod}" in line


def test_the_client_never_meets_a_missing_target(default: Path, tmp_path: Path) -> None:
    result = preflight(default, tmp_path, "https://x.example", VARIANTS["pat"], bundle_host='""')
    assert "databricks.yml says None" in one_line(result)


def test_json_is_what_the_double_speaks() -> None:
    assert json.loads(workspace(Request("GET", "/api/2.0/preview/scim/v2/Me", {}, b"")).body) == {}

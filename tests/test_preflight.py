"""cicd/steps/preflight.py: one line that says what is wrong, before the first `databricks` call."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from loopback import Answer, Request, serve
from steps import STEPS, load

CANARY = "dapi-Canary/0123+secret"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
VARIANTS = {
    "pat": {"DATABRICKS_TOKEN": CANARY},
    "oauth-m2m": {"DATABRICKS_CLIENT_ID": CLIENT_ID, "DATABRICKS_CLIENT_SECRET": CANARY},
    "aws-iam": {"DATABRICKS_CLIENT_ID": CLIENT_ID},
}
SIGN_IN = {"pat": "sign_in", "oauth-m2m": "sign_in_oauth_m2m", "aws-iam": "sign_in_aws_iam"}
BASIC = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CANARY}".encode()).decode()
ME = "/api/2.0/preview/scim/v2/Me"
HOST = "https://qa-workspace.cloud.databricks.com"


class Result(NamedTuple):
    """How a preflight ended."""

    code: int
    stdout: str
    stderr: str


def workspace(request: Request) -> Answer:
    """Signs in a client with the canary as PAT, as client secret or as identity token."""
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


@pytest.fixture
def build(default: Path, tmp_path: Path, monkeypatch) -> Callable[..., None]:
    """The place of a build: its directory, an `aws` that mints, a databricks.yml for a host."""
    for name, script in {"aws": f"echo '{CANARY}'", "sleep": "exit 1"}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("DATABRICKS_OIDC_TOKEN_FILEPATH", str(tmp_path / "identity"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    text = (default / "databricks.yml").read_text()
    assert text.count(f"host: {HOST}\n") == 1

    def write(host: str, more: str = "") -> None:
        Path("databricks.yml").write_text(text.replace(HOST, host) + more)

    return write


@pytest.fixture
def preflight(build, monkeypatch, capfd):
    """A function: runs the preflight of an authentication for qa; databricks.yml has the host."""

    def run(
        host: str, auth: str = "pat", *, bundle_host: str = "", more: str = "", **variables: str
    ) -> Result:
        build(bundle_host or host, more)
        for name, value in (VARIANTS[auth] | variables | {"DATABRICKS_HOST": host}).items():
            monkeypatch.setenv(name, value)
        module = load("preflight")
        monkeypatch.setattr(module, "sign_in", load(SIGN_IN[auth]))
        monkeypatch.setattr(sys, "argv", ["preflight.py", "qa"])
        code = module.main()
        output = capfd.readouterr()
        return Result(code, output.out, output.err)

    return run


def assert_no_secret(result: Result) -> None:
    text = result.stdout + result.stderr
    encoded = base64.b64encode(CANARY.encode()).decode().rstrip("=")
    assert not [form for form in (CANARY, encoded, urllib.parse.quote(CANARY)) if form in text]


def only_line(result: Result) -> str:
    """The one line that a failing preflight says."""
    assert result.code == 1, result.stdout
    assert_no_secret(result)
    (line,) = result.stderr.splitlines()
    assert line.startswith("preflight.py: qa: ")
    return line


@pytest.mark.parametrize("auth", VARIANTS)
def test_it_signs_in(preflight, auth: str) -> None:
    with serve(workspace) as (host, seen):
        result = preflight(host, auth)
    assert result == (0, f"preflight.py: qa: signed in to {host} as builder\n", "")
    assert seen[-1].path == ME
    assert_no_secret(result)


@pytest.mark.parametrize("auth", VARIANTS)
def test_a_build_runs_it_as_a_program(rendering, build, auth: str) -> None:
    """The rendered files alone, in a Python of their own."""
    steps = rendering(f"{auth}-serverless") / "cicd/steps"
    command = [sys.executable, "-B", steps / "preflight.py", "qa"]
    with serve(workspace) as (host, _):
        build(host)
        env = {name: os.environ[name] for name in ("PATH", "DATABRICKS_OIDC_TOKEN_FILEPATH")}
        env |= VARIANTS[auth] | {"DATABRICKS_HOST": host}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        env |= {LAST[auth]: ""}
        failed = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    result = Result(ran.returncode, ran.stdout, ran.stderr)
    assert result == (0, f"preflight.py: qa: signed in to {host} as builder\n", "")
    only_line(Result(failed.returncode, failed.stdout, failed.stderr))


LAST = {
    "pat": "DATABRICKS_TOKEN",
    "oauth-m2m": "DATABRICKS_CLIENT_SECRET",
    "aws-iam": "DATABRICKS_CLIENT_ID",
}
FIX = {
    "pat": "make secrets ENV=qa",
    "oauth-m2m": "make secrets ENV=qa",
    "aws-iam": "set QaClientId in cicd/stack.yml, then: make stack",
}


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "has no value"),
        ("not-set", "is still the stack's placeholder"),
        (f"{CANARY}\nsecond", "holds more than one word"),
    ],
)
def test_a_value_that_cannot_be_right(preflight, auth: str, value: str, message: str) -> None:
    with serve(workspace) as (host, seen):
        line = only_line(preflight(host, auth, **{LAST[auth]: value}))
    assert f"{LAST[auth]} {message}" in line
    assert line.endswith(FIX[auth])
    assert seen == []


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential(preflight, auth: str, status: int) -> None:
    with serve(lambda _: Answer(status, CANARY.encode())) as (host, _):
        line = only_line(preflight(host, auth))
    assert f"{host} refuses the credential (HTTP {status})" in line
    assert line.endswith(load(SIGN_IN[auth]).how_to_replace("qa"))


@pytest.mark.parametrize("auth", VARIANTS)
def test_an_address_that_is_not_on_the_access_list(preflight, auth: str) -> None:
    body = b"Source IP address: 198.51.100.7 is blocked by Databricks IP ACL for workspace: 1"
    with serve(lambda _: Answer(403, json.dumps({"message": body.decode()}).encode())) as (host, _):
        line = only_line(preflight(host, auth))
    assert f"{host} refuses this build's address (HTTP 403)" in line
    assert "IP access list" in line


@pytest.mark.parametrize("auth", VARIANTS)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, b"<html>sign in</html>"), "does not answer as a Databricks workspace"),
        (Answer(200, b"[]"), "does not answer as a Databricks workspace"),
        (Answer(503), "answers HTTP 503"),
        (Answer(302, b"", (("Location", "http://127.0.0.1:1/"),)), "answers HTTP 302"),
    ],
    ids=["page", "list", "busy", "redirect"],
)
def test_something_else_answers(preflight, auth: str, answer: Answer, message: str) -> None:
    with serve(lambda _: answer) as (host, seen):
        line = only_line(preflight(host, auth))
    assert f"{host} {message}" in line
    assert len(seen) == 1


def test_an_account_that_mints_no_identity_token(preflight, tmp_path: Path) -> None:
    (tmp_path / "bin/aws").write_text("#!/bin/sh\necho 'AccessDenied' >&2\nexit 254\n")
    with serve(workspace) as (host, seen):
        result = preflight(host, "aws-iam")
    assert result.code == 1
    refused, advice, line = result.stderr.splitlines()
    assert refused == "AccessDenied"
    assert advice.startswith("mint_token.sh: AWS gave no identity token.")
    assert line == "preflight.py: qa: the build has no AWS identity token; the line above says why"
    assert seen == []


def test_an_identity_token_that_comes_too_late(preflight, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bin/aws").write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    monkeypatch.setattr(load("sign_in_aws_iam"), "MINT_SECONDS", 0.2)
    with serve(workspace) as (host, seen):
        line = only_line(preflight(host, "aws-iam"))
    assert "AWS STS gave no identity token within 0.2 seconds" in line
    assert seen == []


@pytest.mark.parametrize("host", ["http://127.0.0.1:1", "https://nowhere.invalid"])
def test_an_unreachable_host(preflight, host: str) -> None:
    assert f"{host} cannot be reached" in only_line(preflight(host))


def test_a_host_that_never_answers_costs_15_seconds(preflight, monkeypatch) -> None:
    assert load("workspace").SECONDS == load("preflight").SECONDS == 15
    monkeypatch.setattr(load("preflight"), "SECONDS", 1)  # the test itself need not wait for 15
    started = time.monotonic()
    with serve(lambda _: time.sleep(3) or Answer()) as (host, _):
        line = only_line(preflight(host))
        took = time.monotonic() - started
    assert f"{host} does not answer within 1 seconds" in line
    assert 1 <= took < 2.5


def test_databricks_yml_names_another_workspace(preflight) -> None:
    with serve(workspace) as (host, seen):
        line = only_line(preflight(host, bundle_host="https://other.cloud.databricks.com"))
    other = "https://other.cloud.databricks.com"
    assert f"databricks.yml says {other}, the stack says {host}; make " in line
    assert seen == []


def test_the_other_targets_host_does_not_count(preflight) -> None:
    """The stack's qa host stands in databricks.yml, but for prod."""
    prod = "https://prod-workspace.cloud.databricks.com"
    line = only_line(preflight(prod, bundle_host="https://qa.example"))
    assert f"databricks.yml says https://qa.example, the stack says {prod}" in line


def test_the_client_never_meets_a_missing_target(preflight) -> None:
    line = only_line(preflight("https://x.example", bundle_host='""'))
    assert "targets.qa.workspace needs host: https:// and the workspace's name" in line


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("workspace: {profile: x}\n", "workspace. needs keys on lines of their own"),
        ("scripts: {postinit: make}\n", "scripts runs code of the commit"),
    ],
)
def test_a_bundle_that_leads_the_client_elsewhere_stops_first(preflight, more, says) -> None:
    with serve(workspace) as (host, seen):
        line = only_line(preflight(host, more=more))
    assert says in line
    assert seen == []


def test_a_commit_with_a_file_that_the_client_runs_stops_first(preflight, tmp_path) -> None:
    (tmp_path / "setup.py").touch()
    with serve(workspace) as (host, seen):
        line = only_line(preflight(host))
    assert "setup.py:1: the client runs it when a job needs a wheel" in line
    assert seen == []


def test_the_stack_names_no_workspace(preflight) -> None:
    line = only_line(preflight("", bundle_host=HOST))
    assert "DATABRICKS_HOST is not set; the stack sets it for its builds: make stack" in line


def test_variables_that_are_not_set_are_named(build, monkeypatch, capfd) -> None:
    build(HOST)
    module = load("preflight")
    monkeypatch.setattr(module, "sign_in", load("sign_in"))
    monkeypatch.setattr(sys, "argv", ["preflight.py", "qa"])
    for variable in ("DATABRICKS_TOKEN", "DATABRICKS_HOST"):
        monkeypatch.delenv(variable, raising=False)
    assert module.main() == 1
    assert "DATABRICKS_HOST is not set" in capfd.readouterr().err
    monkeypatch.setenv("DATABRICKS_HOST", HOST)
    assert module.main() == 1
    assert "DATABRICKS_TOKEN has no value" in capfd.readouterr().err


def test_without_a_target_it_says_how_to_call_it(monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["preflight.py"])
    assert load("preflight").main() == 2
    assert capfd.readouterr().err == "usage: python cicd/steps/preflight.py TARGET\n"


def test_no_credential_is_sent_unless_there_is_one() -> None:
    with serve(workspace) as (host, seen), pytest.raises(urllib.error.HTTPError):
        load("workspace").ask(f"{host}{ME}")
    assert "Authorization" not in seen[0].headers


def test_json_is_what_the_double_speaks() -> None:
    assert json.loads(workspace(Request("GET", ME, {}, b"")).body) == {}


def test_the_three_ways_to_sign_in_offer_the_same() -> None:
    """The preflight imports whichever of them the repository has."""
    for name in SIGN_IN.values():
        module = load(name)
        assert set(module.VARIABLES) <= {*VARIANTS["pat"], *VARIANTS["oauth-m2m"]}
        assert module.how_to_set("qa") and module.how_to_replace("qa")
        assert callable(module.access_token)
    assert sorted(path.stem for path in STEPS.glob("sign_in*.py")) == sorted(SIGN_IN.values())

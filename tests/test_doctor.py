"""`make doctor`: what it says of an account, a machine and workspaces where one thing is wrong.

It runs against moto's server. A server in front of that answers what moto does not know: branches,
simulated policies, federation. The workspaces are on loopback, with TLS.
"""

import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
import trustme
import yaml
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.cloudformation.models import cloudformation_backends
from moto.server import ThreadedMotoServer

from loopback import Answer, Request, serve

SLUG = "my-data-project"
ACCOUNT = "123456789012"
CANARY = "dapi0123456789canary"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
AUTHS = ("pat", "oauth-m2m", "aws-iam")
COMMIT = "0123abcd99990123abcd99990123abcd99990123"
XML = (("Content-Type", "text/xml"),)
READS = ("Describe", "Get", "Simulate")
UV = "https://docs.astral.sh/uv/getting-started/installation/"
AWS = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
DATABRICKS = "https://docs.databricks.com/aws/en/dev-tools/cli/install"
JAVA = "https://adoptium.net/temurin/releases/?version=17"


# ---- AWS -----------------------------------------------------------------------------------------


def xml(operation: str, body: str) -> Answer:
    """A good answer of a service that speaks XML."""
    text = f"<{operation}Result>{body}</{operation}Result>"
    return Answer(200, f"<{operation}Response>{text}</{operation}Response>".encode(), XML)


def refusal(code: str, message: str) -> Answer:
    """A refusal of a service that speaks XML."""
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(403, f"<ErrorResponse>{text}</ErrorResponse>".encode(), XML)


def json_refusal(code: str, message: str) -> Answer:
    """A refusal of a service that speaks JSON."""
    return Answer(400, json.dumps({"__type": code, "message": message}).encode())


def fields(request: Request) -> dict[str, str]:
    """A request's fields, in either of the two languages."""
    if "X-Amz-Target" in request.headers:
        return json.loads(request.body)
    return dict(urllib.parse.parse_qsl(request.body.decode()))


def operation(request: Request) -> str:
    """What a request calls."""
    target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    return target or fields(request)["Action"]


class Front:
    """Answers what is in `answers`, by operation, and has moto answer the rest."""

    def __init__(self, moto: str) -> None:
        self.moto, self.url = moto, ""
        self.seen: list[Request] = []
        self.start_anew()

    def start_anew(self) -> None:
        """Forgets what was asked, and what a test has told it to answer."""
        self.seen.clear()
        self.denied: dict[str, str] = {}  # action -> the context that IAM would want to know
        self.branches = ["main"]
        self.answers: dict[str, Callable[[Request], Answer]] = {
            "GetBranch": self.branch,
            "SimulatePrincipalPolicy": self.simulate,
            "GetOutboundWebIdentityFederationInfo": lambda _: self.federation("true"),
        }

    def __call__(self, request: Request) -> Answer:
        if found := self.answers.get(operation(request)):
            return found(request)
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.moto).netloc)
        connection.request(request.method, request.path, request.body, request.headers)
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), XML)

    def branch(self, request: Request) -> Answer:
        name = fields(request)["branchName"]
        if name not in self.branches:
            return json_refusal("BranchDoesNotExistException", "no such branch")
        branch = {"branchName": name, "commitId": COMMIT}
        return Answer(200, json.dumps({"branch": branch}).encode())

    def simulate(self, request: Request) -> Answer:
        results = ""
        for key, action in fields(request).items():
            if key.startswith("ActionNames.member."):
                missing = self.denied.get(action)
                decision = "allowed" if missing is None else "implicitDeny"
                member = f"<member>{missing}</member>" if missing else ""
                results += (
                    f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}"
                    f"</EvalDecision><MissingContextValues>{member}</MissingContextValues></member>"
                )
        return xml(
            "SimulatePrincipalPolicy",
            f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>",
        )

    @staticmethod
    def federation(enabled: str) -> Answer:
        issuer = "<IssuerIdentifier>https://issuer.example</IssuerIdentifier>"
        return xml(
            "GetOutboundWebIdentityFederationInfo",
            f"{issuer}<JwtVendingEnabled>{enabled}</JwtVendingEnabled>",
        )


@pytest.fixture(scope="module")
def aws() -> Iterator[Front]:
    """moto's server on a free port, and the front of it, for this file."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    front = Front(f"http://{host}:{port}")
    with serve(front) as (front.url, front.seen):
        yield front
    server.stop()


# ---- The workspaces ------------------------------------------------------------------------------


class Workspaces(NamedTuple):
    """Two names of one TLS server: what each answers, what they were asked, whom to trust."""

    qa: str
    prod: str
    answers: dict[str, Answer]  # by target
    seen: list[tuple[str, str, dict[str, str]]]  # target, path, headers
    trust: Path


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory) -> Iterator[Workspaces]:
    """Two workspaces that ask for a credential."""
    authority = trustme.CA()
    trust = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(trust)
    answers: dict[str, Answer] = {}
    seen: list[tuple[str, str, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target = "qa" if self.headers["Host"].startswith("localhost") else "prod"
            seen.append((target, self.path, dict(self.headers.items())))
            answer = answers.get(target, Answer(401))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    yield Workspaces(f"https://localhost:{port}", f"https://127.0.0.1:{port}", answers, seen, trust)
    server.shutdown()
    server.server_close()


@pytest.fixture
def workspaces(tls_server: Workspaces) -> Workspaces:
    """The two workspaces, as if nobody had been there."""
    tls_server.answers.clear()
    tls_server.seen.clear()
    return tls_server


# ---- The world -----------------------------------------------------------------------------------


class Line(NamedTuple):
    """What a probe says."""

    kind: str
    text: str


class World:
    """A repository in use, where all is well: each test spoils something and runs `doctor`."""

    def __init__(self, root: Path, front: Front, workspaces: Workspaces) -> None:
        self.root, self.front, self.workspaces = root, front, workspaces
        self.bin = root.parent / "bin"
        self.bin.mkdir()
        for name in ("bash", "git", "uv", "make"):
            (self.bin / name).symlink_to(shutil.which(name))
        pinned = re.search(r"CLI_VERSION=(.+)", (root / "cicd/tools.env").read_text())[1]
        self.tool("aws", "echo aws-cli/2.31.0 Python/3.13.7")
        self.tool("databricks", f"echo Databricks CLI v{pinned}")
        self.tool("java", """echo 'openjdk version "21" 2023-09-19' >&2""")
        for target in ("qa", "prod"):
            host = f"https://{target}-workspace.cloud.databricks.com"
            for file in ("databricks.yml", "cicd/stack.yml"):
                self.edit(file, host, getattr(workspaces, target))
        self.edit("cicd/stack.yml", "    Default: not-set", f"    Default: {CLIENT_ID}", count=-1)
        self.env = {
            "PATH": str(self.bin),
            "HOME": str(root.parent),
            "AWS_ENDPOINT_URL": front.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SSL_CERT_FILE": str(workspaces.trust),
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        user = self.client("iam", key="AKIDEXAMPLE", secret="x")
        user.create_user(UserName="ada")
        key = user.create_access_key(UserName="ada")["AccessKey"]
        self.sign_in(key["AccessKeyId"], key["SecretAccessKey"])
        self.outputs = self.make_secrets()
        self.client("codecommit").create_repository(repositoryName=SLUG)
        self.create_stack()

    def tool(self, name: str, script: str | None) -> None:
        """Puts a tool in the PATH's place, or takes it away."""
        (self.bin / name).unlink(missing_ok=True)
        if script is not None:
            (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.bin / name).chmod(0o755)

    def edit(self, file: str, old: str, new: str, count: int = 1) -> None:
        """Replaces what stands in a file, once or, with -1, wherever it does."""
        path = self.root / file
        text = path.read_text()
        assert count < 0 or text.count(old) == count, (file, old)
        path.write_text(text.replace(old, new))

    def sign_in(self, key: str, secret: str, token: str = "") -> None:
        """Makes these the caller's credentials."""
        self.env |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        self.env |= {"AWS_SESSION_TOKEN": token} if token else {}

    def client(self, service: str, key: str = "", secret: str = ""):
        """A client of the account, the caller's unless a key is given."""
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.front.moto,
            aws_access_key_id=key or self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret or self.env["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self.env.get("AWS_SESSION_TOKEN"),
        )

    def make_secrets(self) -> dict[str, str]:
        """Two secrets as the stack creates them, with a value that has been set since."""
        manager, outputs = self.client("secretsmanager"), {}
        for target in ("Qa", "Prod"):
            born = json.dumps({"token": "not-set"})
            arn = manager.create_secret(Name=f"{target}Secret", SecretString=born)["ARN"]
            manager.put_secret_value(SecretId=arn, SecretString=json.dumps({"token": CANARY}))
            outputs[f"{target}SecretArn"] = arn
        return outputs

    def defaults(self) -> dict[str, str]:
        """The parameters' defaults in the stack's file."""
        head = (self.root / "cicd/stack.yml").read_text().partition("\nMappings:")[0]
        declared = yaml.safe_load(head)["Parameters"]
        return {name: str(item["Default"]) for name, item in declared.items()}

    def create_stack(self, **changed: str) -> None:
        """Creates the project's stack, with a topic and the parameters that make would pass."""
        given = self.defaults() | changed
        template = {
            "Parameters": {name: {"Type": "String"} for name in given},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in self.outputs.items()},
        }
        self.client("cloudformation").create_stack(
            StackName=SLUG,
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in given.items()
            ],
        )

    def delete_stack(self) -> None:
        """Deletes the project's stack."""
        self.client("cloudformation").delete_stack(StackName=SLUG)

    def put_stack_into(self, state: str) -> None:
        """Makes moto's stack have a state that moto never brings about."""
        (stack,) = cloudformation_backends[ACCOUNT]["us-east-1"].stacks.values()
        stack.status = state

    def git(self, *args: str) -> str:
        """Runs git in the repository."""
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.check_output(["git", *author, *args], cwd=self.root, text=True)

    def doctor(self, *args: str) -> tuple[subprocess.CompletedProcess, dict[str, Line]]:
        """Runs it; its output, and in that the line of every probe."""
        result = subprocess.run(
            ["make", "doctor", f"OPS={sys.executable}", *args],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in result.stderr, result.stderr
        found = re.findall(r"^  [✓✗\u2013] (.{11})  (.{14})  (.+)$", result.stdout, re.MULTILINE)
        return result, {name.strip(): Line(kind.strip(), text) for kind, name, text in found}

    def not_ok(self, *args: str) -> dict[str, Line]:
        """The lines of a run that are not ok; its exit code agrees with them."""
        result, lines = self.doctor(*args)
        wrong = [name for name, line in lines.items() if line.kind == "wrong"]
        assert bool(result.returncode) is bool(wrong), result.stdout + result.stderr
        need = "needs" if len(wrong) == 1 else "need"
        assert f"\n{len(wrong)} of {len(lines)} {need} attention" in result.stdout
        return {name: line for name, line in lines.items() if line.kind != "ok"}


@pytest.fixture
def world(aws: Front, rendering, tmp_path: Path, workspaces: Workspaces) -> Callable[..., World]:
    """A function: a world of this way to sign in."""

    def make(auth: str = "pat") -> World:
        root = tmp_path / SLUG
        shutil.copytree(rendering(f"{auth}-serverless"), root)
        reset = urllib.request.Request(f"{aws.moto}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset)
        aws.start_anew()
        return World(root, aws, workspaces)

    return make


# ---- All is well ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", AUTHS)
def test_where_all_is_well_it_says_so_and_has_only_read(world, auth: str) -> None:
    given = world(auth)
    before = given.git("status", "--porcelain", "--untracked-files=all")
    result, lines = given.doctor()
    assert {line.kind for line in lines.values()} == {"ok"}, result.stdout
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{SLUG} in us-east-1\n\nThis machine\n")
    assert result.stdout.endswith(f"\n0 of {len(lines)} need attention\n")
    assert lines["identity"].text == f"arn:aws:iam::{ACCOUNT}:user/ada"
    assert lines["repository"].text == f"{SLUG}, main is at 0123abcd"
    calls = {operation(request) for request in given.front.seen}
    assert [call for call in calls if not call.startswith(READS)] == []
    assert "GetSecretValue" not in calls
    assert CANARY not in result.stdout
    assert given.git("status", "--porcelain", "--untracked-files=all") == before
    paths = {(target, path) for target, path, _ in given.workspaces.seen}
    assert paths == {(target, "/api/2.0/preview/scim/v2/Me") for target in ("qa", "prod")}
    sent = {name for _, _, headers in given.workspaces.seen for name in headers}
    assert sent <= {"Accept-Encoding", "Host", "User-Agent", "Connection"}


def test_a_narrow_terminal_shows_the_same(world) -> None:
    given = world()
    given.tool("uv", None)
    given.env |= {"FORCE_COLOR": "1", "COLUMNS": "60", "TERM": "xterm"}
    result, _ = given.doctor()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("  ✗ wrong        uv "))
    assert lines[at].endswith("is missing, or does not run") and len(lines[at]) <= 60
    assert lines[at + 1 : at + 3] == [" " * 33 + "→ install it:", " " * 33 + UV]


# ---- This machine --------------------------------------------------------------------------------


NOT_ITS_OWN = "this folder is no git repository of its own → git init -b main"


def test_a_machine_that_has_nothing(world) -> None:
    given = world()
    shutil.rmtree(given.root / ".git")
    for name in ("uv", "aws", "databricks", "java"):
        given.tool(name, None)
    missing = "is missing, or does not run → install it:"
    assert given.not_ok() == {
        "uv": Line("wrong", f"{missing} {UV}"),
        "AWS CLI": Line("wrong", f"{missing} {AWS}"),
        "Databricks CLI": Line(
            "note", f"is missing; only development needs it → install it: {DATABRICKS}"
        ),
        "Java": Line("note", f"is missing; only make test needs it → install it: {JAVA}"),
        "this folder": Line("wrong", NOT_ITS_OWN),
    }


def test_a_machine_without_git(world) -> None:
    given = world()
    given.tool("git", None)
    what = "is missing, or does not run → install it: https://git-scm.com/downloads"
    not_checked = Line("not checked", "git is missing")
    assert given.not_ok() == {"git": Line("wrong", what), "this folder": not_checked}


def test_other_versions_a_tool_that_hangs_and_no_branch(world, tmp_path: Path) -> None:
    given = world()
    given.git("commit", "--quiet", "--allow-empty", "--message", "x")
    given.git("checkout", "--quiet", "--detach")
    given.edit("ops/probes/machine.py", "SECONDS = 5", "SECONDS = 1")
    given.tool("aws", "exec /bin/sleep 30")
    given.tool("databricks", "echo Version 0.18.0")
    home = tmp_path / "java/bin"  # Spark takes that before what is in the path
    home.mkdir(parents=True)
    given.tool("java", """echo Picked up 99.9 >&2; echo 'java version "1.8.0_392"' >&2""")
    (given.bin / "java").rename(home / "java")
    given.tool("java", """echo 'openjdk version "21" 2023-09-19' >&2""")
    given.env["JAVA_HOME"] = str(home.parent)
    pinned = re.search(r"CLI_VERSION=(.+)", (given.root / "cicd/tools.env").read_text())[1]
    assert given.not_ok() == {
        "AWS CLI": Line("wrong", f"is missing, or does not run → install it: {AWS}"),
        "Databricks CLI": Line(
            "note",
            f"is 0.18.0, the builds' is {pinned}; only development needs it"
            f" → install that one: {DATABRICKS}",
        ),
        "Java": Line("note", f"is 1.8.0_392; make test needs 17 or newer → install it: {JAVA}"),
        "this folder": Line("wrong", "no branch is checked out → git switch main"),
    }


def test_a_folder_inside_another_repository(world) -> None:
    given = world()
    shutil.move(given.root / ".git", given.root.parent)
    assert given.not_ok() == {"this folder": Line("wrong", NOT_ITS_OWN)}


def test_files_that_cannot_be_read(world) -> None:
    given = world()
    (given.root / "cicd/stack.yml").write_text("Parameters: [")
    (given.root / "databricks.yml").write_text("targets: {qa: {}}")
    (given.root / "cicd/tools.env").unlink()
    found = given.not_ok()
    texts = {name: line.text for name, line in found.items() if line.kind == "wrong"}
    assert texts == {
        "Databricks CLI": "cicd/tools.env cannot be read → make check",
        **dict.fromkeys(
            ("this folder", "rights", "parameters", "repository"),
            "cicd/stack.yml cannot be read → make check",
        ),
        **dict.fromkeys(
            ("qa host", "qa workspace", "prod host", "prod workspace"),
            "databricks.yml cannot be read → make check",
        ),
    }


# ---- Who calls -----------------------------------------------------------------------------------

OF_AWS = ("rights", "stack", "parameters", "qa secret", "prod secret", "repository")
NOT_SIGNED_IN = dict.fromkeys(OF_AWS, Line("not checked", "not signed in to AWS"))


def test_without_a_sign_in_what_needs_one_is_not_checked(world) -> None:
    given = world()
    del given.env["AWS_ACCESS_KEY_ID"], given.env["AWS_SECRET_ACCESS_KEY"]
    found = given.not_ok()
    assert found.pop("identity") == Line(
        "wrong",
        "not signed in to AWS (Unable to locate credentials) → aws sso login, or aws configure",
    )
    assert found == NOT_SIGNED_IN


def test_a_sign_in_that_has_expired(world) -> None:
    given = world()
    given.front.answers["GetCallerIdentity"] = lambda _: refusal("ExpiredToken", "token expired")
    found = given.not_ok()
    identity = found.pop("identity")
    assert identity.kind == "wrong"
    assert identity.text.startswith("not signed in to AWS (An error occurred (ExpiredToken)")
    assert found == NOT_SIGNED_IN


def test_a_region_that_does_not_answer(world) -> None:
    given = world()
    given.env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    found = given.not_ok()
    identity = found.pop("identity")
    assert identity.kind == "wrong"
    assert identity.text.startswith("AWS does not answer in this region (")
    assert identity.text.endswith("→ mend the network, or name another: make doctor REGION=...")
    assert found == NOT_SIGNED_IN


def test_a_region_without_codecommit_is_noted(world) -> None:
    given = world()  # moto knows no such region either
    no_stack = refusal("ValidationError", "Stack with id x does not exist")
    no_repository = json_refusal("RepositoryDoesNotExistException", "no such repository")
    given.front.answers |= {
        "DescribeStacks": lambda _: no_stack,
        "GetRepository": lambda _: no_repository,
    }
    found = given.not_ok("REGION=eu-north-9")
    what = "eu-north-9 is not known to have CodeCommit → see REGION in the Makefile"
    assert found["region"] == Line("note", what)


# ---- What the caller may do ----------------------------------------------------------------------


def simulated(given: World) -> list[dict[str, str]]:
    """What IAM was asked to simulate."""
    calls = [item for item in given.front.seen if operation(item) == "SimulatePrincipalPolicy"]
    return [fields(item) for item in calls]


def test_rights_that_are_lacking(world) -> None:
    given = world()
    given.front.denied = {"kms:CreateKey": "", "iam:PassRole": "", "s3:CreateBucket": "aws:x"}
    assert given.not_ok() == {
        "rights": Line(
            "wrong",
            f"arn:aws:iam::{ACCOUNT}:user/ada lacks iam:PassRole, kms:CreateKey"
            " → have an administrator allow them, then make doctor",
        )
    }
    # A policy may hold for the stack's own names, or for one service, alone.
    asked = [set(item.values()) for item in simulated(given)]
    assert f"arn:aws:codecommit:us-east-1:{ACCOUNT}:{SLUG}" in set().union(*asked)
    assert all("us-east-1" in item for item in asked)
    services = {word for word in set().union(*asked) if word.endswith(".amazonaws.com")}
    assert services == {f"{one}.amazonaws.com" for one in ("codebuild", "codepipeline", "events")}


def test_rights_that_hang_on_what_only_the_call_knows(world) -> None:
    given = world()
    given.front.denied = {"s3:CreateBucket": "aws:CalledVia"}
    what = "conditions decide about s3:CreateBucket"
    assert given.not_ok() == {"rights": Line("not checked", what)}


def test_rights_for_a_type_that_nobody_has_listed(world) -> None:
    given = world()
    given.edit("cicd/stack.yml", "\nResources:\n", "\nResources:\n  Q: {Type: AWS::SQS::Queue}\n")
    what = "ops/probes/rights.py does not know AWS::SQS::Queue"
    assert given.not_ok() == {"rights": Line("not checked", what)}


def test_rights_where_simulation_is_refused(world) -> None:
    given = world()
    given.front.answers["SimulatePrincipalPolicy"] = lambda _: refusal("AccessDenied", "not you")
    what = "AWS refuses SimulatePrincipalPolicy: not you"
    assert given.not_ok() == {"rights": Line("not checked", what)}


@pytest.mark.parametrize(
    ("allowed", "source"),
    [
        (True, f"arn:aws:iam::{ACCOUNT}:role/team/deployer"),
        (False, f"arn:aws:iam::{ACCOUNT}:role/deployer"),
    ],
)
def test_rights_of_an_assumed_role_are_the_roles(world, allowed: bool, source: str) -> None:
    given = world()
    role = given.client("iam").create_role(
        RoleName="deployer", Path="/team/", AssumeRolePolicyDocument="{}"
    )["Role"]
    session = given.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="ada")
    key, secret, token = (
        session["Credentials"][name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    )
    given.sign_in(key, secret, token)
    refuses = {} if allowed else {"GetRole": lambda _: refusal("AccessDenied", "not you")}
    given.front.answers |= refuses
    assert given.not_ok() == {}
    assert {item["PolicySourceArn"] for item in simulated(given)} == {source}


def test_rights_of_root_cannot_be_simulated(world) -> None:
    given = world()
    root = f"arn:aws:iam::{ACCOUNT}:root"
    told = f"<Arn>{root}</Arn><UserId>x</UserId><Account>{ACCOUNT}</Account>"
    given.front.answers["GetCallerIdentity"] = lambda _: xml("GetCallerIdentity", told)
    what = f"IAM simulates users and roles only, and the caller is {root}"
    assert given.not_ok() == {"rights": Line("not checked", what)}
    assert simulated(given) == []


# The schemas name no action for a project, nor what an encrypted secret takes.
BESIDE_THE_SCHEMAS = {
    "AWS::CodeBuild::Project": {"codebuild:CreateProject", "iam:PassRole"},
    "AWS::SecretsManager::Secret": {"kms:Decrypt", "kms:GenerateDataKey"},
}


def permissions(kind: str) -> set[str]:
    """The actions that a type's schema names for creating, reading and tagging."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    handlers = schema.get("handlers", {})
    found = [handlers.get(name, {}).get("permissions", []) for name in ("create", "read")]
    found.append((schema.get("tagging") or {}).get("permissions") or [])
    return {action for actions in found for action in actions}


@pytest.mark.parametrize("auth", AUTHS)
def test_the_table_of_rights_is_what_the_schemas_say(rendering, auth: str) -> None:
    tools = rendering(f"{auth}-serverless") / "ops"
    code = "import json; from probes.rights import CREATE; print(json.dumps(CREATE))"
    printed = subprocess.check_output([sys.executable, "-Bc", code], cwd=tools)
    stack = (tools.parent / "cicd/stack.yml").read_text()
    types = set(re.findall(r"^    Type: (AWS::\S+)$", stack, re.MULTILINE))
    table = {
        kind: {
            f"{service}:{action}"
            for line in rows.values()
            for service, actions in [line.split(": ")]
            for action in actions.split()
        }
        for kind, rows in json.loads(printed).items()
    }
    assert types - table.keys() == set()
    beyond = {
        kind: actions - permissions(kind) - BESIDE_THE_SCHEMAS.get(kind, set())
        for kind, actions in table.items()
    }
    assert beyond == {kind: set() for kind in table}


# ---- The stack -----------------------------------------------------------------------------------


def test_before_the_first_deployment(world) -> None:
    given = world()
    given.delete_stack()
    given.client("codecommit").delete_repository(repositoryName=SLUG)
    no_stack = Line("not checked", "there is no stack yet")
    assert given.not_ok() == {
        "stack": Line("wrong", f"{SLUG} does not exist → make stack"),
        **dict.fromkeys(("parameters", "qa secret", "prod secret", "repository"), no_stack),
    }


def test_a_repository_that_stands_in_a_new_stacks_way(world) -> None:
    given = world()
    given.delete_stack()
    assert given.not_ok()["repository"] == Line(
        "wrong",
        f"{SLUG} exists, and a new stack cannot take it over"
        " → give RepoName in cicd/stack.yml another name, then make stack push",
    )


AGAIN = "make destroy, then make stack"
STATES = {
    "CREATE_FAILED": f"Problem: CREATE_FAILED → {AGAIN}",
    "ROLLBACK_COMPLETE": f"Problem: ROLLBACK_COMPLETE → {AGAIN}",
    "ROLLBACK_FAILED": f"Problem: ROLLBACK_FAILED → {AGAIN}",
    "DELETE_FAILED": f"Problem: DELETE_FAILED → {AGAIN}",
    "REVIEW_IN_PROGRESS": "Problem: REVIEW_IN_PROGRESS → make stack",
    "UPDATE_FAILED": "Problem: UPDATE_FAILED → make stack",
    "UPDATE_ROLLBACK_FAILED": (
        "Problem: UPDATE_ROLLBACK_FAILED"
        f" → aws cloudformation continue-update-rollback --stack-name {SLUG}"
    ),
    "UPDATE_ROLLBACK_COMPLETE": (
        "Note: UPDATE_ROLLBACK_COMPLETE: the last change failed and was undone → make stack"
    ),
}
ALL_STATES = """
import sys
from probes import Problem
from probes.account import Account

for state in sys.argv[1:]:
    account = Account(None)
    account.stack = {"StackStatus": state}
    try:
        print(account.state())
    except Problem as problem:
        print(f"{type(problem).__name__}: {problem} → {problem.mend}")
"""


def test_every_state_of_a_stack_that_needs_something(rendering) -> None:
    said = subprocess.check_output(
        [sys.executable, "-Bc", ALL_STATES, *STATES, "UPDATE_COMPLETE"],
        cwd=rendering("pat-serverless") / "ops",
        env={"STACK": SLUG},
        text=True,
    )
    assert said.splitlines() == [*STATES.values(), f"{SLUG} is UPDATE_COMPLETE"]


def test_a_stack_that_was_rolled_back(world) -> None:
    given = world()
    given.put_stack_into("ROLLBACK_COMPLETE")
    assert given.not_ok() == {"stack": Line("wrong", f"ROLLBACK_COMPLETE → {AGAIN}")}


def test_a_stack_that_is_just_being_created(world) -> None:
    given = world()
    given.outputs = {}
    given.delete_stack()
    given.create_stack()
    given.put_stack_into("CREATE_IN_PROGRESS")
    none = Line("not checked", "the stack has none yet")
    what = "CREATE_IN_PROGRESS: it is being changed → wait for it, then make doctor"
    assert given.not_ok() == {
        "stack": Line("wrong", what),
        "qa secret": none,
        "prod secret": none,
    }


def test_parameters_that_have_not_reached_the_stack(world) -> None:
    given = world()
    given.edit("cicd/stack.yml", f'Default: "{SLUG}"', "Default: other")
    what = f"RepoName is '{SLUG}', not 'other' → make stack"
    assert given.not_ok() == {"parameters": Line("wrong", what)}
    # What is said on the command line is what make stack is told there.
    assert given.not_ok(f"PARAMETERS=RepoName={SLUG}") == {}
    result, lines = given.doctor("PARAMETERS=Reponame=x")
    assert (result.returncode != 0, lines) == (True, {})
    assert "no parameter Reponame; there are: RepoName" in result.stderr


# ---- What the builds sign in with ----------------------------------------------------------------


NO_BRANCH = Line("wrong", f"{SLUG} has no branch main yet → on main: make push")


def test_after_the_stack_before_the_secrets_and_the_first_push(world) -> None:
    given = world()
    given.front.branches = []
    manager = given.client("secretsmanager")
    manager.delete_secret(SecretId="QaSecret", ForceDeleteWithoutRecovery=True)
    born = manager.create_secret(Name="QaSecret", SecretString='{"token": "not-set"}')
    # What moves LastChangedDate, but sets nothing.
    manager.update_secret(SecretId=born["ARN"], Description="another")
    manager.tag_resource(SecretId=born["ARN"], Tags=[{"Key": "a", "Value": "b"}])
    given.outputs["QaSecretArn"] = born["ARN"]
    given.delete_stack()
    given.create_stack()
    what = "is still the stack's placeholder → make secrets ENV=qa"
    assert given.not_ok() == {"qa secret": Line("wrong", what), "repository": NO_BRANCH}
    manager.put_secret_value(SecretId=born["ARN"], SecretString=json.dumps({"token": CANARY}))
    assert given.not_ok() == {"repository": NO_BRANCH}


NO_TOKENS = Line(
    "wrong",
    "the account may not sign identity tokens"
    " → aws iam enable-outbound-web-identity-federation (docs/security.md)",
)


def test_after_the_stack_before_federation_and_client_ids(world) -> None:
    given = world("aws-iam")
    disabled = refusal("FeatureDisabled", "outbound federation is not enabled")
    given.front.answers["GetOutboundWebIdentityFederationInfo"] = lambda _: disabled
    given.edit("cicd/stack.yml", f"    Default: {CLIENT_ID}", "    Default: not-set", count=2)
    given.delete_stack()
    given.create_stack()
    mend = "in cicd/stack.yml, then make stack"
    assert given.not_ok() == {
        "federation": NO_TOKENS,
        "qa client ID": Line("wrong", f"QaClientId is not set → set it {mend}"),
        "prod client ID": Line("wrong", f"ProdClientId is not set → set it {mend}"),
    }


def test_federation_that_was_disabled_again(world) -> None:
    given = world("aws-iam")
    disabled = Front.federation("false")
    given.front.answers["GetOutboundWebIdentityFederationInfo"] = lambda _: disabled
    assert given.not_ok() == {"federation": NO_TOKENS}


# ---- The repository ------------------------------------------------------------------------------


def test_a_repository_that_was_deleted(world) -> None:
    given = world()
    given.client("codecommit").delete_repository(repositoryName=SLUG)
    mend = "give RepoName in cicd/stack.yml another name, then make stack push"
    assert given.not_ok() == {"repository": Line("wrong", f"{SLUG} was deleted → {mend}")}


# ---- The workspaces ------------------------------------------------------------------------------


def test_hosts_that_differ_in_the_files(world) -> None:
    given = world()
    other = given.workspaces.prod
    given.edit("databricks.yml", f"host: {given.workspaces.qa}", f"host: {other}")
    what = f"databricks.yml says {other}, cicd/stack.yml says {given.workspaces.qa}"
    mend = "make them equal, then make check stack push"
    assert given.not_ok() == {"qa host": Line("wrong", f"{what} → {mend}")}


def test_a_host_that_has_not_reached_the_stack(world) -> None:
    given = world()
    qa, prod = given.workspaces.qa, given.workspaces.prod
    given.edit("databricks.yml", f"host: {prod}", f"host: {qa}")
    given.edit("cicd/stack.yml", f'Default: "{prod}"', f'Default: "{qa}"')
    what = f"databricks.yml says {qa}, the stack says {prod} → make stack"
    assert given.not_ok() == {
        "parameters": Line("wrong", f"ProdWorkspaceHost is '{prod}', not '{qa}' → make stack"),
        "prod host": Line("wrong", what),
    }


def correct(target: str) -> str:
    """What mends a workspace that is not there."""
    return f" → correct {target}'s host in databricks.yml and cicd/stack.yml, or mend the network"


def test_workspaces_that_are_none(world) -> None:
    given = world()
    elsewhere = (("Location", f"{given.workspaces.prod}/elsewhere"),)
    given.workspaces.answers.update(qa=Answer(302, headers=elsewhere), prod=Answer(404))
    found = given.not_ok()
    for target, status in (("qa", 302), ("prod", 404)):
        host = getattr(given.workspaces, target)
        what = f"{host} answers HTTP {status}, as no Databricks workspace does"
        assert found.pop(f"{target} workspace") == Line("wrong", what + correct(target))
    assert found == {}
    assert len(given.workspaces.seen) == 2  # no redirect is followed


def test_workspaces_that_cannot_be_reached(world) -> None:
    given = world()
    for target, host in (("qa", "https://nowhere.invalid"), ("prod", "https://127.0.0.1:1")):
        for file in ("databricks.yml", "cicd/stack.yml"):
            given.edit(file, getattr(given.workspaces, target), host)
    given.delete_stack()
    given.create_stack()
    found = given.not_ok()
    assert found.keys() == {"qa workspace", "prod workspace"}
    for target, host in (("qa", "https://nowhere.invalid"), ("prod", "https://127.0.0.1:1")):
        kind, text = found[f"{target} workspace"]
        assert kind == "wrong"
        assert text.startswith(f"{host} cannot be reached (") and text.endswith(correct(target))


def test_workspaces_whose_certificate_nobody_vouches_for(world) -> None:
    given = world()
    del given.env["SSL_CERT_FILE"]
    found = given.not_ok()
    assert found.keys() == {"qa workspace", "prod workspace"}
    assert "certificate verify failed" in found["qa workspace"].text


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("deadline", ["workspaces.py", "doctor.py"])
def test_nothing_hangs(world, deadline: str) -> None:
    given = world()
    files = {"workspaces.py": "ops/probes/workspaces.py", "doctor.py": "ops/doctor.py"}
    given.edit(files[deadline], "SECONDS = ", "SECONDS = 1 or ")
    with silent_server() as silent:
        for file in ("databricks.yml", "cicd/stack.yml"):
            given.edit(file, given.workspaces.qa, silent)
        given.delete_stack()
        given.create_stack()
        start = time.monotonic()
        found = given.not_ok()
    assert time.monotonic() - start < 10
    assert found.keys() == {"qa workspace"}
    said = {
        "workspaces.py": f"{silent} cannot be reached (",
        "doctor.py": "no answer within 1 seconds → mend the network, then make doctor",
    }
    assert found["qa workspace"].kind == "wrong"
    assert found["qa workspace"].text.startswith(said[deadline])

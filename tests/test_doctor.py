"""`make doctor`: what it says of an account, a machine and workspaces where one thing is wrong.

The account is moto's; what moto does not know is answered here: who calls, branches, simulated
policies, federation. The workspaces are on loopback, with TLS.
"""

import contextlib
import http.server
import importlib
import itertools
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import trustme
import yaml
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.cloudformation.models import cloudformation_backends

from loopback import Answer
from operating import ACCOUNT, SLUG, Cloud, Operator, Refusal, Screen, Shape, at_work, client

CANARY = "dapi0123456789canary"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
AUTHS = ("pat", "oauth-m2m", "aws-iam")
COMMIT = "0123abcd99990123abcd99990123abcd99990123"
READS = ("Describe", "Get", "Head", "List", "Simulate")
UV = "https://docs.astral.sh/uv/getting-started/installation/"
AWS = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
DATABRICKS = "https://docs.databricks.com/aws/en/dev-tools/cli/install"
JAVA = "https://adoptium.net/temurin/releases/?version=17"
CICD_BUCKET = "cicd-1"


class Account(Cloud):
    """What moto does not know of the account."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = f"arn:aws:iam::{ACCOUNT}:user/ada"
        self.denied: dict[str, str] = {}  # action -> the context that IAM would want to know
        self.branches = ["main"]
        self.federation: Shape | Refusal = {
            "IssuerIdentifier": "https://issuer.example",
            "JwtVendingEnabled": True,
        }
        self.answers = {
            "GetCallerIdentity": self.identity,
            "GetBranch": self.branch,
            "SimulatePrincipalPolicy": self.simulate,
            "GetOutboundWebIdentityFederationInfo": lambda _: self.federation,
        }

    def identity(self, request: Shape) -> Shape:
        return {"Arn": self.caller, "Account": ACCOUNT, "UserId": "x"}

    def branch(self, request: Shape) -> Shape | Refusal:
        name = request["branchName"]
        if name not in self.branches:
            return Refusal("BranchDoesNotExistException", "no such branch")
        return {"branch": {"branchName": name, "commitId": COMMIT}}

    def simulate(self, request: Shape) -> Shape:
        results = []
        for action in request["ActionNames"]:
            decision = "implicitDeny" if action in self.denied else "allowed"
            missing = [name for name in [self.denied.get(action, "")] if name]
            result = {"EvalActionName": action, "EvalDecision": decision}
            results.append(result | {"MissingContextValues": missing})
        return {"EvaluationResults": results, "IsTruncated": False}


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
    """The two workspaces, without recorded requests."""
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

    def __init__(self, operator: Operator, workspaces: Workspaces) -> None:
        self.operator, self.workspaces = operator, workspaces
        self.account: Any = operator.cloud
        self.root, self.patch = operator.root, operator.patch
        self.bin = self.root.parent / "bin"
        self.bin.mkdir()
        client("s3").create_bucket(Bucket=CICD_BUCKET)
        for name in ("git", "uv"):
            (self.bin / name).symlink_to(shutil.which(name))
        pinned = re.search(r"CLI_VERSION=(.+)", (self.root / "cicd/tools.env").read_text())[1]
        self.tool("aws", "echo aws-cli/2.31.0 Python/3.13.7")
        self.tool("databricks", f"echo Databricks CLI v{pinned}")
        self.tool("java", """echo 'openjdk version "21" 2023-09-19' >&2""")
        for target in ("qa", "prod"):
            host = f"https://{target}-workspace.cloud.databricks.com"
            for file in ("databricks.yml", "cicd/stack.yml"):
                self.edit(file, host, getattr(workspaces, target))
        self.edit("cicd/stack.yml", "    Default: not-set", f"    Default: {CLIENT_ID}", count=-1)
        operator.waiting = itertools.repeat(lambda: None)
        for name, value in {
            "PATH": str(self.bin),
            "HOME": str(self.root.parent),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SSL_CERT_FILE": str(workspaces.trust),
            "NO_PROXY": "127.0.0.1,localhost",
        }.items():
            self.patch.setenv(name, value)
        self.patch.delenv("JAVA_HOME", raising=False)
        self.outputs = self.make_secrets()
        client("codecommit").create_repository(repositoryName=SLUG)
        self.outputs["CicdBucketName"] = CICD_BUCKET
        self.create_stack()

    def tool(self, name: str, script: str | None) -> None:
        """Puts a tool in the PATH's place, or takes it away."""
        (self.bin / name).unlink(missing_ok=True)
        if script is not None:
            (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.bin / name).chmod(0o755)

    def edit(self, file: str, old: str, new: str, count: int = 1) -> None:
        """Replaces what stands in a file, once or, with -1, wherever it does; deploys cicd/."""
        path = self.root / file
        text = path.read_text()
        assert count < 0 or text.count(old) == count, (file, old)
        path.write_text(text.replace(old, new))
        self.deliver()

    def set_seconds(self, module: str, name: str, seconds: int) -> None:
        """Makes a module wait no longer."""
        self.patch.setattr(importlib.import_module(module), name, seconds)

    def make_secrets(self) -> dict[str, str]:
        """Two secrets as the stack creates them, with a value that has been set since."""
        manager, outputs = client("secretsmanager"), {}
        for target in ("Qa", "Prod"):
            placeholder = json.dumps({"token": "not-set"})
            arn = manager.create_secret(Name=f"{target}Secret", SecretString=placeholder)["ARN"]
            manager.put_secret_value(SecretId=arn, SecretString=json.dumps({"token": CANARY}))
            outputs[f"{target}SecretArn"] = arn
        return outputs

    def deliver(self) -> None:
        """Uploads cicd/ as `make stack` does."""
        delivery = importlib.import_module("ops.delivery")
        body = delivery.archive(self.root)
        metadata = {delivery.DIGEST: delivery.digest_of(body)}
        client("s3").put_object(Bucket=CICD_BUCKET, Key=delivery.KEY, Body=body, Metadata=metadata)

    def defaults(self) -> dict[str, str]:
        """The parameters' defaults in the stack's file."""
        head = (self.root / "cicd/stack.yml").read_text().partition("\nMappings:")[0]
        declared = yaml.safe_load(head)["Parameters"]
        return {name: str(item["Default"]) for name, item in declared.items()}

    def create_stack(self, **changed: str) -> None:
        """Creates the project's stack, with a topic and the parameters that make would pass."""
        values = self.defaults() | changed
        template = {
            "Parameters": {name: {"Type": "String"} for name in values},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in self.outputs.items()},
        }
        client("cloudformation").create_stack(
            StackName=SLUG,
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in values.items()
            ],
        )

    def delete_stack(self) -> None:
        """Deletes the project's stack."""
        client("cloudformation").delete_stack(StackName=SLUG)

    def put_stack_into(self, state: str) -> None:
        """Makes moto's stack have a state that moto never brings about."""
        (stack,) = cloudformation_backends[ACCOUNT]["us-east-1"].stacks.values()
        stack.status = state

    def connect_with(self, **options: Any) -> None:
        """Has the commands make clients of their own, without the account's answers."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            self.patch.delenv(name, raising=False)

        def connect(service: str, **arguments: Any) -> Any:
            return boto3.Session().client(service, **arguments, **options)

        self.patch.setattr(boto3, "client", connect)

    def git(self, *args: str) -> str:
        """Runs git in the repository."""
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.check_output(["git", *author, *args], cwd=self.root, text=True)

    def doctor(self, *args: str) -> tuple[Screen, dict[str, Line]]:
        """Runs it; its output, and in that the line of every probe."""
        self.account.calls.clear()
        screen = self.operator.run("doctor", *args)
        assert "Traceback" not in screen.err, screen.err
        rows = re.findall(r"^  [✓✗\u2013] (.{11})  (.{14})  (.+)$", screen.out, re.MULTILINE)
        return screen, {name.strip(): Line(kind.strip(), text) for kind, name, text in rows}

    def not_ok(self, *args: str) -> dict[str, Line]:
        """The lines of a run that are not ok; its exit code agrees with them."""
        screen, lines = self.doctor(*args)
        wrong = [name for name, line in lines.items() if line.kind == "wrong"]
        assert bool(screen.code) is bool(wrong), screen.out + screen.err
        need = "needs" if len(wrong) == 1 else "need"
        assert f"\n{len(wrong)} of {len(lines)} {need} attention" in screen.out
        return {name: line for name, line in lines.items() if line.kind != "ok"}


@pytest.fixture
def make_world(
    rendering, tmp_path: Path, workspaces: Workspaces, monkeypatch, capsys
) -> Iterator[Callable[[str], World]]:
    """A function: a world of this way to sign in."""
    with contextlib.ExitStack() as stack:

        def make(auth: str) -> World:
            root = tmp_path / SLUG
            shutil.copytree(rendering(f"{auth}-serverless"), root)
            work = at_work(root, monkeypatch, capsys, Account(), moto=True)
            return World(stack.enter_context(work), workspaces)

        yield make


@pytest.fixture
def world(make_world: Callable[[str], World]) -> World:
    """A world of the default answers."""
    return make_world("pat")


# ---- All is well ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", AUTHS)
def test_where_all_is_well_it_says_so_and_has_only_read(make_world, auth: str) -> None:
    world = make_world(auth)
    before = world.git("status", "--porcelain", "--untracked-files=all")
    screen, lines = world.doctor()
    assert {line.kind for line in lines.values()} == {"ok"}, screen.out
    assert (screen.code, screen.err) == (0, "")
    assert screen.out.startswith(f"{SLUG} in us-east-1\n\nThis machine\n")
    assert screen.out.endswith(f"\n0 of {len(lines)} need attention\n")
    assert lines["identity"].text == f"arn:aws:iam::{ACCOUNT}:user/ada"
    assert lines["repository"].text == f"{SLUG}, main is at 0123abcd"
    calls = {name for name, _ in world.account.calls}
    assert [call for call in calls if not call.startswith(READS)] == []
    assert "GetSecretValue" not in calls
    assert CANARY not in screen.out
    assert world.git("status", "--porcelain", "--untracked-files=all") == before
    paths = {(target, path) for target, path, _ in world.workspaces.seen}
    assert paths == {(target, "/api/2.0/preview/scim/v2/Me") for target in ("qa", "prod")}
    sent = {name for _, _, headers in world.workspaces.seen for name in headers}
    assert sent <= {"Accept-Encoding", "Host", "User-Agent", "Connection"}


def test_a_narrow_terminal_shows_the_same(world: World) -> None:
    world.tool("uv", None)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "60", "TERM": "xterm"}.items():
        world.patch.setenv(name, value)
    screen, _ = world.doctor()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.out).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("  ✗ wrong        uv "))
    assert lines[at].endswith("is missing, or does not run") and len(lines[at]) <= 60
    assert lines[at + 1 : at + 3] == [" " * 33 + "→ install it:", " " * 33 + UV]


# ---- This machine --------------------------------------------------------------------------------


NOT_ITS_OWN = "this folder is no git repository of its own → git init -b main"


def test_a_machine_that_has_nothing(world: World) -> None:
    shutil.rmtree(world.root / ".git")
    for name in ("uv", "aws", "databricks", "java"):
        world.tool(name, None)
    missing = "is missing, or does not run → install it:"
    assert world.not_ok() == {
        "uv": Line("wrong", f"{missing} {UV}"),
        "AWS CLI": Line("wrong", f"{missing} {AWS}"),
        "Databricks CLI": Line(
            "note", f"is missing; only development needs it → install it: {DATABRICKS}"
        ),
        "Java": Line("note", f"is missing; only make test needs it → install it: {JAVA}"),
        "this folder": Line("wrong", NOT_ITS_OWN),
    }


def test_a_machine_without_git(world: World) -> None:
    world.tool("git", None)
    what = "is missing, or does not run → install it: https://git-scm.com/downloads"
    not_checked = Line("not checked", "git is missing")
    unknown = dict.fromkeys(("this folder", "cicd/"), not_checked)
    assert world.not_ok() == {"git": Line("wrong", what), **unknown}


def test_other_versions_a_tool_that_hangs_and_no_branch(world: World, tmp_path: Path) -> None:
    world.git("commit", "--quiet", "--allow-empty", "--message", "x")
    world.git("checkout", "--quiet", "--detach")
    world.set_seconds("ops.doctor", "TOOL_SECONDS", 1)
    world.tool("aws", "exec /bin/sleep 30")
    world.tool("databricks", "echo Version 0.18.0")
    home = tmp_path / "java/bin"  # Spark takes that before what is in the path
    home.mkdir(parents=True)
    world.tool("java", """echo Picked up 99.9 >&2; echo 'java version "1.8.0_392"' >&2""")
    (world.bin / "java").rename(home / "java")
    world.tool("java", """echo 'openjdk version "21" 2023-09-19' >&2""")
    world.patch.setenv("JAVA_HOME", str(home.parent))
    pinned = re.search(r"CLI_VERSION=(.+)", (world.root / "cicd/tools.env").read_text())[1]
    assert world.not_ok() == {
        "AWS CLI": Line("wrong", f"is missing, or does not run → install it: {AWS}"),
        "Databricks CLI": Line(
            "note",
            f"is 0.18.0, the builds' is {pinned}; only development needs it"
            f" → install that one: {DATABRICKS}",
        ),
        "Java": Line("note", f"is 1.8.0_392; make test needs 17 or newer → install it: {JAVA}"),
        "this folder": Line("wrong", "no branch is checked out → git switch main"),
    }


def test_a_folder_inside_another_repository(world: World) -> None:
    shutil.move(world.root / ".git", world.root.parent)
    assert world.not_ok() == {"this folder": Line("wrong", NOT_ITS_OWN)}


ANOTHER = (
    "the pipeline's differs from this folder's, whose commit would stop at the plan"
    " → git pull, or make stack by who may change the gate"
)


def test_the_pipelines_cicd_is_another(world: World) -> None:
    with (world.root / "cicd/steps/run_job.sh").open("a") as file:
        file.write("# Changed.\n")
    assert world.not_ok() == {"cicd/": Line("wrong", ANOTHER)}
    client("s3").delete_object(Bucket=CICD_BUCKET, Key="cicd.zip")
    assert world.not_ok() == {"cicd/": Line("wrong", "is not deployed → make stack")}


def test_files_that_cannot_be_read(world: World) -> None:
    (world.root / "cicd/stack.yml").write_text("Parameters: [")
    (world.root / "databricks.yml").write_text("targets: {qa: {}}")
    (world.root / "cicd/tools.env").unlink()
    lines = world.not_ok()
    texts = {name: line.text for name, line in lines.items() if line.kind == "wrong"}
    assert texts == {
        "Databricks CLI": "cicd/tools.env cannot be read → make check",
        **dict.fromkeys(
            ("this folder", "rights", "parameters", "repository"),
            "cicd/stack.yml cannot be read → make check",
        ),
        "cicd/": ANOTHER,
        **dict.fromkeys(
            ("qa host", "qa workspace", "prod host", "prod workspace"),
            "databricks.yml:1: targets. needs keys on lines of their own → make check",
        ),
    }


# ---- Who calls -----------------------------------------------------------------------------------

OF_AWS = ("rights", "stack", "parameters", "cicd/", "qa secret", "prod secret", "repository")
NOT_SIGNED_IN = dict.fromkeys(OF_AWS, Line("not checked", "not signed in to AWS"))


def test_without_a_sign_in_what_needs_one_is_not_checked(world: World) -> None:
    world.connect_with()
    lines = world.not_ok()
    assert lines.pop("identity") == Line(
        "wrong",
        "not signed in to AWS (Unable to locate credentials) → aws sso login, or aws configure",
    )
    assert lines == NOT_SIGNED_IN


def test_a_sign_in_that_has_expired(world: World) -> None:
    expired = Refusal("ExpiredToken", "token expired")
    world.account.answers["GetCallerIdentity"] = lambda _: expired
    lines = world.not_ok()
    identity = lines.pop("identity")
    assert identity.kind == "wrong"
    assert identity.text.startswith("not signed in to AWS (An error occurred (ExpiredToken)")
    assert lines == NOT_SIGNED_IN


def test_a_region_that_does_not_answer(world: World) -> None:
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "example"}
    world.connect_with(endpoint_url="http://127.0.0.1:1", **keys)
    lines = world.not_ok()
    identity = lines.pop("identity")
    assert identity.kind == "wrong"
    assert identity.text.startswith("AWS does not answer in this region (")
    assert identity.text.endswith(
        "→ fix the network, or name another region: make doctor REGION=..."
    )
    assert lines == NOT_SIGNED_IN


def test_a_region_without_codecommit_is_noted(world: World) -> None:
    world.operator.region = "eu-north-9"
    what = "eu-north-9 is not known to have CodeCommit → see REGION in the Makefile"
    assert world.not_ok() == {"region": Line("note", what)}


# ---- What the caller may do ----------------------------------------------------------------------


def simulated(world: World) -> list[Shape]:
    """What IAM was asked to simulate."""
    return world.account.called("SimulatePrincipalPolicy")


def test_rights_that_are_lacking(world: World) -> None:
    world.account.denied = {"kms:CreateKey": "", "iam:PassRole": "", "s3:CreateBucket": "aws:x"}
    assert world.not_ok() == {
        "rights": Line(
            "wrong",
            f"arn:aws:iam::{ACCOUNT}:user/ada lacks iam:PassRole, kms:CreateKey"
            " → have an administrator allow them, then make doctor",
        )
    }
    # A policy may hold for the stack's own names, or for one service, alone.
    requests = simulated(world)
    resources = {arn for request in requests for arn in request["ResourceArns"]}
    assert f"arn:aws:codecommit:us-east-1:{ACCOUNT}:{SLUG}" in resources
    contexts = [
        {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in request["ContextEntries"]}
        for request in requests
    ]
    assert all(context["aws:RequestedRegion"] == ["us-east-1"] for context in contexts)
    passed = {name for context in contexts for name in context.get("iam:PassedToService", [])}
    services = ("codebuild", "codepipeline", "events")
    assert passed == {f"{service}.amazonaws.com" for service in services}


def test_rights_with_conditions_that_cannot_be_simulated(world: World) -> None:
    world.account.denied = {"s3:CreateBucket": "aws:CalledVia"}
    what = "the answer depends on conditions for s3:CreateBucket"
    assert world.not_ok() == {"rights": Line("not checked", what)}


def test_rights_for_a_type_that_nobody_has_listed(world: World) -> None:
    queue = "  Queue: {Type: AWS::SQS::Queue}"
    world.edit("cicd/stack.yml", "\nOutputs:\n", f"\n{queue}\nOutputs:\n")
    what = "ops/account.py does not know AWS::SQS::Queue"
    assert world.not_ok() == {"rights": Line("not checked", what)}


def test_rights_where_simulation_is_refused(world: World) -> None:
    refused = Refusal("AccessDenied", "not you")
    world.account.answers["SimulatePrincipalPolicy"] = lambda _: refused
    what = "AWS refuses SimulatePrincipalPolicy: not you"
    assert world.not_ok() == {"rights": Line("not checked", what)}


@pytest.mark.parametrize(
    ("answers", "source"),
    [
        ({}, f"arn:aws:iam::{ACCOUNT}:role/team/deployer"),
        (
            {"GetRole": lambda _: Refusal("AccessDenied", "not you")},
            f"arn:aws:iam::{ACCOUNT}:role/deployer",
        ),
    ],
)
def test_rights_of_an_assumed_role_are_the_roles(world: World, answers, source: str) -> None:
    client("iam").create_role(RoleName="deployer", Path="/team/", AssumeRolePolicyDocument="{}")
    world.account.caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/ada"
    world.account.answers |= answers
    assert world.not_ok() == {}
    assert {request["PolicySourceArn"] for request in simulated(world)} == {source}


def test_rights_of_root_cannot_be_simulated(world: World) -> None:
    world.account.caller = f"arn:aws:iam::{ACCOUNT}:root"
    what = f"IAM simulates users and roles only, and the caller is {world.account.caller}"
    assert world.not_ok() == {"rights": Line("not checked", what)}
    assert simulated(world) == []


# The schemas name no action for a project, nor what an encrypted secret takes.
BESIDE_THE_SCHEMAS = {
    "AWS::CodeBuild::Project": {"codebuild:CreateProject", "iam:PassRole"},
    "AWS::SecretsManager::Secret": {"kms:Decrypt", "kms:GenerateDataKey"},
}


def permissions(kind: str) -> set[str]:
    """The actions that a type's schema names for creating, reading and tagging."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    handlers = schema.get("handlers", {})
    lines = [handlers.get(name, {}).get("permissions", []) for name in ("create", "read")]
    lines.append((schema.get("tagging") or {}).get("permissions") or [])
    return {action for actions in lines for action in actions}


@pytest.mark.parametrize("auth", AUTHS)
def test_the_table_of_rights_is_what_the_schemas_say(make_world, auth: str) -> None:
    root = make_world(auth).root
    stack = (root / "cicd/stack.yml").read_text()
    types = set(re.findall(r"^    Type: (AWS::\S+)$", stack, re.MULTILINE))
    table = {
        kind: {
            f"{service}:{action}"
            for line in rows.values()
            for service, actions in [line.split(": ")]
            for action in actions.split()
        }
        for kind, rows in importlib.import_module("ops.account").CREATE.items()
    }
    assert types - table.keys() == set()
    beyond = {
        kind: actions - permissions(kind) - BESIDE_THE_SCHEMAS.get(kind, set())
        for kind, actions in table.items()
    }
    assert beyond == {kind: set() for kind in table}


# ---- The stack -----------------------------------------------------------------------------------


def test_before_the_first_deployment(world: World) -> None:
    world.delete_stack()
    client("codecommit").delete_repository(repositoryName=SLUG)
    no_stack = Line("not checked", "there is no stack yet")
    assert world.not_ok() == {
        "stack": Line("wrong", f"{SLUG} does not exist → make stack"),
        **dict.fromkeys([name for name in OF_AWS if name not in ("rights", "stack")], no_stack),
    }


def test_a_repository_that_blocks_a_new_stack(world: World) -> None:
    world.delete_stack()
    assert world.not_ok()["repository"] == Line(
        "wrong",
        f"{SLUG} exists, and a new stack cannot take it over"
        " → give RepoName in cicd/stack.yml another name, commit, then make stack push",
    )


AGAIN = "make destroy, then make stack"
STATES = {
    "CREATE_FAILED": ("Problem", "CREATE_FAILED", AGAIN),
    "ROLLBACK_COMPLETE": ("Problem", "ROLLBACK_COMPLETE", AGAIN),
    "ROLLBACK_FAILED": ("Problem", "ROLLBACK_FAILED", AGAIN),
    "DELETE_FAILED": ("Problem", "DELETE_FAILED", AGAIN),
    "REVIEW_IN_PROGRESS": ("Problem", "REVIEW_IN_PROGRESS", "make stack"),
    "UPDATE_FAILED": ("Problem", "UPDATE_FAILED", "make stack"),
    "UPDATE_ROLLBACK_FAILED": (
        "Problem",
        "UPDATE_ROLLBACK_FAILED",
        f"aws cloudformation continue-update-rollback --stack-name {SLUG}",
    ),
    "UPDATE_ROLLBACK_COMPLETE": (
        "Note",
        "UPDATE_ROLLBACK_COMPLETE: the last change failed and was undone",
        "make stack",
    ),
}


@pytest.mark.parametrize("state", [*STATES, "UPDATE_COMPLETE"])
def test_every_state_of_a_stack_that_needs_something(default: Path, monkeypatch, capsys, state):
    with at_work(default, monkeypatch, capsys):
        doctor = importlib.import_module("ops.doctor")
        stack = importlib.import_module("ops.aws").Stack(SLUG, "us-east-1")
        account = doctor.Account(stack, None)
        stack.description, account.caller = {"StackStatus": state}, {"Arn": "x"}
        result = doctor.outcome(account.state)
    kinds = {"Problem": "wrong", "Note": "note"}
    kind, text, fix = STATES.get(state, ("", f"{SLUG} is {state}", ""))
    assert result == (kinds.get(kind, "ok"), text, fix)


def test_a_stack_that_was_rolled_back(world: World) -> None:
    world.put_stack_into("ROLLBACK_COMPLETE")
    assert world.not_ok() == {"stack": Line("wrong", f"ROLLBACK_COMPLETE → {AGAIN}")}


def test_a_stack_that_is_just_being_created(world: World) -> None:
    world.outputs = {}
    world.delete_stack()
    world.create_stack()
    world.put_stack_into("CREATE_IN_PROGRESS")
    none = Line("not checked", "the stack has none yet")
    what = "CREATE_IN_PROGRESS: it is being changed → wait for it, then make doctor"
    assert world.not_ok() == {
        "stack": Line("wrong", what),
        "cicd/": Line("not checked", "the stack has no bucket for it yet"),
        "qa secret": none,
        "prod secret": none,
    }


def test_parameters_that_have_not_reached_the_stack(world: World) -> None:
    world.edit("cicd/stack.yml", f'Default: "{SLUG}"', "Default: other")
    what = f"RepoName is '{SLUG}', not 'other' → make stack"
    assert world.not_ok() == {"parameters": Line("wrong", what)}
    # What is said on the command line is what make stack is told there.
    assert world.not_ok("--parameters", f"RepoName={SLUG}") == {}
    screen, lines = world.doctor("Reponame=x")
    assert (screen.code != 0, lines) == (True, {})
    assert "no parameter Reponame; there are: RepoName" in screen.err


# ---- What the builds sign in with ----------------------------------------------------------------


NO_BRANCH = Line("wrong", f"{SLUG} has no branch main yet → on main: make push")


def test_after_the_stack_before_the_secrets_and_the_first_push(world: World) -> None:
    world.account.branches = []
    manager = client("secretsmanager")
    manager.delete_secret(SecretId="QaSecret", ForceDeleteWithoutRecovery=True)
    born = manager.create_secret(Name="QaSecret", SecretString='{"token": "not-set"}')
    # What moves LastChangedDate, but sets nothing.
    manager.update_secret(SecretId=born["ARN"], Description="another")
    manager.tag_resource(SecretId=born["ARN"], Tags=[{"Key": "a", "Value": "b"}])
    world.outputs["QaSecretArn"] = born["ARN"]
    world.delete_stack()
    world.create_stack()
    what = "is still the stack's placeholder → make secrets ENV=qa"
    assert world.not_ok() == {"qa secret": Line("wrong", what), "repository": NO_BRANCH}
    manager.put_secret_value(SecretId=born["ARN"], SecretString=json.dumps({"token": CANARY}))
    assert world.not_ok() == {"repository": NO_BRANCH}


NO_TOKENS = Line(
    "wrong",
    "the account may not sign identity tokens"
    " → aws iam enable-outbound-web-identity-federation (docs/security.md)",
)


def test_after_the_stack_before_federation_and_client_ids(make_world) -> None:
    world = make_world("aws-iam")
    world.account.federation = Refusal("FeatureDisabled", "outbound federation is not enabled")
    world.edit("cicd/stack.yml", f"    Default: {CLIENT_ID}", "    Default: not-set", count=2)
    world.delete_stack()
    world.create_stack()
    fix = "in cicd/stack.yml, then make stack"
    assert world.not_ok() == {
        "federation": NO_TOKENS,
        "qa client ID": Line("wrong", f"QaClientId is not set → set it {fix}"),
        "prod client ID": Line("wrong", f"ProdClientId is not set → set it {fix}"),
    }


def test_federation_that_was_disabled_again(make_world) -> None:
    world = make_world("aws-iam")
    world.account.federation["JwtVendingEnabled"] = False
    assert world.not_ok() == {"federation": NO_TOKENS}


# ---- The repository ------------------------------------------------------------------------------


def test_a_repository_that_was_deleted(world: World) -> None:
    client("codecommit").delete_repository(repositoryName=SLUG)
    fix = "give RepoName in cicd/stack.yml another name, commit, then make stack push"
    assert world.not_ok() == {"repository": Line("wrong", f"{SLUG} was deleted → {fix}")}


# ---- The workspaces ------------------------------------------------------------------------------


def test_hosts_that_differ_in_the_files(world: World) -> None:
    other = world.workspaces.prod
    world.edit("databricks.yml", f"host: {world.workspaces.qa}", f"host: {other}")
    what = f"databricks.yml says {other}, cicd/stack.yml says {world.workspaces.qa}"
    fix = "make them equal, commit, then make stack push"
    assert world.not_ok() == {"qa host": Line("wrong", f"{what} → {fix}")}


def test_a_host_that_has_not_reached_the_stack(world: World) -> None:
    qa, prod = world.workspaces.qa, world.workspaces.prod
    world.edit("databricks.yml", f"host: {prod}", f"host: {qa}")
    world.edit("cicd/stack.yml", f'Default: "{prod}"', f'Default: "{qa}"')
    what = f"databricks.yml says {qa}, the stack says {prod} → make stack"
    assert world.not_ok() == {
        "parameters": Line("wrong", f"ProdWorkspaceHost is '{prod}', not '{qa}' → make stack"),
        "prod host": Line("wrong", what),
    }


def correct(target: str) -> str:
    """What fixes a workspace that is not there."""
    return f" → correct {target}'s host in databricks.yml and cicd/stack.yml, or fix the network"


def test_hosts_that_are_no_workspace(world: World) -> None:
    elsewhere = (("Location", f"{world.workspaces.prod}/elsewhere"),)
    world.workspaces.answers.update(qa=Answer(302, headers=elsewhere), prod=Answer(404))
    lines = world.not_ok()
    for target, status in (("qa", 302), ("prod", 404)):
        host = getattr(world.workspaces, target)
        what = f"{host} answers HTTP {status}, which no Databricks workspace answers"
        assert lines.pop(f"{target} workspace") == Line("wrong", what + correct(target))
    assert lines == {}
    assert len(world.workspaces.seen) == 2  # no redirect is followed


def test_workspaces_that_cannot_be_reached(world: World) -> None:
    for target, host in (("qa", "https://nowhere.invalid"), ("prod", "https://127.0.0.1:1")):
        for file in ("databricks.yml", "cicd/stack.yml"):
            world.edit(file, getattr(world.workspaces, target), host)
    world.delete_stack()
    world.create_stack()
    lines = world.not_ok()
    assert lines.keys() == {"qa workspace", "prod workspace"}
    for target, host in (("qa", "https://nowhere.invalid"), ("prod", "https://127.0.0.1:1")):
        kind, text = lines[f"{target} workspace"]
        assert kind == "wrong"
        assert text.startswith(f"{host} cannot be reached (") and text.endswith(correct(target))


def test_workspaces_with_an_untrusted_certificate(world: World) -> None:
    world.patch.delenv("SSL_CERT_FILE")
    lines = world.not_ok()
    assert lines.keys() == {"qa workspace", "prod workspace"}
    assert "certificate verify failed" in lines["qa workspace"].text


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("module", "name", "seconds", "said"),
    [
        ("ops.doctor", "HTTP_SECONDS", 1, "{silent} cannot be reached ("),
        (
            "ops.doctor",
            "SECONDS",
            2,
            "no answer within 2 seconds → fix the network, then make doctor",
        ),
    ],
)
def test_nothing_hangs(world: World, module: str, name: str, seconds: int, said: str) -> None:
    world.set_seconds(module, name, seconds)
    with silent_server() as silent:
        for file in ("databricks.yml", "cicd/stack.yml"):
            world.edit(file, world.workspaces.qa, silent)
        world.delete_stack()
        world.create_stack()
        start = time.monotonic()
        lines = world.not_ok()
    assert time.monotonic() - start < 10
    assert lines.keys() == {"qa workspace"}
    assert lines["qa workspace"].kind == "wrong"
    assert lines["qa workspace"].text.startswith(said.format(silent=silent))

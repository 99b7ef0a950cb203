"""The rendered Makefile: what it passes on, and the commands that need `make` itself.

`make stack`, `make push` and one `make secrets` run against moto's server. moto creates no
CodeBuild project from a stack, so the stack that these tests create has a topic in its place.
"""

import fcntl
import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import trustme
import yaml
from moto.cloudformation.models import CloudFormationBackend
from moto.server import ThreadedMotoServer

from loopback import Answer, Request, serve
from operating import SLUG, Cloud, Operator, Screen, Shape, at_work

CANARY = "dapi0123456789canary"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example"}


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of the default rendering, whose stack has just been created."""
    with at_work(default, monkeypatch, capsys) as operator:
        yield operator


# ---- What make passes on -------------------------------------------------------------------------

# Takes the place of uv and Python: prints its arguments, and the variables that make exports.
PRINTER = """
import json, os, sys
names = "STACK REGION PARAMETERS ENV REASON TO BUILD COUNT VERSION KEEP_DEPLOYMENTS".split()
print(json.dumps([sys.argv[1:], {name: os.environ[name] for name in names if name in os.environ}]))
"""
ENTRANCE = ["-m", "ops", "--stack", SLUG, "--region", "us-east-1"]


class Make:
    """`make` in the default rendering, whose commands print what they are called with."""

    def __init__(self, root: Path, printer: Path) -> None:
        self.root, self.program = root, f"OPS={sys.executable} {printer}"

    def text(self, *arguments: str, **env: str) -> str:
        """What make prints."""
        clean = {"PATH": os.environ["PATH"]} | env
        command = ["make", "--no-print-directory", *arguments, self.program]
        return subprocess.check_output(command, cwd=self.root, env=clean, text=True)

    def call(self, *arguments: str) -> list[str]:
        """What a command of the project's own stack is called with."""
        words, exported = json.loads(self.text(*arguments))
        assert exported == {}
        assert words[: len(ENTRANCE)] == ENTRANCE
        return words[len(ENTRANCE) :]


@pytest.fixture
def make(default: Path, tmp_path: Path) -> Make:
    """make, whose commands print what they are called with."""
    (tmp_path / "printer.py").write_text(PRINTER)
    return Make(default, tmp_path / "printer.py")


COMMANDS = [
    (["doctor"], ["doctor"]),
    (["doctor", "PARAMETERS=A=b C='d e'"], ["doctor", "--parameters", "A=b C='d e'"]),
    (["secrets"], ["secrets"]),
    (["secrets", "ENV=qa"], ["secrets", "qa"]),
    (["start"], ["start"]),
    (["status"], ["status"]),
    (["logs"], ["logs"]),
    (["logs", "BUILD=qa"], ["logs", "--build", "qa"]),
    (["approve"], ["approve"]),
    (["approve", "REASON=looks good"], ["approve", "--reason", "looks good"]),
    (["approve", "YES=1"], ["approve", "--yes", "1"]),
    (["approve", "YES=delete"], ["approve", "--yes", "delete"]),
    (["reject", "REASON=not today"], ["reject", "--reason", "not today"]),
    (["releases"], ["releases"]),
    (["releases", "COUNT=3"], ["releases", "--count", "3"]),
    (["rollback"], ["rollback"]),
    (["rollback", "TO=3f1c"], ["rollback", "--to", "3f1c"]),
    (["rollback", "YES=1"], ["rollback", "--yes", "1"]),
    (["drift"], ["drift"]),
    (["protect"], ["protect"]),
    (["pin-cli"], ["pin-cli"]),
    (["pin-cli", "VERSION=1.27.0"], ["pin-cli", "1.27.0"]),
    (["destroy"], ["destroy"]),
    (["destroy", "YES=my-stack"], ["destroy", "--yes", "my-stack"]),
    (["destroy", "KEEP_DEPLOYMENTS=1"], ["destroy", "--keep-deployments"]),
]


@pytest.mark.parametrize(("typed", "call"), COMMANDS)
def test_make_calls_the_command(make: Make, operator: Operator, typed, call) -> None:
    assert make.call(*typed) == call
    assert operator.run(*call, "--help").code == 0  # which knows these options
    assert f"\n  make {typed[0]:<8}  " in make.text("help")


LITERALLY = [
    "'; touch pwned; '",
    "$(touch pwned) `touch pwned`",
    "$(shell touch pwned)",
    "$x $$y ${HOME}",
    '"quoted" \\ and #',
    "two\nlines\\\nthree",
    "-x",
    "a'b",
    "(a, b) * ? ~ | & ;",
]


@pytest.mark.parametrize("text", LITERALLY)
@pytest.mark.parametrize(
    ("target", "name", "option"),
    [
        ("reject", "REASON", "--reason"),
        ("rollback", "TO", "--to"),
        ("approve", "YES", "--yes"),
        ("logs", "BUILD", "--build"),
        ("releases", "COUNT", "--count"),
        ("doctor", "PARAMETERS", "--parameters"),
    ],
)
def test_what_is_typed_reaches_the_command_literally(make, target, name, option, text) -> None:
    before = set(make.root.iterdir())
    assert make.call(target, f"{name}={text}") == [target, option, text]
    assert set(make.root.iterdir()) == before


@pytest.mark.parametrize("text", LITERALLY)
def test_a_reason_reaches_the_approval_literally(make: Make, operator: Operator, text) -> None:
    operator.cloud.approval("# Plan")
    assert operator.run(*make.call("reject", f"REASON={text}")).code == 0
    (request,) = operator.cloud.called("PutApprovalResult")
    assert request["result"] == {"status": "Rejected", "summary": text}


@pytest.mark.parametrize(
    "target", "doctor secrets logs approve reject releases rollback pin-cli destroy".split()
)
def test_the_environments_own_variables_mean_nothing_here(make: Make, target: str) -> None:
    foreign = {"ENV": "/root/.shrc", "STACK": "other", "REGION": "eu-west-1", "REASON": "x"}
    foreign |= {"TO": "x", "BUILD": "x", "COUNT": "x", "VERSION": "x", "YES": "1"}
    foreign |= {"KEEP_DEPLOYMENTS": "1"}
    words, _ = json.loads(make.text(target, **foreign, PARAMETERS="A=b"))
    assert words == [*ENTRANCE, target]


def test_another_stack_in_another_region(make: Make) -> None:
    words, exported = json.loads(make.text("status", "STACK=my copy", "REGION=eu-west-1"))
    assert words == ["-m", "ops", "--stack", "my copy", "--region", "eu-west-1", "status"]
    assert exported == {}


def test_check_runs_where_only_yaml_and_click_are_installed(default: Path) -> None:
    """As in the hook, and in the pull request's build before anything else is installed."""
    others = {"boto3": None, "botocore": None, "rich": None}
    code = f"import sys; sys.modules.update({others}); import ops.__main__, ops.check"
    subprocess.run([sys.executable, "-Bc", code], cwd=default, check=True)


# ---- An account for make -------------------------------------------------------------------------


def execute_with_outputs(self: CloudFormationBackend, **names: str) -> None:
    """Executes a change set; then the stack has outputs, which moto works out at creation only."""
    execute_change_set(self, **names)
    for stack in self.stacks.values():
        stack._parse_template()
        stack.output_map = stack._create_output_map()


execute_change_set = CloudFormationBackend.execute_change_set


@pytest.fixture(scope="module")
def moto_url():
    """The address of a moto server on a free port, for this file."""
    patch = pytest.MonkeyPatch()
    patch.setattr(CloudFormationBackend, "execute_change_set", execute_with_outputs)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    patch.undo()


def environment() -> dict[str, str]:
    """This process's environment, with nothing of AWS, nor of a `make` that runs these tests."""
    foreign = ("AWS_", "MAKE", "MFLAGS")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


class Account:
    """An AWS account in moto, and a copy of a rendered repository to run `make` in."""

    def __init__(self, url: str, root: Path, venv: Path) -> None:
        self.url, self.root = url, root
        self.env = environment() | {
            **KEYS,
            "UV_PROJECT_ENVIRONMENT": str(venv),
            "AWS_ENDPOINT_URL": url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str):
        """A client of the account."""
        key, secret = KEYS.values()
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def make(self, *args: str) -> subprocess.CompletedProcess:
        """Runs `make` as a person would in the rendered repository."""
        return subprocess.run(
            ["make", *args],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def create_stack(self, outputs: dict[str, str]) -> None:
        """Creates the project's stack with these literal outputs."""
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        self.client("cloudformation").create_stack(
            StackName=SLUG, TemplateBody=json.dumps(template)
        )


@pytest.fixture(scope="module")
def uv(tmp_path_factory, rendering) -> Path:
    """What all tests share, for it takes seconds: uv's lock file, and where it keeps libraries."""
    shared = tmp_path_factory.mktemp("uv")
    for needed in ("pyproject.toml", "ops/wheel_version.py"):
        (shared / needed).parent.mkdir(exist_ok=True)
        shutil.copy(rendering("pat-serverless") / needed, shared / needed)
    subprocess.run(["uv", "lock", "--quiet"], cwd=shared, env=environment(), check=True)
    return shared


@pytest.fixture
def account(moto_url: str, default: Path, tmp_path: Path, uv: Path) -> Account:
    """The account, empty, with a copy of the default rendering."""
    root = tmp_path / SLUG
    shutil.copytree(default, root, ignore=shutil.ignore_patterns(".git", ".venv"))
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST"))
    shutil.copy(uv / "uv.lock", root)
    return Account(moto_url, root, uv / "venv")


# Takes the place of `uv run`, which would install again what is installed here.
UV = f"""#!/bin/sh
while [ "$1" != -m ]; do shift; done
exec {sys.executable} "$@"
"""


@pytest.fixture
def quick_account(account: Account, tmp_path: Path) -> Account:
    """The same, where commands run in this environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").write_text(UV)
    (tmp_path / "bin/uv").chmod(0o755)
    account.env["PATH"] = f"{tmp_path}/bin:{account.env['PATH']}"
    return account


# ---- make secrets --------------------------------------------------------------------------------


def answer_questions(process: subprocess.Popen, leader: int, answers: dict[str, str]) -> str:
    """Types an answer at each question of a process; returns what its terminal shows."""
    screen = ""
    for question, answer in answers.items():
        while question not in screen:
            screen += os.read(leader, 1024).decode()
        os.write(leader, f"{answer}\n".encode())
    assert process.wait(timeout=60) == 0, screen
    return screen + os.read(leader, 4096).decode()


def test_secrets_asks_for_both_without_echo(account) -> None:
    manager = account.client("secretsmanager")
    arns = {env: manager.create_secret(Name=env)["ARN"] for env in ("qa", "prod")}
    account.create_stack({f"{env.capitalize()}SecretArn": arn for env, arn in arns.items()})
    values = {"qa": CANARY, "prod": CANARY[::-1]}
    leader, follower = pty.openpty()
    with subprocess.Popen(
        ["make", "secrets"],
        cwd=account.root,
        env=account.env,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(follower)
        question = "{}: personal access token (not shown): "
        answers = {question.format(env): value for env, value in values.items()}
        screen = answer_questions(process, leader, answers)
    os.close(leader)
    stored = {env: manager.get_secret_value(SecretId=env)["SecretString"] for env in values}
    assert stored == {env: json.dumps({"token": value}) for env, value in values.items()}
    assert CANARY not in screen and CANARY[::-1] not in screen


class Safe(Cloud):
    """An account that keeps what is put into a secret."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, object] = {}

    def PutSecretValue(self, request: Shape) -> Shape:
        self.values[request["SecretId"]] = json.loads(request["SecretString"])
        return {}


@pytest.fixture
def typist(request, rendering, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator without a terminal, of the default variant unless another is named."""
    variant = getattr(request, "param", "pat-serverless")
    with at_work(rendering(variant), monkeypatch, capsys, Safe()) as operator:
        operator.terminal = False
        yield operator


@pytest.mark.parametrize(
    ("typist", "typed", "stored"),
    [
        ("pat-serverless", f"{CANARY}\n", {"token": CANARY}),
        (
            "oauth-m2m-serverless",
            f"{CLIENT_ID}\n{CANARY}\n",
            {"client_id": CLIENT_ID, "client_secret": CANARY},
        ),
    ],
    indirect=["typist"],
)
def test_secrets_come_from_standard_input(typist: Operator, typed: str, stored) -> None:
    screen = typist.run("secrets", "qa", typed=typed)
    assert screen == (0, "Set arn:secret:Qa\n", "")
    assert typist.cloud.values == {"arn:secret:Qa": stored}


def test_both_secrets_are_set_unless_one_is_named(typist: Operator) -> None:
    screen = typist.run("secrets", typed=f"{CANARY}\n{CANARY[::-1]}\n")
    assert (screen.code, screen.err) == (0, "")
    assert typist.cloud.values == {
        "arn:secret:Qa": {"token": CANARY},
        "arn:secret:Prod": {"token": CANARY[::-1]},
    }


@pytest.mark.parametrize(
    ("targets", "typed", "said"),
    [
        (["qa"], "\n", "secrets: qa: the personal access token must be one word"),
        (["qa"], f"{CANARY} x\n", "must be one word; nothing is set"),
        ([], f"{CANARY}\n\n", "secrets: prod: the personal access token must be one word"),
        (["staging"], f"{CANARY}\n", "'staging' is not one of 'qa', 'prod'"),
        (["qa"], "not-set\n", "not-set is the stack's placeholder; nothing is set"),
        (["qa"], f"{CANARY}\n{CANARY}\n", "more lines than were asked for; nothing is set"),
    ],
)
def test_a_wrong_value_leaves_every_secret_unchanged(
    typist: Operator, targets, typed, said
) -> None:
    screen = typist.run("secrets", *targets, typed=typed)
    assert screen.code != 0
    assert said in screen.err
    assert CANARY not in screen.out + screen.err
    assert typist.cloud.values == {}


# ---- Signed in to AWS ----------------------------------------------------------------------------


def test_without_a_sign_in_the_way_to_one_is_shown(operator: Operator, monkeypatch) -> None:
    for name in (*KEYS, "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "client", boto3.Session().client)
    screen = operator.run("status")
    assert (screen.code, screen.out) == (1, "")
    assert screen.err.endswith(" Are you signed in to AWS? Try: aws sts get-caller-identity\n")
    assert "Traceback" not in screen.err


# ---- make stack, make push -----------------------------------------------------------------------


def parameters(account: Account) -> dict[str, str]:
    """The deployed stack's parameters."""
    (stack,) = account.client("cloudformation").describe_stacks(StackName=SLUG)["Stacks"]
    return {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}


def keep_parameters_only(path: Path) -> None:
    """Reduces a stack to its parameters and a bucket, which moto can create and update."""
    text = path.read_text()
    head = text[: text.index("\nMappings:")]
    bucket = "\nResources:\n  CicdBucket: {Type: AWS::S3::Bucket}\n"
    output = "Outputs:\n  CicdBucketName: {Value: !Ref CicdBucket}\n"
    path.write_text(head + bucket + output)
    tools = path.parent / "tools.env"  # a client without a checksum would be looked up
    tools.write_text(tools.read_text().replace("_SHA256=\n", f"_SHA256={64 * 'a'}\n"))


def prove_nothing(root: Path) -> None:
    """Has `make check` pass: it proves a whole stack, and this one has parameters only."""
    makefile = root / "Makefile"
    prove = "uv run --quiet --locked --only-group check -m ops check"
    text = makefile.read_text()
    assert text.count(prove) == 1
    makefile.write_text(text.replace(prove, "true"))


def test_stack_brings_a_changed_default_to_an_existing_stack(quick_account) -> None:
    file = quick_account.root / "cicd/stack.yml"
    keep_parameters_only(file)
    prove_nothing(quick_account.root)
    first = quick_account.make("stack")
    assert first.returncode == 0, first.stdout + first.stderr
    assert (
        parameters(quick_account)["ProdWorkspaceHost"]
        == "https://prod-workspace.cloud.databricks.com"
    )
    text = file.read_text()
    assert text.count("https://prod-workspace.cloud") == 1
    file.write_text(text.replace("https://prod-workspace.cloud", "https://new.cloud"))
    added = "\nParameters:\n  Schedule: {Type: String, Default: 'cron(0 6 * * ? *)'}\n"
    file.write_text(file.read_text().replace("\nParameters:\n", added))
    changes = "NotificationEmail= RepoName=copy DriftSchedule='cron(0 4 * * ? *)'"
    second = quick_account.make("stack", f"PARAMETERS={changes}")
    assert second.returncode == 0, second.stdout + second.stderr
    assert parameters(quick_account) == {
        "RepoName": "copy",
        "BranchName": "main",
        "QaWorkspaceHost": "https://qa-workspace.cloud.databricks.com",
        "ProdWorkspaceHost": "https://new.cloud.databricks.com",
        "NotificationEmail": "",
        "DriftSchedule": "cron(0 4 * * ? *)",
        "Schedule": "cron(0 6 * * ? *)",
        "FourEyes": "false",
        "PermissionsBoundary": "",
        "RolePath": "/",
        "PullRequestsInVpc": "false",
        **dict.fromkeys(("VpcId", "SubnetIds", "SecurityGroupIds", "PackageIndexUrl"), ""),
    }
    (stack,) = quick_account.client("cloudformation").describe_stacks(StackName=SLUG)["Stacks"]
    assert stack["Tags"] == [{"Key": "project", "Value": SLUG}]
    third = quick_account.make("stack", "PARAMETERS=RepositoryName=copy")
    assert third.returncode != 0
    assert "no parameter RepositoryName; there are: " in third.stderr
    assert "usage:" not in third.stderr


def test_stack_is_not_touched_when_the_repository_is_wrong(quick_account) -> None:
    (quick_account.root / "resources/nutter.job.yml").write_text("targets: [")
    result = quick_account.make("stack")
    assert result.returncode != 0
    assert "resources/nutter.job.yml" in result.stdout + result.stderr
    assert quick_account.client("cloudformation").describe_stacks()["Stacks"] == []


def test_push_adds_the_remote_and_pushes_the_branch(account, tmp_path: Path) -> None:
    url = f"codecommit::us-east-1://{SLUG}"
    account.create_stack({"CodeCommitUrl": url})

    def git(*args: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *args]
        return subprocess.check_output(command, cwd=account.root, text=True)

    git("init", "-q", "-b", "feature")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote"], check=True)
    git("config", f"url.{tmp_path}/remote.insteadOf", url)
    result = account.make("push")
    assert result.returncode == 0, result.stderr
    assert git("config", "remote.codecommit.url") == f"{url}\n"
    pushed = git("ls-remote", "--heads", str(tmp_path / "remote")).split()
    assert pushed == [git("rev-parse", "HEAD").strip(), "refs/heads/feature"]


def test_push_follows_the_stack_and_survives_a_missing_one(account) -> None:
    git = ["git", "-C", account.root]
    subprocess.run([*git, "init", "-q"], check=True)
    account.env["AWS_REGION"] = account.env["AWS_DEFAULT_REGION"] = (
        "eu-west-1"  # means nothing here
    )
    failed = account.make("push")
    assert failed.returncode != 0
    assert f"Stack with id {SLUG} does not exist" in failed.stderr
    assert subprocess.check_output([*git, "remote"], text=True) == ""
    other = "codecommit::us-east-1://other"
    subprocess.run([*git, "remote", "add", "codecommit", other], check=True)
    account.create_stack({"CodeCommitUrl": f"codecommit::us-east-1://{SLUG}"})
    account.make("push")  # there is nothing to push yet, but where to is right
    url = subprocess.check_output([*git, "remote", "get-url", "codecommit"], text=True)
    assert url == f"codecommit::us-east-1://{SLUG}\n"


def test_push_does_not_push_a_repository_around_this_one(account) -> None:
    subprocess.run(["git", "init", "-q", account.root.parent], check=True)
    result = account.make("push")
    assert result.returncode != 0
    assert "make push: this folder is no git repository of its own" in result.stderr


# ---- make pin-cli --------------------------------------------------------------------------------


@pytest.fixture
def pinner(default: Path, tmp_path: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of a copy, who may change its files."""
    root = tmp_path / SLUG
    shutil.copytree(default, root)
    with at_work(root, monkeypatch, capsys) as operator:
        yield operator


def pin(operator: Operator, sums: bytes | None, *version: str) -> Screen:
    """`pin-cli` against a release page that publishes `sums` for 1.27.0."""
    pages = {"/v1.27.0/databricks_cli_1.27.0_SHA256SUMS": sums}

    def answer(request: Request) -> Answer:
        body = pages.get(request.path)
        return Answer(404) if body is None else Answer(200, body)

    authority = trustme.CA()
    with authority.cert_pem.tempfile() as pem, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", pem)
        patch.setenv("no_proxy", "*")
        with serve(answer, authority) as (url, _):
            download_from(operator.root, url)
            return operator.run("pin-cli", *version)


def download_from(root: Path, url: str) -> None:
    """Names another place of the client in tools.env."""
    tools = root / "cicd/tools.env"
    text = re.sub(
        "(?m)^DATABRICKS_CLI_BASE_URL=.*$", f"DATABRICKS_CLI_BASE_URL={url}", tools.read_text()
    )
    tools.write_text(text)


def pinned(root: Path) -> dict[str, str]:
    """The three files that know the client's version."""
    files = ("cicd/tools.env", "databricks.yml", "pyproject.toml")
    return {name: (root / name).read_text() for name in files}


def test_pin_cli_changes_every_file_that_knows_the_version(pinner: Operator) -> None:
    checksum = hashlib.sha256(b"archive").hexdigest()
    other = f"{'0' * 64}  databricks_cli_1.27.0_linux_arm64.zip\n"
    sums = f"{other}{checksum}  databricks_cli_1.27.0_linux_amd64.zip\n"
    screen = pin(pinner, sums.encode(), "1.27.0")
    assert (screen.code, screen.err) == (0, "")
    after = pinned(pinner.root)
    assert "\nDATABRICKS_CLI_VERSION=1.27.0\n" in after["cicd/tools.env"]
    assert f"\nDATABRICKS_CLI_SHA256={checksum}\n" in after["cicd/tools.env"]
    bundle = yaml.safe_load(after["databricks.yml"])["bundle"]
    assert bundle["databricks_cli_version"] == ">= 1.27.0, < 2.0.0"
    assert '"databricks-bundles==1.27.0",' in after["pyproject.toml"]


@pytest.mark.parametrize(
    ("sums", "version", "said"),
    [
        (b"", [], "which version? make pin-cli VERSION=1.22.1"),
        (b"", ["latest"], "which version? make pin-cli VERSION=1.22.1"),
        (b"", ["1.27.0"], "names no databricks_cli_1.27.0_linux_amd64.zip"),
        (None, ["1.27.0"], "Is there such a release?"),
    ],
)
def test_pin_cli_changes_nothing_without_a_checksum(pinner, sums, version, said) -> None:
    before = pinned(pinner.root)
    screen = pin(pinner, sums, *version)
    assert screen.code == 1
    assert said in screen.err
    after = pinned(pinner.root)
    assert after.pop("cicd/tools.env").count("DATABRICKS_CLI_SHA256=\n") == 1
    assert after == {name: text for name, text in before.items() if name in after}


# ---- the checksum is pinned on first use ---------------------------------------------------------

CHECKSUM = hashlib.sha256(b"archive").hexdigest()
SUMS = f"{CHECKSUM}  databricks_cli_1.22.1_linux_amd64.zip\n".encode()


def pin_on_first_use(root: Path, reply: Answer, *, tls: bool = True) -> str:
    """What it prints, with a release page that answers alike."""
    authority = trustme.CA()
    with (
        authority.cert_pem.tempfile() as pem,
        serve(lambda _: reply, authority if tls else None) as (url, _),
    ):
        download_from(root, url)
        ran = subprocess.run(
            [sys.executable, "-B", "-c", "from ops.project import *; pin_on_first_use()"],
            cwd=root,
            env=os.environ | {"SSL_CERT_FILE": pem, "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=True,
        )
    return ran.stdout


@pytest.fixture
def root(default: Path, tmp_path: Path) -> Path:
    """A copy of the default rendering."""
    return shutil.copytree(default, tmp_path / SLUG)


def test_the_first_use_pins_the_clients_checksum_and_says_so(root: Path) -> None:
    said = pin_on_first_use(root, Answer(200, SUMS))
    assert said == (
        f"cicd/tools.env now pins the SHA-256 of the Databricks CLI 1.22.1: {CHECKSUM}; commit it\n"
    )
    assert f"\nDATABRICKS_CLI_SHA256={CHECKSUM}\n" in (root / "cicd/tools.env").read_text()
    assert pin_on_first_use(root, Answer(200, SUMS.replace(b"a", b"b"))) == ""
    assert f"\nDATABRICKS_CLI_SHA256={CHECKSUM}\n" in (root / "cicd/tools.env").read_text()


@pytest.mark.parametrize(
    ("reply", "tls", "says"),
    [
        (Answer(404), True, "Is there such a release?"),
        (Answer(200, b""), True, "names no databricks_cli_1.22.1_linux_amd64.zip"),
        (Answer(302, b"", (("Location", "http://127.0.0.1:9/x"),)), True, "HTTP Error 302"),
        (Answer(200, SUMS), False, "is not https; correct DATABRICKS_CLI_BASE_URL"),
    ],
)
def test_without_a_checksum_it_warns_and_pins_nothing(root: Path, reply, tls, says) -> None:
    said = pin_on_first_use(root, reply, tls=tls)
    assert said.startswith("warning: the Databricks CLI 1.22.1 has no pinned checksum: ")
    assert says in said and said.count("\n") == 1
    assert "\nDATABRICKS_CLI_SHA256=\n" in (root / "cicd/tools.env").read_text()

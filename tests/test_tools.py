"""The rendered `make` commands for the pipeline, run by make against moto's server.

moto has no executions of CodePipeline, so a loopback server answers for those; and it creates no
CodeBuild project from a stack, so the stack that these tests create has parameters in their place.
"""

import hashlib
import io
import json
import os
import pty
import re
import shutil
import subprocess
import urllib.request
import zipfile
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from loopback import Answer, Request, serve

SLUG = "my-data-project"
CANARY = "dapi0123456789canary"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example"}


@pytest.fixture(scope="module")
def moto_url():
    """The address of a moto server on a free port, for this file."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


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

    def make(self, *args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess:
        """Runs `make` as a person would in the rendered repository."""
        return subprocess.run(
            ["make", *args],
            cwd=self.root,
            env=self.env | env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def create_stack(self, resources: dict, outputs: dict[str, str]) -> None:
        """Creates the project's stack with these resources and literal outputs."""
        template = {
            "Resources": resources,
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
def account(moto_url: str, rendering, tmp_path: Path, uv: Path):
    """A function: the account, empty, with a copy of the given variant."""

    def make_account(variant: str = "pat-serverless") -> Account:
        root = tmp_path / SLUG
        shutil.copytree(rendering(variant), root, ignore=shutil.ignore_patterns(".git", ".venv"))
        urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST"))
        shutil.copy(uv / "uv.lock", root)
        return Account(moto_url, root, uv / "venv")

    return make_account


TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}


# ---- make secrets --------------------------------------------------------------------------------


@pytest.fixture
def secrets(account):
    """A function: an account whose stack has an empty secret for qa and one for prod."""

    def make(variant: str) -> tuple[Account, dict[str, str]]:
        given = account(variant)
        manager = given.client("secretsmanager")
        arns = {env: manager.create_secret(Name=env)["ARN"] for env in ("qa", "prod")}
        outputs = {f"{env.capitalize()}SecretArn": arn for env, arn in arns.items()}
        given.create_stack(TOPIC, outputs)
        return given, arns

    return make


def values(account: Account) -> dict[str, object]:
    """What the secrets hold, by name; None for those that have no value."""
    manager = account.client("secretsmanager")
    found: dict[str, object] = dict.fromkeys(("qa", "prod"))
    for name in found:
        versions = manager.describe_secret(SecretId=name).get("VersionIdsToStages")
        found[name] = (
            json.loads(manager.get_secret_value(SecretId=name)["SecretString"])
            if versions
            else None
        )
    return found


@pytest.mark.parametrize(
    ("variant", "typed", "stored"),
    [
        ("pat-serverless", f"{CANARY}\n", {"token": CANARY}),
        (
            "oauth-m2m-serverless",
            f"{CLIENT_ID}\n{CANARY}\n",
            {"client_id": CLIENT_ID, "client_secret": CANARY},
        ),
    ],
)
def test_secrets_come_from_standard_input(secrets, variant, typed, stored) -> None:
    account, arns = secrets(variant)
    result = account.make("secrets", "ENV=qa", stdin=typed)
    assert result.returncode == 0, result.stderr
    assert values(account) == {"qa": stored, "prod": None}
    assert result.stdout == f"Set {arns['qa']}\n"
    assert CANARY not in result.stdout + result.stderr


def test_the_environments_own_variables_mean_nothing_here(secrets) -> None:
    account, _ = secrets("pat-serverless")
    foreign = {"ENV": "/root/.shrc", "STACK": "other", "REGION": "eu-west-1"}
    result = account.make("secrets", stdin=f"{CANARY}\n{CANARY}\n", **foreign)
    assert result.returncode == 0, result.stderr
    assert values(account) == {"qa": {"token": CANARY}, "prod": {"token": CANARY}}


def test_secrets_asks_for_both_without_echo(secrets) -> None:
    account, _ = secrets("pat-serverless")
    leader, follower = pty.openpty()
    with subprocess.Popen(
        ["make", "secrets"],
        cwd=account.root,
        env=account.env,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    ) as process:
        os.close(follower)
        screen = ""
        for env, value in (("qa", CANARY), ("prod", CANARY[::-1])):
            while f"{env}: personal access token (not shown): " not in screen:
                screen += os.read(leader, 1024).decode()
            os.write(leader, f"{value}\n".encode())
        assert process.wait(timeout=60) == 0, screen
        screen += os.read(leader, 4096).decode()
    os.close(leader)
    assert values(account) == {"qa": {"token": CANARY}, "prod": {"token": CANARY[::-1]}}
    assert CANARY not in screen and CANARY[::-1] not in screen


@pytest.mark.parametrize(
    ("args", "typed", "said"),
    [
        (["ENV=qa"], "\n", "put_secret.py: qa: the personal access token must be one word"),
        (["ENV=qa"], f"{CANARY} x\n", "must be one word; nothing is set"),
        ([], f"{CANARY}\n\n", "put_secret.py: prod: the personal access token must be one word"),
        (["ENV=staging"], f"{CANARY}\n", "no environment staging; there are qa and prod"),
        (["ENV=qa"], "not-set\n", "not-set is what stands there already; nothing is set"),
        (["ENV=qa"], f"{CANARY}\n{CANARY}\n", "more lines than were asked for; nothing is set"),
    ],
)
def test_a_slip_leaves_every_secret_as_it_was(secrets, args, typed, said) -> None:
    account, _ = secrets("pat-serverless")
    result = account.make("secrets", *args, stdin=typed)
    assert result.returncode != 0
    assert said in result.stderr
    assert CANARY not in result.stdout + result.stderr
    assert values(account) == {"qa": None, "prod": None}


# ---- make stack, make push -----------------------------------------------------------------------


def parameters(account: Account) -> dict[str, str]:
    """The deployed stack's parameters."""
    (stack,) = account.client("cloudformation").describe_stacks(StackName=SLUG)["Stacks"]
    return {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}


def keep_parameters_only(path: Path) -> None:
    """Reduces a stack to its parameters and a topic, which moto can create and update."""
    text = path.read_text()
    head = text[: text.index("\nMappings:")]
    path.write_text(head + "\nResources:\n  Topic: {Type: AWS::SNS::Topic}\n")


def test_stack_brings_a_changed_default_to_an_existing_stack(account) -> None:
    given = account()
    stack = given.root / "cicd/stack.yml"
    keep_parameters_only(stack)
    (given.root / "ops/check.py").write_text("")  # proves the whole stack, which this is not
    first = given.make("stack")
    assert first.returncode == 0, first.stdout + first.stderr
    assert parameters(given)["ProdWorkspaceHost"] == "https://prod-workspace.cloud.databricks.com"
    text = stack.read_text()
    assert text.count("https://prod-workspace.cloud") == 1
    stack.write_text(text.replace("https://prod-workspace.cloud", "https://new.cloud"))
    added = "\nParameters:\n  Schedule: {Type: String, Default: 'cron(0 6 * * ? *)'}\n"
    stack.write_text(stack.read_text().replace("\nParameters:\n", added))
    second = given.make("stack", "PARAMETERS=NotificationEmail= RepoName=copy")
    assert second.returncode == 0, second.stdout + second.stderr
    assert parameters(given) == {
        "RepoName": "copy",
        "BranchName": "main",
        "QaWorkspaceHost": "https://qa-workspace.cloud.databricks.com",
        "ProdWorkspaceHost": "https://new.cloud.databricks.com",
        "NotificationEmail": "",
        "DriftSchedule": "cron(0 5 * * ? *)",
        "Schedule": "cron(0 6 * * ? *)",
        **dict.fromkeys(("VpcId", "SubnetIds", "SecurityGroupIds", "PackageIndexUrl"), ""),
    }
    third = given.make("stack", "PARAMETERS=RepositoryName=copy")
    assert third.returncode != 0
    assert "no parameter RepositoryName; there are: " in third.stderr
    assert "usage:" not in third.stderr


def test_stack_is_not_touched_when_the_repository_is_wrong(account) -> None:
    given = account()
    (given.root / "resources/nutter.job.yml").write_text("targets: [")
    result = given.make("stack")
    assert result.returncode != 0
    assert "resources/nutter.job.yml" in result.stdout + result.stderr
    assert given.client("cloudformation").describe_stacks()["Stacks"] == []


def test_push_adds_the_remote_and_pushes_the_branch(account, tmp_path: Path) -> None:
    given = account()
    url = f"codecommit::us-east-1://{SLUG}"
    given.create_stack(TOPIC, {"CodeCommitUrl": url})

    def git(*args: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *args]
        return subprocess.check_output(command, cwd=given.root, text=True)

    git("init", "-q", "-b", "feature")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote"], check=True)
    git("config", f"url.{tmp_path}/remote.insteadOf", url)
    result = given.make("push")
    assert result.returncode == 0, result.stderr
    assert git("config", "remote.codecommit.url") == f"{url}\n"
    pushed = git("ls-remote", "--heads", str(tmp_path / "remote")).split()
    assert pushed == [git("rev-parse", "HEAD").strip(), "refs/heads/feature"]


def test_push_follows_the_stack_and_survives_a_missing_one(account) -> None:
    given = account()
    git = ["git", "-C", given.root]
    subprocess.run([*git, "init", "-q"], check=True)
    failed = given.make("push")
    assert failed.returncode != 0
    assert f"Stack with id {SLUG} does not exist" in failed.stderr
    assert subprocess.check_output([*git, "remote"], text=True) == ""
    other = "codecommit::us-east-1://other"
    subprocess.run([*git, "remote", "add", "codecommit", other], check=True)
    given.create_stack(TOPIC, {"CodeCommitUrl": f"codecommit::us-east-1://{SLUG}"})
    given.make("push")  # there is nothing to push yet, but where to is right
    url = subprocess.check_output([*git, "remote", "get-url", "codecommit"], text=True)
    assert url == f"codecommit::us-east-1://{SLUG}\n"


def test_push_does_not_push_a_repository_around_this_one(account) -> None:
    given = account()
    subprocess.run(["git", "init", "-q", given.root.parent], check=True)
    result = given.make("push")
    assert result.returncode != 0
    assert "make push: this folder is no git repository of its own" in result.stderr


# ---- make status, approve, reject ----------------------------------------------------------------


PLAN = "# What would change in prod\n\n- create jobs.new\n"


def codepipeline(waits: bool, deployed: list[str]):
    """Answers as CodePipeline does: what waits in Review, and what the builds were given."""
    execution = "aaaaaaaa-1111-2222-3333-444444444444"
    approve = {"status": "InProgress", "token": "t-1", "lastStatusChange": 1795500000}
    done = {"status": "Succeeded", "lastStatusChange": 1795490000}
    stages = [
        {
            "stageName": name,
            "actionStates": [{"actionName": name, "latestExecution": action}],
            "latestExecution": {"pipelineExecutionId": execution, "status": action["status"]},
        }
        for name, action in (("QA", done), ("Review", approve if waits else done))
    ] + [{"stageName": "Production", "actionStates": [{"actionName": "Deploy"}]}]
    reviewed = {
        "pipelineExecutionId": execution,
        "stageName": "Review",
        "actionName": "Review",
        "status": "InProgress",
        "input": {
            "configuration": {},
            "resolvedConfiguration": {
                "CustomData": "Ada[bot] asks [/to] deploy commit 0123abcd",
                "ExternalEntityLink": "https://link.example/build",
            },
        },
    }
    plan = {"bucket": "artifacts-1", "key": "plan"}
    planned = {
        "pipelineExecutionId": execution,
        "stageName": "Review",
        "actionName": "Plan",
        "status": "Succeeded",
        "input": {"configuration": {"ProjectName": f"{SLUG}-plan"}},
        "output": {"outputArtifacts": [{"name": "Plan", "s3location": plan}]},
    }
    builds = [
        {
            "pipelineExecutionId": execution,
            "stageName": env,
            "actionName": "Deploy",
            "input": {
                "configuration": {"ProjectName": f"{SLUG}-{env}"},
                "inputArtifacts": [
                    {"name": name, "s3location": {"bucket": "artifacts-1", "key": f"{key}-{env}"}}
                    for name, key in (("Wheel", "wheel"), ("Source", key))
                ],
            },
            "status": status,
        }
        for env in deployed
        for status, key in (("Failed", "broken"), ("Succeeded", "key"), ("Succeeded", "old"))
    ]
    known = {
        "pipelineExecutionId": execution,
        "artifactRevisions": [{"name": "Source", "revisionId": "0123abcd9999"}],
    }
    answers = {
        "GetPipelineState": {"pipelineName": "pipeline-1", "stageStates": stages},
        "GetPipelineExecution": {"pipelineExecution": known},
        "ListActionExecutions": {"actionExecutionDetails": [reviewed, planned, *builds]},
        "PutApprovalResult": {"approvedAt": 1795500001},
    }

    def answer(request: Request) -> Answer:
        return Answer(200, json.dumps(answers[operation(request)]).encode())

    return answer


def operation(request: Request) -> str:
    """The operation that an AWS JSON request calls."""
    return request.headers["X-Amz-Target"].partition(".")[2]


@pytest.fixture
def pipeline(account):
    """A function: runs `make` with a pipeline that waits for an approval, or does not."""

    def run(*args: str, waits: bool = True) -> tuple[subprocess.CompletedProcess, list[Request]]:
        given = account()
        manager = given.client("secretsmanager")
        arns = {
            f"{name}SecretArn": manager.create_secret(Name=name, SecretString="x")["ARN"]
            for name in ("Qa", "Prod")
        }
        manager.put_secret_value(SecretId="Prod", SecretString="y")
        outputs = {"PipelineName": "pipeline-1", "PipelineUrl": "https://console.example/p"}
        given.create_stack(TOPIC, outputs | arns)
        s3 = given.client("s3")
        s3.create_bucket(Bucket="artifacts-1")
        artifact = io.BytesIO()
        with zipfile.ZipFile(artifact, "w") as archive:
            archive.writestr("plan.md", PLAN)
        s3.put_object(Bucket="artifacts-1", Key="plan", Body=artifact.getvalue())
        with serve(codepipeline(waits, [])) as (url, seen):
            return given.make(*args, AWS_ENDPOINT_URL_CODEPIPELINE=url), seen

    return run


def test_status_shows_stages_commit_and_what_waits(pipeline) -> None:
    result, _ = pipeline("status")
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "pipeline-1 https://console.example/p"
    assert any(line.startswith("QA Succeeded ") and " 0123abcd " in line for line in lines)
    assert any(line.startswith("Review InProgress ") for line in lines)
    assert "Production not run yet" in lines
    assert "Waits in Review: Ada[bot] asks [/to] deploy commit 0123abcd" in lines
    assert "https://link.example/build" in lines
    assert "Token of qa not set yet: make secrets" in lines
    assert any(re.match("Token of prod set .*, 0 days ago; ", line) for line in lines)


@pytest.mark.parametrize(
    ("args", "status", "summary"),
    [
        (["approve"], "Approved", "approved with make approve"),
        (["approve", "REASON=looks good"], "Approved", "looks good"),
        (["reject", "REASON=drops `rm -rf` $(HOME) 'x'"], "Rejected", None),
    ],
)
def test_an_answer_reaches_the_approval_that_waits(pipeline, args, status, summary) -> None:
    result, seen = pipeline(*args)
    assert result.returncode == 0, result.stderr
    link = "https://link.example/build"
    shown = f"Ada[bot] asks [/to] deploy commit 0123abcd\n{link}\n\n{PLAN}\n{status}.\n"
    assert result.stdout == shown
    (put,) = (json.loads(item.body) for item in seen if operation(item) == "PutApprovalResult")
    said = put["result"].pop("summary")
    assert put == {
        "pipelineName": "pipeline-1",
        "stageName": "Review",
        "actionName": "Review",
        "token": "t-1",
        "result": {"status": status},
    }
    assert said == (summary or f"drops `rm -rf` {os.environ['HOME']} 'x'")


@pytest.mark.parametrize(
    ("args", "waits", "said"),
    [
        (["reject"], True, 'approval.py: say why: make reject REASON="..."'),
        (["approve"], False, "approval.py: nothing waits for an approval; see: make status"),
        (["reject", "REASON=x"], False, "approval.py: nothing waits for an approval"),
    ],
)
def test_no_answer_without_a_reason_or_an_approval(pipeline, args, waits, said) -> None:
    result, seen = pipeline(*args, waits=waits)
    assert result.returncode != 0
    assert said in result.stderr
    assert "PutApprovalResult" not in [operation(item) for item in seen]


@pytest.mark.parametrize("command", ["status", "approve", "rollback", "secrets"])
def test_without_a_stack_the_way_to_one_is_shown(account, command: str) -> None:
    result = account().make(command)
    assert result.returncode != 0
    assert "does not exist; create it: make stack" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_sign_in_the_way_to_one_is_shown(account) -> None:
    given = account()
    given.env = {key: value for key, value in given.env.items() if key not in KEYS}
    result = given.make("status", AWS_EC2_METADATA_DISABLED="true")
    assert result.returncode != 0
    assert "Are you signed in to AWS? Try: aws sts get-caller-identity" in result.stderr
    assert "Traceback" not in result.stderr


# ---- make destroy --------------------------------------------------------------------------------


@pytest.fixture
def deployed(account):
    """An account with a stack whose buckets hold versions and delete markers."""
    given = account()
    named = {"QaBuild": f"{SLUG}-qa", "ProdBuild": f"{SLUG}-prod", "Pipeline": "pipeline-1"}
    buckets = {"ArtifactBucket": "artifacts-1", "LogBucket": "logs-1"}
    resources = {
        logical: {"Type": "AWS::SSM::Parameter", "Properties": properties}
        for logical, name in {**named, "Repository": "0b1c2d3e-id"}.items()
        for properties in [{"Name": name, "Type": "String", "Value": "x"}]
    } | {
        logical: {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": name,
                "VersioningConfiguration": {"Status": "Enabled"},
            },
        }
        for logical, name in buckets.items()
    }
    rule = {"Name": "push-1", "ScheduleExpression": "rate(1 day)", "State": "ENABLED"}
    resources["PushRule"] = {"Type": "AWS::Events::Rule", "Properties": rule}
    given.create_stack(resources, {"CodeCommitUrl": f"codecommit::us-east-1://{SLUG}"})
    s3 = given.client("s3")
    for bucket in buckets.values():
        for key in ("key-qa", "key-prod", "other", "other"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        s3.delete_object(Bucket=bucket, Key="other")
    codebuild = given.client("codebuild")
    for project in (f"{SLUG}-qa", f"{SLUG}-prod"):
        codebuild.create_project(
            name=project,
            # moto wants locations, which AWS does not
            source={"type": "CODEPIPELINE", "location": "x"},
            artifacts={"type": "CODEPIPELINE", "location": "x"},
            environment={
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/amazonlinux-x86_64-standard:5.0",
                "computeType": "BUILD_GENERAL1_SMALL",
            },
            serviceRole="arn:aws:iam::123456789012:role/build",
        )
    return given


def left(account: Account) -> tuple[list[str], list[str]]:
    """The stacks and the buckets that are left."""
    stacks = account.client("cloudformation").list_stacks()["StackSummaries"]
    buckets = account.client("s3").list_buckets()["Buckets"]
    alive = [item["StackName"] for item in stacks if item["StackStatus"] != "DELETE_COMPLETE"]
    return alive, [item["Name"] for item in buckets]


def destroy(account: Account, name: str, deployed: list[str], *args: str, waits: bool = False):
    """`make destroy`, with `name` typed at its question."""
    with serve(codepipeline(waits, deployed)) as (url, _):
        return account.make("destroy", *args, stdin=f"{name}\n", AWS_ENDPOINT_URL_CODEPIPELINE=url)


def test_destroy_deletes_deployments_buckets_and_stack_and_says_what_is_left(deployed) -> None:
    result = destroy(deployed, SLUG, ["qa", "prod"])
    assert result.returncode == 0, result.stdout + result.stderr
    assert left(deployed) == ([], [])
    builds = deployed.client("codebuild").list_builds()["ids"]
    assert sorted(item.partition(":")[0] for item in builds) == [f"{SLUG}-prod", f"{SLUG}-qa"]
    assert "UNDROP" in result.stdout
    assert (
        f"aws codecommit delete-repository --region us-east-1 --repository-name {SLUG}"
        in result.stdout
    )
    assert "personal access tokens" in result.stdout
    again = destroy(deployed, SLUG, [])
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(f"There is no stack {SLUG} in us-east-1")


def test_destroy_before_the_first_deployment(deployed) -> None:
    result = destroy(deployed, SLUG, [])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "qa: nothing was ever deployed\nprod: nothing was ever deployed\n" in result.stdout
    assert left(deployed) == ([], [])


def test_destroy_does_not_overlook_a_build_that_was_renamed(deployed) -> None:
    tool = deployed.root / "ops/destroy.py"
    tool.write_text(tool.read_text().replace('"ProdBuild"', '"ProductionBuild"'))
    result = destroy(deployed, SLUG, [])
    assert result.returncode != 0
    assert "the stack has no ProductionBuild" in result.stderr
    assert left(deployed) == ([SLUG], ["artifacts-1", "logs-1"])


def test_destroy_waits_for_a_pipeline_at_work(deployed) -> None:
    result = destroy(deployed, SLUG, ["qa"], waits=True)
    assert result.returncode != 0
    assert "Review is at work or waits for an approval; nothing is deleted" in result.stderr
    assert left(deployed) == ([SLUG], ["artifacts-1", "logs-1"])
    assert deployed.client("events").describe_rule(Name="push-1")["State"] == "ENABLED"


def test_destroy_deletes_a_stack_that_has_no_resources(account) -> None:
    given = account()
    given.client("cloudformation").create_change_set(
        StackName=SLUG,
        ChangeSetName="x",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": TOPIC}),
    )
    result = destroy(given, SLUG, [])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "(REVIEW_IN_PROGRESS)" in result.stdout
    assert left(given) == ([], [])


@pytest.mark.parametrize("name", ["", "yes", "my-data-projec"])
def test_destroy_deletes_nothing_under_another_name(deployed, name: str) -> None:
    result = destroy(deployed, name, ["qa"])
    assert result.returncode != 0
    assert "destroy.py: that is another name; nothing is deleted" in result.stderr
    assert left(deployed) == ([SLUG], ["artifacts-1", "logs-1"])


def test_destroy_stops_where_a_deployment_cannot_be_deleted(deployed) -> None:
    deployed.client("s3").delete_object(Bucket="artifacts-1", Key="key-qa")  # the last good one
    result = destroy(deployed, SLUG, ["qa"])
    assert result.returncode != 0
    assert "its sources have expired (artifacts-1/key-qa)" in result.stderr
    assert "make destroy KEEP_DEPLOYMENTS=1" in result.stderr
    # The stack stays, and so does what a push starts.
    assert deployed.client("events").describe_rule(Name="push-1")["State"] == "ENABLED"
    assert left(deployed) == ([SLUG], ["artifacts-1", "logs-1"])
    on = destroy(deployed, SLUG, ["qa"], "KEEP_DEPLOYMENTS=1")
    assert on.returncode == 0, on.stdout + on.stderr
    assert left(deployed) == ([], [])


# ---- make pin-cli --------------------------------------------------------------------------------


def pin(given: Account, sums: bytes | None, *args: str) -> subprocess.CompletedProcess:
    """`make pin-cli` against a release page that publishes `sums` for 1.27.0."""

    def answer(request: Request) -> Answer:
        found = request.path == "/v1.27.0/databricks_cli_1.27.0_SHA256SUMS" and sums is not None
        return Answer(200, sums) if found else Answer(404)

    with serve(answer) as (url, _):
        tools = given.root / "cicd/tools.env"
        lines = [
            f"DATABRICKS_CLI_BASE_URL={url}" if line.startswith("DATABRICKS_CLI_BASE_URL") else line
            for line in tools.read_text().splitlines()
        ]
        tools.write_text("\n".join(lines) + "\n")
        return given.make("pin-cli", *args)


def pinned(given: Account) -> dict[str, str]:
    """The three files that know the client's version."""
    files = ("cicd/tools.env", "databricks.yml", "pyproject.toml")
    return {name: (given.root / name).read_text() for name in files}


def test_pin_cli_changes_every_file_that_knows_the_version(account) -> None:
    given = account()
    checksum = hashlib.sha256(b"archive").hexdigest()
    other = f"{'0' * 64}  databricks_cli_1.27.0_linux_arm64.zip\n"
    sums = f"{other}{checksum}  databricks_cli_1.27.0_linux_amd64.zip\n"
    result = pin(given, sums.encode(), "VERSION=1.27.0")
    assert result.returncode == 0, result.stderr
    after = pinned(given)
    assert "\nDATABRICKS_CLI_VERSION=1.27.0\n" in after["cicd/tools.env"]
    assert f"\nDATABRICKS_CLI_SHA256={checksum}\n" in after["cicd/tools.env"]
    bundle = yaml.safe_load(after["databricks.yml"])["bundle"]
    assert bundle["databricks_cli_version"] == ">= 1.27.0, < 2.0.0"
    assert '"databricks-bundles==1.27.0",' in after["pyproject.toml"]


@pytest.mark.parametrize(
    ("sums", "args", "said"),
    [
        (b"", [], "which version? make pin-cli VERSION=1.22.1"),
        (b"", ["VERSION=latest"], "which version? make pin-cli VERSION=1.22.1"),
        (b"", ["VERSION=1.27.0"], "names no databricks_cli_1.27.0_linux_amd64.zip"),
        (None, ["VERSION=1.27.0"], "Is there such a release?"),
    ],
)
def test_pin_cli_changes_nothing_without_a_checksum(account, sums, args, said) -> None:
    given = account()
    before = pinned(given)
    result = pin(given, sums, *args)
    assert result.returncode != 0
    assert said in result.stderr
    after = pinned(given)
    assert after.pop("cicd/tools.env").count("DATABRICKS_CLI_SHA256=\n") == 1
    assert after == {name: text for name, text in before.items() if name in after}

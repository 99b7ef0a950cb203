"""What the tests of rehearsals share: repositories to rehearse, and what to look for afterwards."""

import base64
import io
import json
import shutil
import subprocess
import urllib.parse
import zipfile
from pathlib import Path

import pytest

from rehearsal import play
from rehearsal.aws.codepipeline import Execution

APPROVED = ("Approved", "looks good")
PROD = "https://prod-workspace.cloud.databricks.com"
QA = "https://qa-workspace.cloud.databricks.com"


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Replaces a text that must be there, once."""
    text = (root / file).read_text()
    assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
    (root / file).write_text(text.replace(old, new))


QA_SPEC = "cicd/buildspecs/qa.yml"
PRODUCTION_SPEC = "cicd/buildspecs/production.yml"
RUN = "      - databricks bundle run -t prod my_data_project_job\n"
UV = '      - pip install --quiet "uv==$UV_VERSION"\n'


@pytest.fixture(scope="session")
def wheel(rendering, tmp_path_factory) -> Path:
    """The default rendering's wheel, in a folder of its own."""
    root = tmp_path_factory.mktemp("wheel") / "tree"
    shutil.copytree(rendering("pat-serverless"), root)
    subprocess.run(
        ["uv", "build", "--quiet", "--wheel", "--out-dir", "../dist"], cwd=root, check=True
    )
    return root.parent / "dist"


def slim(rendering: Path, wheel: Path, root: Path) -> Path:
    """A copy of a rendering whose QA build has its wheel already, so that it tests nothing here."""
    shutil.copytree(rendering, root, ignore=shutil.ignore_patterns(".git", ".venv"))
    shutil.copytree(wheel, root / "built", ignore=shutil.ignore_patterns(".gitignore"))
    edit(root, QA_SPEC, UV, "")
    edit(root, QA_SPEC, "make check lint test build", "cp -r built dist")
    return root


@pytest.fixture
def repository(default: Path, wheel: Path, tmp_path: Path) -> Path:
    """The default rendering, slim."""
    return slim(default, wheel, tmp_path / "my-data-project")


@pytest.fixture
def deploying(repository: Path) -> Path:
    """The same, with builds that deploy only: no job runs in qa or prod, nor nutter."""
    for line in (
        "databricks bundle run -t qa my_data_project_job",
        "bash cicd/steps/run_nutter.sh qa",
    ):
        edit(repository, QA_SPEC, f"      - {line}\n", "")
    edit(repository, PRODUCTION_SPEC, RUN, "")
    return repository


@pytest.fixture
def rehearse(tmp_path: Path, capfd):
    """A function: rehearses a repository and hands the rehearsal, still open, to `look`.

    After each one, everything that it left is searched for its secrets. Without `push`, the branch
    is there, but no event has said so.
    """

    def run(
        root: Path,
        look,
        before=None,
        answer=APPROVED,
        quick: bool = True,
        make: bool = False,
        push: bool = True,
    ):
        specs = [path.read_text() for path in (root / "cicd/buildspecs").glob("*.yml")]
        engine = any("bundle run" in text or "run_nutter" in text for text in specs)
        with play.opened(root, quick=quick, engine=engine, operator=make) as played:
            played.pipeline.decide = lambda *_: answer
            if make:
                played.put_secrets()  # as a person does: `make secrets`
            else:
                for name, value in played.values.items():
                    put(played, name, value)
            if before:
                before(played)
            if not push:
                played.send(played.branch)
            execution = played.push() if push else None
            look(played, execution)
            terminal = "".join(capfd.readouterr())
            assert leaks(played, terminal) == []
            # The search would find one, wherever it looks.
            (played.home / "builds/canary.log").write_text(f"xx{encoded(played.canary)[2]}xx")
            assert leaks(played, terminal) == ["builds/canary.log"]

    return run


def put(played: play.Rehearsal, secret: str, value: dict[str, str]) -> None:
    """Sets a secret of the stack."""
    client = played.aws.client("secretsmanager")
    client.put_secret_value(SecretId=played.aws.arn(secret), SecretString=json.dumps(value))


def encoded(secret: str) -> list[str]:
    """A secret, plain, in base64 and URL-encoded."""
    return [
        secret,
        base64.b64encode(secret.encode()).decode().rstrip("="),
        urllib.parse.quote(secret),
    ]


def leaks(played: play.Rehearsal, terminal: str) -> list[str]:
    """Where a secret is found: files of the builds and workspaces, artifacts, git objects, logs."""
    wanted = [form.encode() for secret in played.secrets for form in encoded(secret)]
    wanted = wanted or [played.canary.encode()]
    wanted += [form.encode() for form in encoded(played.canary)]
    places: dict[str, bytes] = {"terminal": terminal.encode()}
    for path in played.home.rglob("*"):
        if path.is_file() and "image" not in path.parts and ".venv" not in path.parts:
            places[path.relative_to(played.home).as_posix()] = path.read_bytes()
    objects = ["git", "--git-dir", played.remote, "cat-file", "--batch-all-objects", "--batch"]
    places["git"] = subprocess.run(objects, capture_output=True, check=True).stdout
    s3 = played.aws.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                places |= {
                    f"{item['Key']}/{name}": archive.read(name) for name in archive.namelist()
                }
    logs = played.aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
            places["cloudwatch"] = places.get("cloudwatch", b"") + event["message"].encode()
    return sorted(name for name, text in places.items() if any(one in text for one in wanted))


def in_prod(played: play.Rehearsal) -> list[str]:
    """What there is in the production workspace: files and resources."""
    root = played.home / "databricks" / urllib.parse.urlsplit(PROD).netloc
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def said(execution: Execution, stage: str) -> str:
    """What the operator reads of a pipeline that stopped in a stage: the end of its build's log."""
    assert execution.status == "Failed"
    assert execution.stopped_in.name == stage
    (action,) = (one for one in execution.stopped_in.actions if one.status == "Failed")
    log = action.build.log.read_text() if action.build else ""
    return f"{log}\n{action.message}"

"""What the tests of rehearsals share: repositories to rehearse, and what to look for afterwards."""

import contextlib
import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rehearsal import leaks, play
from rehearsal.aws.execution import Answer, Execution
from rehearsal.databricks import real_client
from rehearsal.databricks.workspace import Resources

Rehearse = Callable[..., AbstractContextManager[play.Rehearsal]]

APPROVED = Answer("Approved", "looks good")


QA = "https://qa-workspace.cloud.databricks.com"


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Replaces a text that must be there, once."""
    text = (root / file).read_text()
    assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
    (root / file).write_text(text.replace(old, new))


def line_with(root: Path, file: str, text: str) -> str:
    """The one line of a file that has a text."""
    lines = (root / file).read_text().splitlines(keepends=True)
    (line,) = (line for line in lines if text in line)
    return line


QA_SPEC = "cicd/buildspecs/qa.yml"
PRODUCTION_SPEC = "cicd/buildspecs/production.yml"
JOB = "resources/my_data_project.job.yml"
RUN_QA, NUTTER, RUN_PROD = "run_job.sh qa", "run_nutter.sh qa", "run_job.sh"
INSTALL = 'pip install --quiet --require-hashes --only-binary ":all:"'
UV = f"      - {INSTALL} -r cicd/requirements.txt -r cicd/uv.txt\n"


@pytest.fixture(scope="session")
def wheel(rendering, tmp_path_factory) -> Path:
    """The default rendering's wheel, in a folder of its own."""
    return build_wheel(rendering("pat-serverless"), tmp_path_factory.mktemp("wheel"))


def build_wheel(rendering: Path, folder: Path) -> Path:
    """Builds a rendering's wheel; returns the folder that it is in, below another one."""
    shutil.copytree(rendering, folder / "tree")
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", "../dist"]
    subprocess.run(build, cwd=folder / "tree", check=True)
    return folder / "dist"


def slim(rendering: Path, wheel: Path, root: Path) -> Path:
    """A copy of a rendering whose QA build has its wheel already, so that it tests nothing here."""
    shutil.copytree(rendering, root, ignore=shutil.ignore_patterns(".git", ".venv"))
    shutil.copytree(wheel, root / "built", ignore=shutil.ignore_patterns(".gitignore"))
    edit(root, QA_SPEC, "make check lint test build", "cp -r built dist")
    return root


@pytest.fixture
def repository(default: Path, wheel: Path, tmp_path: Path) -> Path:
    """The default rendering, slim (see above)."""
    return slim(default, wheel, tmp_path / "my-data-project")


@pytest.fixture
def deploying(repository: Path) -> Path:
    """The same, with builds that deploy only: no job runs in qa or prod, nor nutter."""
    return deploy_only(repository)


def deploy_only(root: Path) -> Path:
    """Takes what runs in a workspace out of a repository's builds; returns the repository."""
    for file, command in ((QA_SPEC, RUN_QA), (QA_SPEC, NUTTER), (PRODUCTION_SPEC, RUN_PROD)):
        edit(root, file, line_with(root, file, command), "")
    return root


@pytest.fixture
def client() -> Path | None:
    """The Databricks client that rehearsals use: the stand-in, unless a test file overrides it."""
    return None


def client_on_path(repository: Path) -> Path:
    """The real client; skips a test where there is none, as it is in no registry."""
    version = real_client.pinned(repository)
    found = real_client.installed(version)
    if found is None:
        pytest.skip(f"the Databricks CLI {version} is not on PATH")
    return found


@pytest.fixture
def rehearsal(capfd, client: Path | None) -> Rehearse:
    """A function: rehearses a repository, approving what waits. `with rehearsal(root) as played`.

    After each one, everything that it left is searched for its secrets. `make=True` sets the
    secrets as a person does, with `make secrets`.
    """

    @contextlib.contextmanager
    def run(root: Path, quick: bool = True, make: bool = False) -> Iterator[play.Rehearsal]:

        runs_jobs = any(map(runs_a_job, (root / "cicd/buildspecs").glob("*.yml")))
        settings = {"quick": quick, "engine": runs_jobs, "operator": make, "client": client}
        with play.opened(root, **settings) as played:
            decide(played, APPROVED)
            if make:
                played.put_secrets()
            else:
                for name, value in played.credentials.values.items():
                    put(played, name, value)
            yield played
            search(played, "".join(capfd.readouterr()))

    return run


def runs_a_job(buildspec: Path) -> bool:
    """Whether a build runs something in a workspace."""
    text = buildspec.read_text()
    return "run_job" in text or "run_nutter" in text


def decide(played: play.Rehearsal, answer: Answer | None) -> None:
    """Answers every approval of a rehearsal alike; None leaves them to the API."""
    played.pipeline.approvals.decide = lambda execution, action: answer


def search(played: play.Rehearsal, terminal: str) -> None:
    """Asserts that no secret is in what a rehearsal left; one that is put there is found."""
    canary = played.credentials.canary
    (played.home / "builds/canary.log").write_text(f"xx{canary[::-1]}xx")
    secrets = [*played.credentials.secret_values, canary]
    found = leaks.search(leaks.written(played, terminal), secrets)
    assert found.places == ["builds/canary.log"]


def put(played: play.Rehearsal, secret: str, value: dict[str, str]) -> None:
    """Sets a secret of the stack."""
    client = played.aws.client("secretsmanager")
    client.put_secret_value(SecretId=played.aws.stack.arn(secret), SecretString=json.dumps(value))


def fail(played: play.Rehearsal, on: str, **more: int) -> None:
    """Makes production's workspace fail at something: "deploy" or "run"."""
    fault = {"host": prod_host(played), "on": on, "message": "the workspace is down", **more}
    (played.home / "databricks/faults.json").write_text(json.dumps([fault]))


def workspace(played: play.Rehearsal) -> Path:
    """The folder that stands for production's workspace."""
    return played.home / "databricks" / urllib.parse.urlsplit(prod_host(played)).netloc


def prod_host(played: play.Rehearsal) -> str:
    """The address of production's workspace, which may be QA's too."""
    _, _, prod = (played.repository / "databricks.yml").read_text().partition("\n  prod:\n")
    return prod.partition("host: ")[2].split()[0]


def in_prod(played: play.Rehearsal) -> list[str]:
    """What there is in the production workspace: files and resources."""
    return sorted(path.name for path in workspace(played).rglob("*") if path.is_file())


def resources_in_prod(played: play.Rehearsal) -> Resources:
    """The jobs, pipelines and so on of production's workspace."""
    return Resources(workspace(played) / "resources")


def jobs_in_prod(played: play.Rehearsal) -> dict[str, dict[str, Any]]:
    """The jobs of production's workspace, by ID."""
    return {id_: settings for id_, settings, _ in resources_in_prod(played).list("jobs")}


def job_in_prod(played: play.Rehearsal) -> dict[str, Any]:
    """The settings of the sample job in production's workspace."""
    jobs = jobs_in_prod(played).values()
    (job,) = (job for job in jobs if not job["name"].startswith("[qa]"))
    return job


def by_hand(played: play.Rehearsal) -> None:
    """Somebody changes the job in production's workspace."""
    jobs = jobs_in_prod(played).items()
    ((id_, job),) = ((i, job) for i, job in jobs if not job["name"].startswith("[qa]"))
    resources_in_prod(played).put("jobs", id_, job | {"max_concurrent_runs": 7})


def said(execution: Execution, stage: str) -> str:
    """What the operator reads of a pipeline that stopped in a stage: the end of its build's log."""
    assert execution.status == "Failed"
    assert execution.stopped_in.name == stage
    (action,) = (one for one in execution.stopped_in.actions if one.status == "Failed")
    log = action.build.log.read_text() if action.build else ""
    return f"{log}\n{action.message}"

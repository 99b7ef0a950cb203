"""One rehearsal: an account, workspaces and a network made for it, and a push that is played."""

import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal.aws.account import Aws
from rehearsal.aws.codebuild import Build, CodeBuild, shared_bytecode
from rehearsal.aws.codepipeline import CodePipeline, Execution
from rehearsal.databricks import spark, workspace
from rehearsal.machine import warm
from rehearsal.machine.network import Network, json_answer, releases

ROOT = Path(__file__).parent.parent
WHEELS = Path(sys.prefix, "wheels")  # what would be built from source at every install
RELEASES = "https://github.com/databricks/cli/releases/download"  # unless tools.env says otherwise
CLIENT = """\
#!{python} -IS
import os
import sys
sys.path.insert(0, {root!r})
from rehearsal.machine.warm import call
sys.exit(call({address!r}, sys.argv[1:], os.getcwd(), dict(os.environ)))
"""


class Unplayable(Exception):
    """Why a repository cannot be rehearsed, in words for its team."""


@dataclass
class Rehearsal:
    """Everything that is made for one rehearsal below `home`; `opened` makes and ends it.

    `operator` is the environment of the person at the terminal, `secrets` are the canaries that
    must never be seen outside of Secrets Manager.
    """

    home: Path
    repository: Path
    aws: Aws
    network: Network
    codebuild: CodeBuild
    pipeline: CodePipeline
    branch: str
    operator: dict[str, str]
    secrets: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    canary: str = field(default_factory=lambda: f"dapi{secrets.token_hex(16)}")

    @property
    def remote(self) -> Path:
        """The bare git repository that CodeCommit stands for."""
        return self.aws.repository

    def git(self, *arguments: str) -> str:
        """Runs git in the working copy, as a person with a name."""
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        command = ["git", *who, "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(
            command, cwd=self.repository, check=True, capture_output=True, text=True
        ).stdout

    def put_secrets(self) -> None:
        """Sets every secret with the repository's own `make secrets`, fed from standard input."""
        text = (self.repository / "cicd/stack.yml").read_text(encoding="utf-8")
        made = sorted(self.values, key=lambda name: text.index(f"\n  {name}:"))  # as asked for
        if not made:
            return
        values = [self.values[name][key] for name in made for key in self.values[name]]
        result = self.make("secrets", stdin="".join(f"{value}\n" for value in values))
        if result.returncode:
            raise Unplayable(f"make secrets failed:\n{result.stdout}{result.stderr}")

    def make(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Runs the repository's `make` as its operator would, against this account."""
        env = self.operator | self.aws.environment()
        named = [f"STACK={self.aws.name}", f"REGION={self.aws.region}"]
        return subprocess.run(
            ["make", *arguments, *named],
            cwd=self.repository,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
        )

    def send(self, branch: str) -> tuple[str, str]:
        """Commits what the working copy holds and pushes it; returns the new head and the old."""
        self.git("add", "--all")
        if self.git("status", "--porcelain"):
            self.git("commit", "--quiet", "--message", "Rehearsal")
        old = self.head(branch)
        self.git("push", "--quiet", str(self.remote), f"HEAD:refs/heads/{branch}")
        return self.head(branch), old

    def head(self, branch: str) -> str:
        """The pushed commit of a branch, empty for none."""
        command = ["git", "--git-dir", self.remote, "rev-parse", "--verify", "--quiet"]
        command.append(f"refs/heads/{branch}")
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def push(self) -> Execution | None:
        """Commits what the working copy holds, pushes it, and plays the push's event."""
        return self.pipeline.push(self.branch, *self.send(self.branch))

    def pull_request(self, branch: str) -> Build | None:
        """Pushes what the working copy holds to a branch, and opens a pull request of it.

        A second time it is that pull request's next revision. Returns the build that it starts.
        https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
        """
        commit, old = self.send(branch)
        self.pipeline.push(branch, commit, old)
        known = self.aws.pull_requests
        event = "pullRequestSourceBranchUpdated" if branch in known else "pullRequestCreated"
        number = known.setdefault(branch, str(len(known) + 1))
        (logical,) = self.aws.of_type("CodeCommit::Repository")
        who, now = "arn:aws:sts::123456789012:assumed-role/Team/Ada", time.ctime()
        detail = {
            "author": who,
            "callerUserArn": who,
            "creationDate": now,
            "description": "",
            "destinationCommit": self.head(self.branch),
            "destinationReference": f"refs/heads/{self.branch}",
            "event": event,
            "isMerged": "False",
            "lastModifiedDate": now,
            "notificationBody": f"A pull request event occurred: {number}",
            "pullRequestId": number,
            "pullRequestStatus": "Open",
            "repositoryNames": [self.aws.arn(logical).rpartition(":")[2]],
            "revisionId": secrets.token_hex(32),
            "sourceCommit": commit,
            "sourceReference": f"refs/heads/{branch}",
            "title": f"Merge {branch}",
        }
        kind = "CodeCommit Pull Request State Change"
        hit = self.aws.emit("aws.codecommit", kind, detail, self.aws.arn(logical))
        builds = [self.deliver(target) for target in hit]
        return next(filter(None, builds), None)

    def look_for_drift(self) -> Build | None:
        """Plays the hour of each rule that has a schedule; returns the build that it starts."""
        builds = [
            self.deliver({"Input": {}, **target, "Rule": logical})
            for logical, rule in self.aws.of_type("Events::Rule").items()
            if "ScheduleExpression" in rule
            for target in rule["Targets"]
        ]
        return next(filter(None, builds), None)

    def deliver(self, target: dict[str, Any]) -> Build | None:
        """Does what a rule's target asks for; where that is a build, with the event of its end.

        https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html
        """
        if ":codebuild:" not in target["Arn"]:
            self.pipeline.deliver(target)
            return None
        build = self.codebuild.start(target)
        arn = f"{target['Arn'].partition(':project/')[0]}:build/{build.id}"
        link = f"https://console.aws.amazon.com/cloudwatch/home#logEvent:{build.id}"
        detail = {"build-status": build.status, "project-name": build.project, "build-id": arn}
        detail["additional-information"] = {"logs": {"deep-link": link}}
        for one in self.aws.emit("aws.codebuild", "CodeBuild Build State Change", detail, arn):
            self.pipeline.deliver(one)
        return build

    @functools.cached_property
    def values(self) -> dict[str, dict[str, str]]:
        """A made-up credential for each secret of the stack, by the keys of its placeholder."""
        values = {}
        for name, properties in self.aws.of_type("SecretsManager::Secret").items():
            keys = json.loads(properties["GenerateSecretString"]["SecretStringTemplate"])
            values[name] = {
                key: str(uuid.uuid4()) if key.endswith("id") else f"dapi{secrets.token_hex(16)}"
                for key in keys
            }
            self.secrets += [value for key, value in values[name].items() if not key.endswith("id")]
        return values

    def declare_workspaces(self) -> None:
        """Makes a workspace for each host that a build names, with that build's identity."""
        hosts: dict[str, list[workspace.Identity]] = {}
        for project in self.aws.of_type("CodeBuild::Project").values():
            given = {one["Name"]: one for one in project["Environment"]["EnvironmentVariables"]}
            host = given.get("DATABRICKS_HOST", {}).get("Value")
            if not host:
                continue
            told = {}
            for name, one in given.items():
                kind = name.removeprefix("DATABRICKS_").lower()
                if kind not in ("token", "client_id", "client_secret"):
                    continue
                told[kind] = one["Value"]
                if one.get("Type") == "SECRETS_MANAGER":
                    arn, _, key = one["Value"].rpartition(":")
                    told[kind] = self.values[self.aws.logical("SecretsManager::Secret", arn)][key]
            if told.keys() == {"client_id"}:  # nothing secret: the build's role is the subject
                told["subject"] = project["ServiceRole"]
            role = self.aws.logical("IAM::Role", project["ServiceRole"]).removesuffix("Role")
            user = told.get("client_id") or f"{role.lower()}@example.com"
            identity = workspace.Identity(user_name=user, **told)
            if identity not in hosts.setdefault(host, []):
                hosts[host].append(identity)
        home = self.home / "databricks"
        workspace.declare(home, hosts)
        for host in hosts:
            answer = functools.partial(workspace.respond, home, host)
            self.network.hosts[urlsplit(host).hostname] = json_answer(answer)

    def serve_client(self) -> None:
        """Serves the stand-in client from where the repository downloads the real one."""
        client = warm_client(self.home / "client.socket")
        tools = self.repository / "cicd/tools.env"
        text = tools.read_text(encoding="utf-8") if tools.is_file() else ""
        found = re.search(r"(?m)^DATABRICKS_CLI_BASE_URL=(\S+)", text)
        url = found[1] if found else RELEASES
        self.network.hosts[urlsplit(url).hostname] = releases(client)


def foreign(variable: str) -> bool:
    """Whether a variable of this process would mislead a repository's own `make`."""
    return variable.startswith(("AWS_", "DATABRICKS_", "MAKE", "MFLAGS", "VIRTUAL_ENV"))


def cached() -> dict[str, str]:
    """What makes package installs quick: this machine's caches, and wheels that are ready."""
    uv = subprocess.run(
        [Path(sys.prefix, "bin/uv"), "cache", "dir"], capture_output=True, text=True
    ).stdout.strip()
    pip = os.environ.get("PIP_CACHE_DIR", os.path.expanduser("~/.cache/pip"))
    links = {"UV_FIND_LINKS": str(WHEELS)} if WHEELS.is_dir() else {}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # pip would ask for its own newest version
    return {"UV_CACHE_DIR": uv, "PIP_CACHE_DIR": pip} | quiet | links


def warm_client(address: Path) -> str:
    """A program that has a server at this address do its work."""
    return CLIENT.format(python=sys.executable, root=str(ROOT), address=str(address))


def operator_of(repository: Path, home: Path) -> dict[str, str]:
    """The environment in which a person works with a repository."""
    env = {key: value for key, value in os.environ.items() if not foreign(key)}
    env |= cached() | shared_bytecode(home, project=repository / ".venv")
    env["PATH"] = f"{Path(sys.prefix, 'bin')}{os.pathsep}{env['PATH']}"
    return env


@contextlib.contextmanager
def locking(repository: Path, env: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Begins what the first `make` in a repository does: uv.lock, and what the tools need.

    Where that fails, the first `make` says why.
    """
    sync = [Path(sys.prefix, "bin/uv"), "sync", "--quiet", "--only-group", "ops"]
    none = subprocess.DEVNULL
    with subprocess.Popen(sync, cwd=repository, env=env, stdout=none, stderr=none) as process:
        try:
            yield process
        finally:
            process.kill()


def copy_of(path: Path, target: Path) -> None:
    """A working copy of a repository: what git would commit, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=path,
        capture_output=True,
        text=True,
    )
    inside = listed.returncode == 0 and (path / ".git").exists()
    names = [name for name in listed.stdout.split("\0") if name] if inside else None
    if names is None:
        ignore = shutil.ignore_patterns(".git", ".venv", "dist", "__pycache__", ".databricks")
        shutil.copytree(path, target, ignore=ignore)
        return
    for name in names:
        if (path / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path / name, target / name)


def catalogs(repository: Path) -> list[str]:
    """The Unity Catalog catalogs that the bundle's targets name as the variable `catalog`."""
    text = (repository / "databricks.yml").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"""(?m)^\s+catalog: ["']?([\w-]+)["']?\s*$""", text)))


@contextlib.contextmanager
def opened(
    path: Path,
    region: str = "us-east-1",
    quick: bool = False,
    keep: bool = False,
    engine: bool = True,
    operator: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Rehearsal]:
    """Makes everything for a rehearsal of the repository at `path`, and takes it down at the end.

    Raises Unplayable where the repository cannot be rehearsed. `say` hears what is being made.
    Without `engine` no job can run, and without `operator` the first `make` has more to do.
    """
    stack = path / "cicd/stack.yml"
    for needed in (stack, path / "databricks.yml"):
        if not needed.is_file():
            raise Unplayable(f"{needed}: not there; is {path} a rendered repository?")
    home = Path(tempfile.mkdtemp(prefix="rehearsal-")).resolve()
    started = time.monotonic()
    try:
        say("Copying the repository, starting the network and an AWS account on loopback")
        repository, remote = home / "repository", home / "codecommit.git"
        copy_of(path, repository)
        subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
        person = operator_of(repository, home)
        with contextlib.ExitStack() as stack_of:
            if operator:
                locked = stack_of.enter_context(locking(repository, person))
            if engine:
                stack_of.enter_context(spark.start(home, quick, catalogs(repository)))
            client = (sys.executable, home / "client.socket", "rehearsal.databricks.client")
            stack_of.enter_context(warm.serving(*client, str(home / "databricks")))
            client = (sys.executable, home / "aws.socket", "rehearsal.machine.awscli")
            stack_of.enter_context(warm.serving(*client))
            network = stack_of.enter_context(Network(home))
            name = path.resolve().name
            aws = Aws(repository / "cicd/stack.yml", name, region, remote)
            aws.parameters = {  # a team would set these from its Databricks account
                key: str(uuid.uuid4())
                for key in aws.source.get("Parameters", {})
                if key.endswith("ClientId")
            }
            stack_of.enter_context(aws)
            extra = network.environment() | cached()
            codebuild = CodeBuild(aws, home / "builds", extra)
            codebuild.client = home / "aws"
            codebuild.client.write_text(warm_client(home / "aws.socket"), encoding="utf-8")
            codebuild.client.chmod(0o755)
            if quick:  # as on a laptop without Java: what needs it skips and says so
                codebuild.overrides = {"CI": "", "JAVA_HOME": str(home / "no-java")}
            pipeline = CodePipeline(aws, codebuild)
            branch = pipeline.branch
            head = ["symbolic-ref", "HEAD", f"refs/heads/{branch}"]  # CodeCommit's default branch
            subprocess.run(["git", "--git-dir", remote, *head], check=True)
            if operator:
                locked.wait()
            played = Rehearsal(home, repository, aws, network, codebuild, pipeline, branch, person)
            played.git("init", "--quiet")
            played.declare_workspaces()
            played.serve_client()
            played.seconds["set-up"] = time.monotonic() - started
            yield played
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)

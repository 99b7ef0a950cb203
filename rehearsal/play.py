"""One rehearsal: an account, workspaces and a network made for it, and a push that is played."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rehearsal.aws import codebuild as codebuild_api
from rehearsal.aws.account import Account
from rehearsal.aws.build import Build
from rehearsal.aws.build_run import Settings
from rehearsal.aws.codebuild import CodeBuild
from rehearsal.aws.codepipeline import CodePipeline
from rehearsal.aws.codepipeline_api import PipelineApi
from rehearsal.aws.execution import Execution
from rehearsal.aws.stack import Stack
from rehearsal.credentials import Credentials, new_id
from rehearsal.databricks import identities, real_client, spark
from rehearsal.databricks.api.workspace_api import WorkspaceApi
from rehearsal.machine.caches import cache_variables
from rehearsal.machine.disk import full, remove
from rehearsal.machine.indexes import index_urls
from rehearsal.machine.network import Network, releases, releases_host
from rehearsal.machine.process import group
from rehearsal.machine.surroundings import undisturbed
from rehearsal.machine.warm import server
from rehearsal.machine.working_copy import WorkingCopy, copy_repository

PROGRAMS = ("bash", "curl", "git", "make", "unzip")  # what people and builds use
LONGEST = 40  # characters of a stack's name: with more, names of buckets would be too long
DATABRICKS = "databricks"  # the folder of all workspaces
ROOT = Path(__file__).parent.parent
CLIENT = """\
#!{python} -IS
import os
import sys
sys.path.insert(0, {root!r})
from rehearsal.machine.warm import call
sys.exit(call({address!r}, {first!r} + sys.argv[1:], os.getcwd(), dict(os.environ)))
"""
# What `make stack` uploads of cicd/, below a line with the object's metadata.
PACK = """\
import sys
from ops import delivery
body = delivery.archive()
label = f"{delivery.DIGEST} {delivery.digest_of(body)}\\n"
sys.stdout.buffer.write(label.encode() + body)
"""
Say = Callable[[str], None]
T = TypeVar("T")


class Unplayable(Exception):
    """Why a repository cannot be rehearsed, in words for its team."""


@dataclass(frozen=True)
class Options:
    """How to rehearse.

    Without `engine` no job can run; without `operator` the first `make` takes longer.
    """

    region: str = "us-east-1"
    quick: bool = False
    keep: bool = False
    engine: bool = True
    operator: bool = True
    client: Path | None = None  # the Databricks client; None is the stand-in
    hosts: Sequence[str] = ()  # that builds may reach beside package indexes


@dataclass
class Rehearsal:
    """Everything that is made for one rehearsal below `home`; `opened` makes and ends it."""

    home: Path
    working_copy: WorkingCopy
    aws: Account
    network: Network
    codebuild: CodeBuild
    api: PipelineApi
    credentials: Credentials
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        """The working copy's folder."""
        return self.working_copy.folder

    @property
    def pipeline(self) -> CodePipeline:
        """The stack's pipeline."""
        return self.api.pipeline

    @property
    def mails(self) -> list[Any]:
        """What went to the topics' subscribers, in order."""
        return self.aws.sns.mails

    @property
    def branch(self) -> str:
        """The branch that the pipeline deploys."""
        return self.pipeline.branch

    def put_secrets(self) -> None:
        """Sets every secret with the repository's own `make secrets`, from standard input."""
        text = (self.repository / "cicd/stack.yml").read_text(encoding="utf-8")
        values = self.credentials.values
        if not values:
            return
        names = sorted(values, key=lambda name: text.index(f"\n  {name}:"))  # as it asks for them
        lines = [f"{value}\n" for name in names for value in values[name].values()]
        result = self.make("secrets", stdin="".join(lines))
        if result.returncode:
            raise Unplayable(f"make secrets failed:\n{result.stdout}{result.stderr}")

    def deploy_cicd(self) -> None:
        """Puts cicd/ where the pipeline takes it from, packed by the repository's own code."""
        result = subprocess.run(
            [sys.executable, "-c", PACK],
            cwd=self.repository,
            env=self.working_copy.environment,
            capture_output=True,
        )
        if result.returncode:
            raise Unplayable(f"cicd/ could not be packed:\n{result.stderr.decode()}")
        label, _, body = result.stdout.partition(b"\n")
        name, digest = label.decode().split()
        bucket = self.aws.stack.ref("CicdBucket")
        s3 = self.aws.client("s3")
        s3.put_object(Bucket=bucket, Key="cicd.zip", Body=body, Metadata={name: digest})

    def make(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the repository's `make` as its operator would, against this account."""
        stack = self.aws.stack
        command = ["make", *arguments, f"STACK={stack.name}", f"REGION={stack.region}"]
        with group(
            command,
            cwd=self.repository,
            env=self.working_copy.environment | self.aws.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            output, errors = process.communicate(stdin)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def send(self, branch: str) -> list[object]:
        """Pushes what the working copy holds; returns what the push's event has started."""
        codecommit = self.aws.codecommit
        old = codecommit.head(branch)
        self.working_copy.push(branch)
        return codecommit.announce_push(branch, codecommit.head(branch), old)

    def push(self) -> Execution | None:
        """Pushes to the pipeline's branch; returns the execution that this starts."""
        return first(Execution, self.send(self.branch))

    def pull_request(self, branch: str) -> Build | None:
        """Pushes to a branch and opens a pull request of it; returns the build that this starts.

        A second time it is that pull request's next revision.
        """
        self.send(branch)
        started = self.aws.codecommit.announce_pull_request(branch, self.branch)
        return first(Build, started)

    def look_for_drift(self) -> Build | None:
        """Fires each rule that has a schedule; returns the build that it starts."""
        return first(Build, self.aws.bus.put_scheduled())


def first(kind: type[T], started: list[object]) -> T | None:
    """The first of a kind of what an event has started."""
    return next((item for item in started if isinstance(item, kind)), None)


def check_repository(path: Path) -> None:
    """Raises Unplayable for a folder that is no rendered repository."""
    for needed in (path / "cicd/stack.yml", path / "databricks.yml"):
        if not needed.is_file():
            raise Unplayable(f"{needed}: not there; is {path} a rendered repository?")
    for program in PROGRAMS:
        if not shutil.which(program):
            raise Unplayable(f"{program} is not on PATH; install it: a rehearsal needs it")


@contextlib.contextmanager
def opened(path: Path, say: Say = lambda _: None, **options: Any) -> Iterator[Rehearsal]:
    """Makes everything for a rehearsal of the repository at `path`, and removes it in the end.

    Raises Unplayable if the repository cannot be rehearsed. `say` is called with progress messages.
    """
    check_repository(path)
    chosen, started = Options(**options), time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="rehearsal-")).resolve()
    try:
        say("Copying the repository, starting the network and an AWS account on loopback")
        with undisturbed(), contextlib.ExitStack() as running:
            played = start(path, home, chosen, running)
            played.seconds["set-up"] = time.monotonic() - started
            yield played
    except Exception as error:
        if message := full(home):
            raise Unplayable(message) from error
        raise
    finally:
        if chosen.keep:
            say(f"Kept: {home}")
        else:
            remove(home)


def start(path: Path, home: Path, options: Options, running: contextlib.ExitStack) -> Rehearsal:
    """Starts everything; `running` ends it."""
    # A copy: what the rehearsal commits, installs and builds must not change the original.
    copy_repository(path, home / "repository")
    working_copy = WorkingCopy(home / "repository", home / "codecommit.git")
    working_copy.init()
    network = running.enter_context(Network(home, index_urls(working_copy.folder), options.hosts))
    working_copy.environment |= network.environment()
    locking = None  # in the background, as the account does not need it
    if options.operator:
        locking = running.enter_context(working_copy.locking())
    if options.engine:
        names = catalogs(working_copy.folder)
        env = os.environ | network.environment()
        running.enter_context(spark.start(home, options.quick, names, env))
    stack = read_stack(working_copy.folder, stack_name(path), options.region)
    account = running.enter_context(Account(stack, working_copy.remote))
    codebuild = CodeBuild(account, home / "builds", build_settings(home, network, options))
    api = serve_builds(account, codebuild)
    working_copy.set_default_branch(api.pipeline.branch)
    credentials = Credentials(stack)
    serve_databricks(home, network, credentials)
    program = client_program(home / DATABRICKS, options.client)
    network.hosts[releases_host(working_copy.folder)] = releases(program)
    if locking:
        locking.wait()
    played = Rehearsal(home, working_copy, account, network, codebuild, api, credentials)
    played.deploy_cicd()
    return played


def warm_client(module: str, *first: str) -> str:
    """A program that has a server do its work: the module's main, with these arguments first."""
    address = str(server(sys.executable, module))
    return CLIENT.format(python=sys.executable, root=str(ROOT), address=address, first=list(first))


def stack_name(path: Path) -> str:
    """The stack's name: the folder's, as far as CloudFormation takes it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", path.resolve().name).strip("-")[:LONGEST]
    return name if name[:1].isalpha() else f"stack-{name}".strip("-")


def read_stack(repository: Path, name: str, region: str) -> Stack:
    """The repository's stack, with the parameters that a team sets from its Databricks account."""
    stack = Stack(repository / "cicd/stack.yml", name, region)
    declared = stack.source.get("Parameters", {})
    stack.parameters = {key: new_id() for key in declared if key.endswith("ClientId")}
    return stack


def build_settings(home: Path, network: Network, options: Options) -> Settings:
    """What all builds have."""
    program = home / "aws"
    program.write_text(warm_client("rehearsal.machine.awscli"), encoding="utf-8")
    program.chmod(0o755)
    settings = Settings(program, network.environment() | cache_variables())
    if options.quick:  # as on a laptop without Java: what needs it skips and says so
        settings.overrides = {"CI": "", "JAVA_HOME": str(home / "no-java")}
    return settings


def serve_builds(account: Account, codebuild: CodeBuild) -> PipelineApi:
    """Lets the account answer for its builds and its pipeline."""
    account.front.serve("codebuild", codebuild_api.operations(codebuild))
    api = PipelineApi(CodePipeline(account, codebuild))
    account.front.serve("codepipeline", api.operations())
    return api


def serve_databricks(home: Path, network: Network, credentials: Credentials) -> None:
    """Answers for the workspaces that the builds name."""
    folder, hosts = home / DATABRICKS, credentials.identities()
    identities.declare(folder, hosts)
    for host in hosts:
        api = WorkspaceApi(folder, host, os.environ | network.environment() | cache_variables())
        network.hosts[str(urlsplit(host).hostname)] = api.respond


def client_program(workspaces: Path, client: Path | None) -> str:
    """What the builds install as the Databricks client."""
    if client is None:
        return warm_client("rehearsal.databricks.client", str(workspaces))
    return real_client.program(client, workspaces)


def catalogs(repository: Path) -> list[str]:
    """The Unity Catalog catalogs that the bundle's targets name as the variable `catalog`."""
    text = (repository / "databricks.yml").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"""(?m)^\s+catalog: ["']?([\w-]+)["']?\s*$""", text)))

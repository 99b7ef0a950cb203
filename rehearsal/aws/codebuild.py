"""Runs a project's build as CodeBuild does: the buildspec's phases in a fresh directory.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
"""

import contextlib
import glob
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import botocore.session
import yaml
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from filelock import FileLock

from rehearsal.aws.account import ACCOUNT, Aws, Denied
from rehearsal.aws.codebuild_api import ANSWERS

BIN = Path(sys.prefix, "bin")
SYSTEM = ["/usr/bin", "/bin"]
TOOLS = ("git", "make", "curl", "unzip", "java")  # what the image has, wherever it is here
PHASES = ("install", "pre_build", "build", "post_build")
REPORTING = ("CreateReportGroup", "CreateReport", "UpdateReport", "BatchPutTestCases")
STARTED_WITH = {"environmentVariablesOverride", "sourceVersion"}  # what StartBuild may say here
REGISTRY = re.compile(r"(PIP|UV)_\w+|SSL_CERT_DIR|LANG|LC_ALL|TZ")  # kept of the host's environment


IMAGE = Path(sys.prefix, "image")  # made by the first build, copied by all
BYTECODE = Path(sys.prefix, "bytecode")


def link(source: str, target: str) -> None:
    """Makes a file the same as another, as uv does: no copy where one file can have two names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def shared_bytecode(folder: Path, **environments: Path) -> dict[str, str]:
    """Lets Python keep what it compiles, for the next build's environments of these names.

    Python looks for bytecode by the path of its source, below a prefix in `folder`; links lead from
    there to BYTECODE. It takes none that was made of another source, by time and size.
    """
    prefix = folder / "bytecode"
    environments |= {"stdlib": Path(sysconfig.get_path("stdlib")), "tools": Path(sys.prefix)}
    for name, place in environments.items():
        (BYTECODE / name).mkdir(parents=True, exist_ok=True)
        at = prefix / place.relative_to("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(BYTECODE / name)
    return {"PYTHONPYCACHEPREFIX": str(prefix)}


class Failed(Exception):
    """Why a phase failed, in words for the operator."""


@dataclass
class Phase:
    """A phase of a build, in CodeBuild's own names."""

    name: str
    status: str = "IN_PROGRESS"
    seconds: float = 0.0
    message: str = ""


@dataclass
class Report:
    """A test report: its group, and its cases by outcome."""

    group: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0


@dataclass
class Build:
    """A build as it goes: phases, log, and what came of it."""

    id: str
    project: str
    role: str
    log: Path
    phases: list[Phase] = field(default_factory=list)
    status: str = "IN_PROGRESS"
    exported: dict[str, str] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)  # artifact's name -> key in the bucket
    stop: Callable[[], None] = lambda: None
    started: float = field(default_factory=time.time)

    @property
    def failure(self) -> str:
        """What the first failed phase says, with its name."""
        failed = [
            phase for phase in self.phases if phase.status not in ("SUCCEEDED", "IN_PROGRESS")
        ]
        return f"{failed[0].name}: {failed[0].message}" if failed else ""


class Shell:
    """One shell for all commands of a build, so that what one exports the next one sees."""

    def __init__(self, program: str, folder: Path, env: dict[str, str], say: Callable[[str], None]):
        self.fifo = folder.parent / "exit-codes"  # no descriptor for what a command leaves running
        self.fifo.unlink(missing_ok=True)
        os.mkfifo(self.fifo)
        self.answers = os.open(self.fifo, os.O_RDWR)  # for both, so that it never ends
        self.process = subprocess.Popen(
            [shutil.which(program) or program],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self.read, args=[say], daemon=True)
        self.reader.start()

    def read(self, say: Callable[[str], None]) -> None:
        """Hands on the output line by line."""
        for line in self.process.stdout:
            say(line.rstrip("\n"))

    def run(self, command: str) -> int:
        """Runs a command to its end; returns its exit code, the shell's own if that has ended."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        line = f"eval {quoted} </dev/null; echo $? >'{self.fifo}'\n"
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()
        while True:
            ended = self.process.poll() is not None
            if select.select([self.answers], [], [], 0.05)[0]:
                return int(os.read(self.answers, 16))
            if ended:
                return self.process.returncode or 1

    def end(self) -> None:
        """Ends the shell and whatever it left running, as the container's end does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(timeout=5)
        os.close(self.answers)


class CodeBuild:
    """Runs builds of an account's projects below `home`. `extra` goes into every environment.

    `client` is the image's `aws`.

    `watch(build)` is called whenever a build has changed, `tell(build, line)` for each line of log.
    """

    def __init__(self, aws: Aws, home: Path, extra: dict[str, str]) -> None:
        self.aws, self.home, self.extra = aws, home, extra
        self.client = BIN / "aws"
        self.overrides: dict[str, str] = {}
        self.watch: Callable[[Build], None] = lambda build: None
        self.tell: Callable[[Build, str], None] = lambda build, line: None
        self.builds: list[Build] = []
        aws.let_answer("codebuild", self, ANSWERS)

    def run(
        self,
        logical: str,
        variables: list[dict[str, str]],
        inputs: dict[str, tuple[str, str]],
        outputs: dict[str, tuple[str, str]],
        initiator: str,
        begun: Callable[[Build], None] = lambda build: None,
        version: str = "",
        spec: str = "",
    ) -> Build:
        """Runs a project's build to its end and returns it, failed or not.

        `inputs` and `outputs` are bucket and key by artifact name; the first input is the source.
        A project whose source is a repository takes its commit `version`; `spec` is a buildspec in
        place of the project's.
        """
        project = self.aws.of_type("CodeBuild::Project")[logical]
        name = self.aws.arn(logical).rpartition("/")[2]
        number = 1 + sum(build.project == name for build in self.builds)
        role = self.aws.logical("IAM::Role", project["ServiceRole"])
        folder = self.home / f"{name}-{number}"
        (folder / "src").mkdir(parents=True)
        build = Build(f"{name}:{number:08d}", name, role, folder / "build.log")
        self.builds.append(build)
        begun(build)
        started = _Running(self, build, project, folder)
        started.version = version or project.get("SourceVersion", "")
        started.named = spec or project["Source"].get("BuildSpec", "buildspec.yml")
        started.go(logical, variables, inputs, outputs, initiator, number)
        return build

    def start(self, target: dict[str, Any]) -> Build:
        """Runs the build that a rule's target names, as EventBridge starts it: with its role.

        https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html
        Raises Denied, and ValueError for an input that StartBuild would not take.
        """
        logical = self.aws.logical("CodeBuild::Project", target["Arn"])
        role = self.aws.logical("IAM::Role", target["RoleArn"])
        self.aws.assume(role, "events.amazonaws.com", self.aws.arn(target["Rule"]))
        self.aws.require(role, "codebuild:StartBuild", target["Arn"])
        given = target["Input"]
        given = json.loads(given) if isinstance(given, str) else given
        given = {} if "detail-type" in given else given  # of an event itself it takes nothing
        model = botocore.session.get_session().get_service_model("codebuild")
        shape = model.operation_model("StartBuild").input_shape
        report = ParamValidator().validate({"projectName": logical, **given}, shape)
        if report.has_errors() or set(given) - set(shape.members):
            raise ValueError(f"{target['Rule']}: StartBuild: {report.generate_report()} {given}")
        if unknown := set(given) - STARTED_WITH:
            raise NotImplementedError(f"{target['Rule']}: no {sorted(unknown)} in a rehearsal")
        variables = given.get("environmentVariablesOverride", [])
        initiator = f"rule/{self.aws.arn(target['Rule']).rpartition('/')[2]}"
        return self.run(
            logical, variables, {}, {}, initiator, version=given.get("sourceVersion", "")
        )


class _Running:
    """One build while it runs."""

    def __init__(self, service: CodeBuild, build: Build, project: dict, folder: Path) -> None:
        self.service, self.aws, self.build = service, service.aws, build
        self.project, self.folder, self.source = project, folder, folder / "src"
        self.secrets: set[str] = set()
        self.version = self.named = ""
        self.further: dict[str, str] = {}
        self.shell: Shell | None = None
        self.stopped = False
        self.spec: dict[str, Any] = {}
        self.log = build.log.open("w", encoding="utf-8")
        build.stop = self.stop

    def stop(self) -> None:
        """Stops the build in the middle, as `aws codebuild stop-build` does."""
        self.stopped = True
        if self.shell:
            self.shell.process.kill()

    def say(self, line: str) -> None:
        """Writes a line of log, secrets masked as CodeBuild masks them."""
        for secret in self.secrets:
            line = line.replace(secret, "***")
        self.log.write(line + "\n")
        self.log.flush()
        self.service.tell(self.build, line)

    def phase(self, name: str, work: Callable[[], None]) -> bool:
        """Does the work of a phase; returns whether it succeeded."""
        phase = Phase(name)
        self.build.phases.append(phase)
        self.service.watch(self.build)
        started = time.monotonic()
        try:
            work()
            phase.status = "SUCCEEDED"
        except Failed as failed:
            phase.status, phase.message = "FAILED", str(failed)
        except (Denied, ClientError) as refused:
            phase.status, phase.message = "FAILED", str(refused)
        if self.stopped:
            phase.status, phase.message = "STOPPED", "the build was stopped"
        phase.seconds = time.monotonic() - started
        if phase.message:
            self.say(f"Phase {name} {phase.status}: {phase.message}")
        self.service.watch(self.build)
        return phase.status == "SUCCEEDED"

    def go(self, logical, variables, inputs, outputs, initiator, number) -> None:
        """The whole build: source, phases with their rules, reports, artifacts, log."""
        arn = self.aws.arn(logical)
        env: dict[str, str] = {}

        def download() -> None:
            self.keys = self.aws.assume(self.build.role, "codebuild.amazonaws.com", arn)
            source = self.project["Source"]["Type"]
            if source not in ("CODEPIPELINE", "CODECOMMIT", "NO_SOURCE"):
                raise NotImplementedError(f"the rehearsal does not know the source {source}")
            if source == "CODECOMMIT":
                self.clone(self.project["Source"]["Location"])
            self.fetch(inputs)
            self.read_spec()
            env.update(self.environment(variables, initiator, number, arn))
            self.image()

        try:
            good = self.phase("DOWNLOAD_SOURCE", download)
            if good:
                good = self.phases(env)
        finally:
            if self.shell:
                self.shell.end()
        reached = any(phase.name == "BUILD" for phase in self.build.phases)
        if reached and not self.stopped:
            good = self.phase("UPLOAD_ARTIFACTS", lambda: self.upload(outputs)) and good
        self.log.close()
        self.ship_log()  # before the end is known, for whoever follows it reads it to its end
        if self.build.status == "IN_PROGRESS":
            self.build.status = "STOPPED" if self.stopped else "SUCCEEDED" if good else "FAILED"
        self.service.watch(self.build)

    def fetch(self, inputs: dict[str, tuple[str, str]]) -> None:
        """Downloads and unpacks the input artifacts, with the build's role."""
        s3 = self.aws.client("s3", self.keys)
        for position, (name, (bucket, key)) in enumerate(inputs.items()):
            content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            target = self.source if position == 0 else self.folder / f"src-{name}"
            self.further |= {f"CODEBUILD_SRC_DIR_{name}": str(target)} if position else {}
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for entry in archive.infolist():
                    path = Path(archive.extract(entry, target))
                    if mode := entry.external_attr >> 16 & 0o777:
                        path.chmod(mode)

    def clone(self, location: str) -> None:
        """Clones the repository at the commit or branch `version`, with the build's role."""
        repository = self.aws.logical("CodeCommit::Repository", location)
        self.aws.require(self.build.role, "codecommit:GitPull", self.aws.arn(repository))
        version = self.version or "HEAD"
        for command in (
            ["git", "clone", "--quiet", "--no-local", "--no-checkout", self.aws.repository, "."],
            ["git", "checkout", "--quiet", version, "--"],
            # What the build itself pulls or pushes needs AWS's address, and a credential.
            ["git", "remote", "set-url", "origin", location],
        ):
            done = subprocess.run(command, cwd=self.source, capture_output=True, text=True)
            if done.returncode:
                raise Failed(f"CLIENT_ERROR: {done.stderr.strip()} for source version {version}")
        head = ["git", "rev-parse", "HEAD"]
        commit = subprocess.run(head, cwd=self.source, capture_output=True, text=True, check=True)
        self.further |= {
            "CODEBUILD_RESOLVED_SOURCE_VERSION": commit.stdout.strip(),
            "CODEBUILD_SOURCE_REPO_URL": location,
            "CODEBUILD_SOURCE_VERSION": version,
        }

    def read_spec(self) -> None:
        """Reads the buildspec that the project names, or holds itself."""
        named = text = self.named
        if "\n" not in named:
            path = self.source / named
            if not path.is_file():
                raise Failed(f"YAML_FILE_ERROR: {named}: no such file in the source")
            text = path.read_text(encoding="utf-8")
        try:
            self.spec = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise Failed(f"YAML_FILE_ERROR: {named}: {' '.join(str(error).split())}") from None
        if not isinstance(self.spec, dict) or str(self.spec.get("version")) != "0.2":
            raise Failed(f"YAML_FILE_ERROR: {named}: the rehearsal knows version 0.2")
        unknown = set(self.spec) - {"version", "env", "phases", "reports", "artifacts", "cache"}
        if unknown or not self.spec.get("phases"):
            raise Failed(f"YAML_FILE_ERROR: {named}: no phases, or unknown keys: {sorted(unknown)}")

    def environment(self, variables, initiator: str, number: int, arn: str) -> dict[str, str]:
        """The build's environment, made anew: nothing of this machine's but registry settings."""
        spec = self.spec.get("env", {})
        given = [*self.project.get("Environment", {}).get("EnvironmentVariables", []), *variables]
        env = {key: value for key, value in os.environ.items() if REGISTRY.fullmatch(key)}
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()
        env |= {
            "PATH": os.pathsep.join([str(self.folder / "image/bin"), *SYSTEM]),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "BIN_DIR": str(self.folder / "image/bin"),
            "CODEBUILD_BUILD_ID": self.build.id,
            "CODEBUILD_BUILD_ARN": f"{arn.partition(':project/')[0]}:build/{self.build.id}",
            "CODEBUILD_BUILD_NUMBER": str(number),
            "CODEBUILD_BUILD_SUCCEEDING": "1",
            "CODEBUILD_INITIATOR": initiator,
            "CODEBUILD_SRC_DIR": str(self.source),
            "CODEBUILD_START_TIME": str(int(time.time() * 1000)),
            "AWS_ACCOUNT_ID": ACCOUNT,
        }
        env |= self.aws.environment(self.keys) | self.further | self.service.extra
        venvs = {"image": self.folder / "image", "project": self.source / ".venv"}
        env |= shared_bytecode(self.folder, **venvs)
        env |= {key: str(value) for key, value in spec.get("variables", {}).items()}
        given += [
            {"name": key, "value": value, "type": "SECRETS_MANAGER"}
            for key, value in spec.get("secrets-manager", {}).items()
        ]
        for one in given:
            name, value, kind = (
                one.get(key.lower()) or one.get(key) for key in ("Name", "Value", "Type")
            )
            if kind == "SECRETS_MANAGER":
                value = self.secret(name, str(value))
            elif kind not in (None, "PLAINTEXT"):
                raise Failed(f"{name}: the rehearsal does not know the type {kind}")
            env[name] = str(value)
        if unknown := set(spec) - {"shell", "variables", "secrets-manager", "exported-variables"}:
            raise Failed(f"the rehearsal does not know env: {sorted(unknown)}")
        return env | self.service.overrides

    def secret(self, variable: str, reference: str) -> str:
        """A secret's value by `id-or-arn:json-key:version-stage`, read with the build's role."""
        parts = reference.split(":")
        cut = 7 if reference.startswith("arn:") else 1
        identity, key = ":".join(parts[:cut]), (parts[cut:] or [""])[0]
        client = self.aws.client("secretsmanager", self.keys)
        try:
            text = client.get_secret_value(SecretId=identity)["SecretString"]
        except ClientError as error:
            raise Failed(f"Secrets Manager error for {variable}: {error}") from None
        try:
            value = json.loads(text)[key] if key else text
        except (ValueError, KeyError, TypeError):
            raise Failed(f"Secrets Manager: {variable}: {identity} has no key {key}") from None
        if value:
            self.secrets.add(value)
        return value

    def image(self) -> None:
        """What the build image has: a Python of its own with pip, the AWS client, a few tools."""
        image = self.folder / "image"
        with FileLock(f"{IMAGE}.lock"):
            if not IMAGE.is_dir():
                part = IMAGE.with_suffix(".part")
                venv = [BIN / "uv", "venv", "--quiet", "--clear", "--relocatable", "--seed"]
                subprocess.run([*venv, "--python", sys.executable, part], check=True)
                part.rename(IMAGE)
        shutil.copytree(IMAGE, image, symlinks=True, copy_function=link)
        (image / "bin/aws").symlink_to(self.service.client)
        for tool in TOOLS:
            found = shutil.which(tool)
            if found and str(Path(found).parent) not in SYSTEM:
                (image / "bin" / tool).symlink_to(found)

    def phases(self, env: dict[str, str]) -> bool:
        """The buildspec's phases: after a failure only post_build, and that only if build began."""
        unknown = set(self.spec["phases"]) - set(PHASES)
        program = self.spec.get("env", {}).get("shell", "sh")
        good = True
        for name in PHASES:
            phase = self.spec["phases"].get(name, {})
            reached = any(done.name == "BUILD" for done in self.build.phases)
            if self.stopped or not (good or (name == "post_build" and reached)):
                continue
            if self.shell is None or self.shell.process.poll() is not None:
                if self.shell:
                    self.shell.end()
                self.shell = Shell(program, self.source, env, self.say)
            if not good:
                self.shell.run("export CODEBUILD_BUILD_SUCCEEDING=0")

            def work(name: str = name, phase: dict = phase) -> None:
                if unknown:
                    raise Failed(f"YAML_FILE_ERROR: no such phase: {sorted(unknown)}")
                self.commands(name, phase)

            done = self.phase(name.upper(), work)
            how = phase.get("on-failure", "")
            good = good and (done or how == "CONTINUE")
            if how not in ("", "ABORT", "CONTINUE"):
                raise NotImplementedError(f"the rehearsal does not know on-failure: {how}")
            if not done and how == "ABORT":
                return False
            self.export(env)
        return good

    def commands(self, name: str, phase: dict[str, Any]) -> None:
        """Runs the commands of a phase, then its `finally`, whatever came of them."""
        ran = (self.execute(f"[{name}] Running", one) for one in phase.get("commands", []))
        wrong = next(filter(None, ran), "")  # the first failure is the last command
        for one in phase.get("finally", []):
            failed = self.execute(f"[{name}] Running finally", one)
            wrong = wrong or failed
        if wrong:
            raise Failed(wrong)

    def execute(self, announced: str, command: str) -> str:
        """Runs a command; returns how it failed, if it did."""
        self.say(f"{announced} command {command.strip()}")
        code = self.shell.run(command)
        first = command.strip().splitlines()[0]
        told = f"COMMAND_EXECUTION_ERROR: Error while executing command: {first}."
        return f"{told} Reason: exit status {code}" if code else ""

    def export(self, env: dict[str, str]) -> None:
        """Reads the exported variables from the shell, where it is still there."""
        names = self.spec.get("env", {}).get("exported-variables", [])
        if self.shell.process.poll() is not None:
            return
        told = self.folder / "exported"
        for name in names:
            self.shell.run(f"printf '%s' \"${{{name}-}}\" >'{told}'")
            self.build.exported[name] = told.read_text(encoding="utf-8")

    def upload(self, outputs: dict[str, tuple[str, str]]) -> None:
        """Reports first, then the output artifacts, with the build's role."""
        for name, report in self.spec.get("reports", {}).items():
            self.report(name, report)
        if not outputs or any(p.status != "SUCCEEDED" for p in self.build.phases[:-1]):
            return  # the action fails, and with it its artifacts
        told = self.spec.get("artifacts")
        if not told:
            raise Failed("the action has output artifacts, but the buildspec has no artifacts")
        several = told.get("secondary-artifacts", {})
        s3 = self.aws.client("s3", self.keys)
        for name, (bucket, key) in outputs.items():
            content = self.pack(several.get(name, told))
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            self.build.artifacts[name] = key

    def pack(self, told: dict[str, Any]) -> bytes:
        """A zip of the files that an artifacts section names."""
        base = self.source / told.get("base-directory", ".")

        def find(patterns: list[str]) -> set[str]:
            found = (
                name
                for pattern in patterns
                for name in glob.glob(pattern, root_dir=base, recursive=True, include_hidden=True)
            )
            return {name for name in found if (base / name).is_file()}

        names = find(told["files"]) - find(told.get("exclude-paths", []))
        if not names:
            raise Failed(f"CLIENT_ERROR: no matching artifact paths found: {told['files']}")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in sorted(names):
                flat = str(told.get("discard-paths", "no")).lower() in ("yes", "true")
                archive.write(base / name, Path(name).name if flat else name)
        return packed.getvalue()

    def report(self, name: str, told: dict[str, Any]) -> None:
        """Reads JUnit files into a report, if the role may write it."""
        group = name if name.startswith("arn:") else f"{self.build.project}-{name}"
        prefix = f"arn:aws:codebuild:{self.aws.region}:{ACCOUNT}:report-group/"
        base = self.source / told.get("base-directory", ".")
        files = [
            path
            for pattern in told["files"]
            for path in sorted(base.glob(pattern))
            if path.is_file()
        ]
        if not files:
            self.say(f"No files of the report {group}: {told['files']}")
            return
        for action in REPORTING:
            self.aws.require(self.build.role, f"codebuild:{action}", prefix + group)
        report = Report(group)
        for path in files:
            try:
                cases = list(ElementTree.parse(path).getroot().iter("testcase"))
            except ElementTree.ParseError as error:
                raise Failed(f"{path.name} is no JUnit XML: {error}") from None
            for case in cases:
                if case.find("failure") is not None or case.find("error") is not None:
                    report.failed.append(f"{case.get('classname')}.{case.get('name')}")
                elif case.find("skipped") is not None:
                    report.skipped += 1
                else:
                    report.passed += 1
        self.build.reports.append(report)

    def ship_log(self) -> None:
        """Puts the log into CloudWatch Logs, with the build's role."""
        group = self.project.get("LogsConfig", {}).get("CloudWatchLogs", {}).get("GroupName")
        if not group or not hasattr(self, "keys"):
            return
        logs, stream = self.aws.client("logs", self.keys), self.build.id.rpartition(":")[2]
        now = int(time.time() * 1000)
        lines = self.build.log.read_text(encoding="utf-8").splitlines()
        try:
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
            for start in range(0, len(lines), 5000):
                events = [
                    {"timestamp": now, "message": line or " "} for line in lines[start:][:5000]
                ]
                logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        except ClientError as error:
            self.build.status = "FAILED"
            self.build.phases.append(Phase("FINALIZING", "FAILED", 0.0, str(error)))

"""One build while it runs: its phases in their order, as CodeBuild takes them.

https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

import contextlib
import functools
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError

from rehearsal.aws.build import Context, Log, Phase, PhaseError
from rehearsal.aws.build_environment import environment, make_image
from rehearsal.aws.build_files import Buildspec, download, put_reports, read_buildspec, upload
from rehearsal.aws.errors import AwsError, Unsupported

PHASES = ("install", "pre_build", "build", "post_build")
Work = Callable[[], None]
Say = Callable[[str], None]


class Shell:
    """A running shell; `say` is called with each line of its output."""

    def __init__(self, program: str, folder: Path, env: dict[str, str], say: Say) -> None:
        # Exit codes come through a FIFO: no open descriptor for what a command leaves running.
        self.fifo = folder.parent / "exit-codes"
        self.fifo.unlink(missing_ok=True)
        os.mkfifo(self.fifo)
        self.exit_codes = os.open(self.fifo, os.O_RDWR)  # for both, so that it never ends
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
        # Reads until this process ends, killed or not; then nothing of the build goes on.
        self.guard = subprocess.Popen(
            ["sh", "-c", f"read _; kill -9 -{self.process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        output = self.process.stdout
        self.reader = threading.Thread(target=read, args=[output, say], daemon=True)
        self.reader.start()

    @property
    def ended(self) -> bool:
        """Whether the shell itself has ended."""
        return self.process.poll() is not None

    def run(self, command: str) -> int:
        """Runs a command to its end; returns its exit code, the shell's own if that has ended."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        line = f"eval {quoted} </dev/null; echo $? >'{self.fifo}'\n"
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()
        while True:
            ended = self.ended  # before the look at the FIFO: its last code may still come
            if select.select([self.exit_codes], [], [], 0.05)[0]:
                return int(os.read(self.exit_codes, 16))
            if ended:
                return self.process.returncode or 1

    def end(self) -> None:
        """Ends the shell and whatever it left running, as the container's end does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.guard.kill()
        self.guard.wait()
        self.reader.join(timeout=5)
        os.close(self.exit_codes)


def read(output: IO[str] | None, say: Say) -> None:
    """Passes the output on, line by line."""
    assert output
    for line in output:
        with contextlib.suppress(OSError):  # a full disk: the build must not wait for its reader
            say(line.rstrip("\n"))


class Commands:
    """The commands of one build, in one shell for as long as that lives."""

    def __init__(
        self, context: Context, spec: Buildspec, variables: dict[str, str], log: Log
    ) -> None:
        self.context, self.variables, self.log = context, variables, log
        section = spec.get("env", {})
        self.program: str = section.get("shell", "sh")
        self.exported: list[str] = section.get("exported-variables", [])
        self.unknown = sorted(set(spec["phases"]) - set(PHASES))
        self.shell = self.new_shell()

    def new_shell(self) -> Shell:
        """A shell in the source's folder."""
        return Shell(self.program, self.context.folder.source, self.variables, self.log.say)

    def prepare(self, good: bool) -> None:
        """Gets ready for a phase: where a command has ended the shell, with a new one."""
        if self.shell.ended:
            self.shell.end()
            self.shell = self.new_shell()
        if not good:
            self.shell.run("export CODEBUILD_BUILD_SUCCEEDING=0")

    def run_phase(self, name: str, section: dict[str, Any]) -> None:
        """Runs a phase's commands up to the first failure, then its `finally` in any case.

        Raises PhaseError with the first failure.
        """
        if self.unknown:
            raise PhaseError(f"YAML_FILE_ERROR: no such phase: {self.unknown}")
        failures = []
        for command in section.get("commands", []):
            failures.append(self.execute(f"[{name}] Running", command))
            if failures[-1]:
                break
        for command in section.get("finally", []):
            failures.append(self.execute(f"[{name}] Running finally", command))
        if message := next(filter(None, failures), ""):
            raise PhaseError(message)

    def execute(self, announcement: str, command: str) -> str:
        """Runs a command; returns how it failed, if it did."""
        self.log.say(f"{announcement} command {command.strip()}")
        code = self.shell.run(command)
        if code == 0:
            return ""
        first = command.strip().splitlines()[0]
        message = f"COMMAND_EXECUTION_ERROR: Error while executing command: {first}."
        return f"{message} Reason: exit status {code}"

    def export(self) -> None:
        """Reads the exported variables from the shell, where it is still there."""
        if self.shell.ended or not self.exported:
            return
        file = self.context.folder.root / "exported"
        values = " ".join(f'"${{{name}-}}"' for name in self.exported)
        self.shell.run(f"printf '%s\\0' {values} >'{file}'")
        texts = file.read_text(encoding="utf-8").split("\0")
        self.context.build.exported |= dict(zip(self.exported, texts, strict=False))


@dataclass
class Settings:
    """What all builds of a rehearsal have: the image's AWS client, and variables.

    `extra` comes before the buildspec's own variables, `overrides` after all others.
    """

    aws: Path
    extra: dict[str, str]
    overrides: dict[str, str] = field(default_factory=dict)


class Run:
    """Runs a build to its end. `watch` is called at each change of a phase."""

    def __init__(self, context: Context, settings: Settings, log: Log, watch: Work) -> None:
        self.context, self.settings, self.log, self.watch = context, settings, log, watch
        self.build = context.build
        self.build.stop = self.stop
        self.spec: Buildspec = {}
        self.commands: Commands | None = None  # once the sources are there
        self.stopped = False

    def stop(self) -> None:
        """Stops the build in the middle, as `aws codebuild stop-build` does."""
        self.stopped = True
        if self.commands:
            self.commands.shell.process.kill()  # `run` ends what it leaves

    def run(self) -> None:
        """The whole build: source, phases, reports, artifacts, log."""
        try:
            good = self.phase("DOWNLOAD_SOURCE", self.download) and self.run_phases()
        finally:
            if self.commands:
                self.commands.shell.end()
        if self.build.reached("BUILD") and not self.stopped:
            good = self.phase("UPLOAD_ARTIFACTS", self.upload) and good
        # Before the build ends: who follows the log reads it until then.
        good = self.ship_log() and good
        if self.stopped:
            self.build.status = "STOPPED"
        else:
            self.build.status = "SUCCEEDED" if good else "FAILED"
        self.watch()

    def phase(self, name: str, work: Work) -> bool:
        """Does the work of a phase; returns whether it succeeded."""
        phase = Phase(name)
        self.build.phases.append(phase)
        self.watch()
        started = time.monotonic()
        try:
            work()
            phase.status = "SUCCEEDED"
        except (PhaseError, AwsError, ClientError) as error:
            phase.status, phase.message = "FAILED", str(error)
        if self.stopped:
            phase.status, phase.message = "STOPPED", "the build was stopped"
        phase.seconds = time.monotonic() - started
        if phase.message:
            self.log.say(f"Phase {name} {phase.status}: {phase.message}")
        self.watch()
        return phase.status == "SUCCEEDED"

    def download(self) -> None:
        """Gets credentials and sources, and makes the container that the commands run in."""
        context = self.context
        context.credentials = context.account.assume(
            self.build.role, "codebuild.amazonaws.com", context.arn
        )
        download(context)
        self.spec = read_buildspec(context)
        variables = environment(context, self.spec, self.settings.extra)
        make_image(context.folder.image, self.settings.aws, self.settings.extra)
        variables |= self.settings.overrides  # last: no buildspec brings Java back with --quick
        self.commands = Commands(context, self.spec, variables, self.log)

    def run_phases(self) -> bool:
        """The buildspec's phases: after a failure only post_build, and that only if build began."""
        assert self.commands
        good = True  # whether the build has not failed so far
        for name in PHASES:
            section = self.spec["phases"].get(name, {})
            due = good or (name == "post_build" and self.build.reached("BUILD"))
            if self.stopped or not due:
                continue
            self.commands.prepare(good)
            work = functools.partial(self.commands.run_phase, name, section)
            succeeded = self.phase(name.upper(), work)
            on_failure = section.get("on-failure", "")
            if on_failure not in ("", "ABORT", "CONTINUE"):
                raise Unsupported(f"the rehearsal does not know on-failure: {on_failure}")
            if not succeeded and on_failure == "ABORT":
                return False
            good = good and (succeeded or on_failure == "CONTINUE")
            self.commands.export()
        return good

    def upload(self) -> None:
        """Reports first, then the output artifacts: those of a build that failed are not kept."""
        put_reports(self.context, self.spec, self.log)
        if all(phase.status == "SUCCEEDED" for phase in self.build.phases[:-1]):
            upload(self.context, self.spec)

    def ship_log(self) -> bool:
        """Ships the log; a role that may not write it fails the build."""
        try:
            self.log.ship()
        except ClientError as error:
            self.build.phases.append(Phase("FINALIZING", "FAILED", 0.0, str(error)))
            return False
        return True

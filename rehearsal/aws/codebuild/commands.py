"""Runs the commands of a build's phases.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

from typing import Any

from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.log import Log
from rehearsal.aws.codebuild.model import PhaseError
from rehearsal.aws.codebuild.shell import Shell
from rehearsal.aws.codebuild.source import Buildspec


class Commands:
    """The commands of one build, in one shell for as long as that lives."""

    def __init__(
        self, context: Context, spec: Buildspec, variables: dict[str, str], log: Log
    ) -> None:
        self.context, self.variables, self.log = context, variables, log
        section = spec.get("env", {})
        self.program: str = section.get("shell", "sh")
        self.exported: list[str] = section.get("exported-variables", [])
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

    def kill(self) -> None:
        """Ends the shell in the middle of a command."""
        self.shell.kill()

    def end(self) -> None:
        """Ends the shell and what it has left running."""
        self.shell.end()

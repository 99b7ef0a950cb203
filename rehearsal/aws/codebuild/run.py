"""One build while it runs: its phases in their order, as CodeBuild takes them.

https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.aws.codebuild import artifacts, reports, source
from rehearsal.aws.codebuild.commands import Commands
from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.environment import environment
from rehearsal.aws.codebuild.image import make_image
from rehearsal.aws.codebuild.log import Log
from rehearsal.aws.codebuild.model import Phase, PhaseError
from rehearsal.aws.codebuild.source import Buildspec
from rehearsal.aws.errors import AwsError, Unsupported

PHASES = ("install", "pre_build", "build", "post_build")
Work = Callable[[], None]


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
            self.commands.kill()

    def run(self) -> None:
        """The whole build: source, phases, reports, artifacts, log."""
        try:
            good = self.phase("DOWNLOAD_SOURCE", self.download) and self.run_phases()
        finally:
            if self.commands:
                self.commands.end()
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
        source.download(context)
        self.spec = source.read_buildspec(context)
        variables = environment(context, self.spec, self.settings.extra)
        make_image(context.folder.image, self.settings.aws)
        variables |= self.settings.overrides  # last: no buildspec brings Java back with --quick
        self.commands = Commands(context, self.spec, variables, self.log)

    def run_phases(self) -> bool:
        """The buildspec's phases: after a failure only post_build, and that only if build began."""
        assert self.commands
        unknown = sorted(set(self.spec["phases"]) - set(PHASES))
        good = True  # whether the build has not failed so far
        for name in PHASES:
            section = self.spec["phases"].get(name, {})
            due = good or (name == "post_build" and self.build.reached("BUILD"))
            if self.stopped or not due:
                continue
            self.commands.prepare(good)
            succeeded = self.phase(name.upper(), self.work(name, section, unknown))
            on_failure = section.get("on-failure", "")
            if on_failure not in ("", "ABORT", "CONTINUE"):
                raise Unsupported(f"the rehearsal does not know on-failure: {on_failure}")
            if not succeeded and on_failure == "ABORT":
                return False
            good = good and (succeeded or on_failure == "CONTINUE")
            self.commands.export()
        return good

    def work(self, name: str, section: dict[str, Any], unknown: list[str]) -> Work:
        """The work of one of the buildspec's phases."""
        assert self.commands
        commands = self.commands

        def run() -> None:
            if unknown:
                raise PhaseError(f"YAML_FILE_ERROR: no such phase: {unknown}")
            commands.run_phase(name, section)

        return run

    def upload(self) -> None:
        """Reports first, then the output artifacts: those of a build that failed are not kept."""
        reports.put_reports(self.context, self.spec, self.log)
        if all(phase.status == "SUCCEEDED" for phase in self.build.phases[:-1]):
            artifacts.upload(self.context, self.spec)

    def ship_log(self) -> bool:
        """Ships the log; a role that may not write it fails the build."""
        try:
            self.log.ship()
        except ClientError as error:
            self.build.phases.append(Phase("FINALIZING", "FAILED", 0.0, str(error)))
            return False
        return True

"""A build of CodeBuild: its request, phases, reports and artifacts, where it runs, and its log."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal.aws.account import Account
from rehearsal.aws.stack import Properties

PENDING = ("SUCCEEDED", "IN_PROGRESS")


class PhaseError(Exception):
    """Why a phase failed, in words for the operator."""


class Location(NamedTuple):
    """Where an artifact is."""

    bucket: str
    key: str

    @classmethod
    def of_source(cls, text: str) -> "Location":
        """The place that a source in S3 names as `bucket/key`."""
        bucket, _, key = text.partition("/")
        return cls(bucket, key)


@dataclass
class BuildRequest:
    """The request to start a build.

    `inputs` and `outputs` are by artifact name; the first input is the source. A project whose
    source is a repository takes its commit `version`; `buildspec` takes the place of the project's.
    """

    initiator: str
    variables: list[dict[str, str]] = field(default_factory=list)
    inputs: dict[str, Location] = field(default_factory=dict)
    outputs: dict[str, Location] = field(default_factory=dict)
    version: str = ""
    buildspec: str = ""


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
        failed = (phase for phase in self.phases if phase.status not in PENDING)
        return next((f"{phase.name}: {phase.message}" for phase in failed), "")

    @property
    def number(self) -> str:
        """The part of the ID that differs between a project's builds."""
        return self.id.rpartition(":")[2]

    def reached(self, phase: str) -> bool:
        """Whether a phase began."""
        return any(entry.name == phase for entry in self.phases)


class Folder:
    """A build's own folder, as a container's file system: HOME, temporary files, image, source.

    The commands run in `source`.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.source, self.home = root, root / "src", root / "home"
        self.tmp, self.image = root / "tmp", root / "image"

    def make(self) -> None:
        """Makes all but the image."""
        for folder in (self.source, self.home, self.tmp):
            folder.mkdir(parents=True)


@dataclass
class Context:
    """One build: where it runs, for which project, and as whom."""

    account: Account
    logical: str  # the project's ID in the stack
    request: BuildRequest
    build: Build
    folder: Folder
    credentials: dict[str, str] = field(default_factory=dict)  # the role's, from DOWNLOAD_SOURCE on
    variables: dict[str, str] = field(default_factory=dict)  # about the source
    secrets: set[str] = field(default_factory=set)  # what the log masks

    @property
    def project(self) -> Properties:
        """The project's properties."""
        return self.account.stack.properties(self.logical)

    @property
    def arn(self) -> str:
        """The project's ARN."""
        return self.account.stack.arn(self.logical)

    @property
    def build_arn(self) -> str:
        """The build's ARN."""
        return f"{self.arn.partition(':project/')[0]}:build/{self.build.id}"

    def client(self, service: str) -> Any:
        """A client with the build's role."""
        return self.account.client(service, self.credentials)


BATCH = 5000  # PutLogEvents takes 10,000 events, but no more than 1 MB


class Stream(NamedTuple):
    """Where a build's log is in CloudWatch Logs; without a group it goes nowhere."""

    group: str
    name: str


def stream_of(project: Properties, build: Build) -> Stream:
    """A project's StreamName, if it has one, is a prefix: <StreamName>/<build>."""
    settings = project.get("LogsConfig", {}).get("CloudWatchLogs", {})
    prefix = settings.get("StreamName")
    name = f"{prefix}/{build.number}" if prefix else build.number
    return Stream(settings.get("GroupName", ""), name)


class Log:
    """Writes the log; `tell` is called with each line."""

    def __init__(self, context: Context, tell: Callable[[str], None]) -> None:
        self.context, self.tell = context, tell
        self.file = context.build.log.open("w", encoding="utf-8")

    def say(self, line: str) -> None:
        """Writes a line, secrets masked as CodeBuild masks them: as they stand, not encoded."""
        for secret in self.context.secrets:
            line = line.replace(secret, "***")
        self.file.write(line + "\n")
        self.file.flush()
        self.tell(line)

    def ship(self) -> None:
        """Puts the log into CloudWatch Logs, with the build's role. Raises ClientError."""
        self.file.close()
        stream = stream_of(self.context.project, self.context.build)
        if not (stream.group and self.context.credentials):
            return
        logs, now = self.context.client("logs"), int(time.time() * 1000)
        place = {"logGroupName": stream.group, "logStreamName": stream.name}
        logs.create_log_stream(**place)
        lines = self.context.build.log.read_text(encoding="utf-8").splitlines()
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            events = [{"timestamp": now, "message": line or " "} for line in batch]
            logs.put_log_events(**place, logEvents=events)

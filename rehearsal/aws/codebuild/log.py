"""A build's log: written line by line, and put into CloudWatch Logs when the build has ended."""

import time
from collections.abc import Callable
from typing import NamedTuple

from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.model import Build
from rehearsal.aws.stack import Properties

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
    """Writes the log; `tell` hears each line."""

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

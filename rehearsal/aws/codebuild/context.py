"""What the parts of a running build share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.aws.account import Account
from rehearsal.aws.codebuild.model import Build, BuildRequest
from rehearsal.aws.stack import Properties


@dataclass(frozen=True)
class Folder:
    """A build's own folder: what a container's file system is in CodeBuild."""

    root: Path

    @property
    def source(self) -> Path:
        """The primary source, where the commands run."""
        return self.root / "src"

    @property
    def home(self) -> Path:
        """The build's HOME."""
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        """Where the build's temporary files go."""
        return self.root / "tmp"

    @property
    def image(self) -> Path:
        """What the build image has."""
        return self.root / "image"

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

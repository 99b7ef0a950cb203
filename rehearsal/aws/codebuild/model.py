"""What CodeBuild knows of a build: its request, phases, reports and artifacts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PENDING = ("SUCCEEDED", "IN_PROGRESS")


class PhaseError(Exception):
    """Why a phase failed, in words for the operator."""


class Location(NamedTuple):
    """Where an artifact is."""

    bucket: str
    key: str


@dataclass
class BuildRequest:
    """What whoever starts a build asks for.

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

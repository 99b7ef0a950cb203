"""An execution of a pipeline: its stages, actions, artifacts and variables; gates and approvals."""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rehearsal.aws.build import Build, Location
from rehearsal.aws.errors import AwsError
from rehearsal.aws.stack import Properties


class ActionFailed(Exception):
    """Why an action failed, in words for the operator."""


REVIEWER = "arn:aws:sts::123456789012:assumed-role/Team/Grace"  # whoever starts and approves


class Answer(NamedTuple):
    """The answer to an approval: Approved, Rejected or Expired, the reason, and whose it is."""

    status: str
    reason: str
    by: str = REVIEWER


class Trigger(NamedTuple):
    """What started an execution, in CodePipeline's words, and the ARN of who or what did."""

    kind: str = "StartPipelineExecution"
    by: str = REVIEWER


BY_HAND = Trigger()


@dataclass
class Action:
    """An action of an execution; `declared` is what the pipeline says of it."""

    name: str
    kind: str  # category and provider
    declared: Properties
    status: str = ""
    message: str = ""
    started: float = 0.0  # a time in seconds
    seconds: float = 0.0
    build: Build | None = None
    token: str = ""  # of an approval that waits
    answer: Answer | None = None
    configuration: dict[str, Any] = field(default_factory=dict)  # its variables filled in
    inputs: dict[str, Location] = field(default_factory=dict)
    outputs: dict[str, Location] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What an approval shows its reviewer."""
        return str(self.configuration.get("CustomData", ""))

    @property
    def link(self) -> str:
        """Where an approval leads its reviewer."""
        return str(self.configuration.get("ExternalEntityLink", ""))

    @property
    def namespace(self) -> str:
        """Where the action's output variables go."""
        return str(self.declared.get("Namespace", ""))

    @property
    def order(self) -> int:
        """Actions of a stage run by this number."""
        return int(self.declared.get("RunOrder", 1))

    @property
    def ended(self) -> float:
        """When the action last changed."""
        return self.started + self.seconds


@dataclass
class Stage:
    """A stage of an execution."""

    name: str
    actions: list[Action]
    status: str = ""


@dataclass
class Execution:
    """One run of the pipeline: its commit, stages, and the artifacts and variables so far.

    `rolls_back_to` is the execution whose artifacts and variables a rollback replays.
    """

    id: str
    commit: str
    stages: list[Stage]
    status: str = "InProgress"
    started: float = field(default_factory=time.time)
    trigger: Trigger = BY_HAND
    rolls_back_to: "Execution | None" = None
    artifacts: dict[str, Location] = field(default_factory=dict)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def stopped_in(self) -> Stage | None:
        """The stage that failed."""
        return next((stage for stage in self.stages if stage.status == "Failed"), None)

    @property
    def type(self) -> str:
        """STANDARD or ROLLBACK."""
        return "ROLLBACK" if self.rolls_back_to else "STANDARD"

    @property
    def changed(self) -> float:
        """When the execution last changed."""
        ends = [action.ended for stage in self.stages for action in stage.actions]
        return max([self.started, *ends])

    def passed(self, stage: str) -> bool:
        """Whether the execution succeeded in a stage."""
        return any(entry.name == stage and entry.status == "Succeeded" for entry in self.stages)


def kind(declared: Properties) -> str:
    """A declared action's category and provider."""
    return f"{declared['ActionTypeId']['Category']} {declared['ActionTypeId']['Provider']}"


def new_stage(declared: Properties) -> Stage:
    """A stage that has not run yet."""
    actions = [Action(action["Name"], kind(action), action) for action in declared["Actions"]]
    return Stage(declared["Name"], actions)


# Answers an approval; None leaves it to PutApprovalResult.
Decide = Callable[[Execution, Action], Answer | None]


def nobody(execution: Execution, action: Action) -> Answer:
    """The answer while nobody decides."""
    return Answer("Expired", "nobody answered")


class Approvals:
    """The approvals of one pipeline."""

    def __init__(self) -> None:
        self.decide: Decide = nobody
        self.answered = threading.Condition()

    def ask(self, execution: Execution, action: Action) -> Answer:
        """Waits for the answer to an approval."""
        # The token is what a client sees of a waiting approval, and what its answer must repeat.
        action.token, action.answer = str(uuid.uuid4()), None
        answer = self.decide(execution, action) or self.wait(action)
        action.token, action.answer = "", answer
        return answer

    def wait(self, action: Action) -> Answer:
        """What an operator answers through the API."""
        with self.answered:
            self.answered.wait_for(lambda: action.answer)
            assert action.answer
            return action.answer

    def put(self, actions: Sequence[Action], token: str, answer: Answer) -> None:
        """Answers the one of these approvals that has this token. Raises AwsError."""
        with self.answered:
            waiting = [action for action in actions if action.token and action.token == token]
            if not waiting:
                raise AwsError("InvalidApprovalTokenException")
            (action,) = waiting
            if action.answer:
                raise AwsError("ApprovalAlreadyCompletedException")
            action.answer = answer
            self.answered.notify_all()


class Gate:
    """One stage's door."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.inside: Execution | None = None
        self.waiting: Execution | None = None

    def enter(self, execution: Execution) -> bool:
        """Waits to enter; returns False where a newer execution came instead."""
        with self.condition:
            if self.inside is not None:
                self.waiting = execution
                self.condition.notify_all()
                self.condition.wait_for(
                    lambda: self.inside is None or self.waiting is not execution
                )
                if self.waiting is not execution:
                    return False
                self.waiting = None
            self.inside = execution
            return True

    def leave(self) -> None:
        """Lets the waiting execution in."""
        with self.condition:
            self.inside = None
            self.condition.notify_all()

"""The event bus: events, the rules that they match, and the targets that the rules start.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
Every event of the rehearsal comes through here: pushes, pull requests, failed stages, ended builds,
and the hour of a schedule.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from moto.events.models import EventPattern
from moto.events.utils import EventMessageType, EventTemplateParser

from rehearsal.aws.errors import Unsupported
from rehearsal.aws.iam import Authorizer
from rehearsal.aws.stack import ACCOUNT, Properties, Stack

Event = dict[str, Any]
# What a target may say: the last two are about deliveries that fail, which none does here.
TARGET = {"Id", "Arn", "RoleArn", "Input", "InputTransformer", "RetryPolicy", "DeadLetterConfig"}


@dataclass(frozen=True)
class Message:
    """What a rule sends to a target: the rule's logical ID and ARN, the target's ARN, the input."""

    rule: str
    rule_arn: str
    target: str
    input: Any


# Starts what a target names; what it returns is handed back to whoever put the event.
Receiver = Callable[[Message], object]


@dataclass(frozen=True)
class Connection:
    """How a service takes messages: what starts it, and which right the rule's role needs."""

    receive: Receiver
    action: str


@dataclass
class Record:
    """One event that was put on the bus, and the rules that it matched."""

    detail_type: str
    rules: list[str] = field(default_factory=list)


class EventBus:
    """The account's default bus. `history` has every event in order."""

    def __init__(self, stack: Stack, authorizer: Authorizer) -> None:
        self.stack, self.authorizer = stack, authorizer
        self.connections: dict[str, Connection] = {}
        self.history: list[Record] = []

    def connect(self, service: str, receive: Receiver, action: str = "") -> None:
        """Lets rules start a service's resources. Without an action the target decides itself."""
        self.connections[service] = Connection(receive, action)

    def put(self, source: str, detail_type: str, detail: Event, resource: str) -> list[object]:
        """Puts an event on the bus; returns what the targets of its rules have started."""
        event = self.event(source, detail_type, detail, resource)
        record = Record(detail_type)
        self.history.append(record)  # before the targets run: they put events of their own
        # All rules are matched before the first target runs, as each sees the same event.
        rules = {name: rule for name, rule in self.rules() if matches(rule, event)}
        record.rules += rules
        return [
            self.deliver(name, target, event)
            for name, rule in rules.items()
            for target in rule["Targets"]
        ]

    def put_scheduled(self) -> list[object]:
        """Fires every rule that has a schedule; returns what they have started."""
        return [
            self.deliver(name, target, self.scheduled_event(name))
            for name, rule in self.rules()
            if "ScheduleExpression" in rule
            for target in rule["Targets"]
        ]

    def rules(self) -> Iterator[tuple[str, Properties]]:
        """The rules that are enabled. Raises Unsupported for one that this bus cannot play."""
        for name, rule in self.stack.of_type("Events::Rule").items():
            if rule.get("State", "ENABLED") != "ENABLED":
                continue
            if rule.get("EventBusName", "default") != "default":
                raise Unsupported(f"{name}: the rehearsal has the default event bus only")
            if not rule.keys() & {"EventPattern", "ScheduleExpression"}:
                raise Unsupported(f"{name}: a rule without EventPattern or ScheduleExpression")
            yield name, rule

    def deliver(self, rule: str, target: Properties, event: Event) -> object:
        """Hands an event to a target, with the rule's role. Raises Unsupported and AwsError."""
        service = target["Arn"].split(":")[2]
        if unknown := target.keys() - TARGET:
            raise Unsupported(f"{rule}: the rehearsal knows no {sorted(unknown)} of a target")
        if service not in self.connections:
            raise Unsupported(f"{rule}: the rehearsal has no target {target['Arn']}")
        connection, arn = self.connections[service], self.stack.arn(rule)
        if connection.action:
            role = self.stack.logical("IAM::Role", target["RoleArn"])
            self.authorizer.require_trust(role, "events.amazonaws.com", arn)
            self.authorizer.require(role, connection.action, target["Arn"])
        return connection.receive(Message(rule, arn, target["Arn"], target_input(target, event)))

    def event(self, source: str, detail_type: str, detail: Event, resource: str) -> Event:
        """An event with everything that EventBridge adds."""
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "region": self.stack.region,
            "resources": [resource],
            "detail": detail,
        }

    def scheduled_event(self, rule: str) -> Event:
        """The event of a schedule's hour."""
        return self.event("aws.events", "Scheduled Event", {}, self.stack.arn(rule))


def matches(rule: Properties, event: Event) -> bool:
    """Whether an event matches a rule's pattern; a rule with a schedule only matches none."""
    if "EventPattern" not in rule:
        return False
    pattern = EventPattern.load(json.dumps(rule["EventPattern"]))
    return bool(pattern.matches_event(cast(EventMessageType, event)))


def target_input(target: Properties, event: Event) -> Any:
    """What a target receives: its constant input, the transformed event, or the event."""
    if "Input" in target:
        return json.loads(target["Input"])
    if "InputTransformer" in target:
        return transform(target["InputTransformer"], event)
    return event


def transform(transformer: Properties, event: Event) -> Any:
    """What an input transformer makes of an event, by moto's own parser.

    In EventBridge a string stands in quotes where the template has none around it; moto puts the
    bare text in, so the quotes are added to the template first.
    """
    template = re.sub(
        r"(?<=[:\[,])(\s*)<([^>]+)>(?=\s*[,}\]])", r'\1"<\2>"', transformer["InputTemplate"]
    )
    stamped = cast(EventMessageType, {**event, "ingestion-time": 0.0})
    return EventTemplateParser.parse(template, transformer.get("InputPathsMap", {}), stamped)

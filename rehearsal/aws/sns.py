"""The topics: what is published is a mail to their subscribers. It is kept, not sent."""

import uuid
from collections.abc import Mapping
from typing import Any

from rehearsal.aws.events import EventBus, Message
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.stack import Stack


class Sns:
    """`mails` has every message in the order in which it came, whoever sent it."""

    def __init__(self, stack: Stack, bus: EventBus) -> None:
        self.stack = stack
        self.mails: list[Any] = []
        bus.connect("sns", self.receive)

    def publish(self, request: Request) -> Shape:
        """https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""
        self.stack.logical("SNS::Topic", request.parameters["TopicArn"])  # or it is refused
        subject, message = request.parameters.get("Subject"), request.parameters["Message"]
        self.mails.append("\n\n".join(filter(None, [subject, message])))
        return {"MessageId": uuid.uuid4()}

    def receive(self, message: Message) -> None:
        """Takes what a rule sends to a topic."""
        self.stack.logical("SNS::Topic", message.target)
        self.mails.append(message.input)

    def operations(self) -> Mapping[str, Operation]:
        """What is answered here."""
        return {"Publish": self.publish}

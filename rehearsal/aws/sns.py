"""The topics: what is published is a mail to their subscribers. It is kept, not sent."""

import uuid
from collections.abc import Mapping
from typing import Any

from rehearsal.aws.errors import AwsError
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
        self.require_topic(request.parameters["TopicArn"])
        subject, message = request.parameters.get("Subject"), request.parameters["Message"]
        self.mails.append("\n\n".join(filter(None, [subject, message])))
        return {"MessageId": uuid.uuid4()}

    def receive(self, message: Message) -> None:
        """Takes what a rule sends to a topic."""
        self.require_topic(message.target)
        self.mails.append(message.input)

    def require_topic(self, arn: str) -> None:
        """Raises AwsError for a topic that is not the stack's."""
        try:
            self.stack.logical("SNS::Topic", arn)
        except KeyError:
            raise AwsError("NotFound", f"Topic does not exist: {arn}", 404) from None

    def operations(self) -> Mapping[str, Operation]:
        """What is answered here."""
        return {"Publish": self.publish}

"""Approvals: who is asked, and how the answer arrives.

https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PutApprovalResult.html
"""

import threading
import uuid
from collections.abc import Callable, Sequence

from rehearsal.aws.codepipeline.model import Action, Answer, Execution
from rehearsal.aws.errors import AwsError

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
        action.token = ""
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

"""A stage's door: one execution inside, one that waits; a newer one takes the place of that.

https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html#how-it-works-stages
"""

import threading

from rehearsal.aws.codepipeline.model import Execution


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

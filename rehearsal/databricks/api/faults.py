"""The deployments that a test wants to fail half-way (see `Storage.fault`)."""

import os
import signal
from collections import Counter

from rehearsal.databricks.api.protocol import ApiError, Request
from rehearsal.databricks.calls import DEPLOY
from rehearsal.databricks.workspace import Storage

NO_RESOURCE = ("/api/2.0/workspace", "/telemetry-ext")  # files and reports


class Faults:
    """Counts what each deployment has changed, and ends it after so many changes."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()

    def check(self, storage: Storage, request: Request) -> None:
        """Raises ApiError for a change that is to fail; ends the client that is to be killed."""
        if request.method == "GET" or request.note.command != DEPLOY:
            return
        fault, number = storage.fault("deploy"), request.note.number
        is_due = bool(fault) and self.changes[number] >= fault.get("after", 0)
        if is_due and fault.get("killed"):
            os.kill(request.note.process, signal.SIGKILL)
        if request.path.startswith(NO_RESOURCE):
            return
        if is_due:
            raise ApiError(400, "INVALID_STATE", fault["message"])
        self.changes[number] += 1

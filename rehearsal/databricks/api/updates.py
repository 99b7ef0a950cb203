"""The API's updates of declarative pipelines.

docs.databricks.com/api/workspace/pipelines/startupdate
"""

import threading
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from rehearsal.databricks.api import pipelines
from rehearsal.databricks.api.protocol import Reply, Request, Routes, missing
from rehearsal.databricks.compute import Compute, Outcome
from rehearsal.databricks.workspace import Json, Workspace


@dataclass
class Update:
    """An update of a pipeline; `outcome` is what came of it, once it is over."""

    id_: str
    outcome: Outcome | None = None

    @property
    def state(self) -> str:
        """The state as the API names it."""
        if self.outcome is None:
            return "RUNNING"
        return "COMPLETED" if self.outcome.ok else "FAILED"

    @property
    def events(self) -> list[Json]:
        """What is to be read of it."""
        if self.outcome is None:
            return []
        event: Json = {
            "event_type": "update_progress",
            "level": "INFO" if self.outcome.ok else "ERROR",
            "message": f"Update is {self.state}.",
            "origin": {"update_id": self.id_},
        }
        if not self.outcome.ok:
            event["error"] = {"exceptions": [{"message": self.outcome.error}]}
        return [event]


class Updates:
    """The updates of one workspace's pipelines, each in a thread of its own."""

    def __init__(self, compute: Callable[[Workspace], Compute]) -> None:
        self.compute = compute
        self.updates: dict[str, Update] = {}

    def routes(self) -> Routes:
        """The operations on them."""
        pipeline = "/api/2.0/pipelines/{id}"
        return {
            f"POST {pipeline}/updates": self.start,
            f"GET {pipeline}/updates/{{update}}": self.get,
            f"GET {pipeline}/events": self.events,
        }

    def start(self, workspace: Workspace, request: Request) -> Reply:
        """Starts an update."""
        spec = pipelines.found(workspace, request.fields["id"])
        update = Update(str(uuid.uuid4()))
        self.updates[update.id_] = update
        arguments = (workspace, update, spec)
        threading.Thread(target=self.play, args=arguments, daemon=True).start()
        return {"update_id": update.id_}

    def play(self, workspace: Workspace, update: Update, spec: Json) -> None:
        """Updates a pipeline's datasets."""
        try:
            outcome = self.compute(workspace).pipeline(spec)
        except Exception as error:  # else the client would wait for ever
            trace = traceback.format_exc()
            outcome = Outcome(False, "", f"the rehearsal itself has failed: {error!r}\n{trace}")
        word = "succeeded" if outcome.ok else "failed"
        workspace.record("bundle run", f"{spec.get('name', '')}: {word}")
        update.outcome = outcome

    def get(self, workspace: Workspace, request: Request) -> Reply:
        """Answers with an update."""
        id_ = request.fields["update"]
        if id_ not in self.updates:
            raise missing(f"The specified update {id_} was not found.")
        return {"update": {"update_id": id_, "state": self.updates[id_].state}}

    def events(self, workspace: Workspace, request: Request) -> Reply:
        """Lists the events of the updates that the request's filter names."""
        wanted = request.query.get("filter", "")
        found = [update for id_, update in self.updates.items() if id_ in wanted]
        return {"events": [event for update in found for event in update.events]}

"""Answers every request to a workspace."""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from rehearsal.databricks.api import (
    clusters,
    dashboards,
    files,
    jobs,
    mlflow,
    objects,
    permissions,
    pipelines,
    secrets,
    sign_in,
)
from rehearsal.databricks.api.faults import Faults
from rehearsal.databricks.api.protocol import ApiError, Given, Operation, Reply, Request, Routes
from rehearsal.databricks.api.runs import Runs
from rehearsal.databricks.api.updates import Updates
from rehearsal.databricks.calls import DEPLOY, DESTROY, PLAN, SIGN_IN
from rehearsal.databricks.compute import Compute
from rehearsal.databricks.errors import Refused
from rehearsal.databricks.real_client import noted
from rehearsal.databricks.workspace import Json, Storage, Workspace

FIELD = re.compile(r"\{(\w+)(\*?)\}")
PARTS = (
    clusters,
    dashboards,
    files,
    jobs,
    mlflow,
    objects,
    permissions,
    pipelines,
    secrets,
    sign_in,
)
TELEMETRY = "POST /telemetry-ext"


def pattern(route: str) -> re.Pattern[str]:
    """What the method and the path of a route's requests look like."""
    parts = re.split(r"(\{\w+\*?\})", route)
    return re.compile("".join(map(part_pattern, parts)))


def part_pattern(part: str) -> str:
    """The pattern of a part of a route."""
    field = FIELD.fullmatch(part)
    if not field:
        return re.escape(part)
    return f"(?P<{field[1]}>{'.+' if field[2] else '[^/]+'})"


class WorkspaceApi:
    """The API of the workspace of one host. Its state is kept in `home`, as the stand-in's is."""

    def __init__(self, home: Path, host: str, environment: Mapping[str, str]) -> None:
        self.home, self.host, self.environment = home, host, environment
        self.faults = Faults()
        self.signed_in: set[str] = set()  # the numbers of the client's calls
        self.recorded: set[str] = set()
        self.lock = threading.RLock()
        routes: Routes = {TELEMETRY: no_telemetry} | Runs(self.compute).routes()
        routes |= Updates(self.compute).routes()
        for part in PARTS:
            routes |= part.ROUTES
        self.routes = [(pattern(route), operation) for route, operation in routes.items()]

    def compute(self, workspace: Workspace) -> Compute:
        """What runs the workspace's jobs: the engine is kept beside the workspaces."""
        return Compute(self.home.parent, workspace.files.root, self.environment)

    def respond(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises Unreachable."""
        status, reply = self.answer(method, target, headers, body)
        return status, reply if isinstance(reply, bytes) else json.dumps(reply).encode()

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Reply]:
        """Status and answer. Raises Unreachable."""
        parts = urlsplit(target)
        lower = {name.lower(): value for name, value in headers.items()}
        query = Given(parse_qsl(parts.query, keep_blank_values=True))
        note = noted(self.home, lower)
        request = Request(method, parts.path, query, lower, body, note)
        storage = Storage(self.home, self.host, note.build)
        try:
            with self.lock:  # the client asks for several things at once
                if reply := sign_in.public(storage, request):
                    return reply
                user = sign_in.signed_in(storage, lower)
        except Refused as refused:
            return refused.status, {"error_code": str(refused.status), "message": str(refused)}
        try:
            return 200, self.operate(storage, user, request)
        except ApiError as error:
            return error.status, error.body

    def operate(self, storage: Storage, user: str, request: Request) -> Reply:
        """What the operation that a request names answers. Raises ApiError."""
        operation, fields = self.operation(f"{request.method} {request.path}")
        with self.lock:
            workspace = Workspace(storage, user)
            self.note(workspace, request)
            self.faults.check(storage, request)
            try:
                return operation(workspace, replace(request, fields=fields))
            except ApiError:
                raise
            except Exception as error:  # a fault of ours is not to look like the network's
                message = f"the rehearsal itself has failed: {error!r}"
                raise ApiError(500, "REHEARSAL_FAILED", message) from error

    def note(self, workspace: Workspace, request: Request) -> None:
        """Records each of the client's calls once: the sign-in, a plan, and what changes something.

        A deployment counts from its first change on, whatever becomes of it.
        """
        note = request.note
        if not note.number or note.number not in self.signed_in:
            self.signed_in.add(note.number)
            workspace.record(SIGN_IN, "HTTP")
        changes = request.method != "GET" and f"{request.method} {request.path}" != TELEMETRY
        is_due = note.command == PLAN or (note.command in (DEPLOY, DESTROY) and changes)
        if is_due and note.number not in self.recorded:
            self.recorded.add(note.number)
            workspace.record(note.command, note.what)

    def operation(self, call: str) -> tuple[Operation, dict[str, str]]:
        """The operation of a method and a path, and the fields of the path. Raises ApiError."""
        for route, operation in self.routes:
            if match := route.fullmatch(call):
                return operation, {name: unquote(text) for name, text in match.groupdict().items()}
        message = f"the rehearsal's workspace does not know {call}; yours may"
        raise ApiError(501, "NOT_IN_THIS_REHEARSAL", message)


def no_telemetry(workspace: Workspace, request: Request) -> Json:
    """Takes what the client reports of itself, and keeps nothing of it."""
    return {"errors": [], "numProtoSuccess": len(request.json.get("protoLogs", []))}

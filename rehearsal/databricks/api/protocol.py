"""A request to a workspace, its answer, and its errors.

docs.databricks.com/api/workspace/introduction
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rehearsal.databricks import rules
from rehearsal.databricks.real_client import Note
from rehearsal.databricks.workspace import Json, Workspace

NO_SUCH = "RESOURCE_DOES_NOT_EXIST"


class ApiError(Exception):
    """What a workspace answers instead: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def body(self) -> Json:
        """The error as the API shows it."""
        return {"error_code": self.code, "message": str(self)}


def missing(message: str) -> ApiError:
    """The error for something that is not there."""
    return ApiError(404, NO_SUCH, message)


class Given(dict[str, Any]):
    """The fields of a request; one that is missing is the client's error."""

    def __missing__(self, name: str) -> Any:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"'{name}' is missing")


def accepted(kind: str, settings: Json) -> Json:
    """A resource's settings. Raises ApiError for those that the service refuses."""
    if problem := rules.problem(kind, settings):
        raise ApiError(400, "INVALID_PARAMETER_VALUE", problem)
    return settings


def found(workspace: Workspace, kind: str, id_: str, message: str) -> Json:
    """The settings of a resource. Raises ApiError with this message if there is none."""
    settings = workspace.resources.get(kind, id_)
    if settings is None:
        raise missing(message)
    return settings


@dataclass(frozen=True)
class Request:
    """An HTTP request.

    `fields` are the parts of the path that its route names, `note` is of the client's call.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    note: Note
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Json:
        """The body. Raises ApiError if it is no JSON object."""
        try:
            return Given(json.loads(self.body or b"{}"))
        except (TypeError, ValueError) as error:
            raise ApiError(400, "MALFORMED_REQUEST", f"no JSON object: {error}") from None


Reply = Json | bytes
Operation = Callable[[Workspace, Request], Reply]
# By method and path; `{name}` is a part of the path, `{name*}` is the rest of it.
Routes = dict[str, Operation]

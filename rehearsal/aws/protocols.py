"""Reads requests and writes answers in AWS's protocols: JSON, query and, for S3, REST with XML.

https://smithy.io/2.0/aws/protocols/index.html
"""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from moto.s3.responses import ACTION_MAP

from rehearsal.aws.errors import AwsError

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Shape = dict[str, Any]

# The services that a build or an operator asks and that do not speak JSON.
QUERY = frozenset({"cloudformation", "iam", "sns", "sts"})
REST_XML = frozenset({"s3"})
CREDENTIAL = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")


@dataclass(frozen=True)
class Request:
    """One call of an API; `role` is the caller's logical ID, None for the operator."""

    service: str
    operation: str
    parameters: Shape
    role: str | None = None

    @property
    def action(self) -> str:
        """The action as policies name it."""
        return f"{self.service}:{self.operation}"


def signer(environ: Environ) -> tuple[str, str] | None:
    """The access key and the service that a request is signed for; None without a signature."""
    match = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    return (match[1], match[2]) if match else None


def read(environ: Environ, service: str, role: str | None) -> Request:
    """A request, whichever of AWS's protocols it uses."""
    if service in REST_XML:
        return Request(service, *read_rest(environ), role)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)  # for moto
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return Request(service, target.rpartition(".")[2], json.loads(body or b"{}"), role)
    parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return Request(service, parameters.get("Action", ""), parameters, role)


def read_rest(environ: Environ) -> tuple[str, Shape]:
    """Operation, bucket and key of a request to S3. Its body may be large and stays unread."""
    bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
    actions = ACTION_MAP["KEY" if key else "BUCKET"][environ["REQUEST_METHOD"]]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    named = (actions[name] for name in actions if name in query)
    operation = next(named, actions.get("DEFAULT")) or environ["REQUEST_METHOD"]
    return operation, {"Bucket": bucket, "Key": key}


def answer(request: Request, result: Shape, start: StartResponse) -> list[bytes]:
    """Sends an operation's result."""
    if request.service in QUERY:
        name = request.operation
        text = as_xml(f"{name}Response", {f"{name}Result": result})
        return send(start, 200, "text/xml", text)
    return send(start, 200, "application/x-amz-json-1.1", json.dumps(result))


def refuse(service: str, error: AwsError, start: StartResponse) -> list[bytes]:
    """Sends an error."""
    body = {"Code": error.code, "Message": error.message}
    if service in REST_XML:
        return send(start, error.status, "application/xml", as_xml("Error", body))
    if service in QUERY:
        text = as_xml("ErrorResponse", {"Error": {"Type": "Sender", **body}})
        return send(start, error.status, "text/xml", text)
    # Services with JSON call it an exception, and answer every error of the caller with 400.
    code = "AccessDeniedException" if error.code == "AccessDenied" else error.code
    text = json.dumps({"__type": code, "message": error.message})
    return send(start, 400, "application/x-amz-json-1.1", text)


def as_xml(name: str, value: Any) -> str:
    """An element of AWS's query protocol: a list is a sequence of <member>."""
    if isinstance(value, dict):
        inner = "".join(as_xml(key, item) for key, item in value.items())
    elif isinstance(value, list):
        inner = "".join(as_xml("member", item) for item in value)
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def send(start: StartResponse, status: int, kind: str, text: str) -> list[bytes]:
    """Sends a response."""
    body = text.encode()
    start(f"{status} .", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]

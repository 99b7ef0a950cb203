"""The front before moto: decides on each call of a role, and answers what moto lacks."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rehearsal.aws import protocols, rights
from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.errors import AwsError
from rehearsal.aws.protocols import Environ, Request, Shape, StartResponse

# Answers one operation of a service. What it raises as AwsError is the answer, too.
Operation = Callable[[Request], Shape]


class Front:
    """A WSGI application: every request to the account comes here first."""

    def __init__(self, authorizer: Authorizer, facts: rights.Facts, moto: Any, person: str) -> None:
        self.authorizer, self.facts, self.moto = authorizer, facts, moto
        self.person = person  # the operator's access key: no policy restricts the operator
        self.roles: dict[str, str] = {}  # access key -> logical ID
        self.operations: dict[str, Mapping[str, Operation]] = {}  # by service and name

    def serve(self, service: str, operations: Mapping[str, Operation]) -> None:
        """Answers a service's operations in moto's place; moto answers the others."""
        self.operations[service] = operations

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Decides, then answers or hands on to moto."""
        signer = protocols.signer(environ)
        if signer is None:
            return self.to_moto(environ, start)
        key, service = signer
        try:
            request = protocols.read(environ, service, self.role(key))
            self.decide(request)
            operation = self.operations.get(service, {}).get(request.operation)
            if operation is None:
                return self.to_moto(environ, start)
            return protocols.answer(request, operation(request), start)
        except AwsError as error:
            return protocols.refuse(service, error, start)

    def role(self, key: str) -> str | None:
        """The role that has an access key; None for the operator."""
        if key != self.person and key not in self.roles:
            raise AwsError("InvalidClientTokenId", "the security token is invalid", 403)
        return self.roles.get(key)

    def decide(self, request: Request) -> None:
        """Raises AwsError where a role lacks a right that the request needs."""
        if request.role is None:
            return
        for right in rights.required(request, self.facts):
            self.authorizer.require(request.role, right.action, right.resource, **right.context)

    def to_moto(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """What moto answers."""
        response: Iterable[bytes] = self.moto(environ, start)
        return response

"""The front before moto: decides on each call of a role, and answers what moto lacks.

A request needs rights: its action on its resource, and the key that encrypts that.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.aws import protocols
from rehearsal.aws.errors import AwsError, access_denied
from rehearsal.aws.iam import Authorizer
from rehearsal.aws.protocols import Environ, Request, Shape, StartResponse
from rehearsal.aws.stack import Stack

# Which buckets have which objects: bucket, key -> whether it is there.
HasObject = Callable[[str, str], bool]


@dataclass(frozen=True)
class Right:
    """What a role must be allowed to do, with the values of the condition keys."""

    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What decides which rights a request needs."""

    stack: Stack
    has_object: HasObject


Rights = Callable[[Request, Facts], Iterator[Right]]


def s3(request: Request, facts: Facts) -> Iterator[Right]:
    """An object's rights include those on the bucket's key."""
    bucket, key = request.parameters["Bucket"], request.parameters["Key"]
    bucket_arn = f"arn:aws:s3:::{bucket}"
    if not key:
        yield Right(request.action, bucket_arn)
        return
    yield Right(request.action, f"{bucket_arn}/{key}")
    if request.operation in ("GetObject", "HeadObject") and not facts.has_object(bucket, key):
        yield Right("s3:ListBucket", bucket_arn)  # without it, what is missing seems forbidden
    if encryption_key := bucket_key(facts.stack, bucket):
        yield Right(key_action(request), encryption_key, via(request, facts))


def secretsmanager(request: Request, facts: Facts) -> Iterator[Right]:
    """A secret, and its key."""
    logical = secret(facts.stack, request.parameters.get("SecretId", "*"))
    yield Right(request.action, facts.stack.arn(logical))
    if key := facts.stack.properties(logical).get("KmsKeyId"):
        yield Right(key_action(request), key, via(request, facts))


def sts(request: Request, facts: Facts) -> Iterator[Right]:
    """Roles and identity tokens. Everybody may ask who they are."""
    if request.operation == "GetCallerIdentity":
        return
    parameters = request.parameters
    context = {
        "sts:IdentityTokenAudience": audience(parameters),
        "sts:SigningAlgorithm": parameters.get("SigningAlgorithm", ""),
        "sts:DurationSeconds": parameters.get("DurationSeconds", "300"),
    }
    yield Right(request.action, parameters.get("RoleArn", "*"), context)


def sns(request: Request, facts: Facts) -> Iterator[Right]:
    """A topic; who publishes to an encrypted one uses its key both ways."""
    topic = request.parameters.get("TopicArn", "*")
    yield Right(request.action, topic)
    if request.operation == "Publish":
        logical = facts.stack.logical("SNS::Topic", topic)
        if key := facts.stack.properties(logical).get("KmsMasterKeyId"):
            yield Right("kms:GenerateDataKey", key, via(request, facts))
            yield Right("kms:Decrypt", key, via(request, facts))


def logs(request: Request, facts: Facts) -> Iterator[Right]:
    """A stream of a log group."""
    group = request.parameters.get("logGroupName", "*")
    stream = request.parameters.get("logStreamName", "")
    prefix = facts.stack.arn_prefix("logs")
    yield Right(request.action, f"{prefix}log-group:{group}:log-stream:{stream}")


def kms(request: Request, facts: Facts) -> Iterator[Right]:
    """A key."""
    yield Right(request.action, request.parameters.get("KeyId", "*"))


def named(*parameters: str, kind: str = "") -> Rights:
    """The rights of a service whose requests name their resource in one of these parameters."""

    def rights(request: Request, facts: Facts) -> Iterator[Right]:
        names = (request.parameters[name] for name in parameters if name in request.parameters)
        prefix = f"{facts.stack.arn_prefix(request.service)}{kind}"
        yield Right(request.action, next((f"{prefix}{name}" for name in names), "*"))

    return rights


def anything(request: Request, facts: Facts) -> Iterator[Right]:
    """A service that is not in the table: only a right on everything allows it."""
    yield Right(request.action, "*")


SERVICES: dict[str, Rights] = {
    "codebuild": named("projectName", "name", kind="project/"),
    "codecommit": named("repositoryName"),
    "codepipeline": named("pipelineName", "name"),
    "kms": kms,
    "logs": logs,
    "s3": s3,
    "secretsmanager": secretsmanager,
    "sns": sns,
    "sts": sts,
}


# A generator asks for its rights one by one: AWS asks for a key only if the first right is there.
def required(request: Request, facts: Facts) -> Iterator[Right]:
    """The rights that a request needs, in the order in which AWS asks for them."""
    return SERVICES.get(request.service, anything)(request, facts)


def via(request: Request, facts: Facts) -> dict[str, str]:
    """What a policy may know of a key's use: the service that uses it for the caller."""
    return {"kms:ViaService": f"{request.service}.{facts.stack.region}.amazonaws.com"}


def key_action(request: Request) -> str:
    """What a request does with the key that encrypts its resource."""
    return "kms:GenerateDataKey" if request.operation.startswith("Put") else "kms:Decrypt"


def audience(parameters: dict[str, Any]) -> list[str]:
    """The audiences of an identity token, which the query protocol numbers."""
    return [value for name, value in parameters.items() if name.startswith("Audience.")]


def secret(stack: Stack, name: str) -> str:
    """A secret's logical ID from its ARN or name. Denied for what is not there, as in AWS."""
    for logical in stack.of_type("SecretsManager::Secret"):
        arn = stack.arn(logical)
        full_name = arn.rpartition(":")[2]
        if name in (arn, full_name, full_name.rpartition("-")[0]):
            return logical
    raise access_denied(f"the stack has no secret {name}")


def bucket_key(stack: Stack, bucket: str) -> str | None:
    """The ARN of the key that a bucket encrypts with by default, if it has one of its own."""
    properties = stack.properties(stack.logical("S3::Bucket", bucket))
    rules = properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
    keys = [rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in rules]
    return keys[0] if keys else None


# Answers one operation of a service. What it raises as AwsError is the answer, too.
Operation = Callable[[Request], Shape]


class Front:
    """A WSGI application: every request to the account comes here first."""

    def __init__(self, authorizer: Authorizer, facts: Facts, moto: Any, person: str) -> None:
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
                return self.to_moto(environ, start, request)
            return protocols.answer(request, operation(request), start)
        except NotImplementedError:
            unknown = f"the rehearsal's account does not know {request.action}; AWS does"
            return protocols.refuse(service, AwsError("NotImplemented", unknown, 501), start)
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
        for right in required(request, self.facts):
            self.authorizer.require(request.role, right.action, right.resource, **right.context)

    def to_moto(
        self, environ: Environ, start: StartResponse, request: Request | None = None
    ) -> Iterable[bytes]:
        """What moto answers. Raises NotImplementedError for what it does not know."""
        if request and request.service == "cloudformation":
            raise NotImplementedError  # moto has no such stack, and would say so
        response: Iterable[bytes] = self.moto(environ, start)
        return response

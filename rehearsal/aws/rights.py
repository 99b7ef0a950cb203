"""Which rights a request needs: its action on its resource, and the key that encrypts that.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rehearsal.aws.errors import access_denied
from rehearsal.aws.protocols import Request
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
        yield Right(key_action(request), encryption_key)


def secretsmanager(request: Request, facts: Facts) -> Iterator[Right]:
    """A secret, and its key."""
    logical = secret(facts.stack, request.parameters.get("SecretId", "*"))
    yield Right(request.action, facts.stack.arn(logical))
    if key := facts.stack.properties(logical).get("KmsKeyId"):
        yield Right(key_action(request), key)


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
            yield Right("kms:GenerateDataKey", key)
            yield Right("kms:Decrypt", key)


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

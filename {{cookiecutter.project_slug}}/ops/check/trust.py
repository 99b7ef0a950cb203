"""Who may take a role, and what policies on buckets, keys and topics open to whom."""

import functools
from collections.abc import Iterator

from ops.check.facts import KEY
from ops.check.reading import Findings, Map, check, items, maps
from ops.check.stack import BUILD, ROLE, Stack, plain, references

CODEBUILD, PIPELINE, EVENTS = (
    f"{name}.amazonaws.com" for name in ("codebuild", "codepipeline", "events")
)
USERS = {BUILD: CODEBUILD, "AWS::CodePipeline::Pipeline": PIPELINE, "AWS::Events::Rule": EVENTS}
OWN_ACCOUNT = "${AWS::AccountId}"
ROOT = "arn:${AWS::Partition}:iam::" + OWN_ACCOUNT + ":root"


def arn(name: str) -> str:
    """The ARN of a resource, as `plain` writes it."""
    return "${" + name + ".Arn}"


def statements(policy: object) -> list[Map]:
    """The statements of a policy, or of whatever contains policies."""
    return [part for part in maps(policy) if "Effect" in part]


@functools.lru_cache(maxsize=64)
def users(stack: Stack, role: str) -> dict[str, list[str]]:
    """The services that use a role, each with the resources for which it does."""
    found: dict[str, list[str]] = {}
    for kind, service in USERS.items():
        for name, properties in stack.of_type(kind).items():
            keys = ("ServiceRole", "RoleArn", "Targets")
            named = [properties.get(key) for key in keys]
            roles = [part.get("RoleArn") for part in maps(named)] + named[:2]
            if role in references(roles):
                found.setdefault(service, []).append(name)
    return found


def conditions(statement: Map) -> dict[str, list[str]]:
    """The values of a statement's conditions, by operator and key."""
    block = statement.mapping("Condition")
    return {
        f"{operator} {key}": [plain(value) for value in items(values)]
        for operator in block
        for key, values in block.mapping(operator).items()
    }


def is_service(principal: object) -> bool:
    """Whether a principal is services of AWS, and nobody else."""
    return isinstance(principal, Map) and [*principal] == ["Service"]


def needed(stack: Stack, service: str, names: list[str]) -> tuple[str, list[str]]:
    """The condition under which a service may take a role: its key, and its values."""
    if service == EVENTS:
        return "StringEquals aws:SourceAccount", [OWN_ACCOUNT]
    start = "arn:${AWS::Partition}:codebuild:${AWS::Region}:${AWS::AccountId}:project/"
    projects = [start + plain(stack.properties(name).get("Name")) for name in names]
    return "StringEquals aws:SourceArn", projects


@check
def roles_are_taken_by_their_service(stack: Stack) -> Findings:
    """A role is taken only by the service that uses it in this stack, for the resources that do."""
    for role, properties in stack.of_type(ROLE).items():
        services = users(stack, role)
        if not services:
            message = "no build, pipeline or rule of this stack uses this role; remove it"
            yield stack.resources.at[role], f"{role}: {message}"
        for statement in statements(properties.get("AssumeRolePolicyDocument")):
            principal = statement.get("Principal")
            place = statement.at.get("Principal", statement.at["Effect"])
            service = plain(principal)
            if not is_service(principal) or service not in services:
                taker = service or "nobody by name"
                expected = " or ".join(services) or "no service"
                yield place, f"{role} may be taken by {taker}, but {expected} uses it; name that"
                continue
            if service != PIPELINE:  # for which AWS confirms no such condition
                key, values = needed(stack, service, services[service])
                found = conditions(statement).get(key, [])
                if not found or not set(found) <= set(values):
                    message = f"allow it only if {key} is {' or '.join(values)}"
                    yield place, f"{role} may be taken for more than it is used for; {message}"


# Who else may use the stack's own things: the service, and the key of a condition that limits it.
GUESTS = {
    EVENTS: "",  # EventBridge sends none
    "logs.${AWS::Region}.${AWS::URLSuffix}": "kms:EncryptionContext:aws:logs:arn",
    "logging.s3.amazonaws.com": "aws:SourceArn",
}


def opened(statement: Map, is_key: bool) -> Iterator[str]:
    """What is wrong with a policy on a resource that allows something."""
    principal = statement.get("Principal")
    actions = [plain(action) for action in items(statement.get("Action", "*"))]
    name = plain(principal)
    if is_key and principal == {"AWS": {"Fn::Sub": ROOT}}:
        return
    if not is_service(principal) or name not in GUESTS:
        yield f"lets {name or 'whoever is not named'} in; name a service of AWS that needs it"
    elif not any(GUESTS[name] in key for key in conditions(statement)) and GUESTS[name]:
        yield f"lets {name} in for any account; add a condition on {GUESTS[name]}"
    for action in actions:
        if action.endswith((":*", "*:*")) or action == "*":
            yield f"allows {action} to {name}; name the actions"


@check
def resources_are_closed(stack: Stack) -> Findings:
    """Buckets, keys and topics are opened to nobody, but to the services that the stack uses."""
    for name, kind in stack.types.items():
        properties = stack.properties(name)
        if kind in (ROLE, "AWS::SecretsManager::ResourcePolicy"):  # each has a check of its own
            continue
        for statement in statements([*properties.values()]):
            if "Principal" not in statement and "NotPrincipal" not in statement:
                continue  # a policy of a role, not of a resource
            for problem in opened(statement, kind == KEY) if allows(statement) else ():
                yield statement.at.get("Principal", statement.at["Effect"]), f"{name} {problem}"


def allows(statement: Map) -> bool:
    """Whether a statement allows, as all do that do not deny."""
    return statement.get("Effect") != "Deny"


def demands_tls(statement: Map, bucket: str) -> bool:
    """Whether a statement denies everything to everybody who comes without TLS."""
    resources = {plain(resource) for resource in items(statement.get("Resource"))}
    return (
        not allows(statement)
        and plain(statement.get("Principal")) == "*"
        and plain(statement.get("Action")) in ("*", "s3:*")
        and {arn(bucket), arn(bucket) + "/*"} <= resources
        and conditions(statement) == {"Bool aws:SecureTransport": ["false"]}
    )


@check
def buckets_demand_tls(stack: Stack) -> Findings:
    """Each bucket has a policy that denies everything to everybody who comes without TLS."""
    policies = stack.of_type("AWS::S3::BucketPolicy").values()
    for bucket in stack.of_type("AWS::S3::Bucket"):
        own = [policy for policy in policies if bucket in references(policy.get("Bucket"))]
        if not any(demands_tls(statement, bucket) for statement in statements(own)):
            message = (
                "no policy denies access without TLS; add that statement, as other buckets have"
            )
            yield stack.resources.at[bucket], f"{bucket}: {message}"

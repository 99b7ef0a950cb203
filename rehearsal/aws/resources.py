"""Creates in moto what builds touch, with the template's own properties."""

import json
import secrets
from collections.abc import Callable
from typing import Any

from rehearsal.aws.stack import Identity, Properties, Stack

# A client's constructor: its service's name -> a boto3 client of the operator.
Clients = Callable[[str], Any]
Creator = Callable[[Stack, Clients, str, Properties], None]


def create_key(stack: Stack, clients: Clients, logical: str, properties: Properties) -> None:
    """AWS::KMS::Key"""
    key = clients("kms").create_key(Policy=json.dumps(properties["KeyPolicy"]))["KeyMetadata"]
    stack.identify(logical, Identity(key["KeyId"], {"Arn": key["Arn"]}))


def create_secret(stack: Stack, clients: Clients, logical: str, properties: Properties) -> None:
    """AWS::SecretsManager::Secret, its value generated as the template says.

    Its key's ARN is not resolved yet: the rights that need the key come from the template.
    """
    generated = properties.get("GenerateSecretString", {})
    value = json.loads(generated.get("SecretStringTemplate", "{}"))
    value[generated.get("GenerateStringKey", "value")] = secrets.token_urlsafe(24)
    created = clients("secretsmanager").create_secret(
        Name=properties.get("Name", f"{logical}-{secrets.token_hex(6)}"),
        SecretString=properties.get("SecretString", json.dumps(value)),
    )
    stack.identify(logical, Identity(created["ARN"], {"Id": created["ARN"], "Arn": created["ARN"]}))


def create_repository(stack: Stack, clients: Clients, logical: str, properties: Properties) -> None:
    """AWS::CodeCommit::Repository; its commits are in the bare git repository."""
    clients("codecommit").create_repository(repositoryName=properties["RepositoryName"])


def create_bucket(stack: Stack, clients: Clients, logical: str, properties: Properties) -> None:
    """AWS::S3::Bucket, with versions where it keeps them."""
    name, s3 = stack.ref(logical), clients("s3")
    s3.create_bucket(Bucket=name)
    if versioning := properties.get("VersioningConfiguration"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)


def create_log_group(stack: Stack, clients: Clients, logical: str, properties: Properties) -> None:
    """AWS::Logs::LogGroup"""
    clients("logs").create_log_group(logGroupName=stack.ref(logical))


# AWS chooses the ARNs of the first two; the template is resolved as a whole once they are known.
FIRST: dict[str, Creator] = {"KMS::Key": create_key, "SecretsManager::Secret": create_secret}
THEN: dict[str, Creator] = {
    "CodeCommit::Repository": create_repository,
    "S3::Bucket": create_bucket,
    "Logs::LogGroup": create_log_group,
}


def create_stack(stack: Stack, clients: Clients) -> None:
    """Creates the stack's resources, and resolves its template with their ARNs."""
    stack.resolve()
    stack.name_resources()
    create(stack, clients, FIRST)
    stack.resolve()
    create(stack, clients, THEN)


def create(stack: Stack, clients: Clients, creators: dict[str, Creator]) -> None:
    """Creates the stack's resources of these types."""
    for kind, creator in creators.items():
        for logical, properties in stack.of_type(kind).items():
            creator(stack, clients, logical, properties)

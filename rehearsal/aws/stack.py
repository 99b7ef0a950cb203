"""The stack: its template as CloudFormation would resolve it, what each resource is called, and
what is created of it in moto, with the template's own properties.
"""

import contextlib
import functools
import io
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from cloud_radar.cf.unit import Template

from rehearsal.aws.errors import AwsError

ACCOUNT = "123456789012"
Properties = dict[str, Any]

ARN = "arn:{partition}:{service}:{region}:{account}:"
# Physical name property, what !Ref gives, and attributes, by type, as the resource reference says.
IDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "IAM::Role": ("RoleName", "{name}", {"Arn": "arn:{partition}:iam::{account}:role/{name}"}),
    "IAM::ManagedPolicy": ("ManagedPolicyName", "arn:{partition}:iam::{account}:policy/{name}", {}),
    "S3::Bucket": ("BucketName", "{name}", {"Arn": "arn:{partition}:s3:::{name}"}),
    "SNS::Topic": ("TopicName", ARN + "{name}", {"TopicName": "{name}"}),
    "Logs::LogGroup": ("LogGroupName", "{name}", {"Arn": ARN + "log-group:{name}:*"}),
    "Events::Rule": ("Name", "{name}", {"Arn": ARN + "rule/{name}"}),
    "CodeBuild::Project": ("Name", "{name}", {"Arn": ARN + "project/{name}"}),
    "CodeBuild::ReportGroup": ("Name", ARN + "report-group/{name}", {}),
    "CodePipeline::Pipeline": ("Name", "{name}", {}),
    "CodeCommit::Repository": (
        "RepositoryName",
        "{name}",
        {
            "Arn": ARN + "{name}",
            "Name": "{name}",
            "CloneUrlHttp": "https://git-codecommit.{region}.amazonaws.com/v1/repos/{name}",
        },
    ),
}
# What the services call a resource that is not there.
NOT_FOUND = {"S3::Bucket": "NoSuchBucket", "SNS::Topic": "NotFound"}


class Loader(yaml.CSafeLoader):
    """Reads a template; `!Sub x` becomes its long form, {"Fn::Sub": "x"}."""

    def long_form(self, suffix: str, node: yaml.Node) -> dict[str, Any]:
        """The long form of a tagged node."""
        value: Any
        if isinstance(node, yaml.ScalarNode):
            value = self.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = self.construct_sequence(node, deep=True)
        elif isinstance(node, yaml.MappingNode):
            value = self.construct_mapping(node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
        return {name: value}


Loader.add_multi_constructor("!", Loader.long_form)


@dataclass(frozen=True)
class Identity:
    """What a resource is called: what !Ref gives, and its attributes for !GetAtt."""

    ref: str
    attributes: dict[str, str]

    @property
    def arn(self) -> str:
        """The resource's ARN."""
        return self.attributes.get("Arn", self.ref)

    def names(self) -> tuple[str, ...]:
        """Everything that the resource is called."""
        return (self.ref, *self.attributes.values())


class Stack:
    """One deployed stack. `template` is resolved once `resolve` has been called."""

    def __init__(self, file: Path, name: str, region: str) -> None:
        self.name, self.region = name, region
        self.source = yaml.load(file.read_text(encoding="utf-8"), Loader)
        self.parameters: dict[str, str] = {}
        self.template: dict[str, Any] = {}
        self.identities: dict[str, Identity] = {}

    @property
    def id(self) -> str:
        """The stack's own ARN."""
        return f"{self.arn_prefix('cloudformation')}stack/{self.name}/1"

    def arn_prefix(self, service: str) -> str:
        """How the ARNs of a service's resources begin in this account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:"

    def resolve(self) -> None:
        """Sets `template`: every intrinsic function resolved by cloud-radar."""
        # cloud-radar uses the slow half of PyYAML: the fast one takes a tenth of the time.
        dump = functools.partial(yaml.dump, Dumper=yaml.CDumper)
        with (
            mock.patch.multiple(yaml, FullLoader=yaml.CFullLoader, dump=dump),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            template = Template(self.source)
            template.AccountId, template.StackName, template.StackId = ACCOUNT, self.name, self.id
            resolved = template.render(self.parameters, region=self.region)
        self.template = without_no_value(resolved)

    def name_resources(self) -> None:
        """Gives each resource the physical name that its properties say, or one that is made up."""
        for logical, resource in self.template["Resources"].items():
            kind = resource["Type"].removeprefix("AWS::")
            name_property, ref, attributes = IDS.get(kind, ("Name", "{name}", {}))
            made_up = f"{self.name}-{logical}-{secrets.token_hex(6)}"
            facts = {
                "name": fitting(kind, resource.get("Properties", {}).get(name_property) or made_up),
                "partition": "aws",
                "region": self.region,
                "account": ACCOUNT,
                "service": kind.split("::")[0].lower(),
            }
            filled = {key: value.format(**facts) for key, value in attributes.items()}
            ref = ref.format(**facts)
            self.identify(logical, Identity(ref, {"Arn": ref} | filled))

    def identify(self, logical: str, identity: Identity) -> None:
        """Records what a resource is called; the next `resolve` uses it."""
        self.identities[logical] = identity
        known = {"ref": identity.ref, "attribute-values": identity.attributes}
        self.source["Resources"][logical].setdefault("Metadata", {})["Cloud-Radar"] = known

    def of_type(self, kind: str) -> dict[str, Properties]:
        """Properties by logical ID of the stack's resources of a type such as `IAM::Role`."""
        return {
            logical: resource.get("Properties", {})
            for logical, resource in self.template["Resources"].items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def properties(self, logical: str) -> Properties:
        """A resource's properties."""
        properties: Properties = self.template["Resources"][logical].get("Properties", {})
        return properties

    def logical(self, kind: str, name: str) -> str:
        """The logical ID of a resource by its name or ARN. Raises AwsError."""
        for logical in self.of_type(kind):
            if name in self.identities[logical].names():
                return logical
        code = NOT_FOUND.get(kind, "ResourceNotFoundException")
        raise AwsError(code, f"the stack has no {kind} {name}", 404)

    def ref(self, logical: str) -> str:
        """What !Ref gives for a resource."""
        return self.identities[logical].ref

    def arn(self, logical: str) -> str:
        """A resource's ARN."""
        return self.identities[logical].arn

    def arn_name(self, logical: str) -> str:
        """The last part of a resource's ARN: what the console calls it."""
        return self.arn(logical).rpartition(":")[2].rpartition("/")[2]


def fitting(kind: str, name: str) -> str:
    """A physical name within the limits of its type."""
    if kind == "S3::Bucket":
        return name.lower()[-63:].strip("-")
    return name[-64:] if kind == "IAM::Role" else name


def without_no_value(node: Any) -> Any:
    """A template without the empty words that cloud-radar leaves in lists for AWS::NoValue."""
    if isinstance(node, dict):
        return {key: without_no_value(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_no_value(value) for value in node if value != ""]
    return node


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

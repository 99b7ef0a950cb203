"""The AWS side: moto's server behind a front that decides on every call of a role.

moto keeps buckets, secrets, keys and logs; the front decides each call that comes with a
role's credentials on that role's resolved policies, and answers the few calls that moto lacks.
"""

import base64
import contextlib
import functools
import io
import json
import logging
import re
import secrets
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import boto3
import yaml
from botocore.config import Config
from cloud_radar.cf.unit import Template
from moto.events.models import EventPattern
from moto.events.utils import EventTemplateParser
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.responses import ACTION_MAP
from werkzeug.serving import make_server

from rehearsal.aws import iam

ACCOUNT = "123456789012"
logging.getLogger("werkzeug").setLevel(logging.ERROR)
OPERATOR = {"AWS_ACCESS_KEY_ID": "AKIAREHEARSALPERSON", "AWS_SECRET_ACCESS_KEY": "rehearsal"}

# Physical name property, what !Ref gives, and attributes, by type, as the resource reference says.
ARN = "arn:{partition}:{service}:{region}:{account}:"
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
# What is made before the stack is resolved as a whole, for the rest needs the ARNs; and after it.
FIRST = {"KMS::Key": "key", "SecretsManager::Secret": "secret"}
AFTER = {"CodeCommit::Repository": "repository", "S3::Bucket": "bucket", "Logs::LogGroup": "group"}


Answer = tuple[int, str, str]  # status, content type, body


class Source(yaml.CSafeLoader):
    """Reads a template; `!Sub x` becomes its long form, {"Fn::Sub": "x"}."""

    def long(self, suffix: str, node: yaml.Node) -> dict[str, Any]:
        """The long form of a tagged node."""
        if isinstance(node, yaml.ScalarNode):
            value = self.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = self.construct_sequence(node, deep=True)
        else:
            value = self.construct_mapping(node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Source.add_multi_constructor("!", Source.long)


class Denied(Exception):
    """AWS's words when a role may not do a thing."""


@dataclass(frozen=True)
class Call:
    """One decided call: the role's logical ID, the action, the resource's ARN, the decision."""

    role: str
    action: str
    resource: str
    allowed: bool


class Aws:
    """An AWS account on loopback that holds one stack. `with Aws(...) as aws`.

    `template` is the stack as CloudFormation would resolve it, `calls` every decided call.
    """

    def __init__(self, stack: Path, name: str, region: str, repository: Path) -> None:
        self.name, self.region, self.repository = name, region, repository
        self.source = yaml.load(stack.read_text(encoding="utf-8"), Source)
        self.calls: list[Call] = []
        self.pull_requests: dict[str, str] = {}  # branch -> number, in the order of their opening
        self.comments: list[dict[str, str]] = []  # on pull requests, each with its `role`
        self.mails: list[Any] = []  # what went to the topics' subscribers
        self.roles: dict[str, str] = {}  # access key -> logical ID
        # What others answer in the front: service_operation -> parameters -> JSON
        self.answers: dict[str, Callable[[dict], dict]] = {}
        self.lock, self.session = threading.Lock(), boto3.session.Session()
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self.front, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.template: dict[str, Any] = {}
        self.parameters: dict[str, str] = {}

    def __enter__(self) -> "Aws":
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        try:
            self.create()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    # ---- The stack -------------------------------------------------------------------------------

    def resolve(self) -> dict[str, Any]:
        """The stack with every intrinsic function resolved, by cloud-radar."""
        quick = mock.patch.object(yaml, "FullLoader", yaml.CFullLoader)  # ten times as fast
        with contextlib.redirect_stdout(io.StringIO()):
            template = Template(self.source)
        template.AccountId, template.StackName = ACCOUNT, self.name
        template.StackId = self.stack
        with quick:
            return without_no_value(template.render(self.parameters, region=self.region))

    @property
    def stack(self) -> str:
        """The stack's ARN."""
        return f"arn:aws:cloudformation:{self.region}:{ACCOUNT}:stack/{self.name}/1"

    def identify(self, logical: str, ref: str, attributes: dict[str, str]) -> None:
        """Tells cloud-radar a resource's physical identity."""
        known = {"ref": ref, "attribute-values": attributes}
        self.source["Resources"][logical].setdefault("Metadata", {})["Cloud-Radar"] = known

    def identity(self, logical: str) -> dict[str, Any]:
        """A resource's `ref` and `attribute-values`, as `identify` has told them."""
        return self.source["Resources"][logical]["Metadata"]["Cloud-Radar"]

    def create(self) -> None:
        """Creates what builds touch, in moto, with the template's own properties."""
        # moto's backends belong to the process: an earlier account's are still there
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()
        resolved = self.resolve()
        for logical, item in resolved["Resources"].items():
            kind, properties = item["Type"].removeprefix("AWS::"), item.get("Properties", {})
            prop, ref, attributes = IDS.get(kind, ("Name", "{name}", {}))
            name = properties.get(prop) or f"{self.name}-{logical}-{secrets.token_hex(6)}"
            if kind == "S3::Bucket":
                name = name.lower()[-63:].strip("-")
            known = {
                "name": name[-64:] if kind == "IAM::Role" else name,
                "partition": "aws",
                "region": self.region,
                "account": ACCOUNT,
                "service": kind.split("::")[0].lower(),
            }
            attributes = {key: value.format(**known) for key, value in attributes.items()}
            ref = ref.format(**known)
            attributes.setdefault("Arn", ref)
            self.identify(logical, ref, attributes)
        self.make(FIRST, resolved)
        self.template = self.resolve()
        self.make(AFTER, self.template)

    def make(self, kinds: dict[str, str], template: dict[str, Any]) -> None:
        """Makes a template's resources of these types in moto, each by the method make_<name>."""
        for kind, name in kinds.items():
            for logical, properties in self.of_type(kind, template).items():
                getattr(self, f"make_{name}")(logical, properties)

    def make_key(self, logical: str, properties: dict[str, Any]) -> None:
        """AWS::KMS::Key"""
        made = self.client("kms").create_key(Policy=json.dumps(properties["KeyPolicy"]))
        self.identify(logical, made["KeyMetadata"]["KeyId"], {"Arn": made["KeyMetadata"]["Arn"]})

    def make_secret(self, logical: str, properties: dict[str, Any]) -> None:
        """AWS::SecretsManager::Secret, its value generated as the template says.

        Without its key, whose ARN is not resolved yet: `decide` knows it from the template.
        """
        how = properties.get("GenerateSecretString", {})
        value = json.loads(how.get("SecretStringTemplate", "{}"))
        value[how.get("GenerateStringKey", "value")] = secrets.token_urlsafe(24)
        made = self.client("secretsmanager").create_secret(
            Name=properties.get("Name", f"{logical}-{secrets.token_hex(6)}"),
            SecretString=properties.get("SecretString", json.dumps(value)),
        )
        self.identify(logical, made["ARN"], {"Id": made["ARN"]})

    def make_repository(self, logical: str, properties: dict[str, Any]) -> None:
        """AWS::CodeCommit::Repository; its commits are in the bare git repository."""
        self.client("codecommit").create_repository(repositoryName=properties["RepositoryName"])

    def make_bucket(self, logical: str, properties: dict[str, Any]) -> None:
        """AWS::S3::Bucket, with versions where it keeps them."""
        name = self.identity(logical)["ref"]
        self.s3.create_bucket(Bucket=name)
        if how := properties.get("VersioningConfiguration"):
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=how)

    def make_group(self, logical: str, properties: dict[str, Any]) -> None:
        """AWS::Logs::LogGroup"""
        self.client("logs").create_log_group(logGroupName=self.identity(logical)["ref"])

    def answer_cloudformation_describestacks(self, given: dict, role: str | None) -> Answer:
        """https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html

        moto's CloudFormation would import all of moto: two seconds for these two answers.
        """
        outputs = (
            {"OutputKey": key, "OutputValue": item["Value"]}
            for key, item in self.template["Outputs"].items()
        )
        stack = {"StackName": self.name, "StackStatus": "CREATE_COMPLETE", "Outputs": [*outputs]}
        stack |= {"StackId": self.stack, "CreationTime": "2026-01-01T00:00:00Z"}
        return self.answer_on_stack(given, "DescribeStacks", {"Stacks": [stack]})

    def answer_cloudformation_liststackresources(self, given: dict, role: str | None) -> Answer:
        """.../AWSCloudFormation/latest/APIReference/API_ListStackResources.html"""
        found = [
            {
                "LogicalResourceId": logical,
                "PhysicalResourceId": self.identity(logical)["ref"],
                "ResourceType": item["Type"],
                "ResourceStatus": "CREATE_COMPLETE",
                "LastUpdatedTimestamp": "2026-01-01T00:00:00Z",
            }
            for logical, item in self.template["Resources"].items()
        ]
        return self.answer_on_stack(given, "ListStackResources", {"StackResourceSummaries": found})

    def answer_on_stack(self, given: dict, operation: str, told: dict) -> Answer:
        """What is told of the stack, as CloudFormation writes it; an error for another stack."""
        if given.get("StackName", self.name) not in (self.name, self.stack):
            why = f"Stack with id {given['StackName']} does not exist"
            error = {"Error": {"Type": "Sender", "Code": "ValidationError", "Message": why}}
            return 400, "text/xml", as_xml("ErrorResponse", error)
        return 200, "text/xml", as_xml(f"{operation}Response", {f"{operation}Result": told})

    def of_type(self, kind: str, template: dict[str, Any] | None = None) -> dict[str, dict]:
        """Properties by logical ID of the stack's resources of a type such as `IAM::Role`."""
        return {
            logical: item.get("Properties", {})
            for logical, item in (template or self.template)["Resources"].items()
            if item["Type"] == f"AWS::{kind}"
        }

    def logical(self, kind: str, identity: str) -> str:
        """The logical ID of a resource by its name or ARN. Raises KeyError."""
        for logical in self.of_type(kind):
            known = self.identity(logical)
            if identity in (known["ref"], *known["attribute-values"].values()):
                return logical
        raise KeyError(f"the stack has no {kind} {identity}")

    def arn(self, logical: str) -> str:
        """A resource's ARN."""
        known = self.identity(logical)
        return known["attribute-values"].get("Arn", known["ref"])

    # ---- Roles -----------------------------------------------------------------------------------

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """Every statement of a role's policies, those attached to it from outside too."""
        properties = self.template["Resources"][role]["Properties"]
        documents = [item["PolicyDocument"] for item in properties.get("Policies", [])]
        name = self.identity(role)["ref"]
        managed = set(properties.get("ManagedPolicyArns", []))
        for kind in ("IAM::Policy", "IAM::ManagedPolicy", "IAM::RolePolicy"):
            for logical, other in self.of_type(kind).items():
                arn = self.identity(logical)["ref"]
                if arn in managed or name in [*other.get("Roles", []), other.get("RoleName")]:
                    documents.append(other["PolicyDocument"])
                managed.discard(arn)
        if managed:
            raise NotImplementedError(f"{role}: the rehearsal does not know AWS's managed policies")
        for document in documents:
            yield from iam.as_list(document["Statement"])

    def require(self, role: str, action: str, resource: str, **context: Any) -> None:
        """Decides on a call, records it, and raises Denied where the role may not make it."""
        context = {"aws:SecureTransport": "true", "aws:SourceAccount": ACCOUNT, **context}
        allowed = iam.allows(self.statements(role), action, resource, context)
        with self.lock:
            self.calls.append(Call(role, action, resource, allowed))
        if not allowed:
            who = self.arn(role).replace(":iam::", ":sts::").replace(":role/", ":assumed-role/")
            raise Denied(
                f"User: {who}"
                f" is not authorized to perform: {action} on resource: {resource}"
                f" because no identity-based policy allows the {action} action"
            )

    def assume(self, role: str, service: str, source_arn: str) -> dict[str, str]:
        """A service's credentials as a role, as environment variables. Raises Denied."""
        properties = self.template["Resources"][role]["Properties"]
        context = {"aws:SourceArn": source_arn, "aws:SourceAccount": ACCOUNT}
        if not iam.trusts(properties, service, context):
            raise Denied(f"{service} is not authorized to assume {self.arn(role)} for {source_arn}")
        given = self.client("sts").assume_role(RoleArn=self.arn(role), RoleSessionName="rehearsal")
        keys = given["Credentials"]
        self.roles[keys["AccessKeyId"]] = role
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def environment(self, credentials: dict[str, str] | None = None) -> dict[str, str]:
        """What makes an AWS client speak to this account: the operator's, or a role's."""
        region = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {"AWS_ENDPOINT_URL": self.url, **region, **(credentials or OPERATOR)}

    def client(self, service: str, credentials: dict[str, str] | None = None):
        """A boto3 client with the operator's or a role's credentials."""
        keys = credentials or OPERATOR
        with self.lock:  # one session for all: it keeps what it has read of the services
            return self.session.client(
                service,
                region_name=self.region,
                endpoint_url=self.url,
                aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                aws_session_token=keys.get("AWS_SESSION_TOKEN"),
                config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
            )

    @functools.cached_property
    def s3(self):
        """The operator's S3 client, which each read of a role needs."""
        return self.client("s3")

    # ---- The front before moto -------------------------------------------------------------------

    def front(self, environ: dict[str, Any], start: Callable) -> Any:
        """The WSGI application: decide, answer what moto lacks, or hand on to moto."""
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        found = re.search(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/", authorization)
        key, service = found.groups() if found else ("", "")
        role = self.roles.get(key)
        if found and role is None and key != OPERATOR["AWS_ACCESS_KEY_ID"]:
            return _refuse(service, start, "InvalidClientTokenId", "the security token is invalid")
        if not found:
            return self.moto(environ, start)
        operation, given = read_call(environ, service)
        try:
            if role:
                self.decide(role, service, operation, given, environ)
            own = getattr(self, f"answer_{service}_{operation}".lower(), None)
            if own:
                return _answer(start, *own(given, role))
            if other := self.answers.get(f"{service}_{operation}".lower()):
                try:
                    told = json.dumps(other(given))
                except (LookupError, ValueError) as error:
                    code, _, why = str(error).partition(":")
                    named = code if code.endswith("Exception") else "ValidationException"
                    return _refuse(service, start, named, why or str(error))
                return _answer(start, 200, "application/x-amz-json-1.1", told)
        except Denied as denied:
            code = "AccessDenied" if service in ("s3", "sts", "sns") else "AccessDeniedException"
            return _refuse(service, start, code, str(denied))
        return self.moto(environ, start)

    def decide(self, role: str, service: str, operation: str, given: dict, environ: dict) -> None:
        """Decides on one request, and on the key that AWS would use for it. Raises Denied."""
        if (service, operation) == ("sts", "GetCallerIdentity"):
            return  # always allowed
        action, context, key = f"{service}:{operation}", {}, None
        if service == "s3":
            bucket, _, name = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
            resource = f"arn:aws:s3:::{bucket}" + (f"/{name}" if name else "")
            key = self.key_of_bucket(bucket) if name else None
        elif service == "secretsmanager":
            resource = self.secret(given.get("SecretId", "*"))
            logical = self.logical("SecretsManager::Secret", resource)
            key = self.of_type("SecretsManager::Secret")[logical].get("KmsKeyId")
        elif service == "sts":
            resource = given.get("RoleArn", "*")
            audience = [value for name, value in given.items() if name.startswith("Audience.")]
            context = {
                "sts:IdentityTokenAudience": audience,
                "sts:SigningAlgorithm": given.get("SigningAlgorithm", ""),
                "sts:DurationSeconds": given.get("DurationSeconds", "300"),
            }
        else:
            resource = self.resource(service, given)
        self.require(role, action, resource, **context)
        if action in ("s3:GetObject", "s3:HeadObject") and not self.has(bucket, name):
            self.require(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}")  # or it seems forbidden
        if key:
            how = "kms:GenerateDataKey" if operation.startswith("Put") else "kms:Decrypt"
            self.require(role, how, key)
        if (service, operation) == ("sns", "Publish") and (key := self.key_of_topic(resource)):
            for how in ("kms:GenerateDataKey", "kms:Decrypt"):  # both, of who publishes
                self.require(role, how, key)

    def let_answer(self, service: str, of: Any, answers: dict[str, Callable]) -> None:
        """Has a service's operations answered by functions of what plays it and the parameters."""
        for operation, answer in answers.items():
            self.answers[f"{service}_{operation}".lower()] = functools.partial(answer, of)

    def has(self, bucket: str, name: str) -> bool:
        """Whether a bucket has an object."""
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=name, MaxKeys=1)
        return any(one["Key"] == name for one in found.get("Contents", []))

    def resource(self, service: str, given: dict) -> str:
        """The ARN that a call of the other services is about, `*` where it has none."""
        prefix = f"arn:aws:{service}:{self.region}:{ACCOUNT}:"
        if "logGroupName" in given:
            stream = given.get("logStreamName", "")
            return f"{prefix}log-group:{given['logGroupName']}:log-stream:{stream}"
        named = {"repositoryName": "", "projectName": "project/", "pipelineName": "", "name": ""}
        for parameter, kind in named.items():
            if parameter in given:
                return f"{prefix}{kind}{given[parameter]}"
        return given.get("TopicArn") or given.get("KeyId") or "*"

    def secret(self, identity: str) -> str:
        """A secret's ARN from its ARN or name. Raises Denied, as AWS does for what is not there."""
        for logical in self.of_type("SecretsManager::Secret"):
            arn = self.arn(logical)
            if identity in (arn, arn.rpartition(":")[2], arn.rpartition(":")[2].rpartition("-")[0]):
                return arn
        raise Denied(f"the stack has no secret {identity}")

    def key_of_bucket(self, bucket: str) -> str | None:
        """The ARN of the key that a bucket encrypts with by default, if it has one of its own."""
        rules = self.of_type("S3::Bucket")[self.logical("S3::Bucket", bucket)]
        for rule in rules.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", []):
            return rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
        return None

    def key_of_topic(self, topic: str) -> str | None:
        """The ARN of the key that a topic of the stack is encrypted with, if it is."""
        properties = self.of_type("SNS::Topic")[self.logical("SNS::Topic", topic)]
        return properties.get("KmsMasterKeyId")

    def answer_sns_publish(self, given: dict, role: str | None) -> Answer:
        """https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""
        self.logical("SNS::Topic", given["TopicArn"])
        self.mails.append("\n\n".join(filter(None, [given.get("Subject"), given["Message"]])))
        told = {"PublishResult": {"MessageId": uuid.uuid4()}}
        return 200, "text/xml", as_xml("PublishResponse", told)

    def answer_codecommit_postcommentforpullrequest(self, given: dict, role: str | None) -> Answer:
        """https://docs.aws.amazon.com/codecommit/latest/APIReference/API_PostCommentForPullRequest.html"""
        kind = "application/x-amz-json-1.1"
        before, after = given["beforeCommitId"], given["afterCommitId"]
        known = ["git", "--git-dir", str(self.repository), "cat-file", "-e"]
        wrong = {
            "PullRequestDoesNotExist": given["pullRequestId"] not in self.pull_requests.values(),
            "CommentContentRequired": not given["content"].strip(),
            "CommentContentSizeLimitExceeded": len(given["content"]) > 10_240,
            "BeforeCommitIdAndAfterCommitIdAreSame": before == after,
            "CommitDoesNotExist": any(
                subprocess.run([*known, f"{one}^{{commit}}"], capture_output=True).returncode
                for one in (before, after)
            ),
        }
        for name in (name for name, found in wrong.items() if found):
            error = {"__type": f"{name}Exception", "message": f"refused: {name}"}
            return 400, kind, json.dumps(error)
        self.comments.append({**given, "role": role or ""})
        comment = {"commentId": str(uuid.uuid4()), "content": given["content"], "deleted": False}
        comment |= {"authorArn": self.arn(role) if role else "operator"}
        told = {name: value for name, value in given.items() if name.endswith("Id")}
        told |= {"repositoryName": given["repositoryName"], "comment": comment}
        return 200, kind, json.dumps(told)

    def answer_codecommit_getcommit(self, given: dict, role: str | None) -> tuple[int, str, str]:
        """https://docs.aws.amazon.com/codecommit/latest/APIReference/API_GetCommit.html"""
        git = ["git", "--git-dir", str(self.repository), "show", "--no-patch"]
        shown = subprocess.run(
            [*git, "--format=%H%x00%T%x00%an%x00%ae%x00%B", given["commitId"], "--"],
            capture_output=True,
            text=True,
        )
        if shown.returncode:
            error = {"__type": "CommitIdDoesNotExistException", "message": given["commitId"]}
            return 400, "application/x-amz-json-1.1", json.dumps(error)
        commit, tree, name, email, message = shown.stdout.split("\0")
        author = {"name": name, "email": email, "date": ""}
        told = {"commitId": commit, "treeId": tree, "parents": [], "message": message.strip()}
        told |= {"author": author, "committer": author, "additionalData": ""}
        return 200, "application/x-amz-json-1.1", json.dumps({"commit": told})

    def answer_sts_getwebidentitytoken(self, given: dict, role: str | None) -> tuple[int, str, str]:
        """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html"""
        now = int(time.time())
        claims = {
            "iss": "https://rehearsal.tokens.sts.global.api.aws",
            "sub": self.arn(role) if role else "operator",
            "aud": [value for name, value in given.items() if name.startswith("Audience.")],
            "iat": now,
            "exp": now + int(given.get("DurationSeconds", 300)),
            "jti": str(uuid.uuid4()),
        }
        parts = ({"alg": given.get("SigningAlgorithm"), "typ": "JWT"}, claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
        token = b".".join([*encoded, b"not-signed-in-a-rehearsal"]).decode()
        told = {"GetWebIdentityTokenResult": {"WebIdentityToken": token}}
        return 200, "text/xml", as_xml("GetWebIdentityTokenResponse", told)

    # ---- Events ----------------------------------------------------------------------------------

    def emit(self, source: str, detail_type: str, detail: dict, resource: str) -> list[dict]:
        """Puts an event on the bus; returns the targets of the rules that match, each with `Input`.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
        """
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "region": self.region,
            "resources": [resource],
            "detail": detail,
        }
        hit = []
        for logical, rule in self.of_type("Events::Rule").items():
            pattern = rule.get("EventPattern")
            if not pattern or rule.get("State", "ENABLED") != "ENABLED":
                continue
            if EventPattern.load(json.dumps(pattern)).matches_event(event):
                for target in rule["Targets"]:
                    given = target.get("InputTransformer")
                    text = transform(given, event) if given else target.get("Input") or event
                    hit.append({**target, "Input": text, "Rule": logical})
        return hit


def without_no_value(node: Any) -> Any:
    """A template without the empty words that cloud-radar leaves in lists for AWS::NoValue."""
    if isinstance(node, dict):
        return {key: without_no_value(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_no_value(value) for value in node if value != ""]
    return node


def transform(transformer: dict[str, Any], event: dict[str, Any]) -> Any:
    """What an input transformer makes of an event, by moto's own parser.

    In EventBridge a string stands in quotes where the template has none around it; moto puts the
    bare text in, so the quotes are added to the template first.
    """
    template = re.sub(
        r"(?<=[:\[,])(\s*)<([^>]+)>(?=\s*[,}\]])", r'\1"<\2>"', transformer["InputTemplate"]
    )
    stamped = {**event, "ingestion-time": 0.0}
    return EventTemplateParser.parse(template, transformer.get("InputPathsMap", {}), stamped)


def read_call(environ: dict[str, Any], service: str) -> tuple[str, dict[str, Any]]:
    """A request's operation and parameters, whichever of AWS's protocols it speaks."""
    if service == "s3":  # the body may be large, and stays unread
        named = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")[2]
        actions = ACTION_MAP["KEY" if named else "BUCKET"][environ["REQUEST_METHOD"]]
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        action = next((actions[one] for one in actions if one in query), actions.get("DEFAULT"))
        return action or environ["REQUEST_METHOD"], {}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2], json.loads(body or b"{}")
    given = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return given.get("Action", ""), given


def as_xml(name: str, value: Any) -> str:
    """An element of AWS's query protocol: a list is a sequence of <member>."""
    if isinstance(value, dict):
        inner = "".join(as_xml(key, item) for key, item in value.items())
    elif isinstance(value, list):
        inner = "".join(as_xml("member", item) for item in value)
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def _answer(start: Callable, status: int, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start(f"{status} .", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _refuse(service: str, start: Callable, code: str, message: str) -> list[bytes]:
    """AWS's error in the form of the service's protocol."""
    if service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        return _answer(start, 403, "application/xml", text)
    if service in ("sts", "sns", "iam", "cloudformation"):
        inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        return _answer(
            start, 403, "text/xml", f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>"
        )
    error = json.dumps({"__type": code, "message": message})
    return _answer(start, 400, "application/x-amz-json-1.1", error)

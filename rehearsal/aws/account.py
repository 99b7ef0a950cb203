"""An AWS account on loopback that holds one stack.

moto keeps buckets, secrets, keys and logs. The front before it (front.py) decides on each call that
comes with a role's credentials, and answers the few operations that moto lacks.
"""

import functools
import logging
import threading
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from rehearsal.aws import services
from rehearsal.aws.codecommit import CodeCommit
from rehearsal.aws.events import EventBus
from rehearsal.aws.front import Facts, Front
from rehearsal.aws.iam import Authorizer, Call
from rehearsal.aws.services import Sns
from rehearsal.aws.stack import Stack, create_stack

OPERATOR = {"AWS_ACCESS_KEY_ID": "AKIAREHEARSALPERSON", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
Credentials = dict[str, str]  # as environment variables


@functools.cache
def session() -> Any:
    """One session for all: it keeps what it has read of the services."""
    return boto3.session.Session()


class Clients:
    """Makes clients, and keeps them: making one takes longer than most of its calls."""

    def __init__(self, url: str, region: str) -> None:
        self.url, self.region = url, region
        self.lock = threading.Lock()
        self.made: dict[tuple[str, str], Any] = {}

    def get(self, service: str, credentials: Credentials = OPERATOR) -> Any:
        """A client of a service."""
        key = credentials["AWS_ACCESS_KEY_ID"]
        with self.lock:
            if (service, key) not in self.made:
                self.made[service, key] = self.make(service, credentials)
            return self.made[service, key]

    def make(self, service: str, credentials: Credentials) -> Any:
        """A new client of a service."""
        return session().client(
            service,
            region_name=self.region,
            endpoint_url=self.url,
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def environment(self, credentials: Credentials = OPERATOR) -> dict[str, str]:
        """The variables that make an AWS client speak to this account."""
        region = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {"AWS_ENDPOINT_URL": self.url, **region, **credentials}


logging.getLogger("werkzeug").setLevel(logging.ERROR)


@functools.cache
def moto() -> Any:
    """moto's server, made once: what it keeps belongs to the process, whoever serves it."""
    return DomainDispatcherApplication(create_backend_app)


class Account:
    """An account with its services. `with Account(...) as account`. One at a time: see `moto`."""

    def __init__(self, stack: Stack, repository: Path) -> None:
        self.stack = stack
        self.authorizer = Authorizer(stack)
        # moto cannot decide for all services on resolved policies, so the front does it for all.
        self.front = Front(
            self.authorizer,
            Facts(stack, self.has_object),
            moto(),
            person=OPERATOR["AWS_ACCESS_KEY_ID"],
        )
        self.server = make_server("127.0.0.1", 0, self.front, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.clients = Clients(self.url, stack.region)
        self.bus = EventBus(stack, self.authorizer)
        self.sns = Sns(stack, self.bus)
        self.codecommit = CodeCommit(stack, self.bus, repository)
        self.front.serve("codecommit", self.codecommit.operations())
        self.front.operations |= services.operations(stack, self.sns)

    def __enter__(self) -> "Account":
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        try:
            # What an earlier account of this process has left is still there.
            reset = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
            urllib.request.urlopen(reset).close()
            create_stack(self.stack, self.client)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def calls(self) -> list[Call]:
        """Every decided call of a role."""
        return self.authorizer.calls

    def client(self, service: str, credentials: Credentials = OPERATOR) -> Any:
        """A boto3 client with the operator's or a role's credentials."""
        return self.clients.get(service, credentials)

    def environment(self, credentials: Credentials = OPERATOR) -> dict[str, str]:
        """The variables that make an AWS client speak to this account."""
        return self.clients.environment(credentials)

    def assume(self, role: str, service: str, source_arn: str) -> Credentials:
        """A service's credentials as a role. Raises AwsError where the role does not trust it."""
        self.authorizer.require_trust(role, service, source_arn)
        arn = self.stack.arn(role)
        answer = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="rehearsal")
        keys = answer["Credentials"]
        self.front.roles[keys["AccessKeyId"]] = role  # by this key the front knows the caller
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def has_object(self, bucket: str, key: str) -> bool:
        """Whether a bucket has an object."""
        listed = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in listed.get("Contents", []))

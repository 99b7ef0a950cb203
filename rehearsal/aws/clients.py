"""boto3 clients of the account, with the operator's credentials or a role's."""

import threading
from typing import Any

import boto3
from botocore.config import Config

OPERATOR = {"AWS_ACCESS_KEY_ID": "AKIAREHEARSALPERSON", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
Credentials = dict[str, str]  # as environment variables


class Clients:
    """Makes clients, and keeps them: making one takes longer than most of its calls."""

    session = boto3.session.Session()  # one for all: it keeps what it has read of the services

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
        return self.session.client(
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

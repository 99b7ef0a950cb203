"""The credentials of a rehearsal: made up, for the stack's secrets and the workspaces."""

import json
import secrets
import uuid
from typing import Any

from rehearsal.aws.stack import Properties, Stack
from rehearsal.databricks.identities import Identity

# The variables that sign in, without DATABRICKS_, and the fields of an identity.
FIELDS = ("token", "client_id", "client_secret")


class Credentials:
    """A credential for each secret of a stack: `values` by the secret's logical ID and key.

    `canary` is one more, which no workspace knows. Tests look for it, and for `secret_values`.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.values = {
            logical: made_up(properties)
            for logical, properties in stack.of_type("SecretsManager::Secret").items()
        }
        self.canary = new_token()

    @property
    def secret_values(self) -> list[str]:
        """What must never be seen outside of Secrets Manager."""
        return [
            value
            for values in self.values.values()
            for key, value in values.items()
            if not key.endswith("id")
        ]

    def identities(self) -> dict[str, list[Identity]]:
        """Who may sign in to which host: the identity of each build that names one."""
        hosts: dict[str, list[Identity]] = {}
        for project in self.stack.of_type("CodeBuild::Project").values():
            variables = {
                variable["Name"]: variable
                for variable in project["Environment"]["EnvironmentVariables"]
            }
            if "DATABRICKS_HOST" not in variables:
                continue
            identities = hosts.setdefault(variables["DATABRICKS_HOST"]["Value"], [])
            identity = self.identity(project, variables)
            if identity not in identities:  # builds with one role sign in as one identity
                identities.append(identity)
        return hosts

    def identity(self, project: Properties, variables: dict[str, dict[str, Any]]) -> Identity:
        """Who a project's builds sign in as."""
        fields = {
            field: self.value(variables[name])
            for field in FIELDS
            if (name := f"DATABRICKS_{field.upper()}") in variables
        }
        if fields.keys() == {"client_id"}:  # nothing secret: the build's role is the subject
            fields["subject"] = project["ServiceRole"]
        role = self.stack.logical("IAM::Role", project["ServiceRole"]).removesuffix("Role")
        user = fields.get("client_id") or f"{role.lower()}@example.com"
        return Identity(user_name=user, **fields)

    def value(self, variable: dict[str, Any]) -> str:
        """What a project's variable holds when a build runs."""
        if variable.get("Type") != "SECRETS_MANAGER":
            return str(variable["Value"])
        arn, _, key = variable["Value"].rpartition(":")
        return self.values[self.stack.logical("SecretsManager::Secret", arn)][key]


def made_up(properties: Properties) -> dict[str, str]:
    """A credential with the keys of a secret's placeholder."""
    keys = json.loads(properties["GenerateSecretString"]["SecretStringTemplate"])
    return {key: new_id() if key.endswith("id") else new_token() for key in keys}


def new_id() -> str:
    """A client ID, as Databricks gives a service principal."""
    return str(uuid.uuid4())


def new_token() -> str:
    """A secret that looks like a token, for scanners too."""
    return f"dapi{secrets.token_hex(16)}"

"""One call of the client: who is signed in, the bundle in its directory, and the workspace.

docs.databricks.com/aws/en/dev-tools/auth/unified-auth
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rehearsal.databricks import identities
from rehearsal.databricks.bundle import Bundle
from rehearsal.databricks.calls import SIGN_IN
from rehearsal.databricks.errors import Invalid, NotSupported, Refused, Unreachable
from rehearsal.databricks.identities import OAUTH_ERROR
from rehearsal.databricks.workspace import Storage, Workspace

UNCONFIGURED = (
    "default auth: cannot configure default credentials, please check "
    "https://docs.databricks.com/en/dev-tools/auth.html#databricks-client-unified-authentication "
    "to configure credentials for your preferred authentication method"
)
ATTRIBUTES = {  # the variables that sign in, and the client's names for them
    "DATABRICKS_TOKEN": "token",
    "DATABRICKS_CLIENT_ID": "client_id",
    "DATABRICKS_CLIENT_SECRET": "client_secret",
    "DATABRICKS_OIDC_TOKEN_FILEPATH": "databricks_id_token_filepath",
}
SECRET = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET")


def sign_in(storage: Storage, env: Mapping[str, str]) -> str:
    """The user whom these variables sign in. Raises Refused, Unreachable and NotSupported."""
    credentials = _Credentials(storage, env)
    auth_type = credentials.auth_type()
    if auth_type not in AUTH_TYPES:
        raise NotSupported(f"DATABRICKS_AUTH_TYPE={auth_type}")
    user = AUTH_TYPES[auth_type](credentials).user_name
    storage.record(user, SIGN_IN, auth_type)
    return user


class _Credentials:
    """What the environment says about signing in to a workspace."""

    def __init__(self, storage: Storage, env: Mapping[str, str]) -> None:
        self.storage, self.requested = storage, env.get("DATABRICKS_AUTH_TYPE")
        self.values = {name: env[name] for name in ATTRIBUTES if env.get(name)}
        self.used = [name for name in ("DATABRICKS_HOST", *self.values) if env.get(name)]
        self.token, self.client_id, self.secret, self.jwt_file = (
            self.values.get(name, "") for name in ATTRIBUTES
        )

    def auth_type(self) -> str:
        """The way to sign in: the requested one, else the one that there are credentials for."""
        if self.requested:
            return self.requested
        if self.token and self.secret:
            raise self.refused(
                "validate: more than one authorization method configured: oauth and pat"
            )
        if self.token:
            return "pat"
        return "oauth-m2m" if self.client_id and self.secret else "default"

    def refused(self, reason: str) -> Refused:
        """An error of the client itself, which shows the configuration without its secrets."""
        shown = {name: "***" if name in SECRET else value for name, value in self.values.items()}
        attributes = [f"{ATTRIBUTES[name]}={value}" for name, value in shown.items()]
        config = ", ".join([f"host={self.storage.host}", *attributes])
        return Refused(0, f"{reason}. Config: {config}. Env: {', '.join(self.used)}")

    @property
    def token_error(self) -> str:
        """What the client says if the workspace issues no token."""
        return f'Post "{self.storage.host}/oidc/v1/token": {json.dumps(OAUTH_ERROR)}'


def _default(credentials: _Credentials) -> identities.Identity:
    raise credentials.refused(UNCONFIGURED)


def _personal_access_token(credentials: _Credentials) -> identities.Identity:
    if not credentials.token:
        raise credentials.refused("pat auth: token is required")
    return identities.with_token(credentials.storage, credentials.token)


def _oauth(credentials: _Credentials) -> identities.Identity:
    client_id, secret = credentials.client_id, credentials.secret
    if not (client_id and secret):
        raise credentials.refused("oauth-m2m auth: not configured")
    try:
        return identities.with_secret(credentials.storage, client_id, secret)
    except Refused:
        # Unless it is asked for, OAuth is one of several ways that the client tries.
        if credentials.requested:
            raise Refused(0, f"error getting token: {credentials.token_error}") from None
        raise credentials.refused(UNCONFIGURED) from None


def _federation(credentials: _Credentials) -> identities.Identity:
    path = credentials.jwt_file
    try:
        jwt = Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        problem = f'file "{path}" does not exist' if path else "missing path"
        raise credentials.refused(f"file-oidc auth: {problem}") from None
    if not jwt:
        raise credentials.refused(f'file-oidc auth: file "{path}" is empty')
    try:
        return identities.with_jwt(credentials.storage, credentials.client_id, jwt)
    except Refused:
        raise credentials.refused(f"file-oidc auth: {credentials.token_error}") from None


AUTH_TYPES: dict[str, Callable[[_Credentials], identities.Identity]] = {
    "default": _default,
    "pat": _personal_access_token,
    "oauth-m2m": _oauth,
    "file-oidc": _federation,
}


HTTP_REASONS = {401: "Unauthorized", 403: "Forbidden"}


def say(text: str) -> None:
    """Prints a line to standard error, where the client reports its progress."""
    print(text, file=sys.stderr)


def show(value: Any) -> None:
    """Prints JSON to standard output."""
    print(json.dumps(value, indent=2))


def _assignments(pairs: list[str]) -> dict[str, str]:
    """The variables that `--var name=value` sets. Raises Invalid."""
    for pair in pairs:
        if "=" not in pair:
            raise Invalid(f"unexpected flag value for variable assignment: {pair}")
    variables = dict(pair.split("=", 1) for pair in pairs)
    if len(variables) < len(pairs):
        raise Invalid("--var: a variable has already been assigned a value")
    return variables


class Session:
    """What the commands share. `workspace` is there once somebody has signed in."""

    workspace: Workspace

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        self.home, self.options, self.host = home, options, ""
        self.bundle = Bundle(Path.cwd())
        self.json = options.output == "json"

    def connect(self, host: str = "") -> str:
        """Signs in at a host, else at DATABRICKS_HOST; returns the user."""
        self.host = (host or os.environ.get("DATABRICKS_HOST", "")).rstrip("/")
        storage = Storage(self.home, self.host)
        user = sign_in(storage, os.environ)
        self.workspace = Workspace(storage, user)
        return user

    def load_bundle(self, validating: bool = False) -> Bundle:
        """The bundle for the target of the options; prints its warnings.

        Raises Invalid; unless it is validated, NotSupported for a bundle with warnings.
        """
        variables = _assignments(self.options.var)
        target = self.options.target or os.environ.get("DATABRICKS_BUNDLE_TARGET")
        try:
            self.bundle.load(target, variables, self.connect)
            if validating:
                self.bundle.check_files()
        except Unreachable as unreachable:
            raise Invalid(str(unreachable)) from None
        except Refused as refused:
            raise self._invalid(refused) from None
        finally:  # an invalid bundle may have warnings too
            for warning in self.bundle.warnings:
                say(f"Warning: {warning}\n")
        if self.bundle.warnings and not validating:
            raise NotSupported("what becomes of a bundle with warnings")
        return self.bundle

    def _invalid(self, refused: Refused) -> Invalid:
        """A refused sign-in, as the commands on bundles print it."""
        status = refused.status
        if not status:
            return Invalid(f"failed during request visitor: {refused}")
        return Invalid(
            f"{refused} ({status} {status})\n\n"
            f"Endpoint: GET {self.host}/api/2.0/preview/scim/v2/Me?\n"
            f"HTTP Status: {status} {HTTP_REASONS.get(status, '')}\n"
            f"API error_code: {status}\nAPI message: {refused}"
        )

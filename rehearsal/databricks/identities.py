"""Who may sign in to a workspace, and with which credentials.

docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m and .../oauth-federation-exchange
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rehearsal.databricks.errors import Refused, Unreachable
from rehearsal.databricks.workspace import Storage, host_name, read_json, write_json

TOKEN_LIFETIME = 3600  # seconds


@dataclass(frozen=True)
class Identity:
    """A user or a service principal and one way to sign in."""

    user_name: str
    token: str = ""
    client_id: str = ""
    client_secret: str = ""
    subject: str = ""  # whom a federation policy trusts: the ARN of a build's role


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""


def declare(home: Path, hosts: Mapping[str, list[Identity]]) -> None:
    """Sets which workspaces there are and who may sign in to each."""
    stored: dict[str, list[dict[str, str]]] = {}
    for host, identities in hosts.items():
        for identity in identities:
            hashes = {
                "token": _hash(identity.token),
                "client_secret": _hash(identity.client_secret),
            }
            stored.setdefault(host_name(host), []).append(asdict(identity) | hashes)
    write_json(home / "workspaces.json", stored)


def _identity(storage: Storage, **credentials: str) -> Identity:
    """Who has these credentials, secrets hashed. Raises Unreachable and Refused."""
    identities = read_json(storage.home / "workspaces.json", {}).get(host_name(storage.host))
    fault = storage.fault("sign-in")
    if "status" in fault:
        raise Refused(fault["status"], fault["message"])
    if fault or identities is None:
        reason = fault.get("message") or f"lookup {host_name(storage.host)} no such host"
        me = f"{storage.host}/api/2.0/preview/scim/v2/Me?"
        raise Unreachable(f'Get "{me}": dial tcp: {reason}')
    for identity in identities:
        # An identity without a token must not match an empty one.
        if all(value and identity[name] == value for name, value in credentials.items()):
            return Identity(**identity)
    raise Refused(401, "Invalid access token.")


def with_token(storage: Storage, token: str) -> Identity:
    """Whose token this is: a personal access token, or one that `issue_token` returned."""
    issued = read_json(storage.folder / "issued.json", {})
    user, expiry = issued.get(_hash(token), ("", 0))
    if expiry > time.time():
        return _identity(storage, user_name=user)
    return _identity(storage, token=_hash(token))


def with_secret(storage: Storage, client_id: str, secret: str) -> Identity:
    """Whose OAuth secret this is."""
    return _identity(storage, client_id=client_id, client_secret=_hash(secret))


def with_jwt(storage: Storage, client_id: str, jwt: str) -> Identity:
    """Whom a federation policy accepts a JWT for. The JWT's signature is not checked.

    docs.databricks.com/aws/en/dev-tools/auth/oauth-federation-policy
    """
    return _identity(storage, client_id=client_id, subject=_subject(jwt))


def _subject(jwt: str) -> str:
    """The subject of a JWT that is meant for Databricks and has not expired, else ""."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
        audience, subject, expiry = claims["aud"], claims["sub"], float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""
    audiences = audience if isinstance(audience, list) else [audience]
    return str(subject) if "databricks" in audiences and expiry > time.time() else ""


def issue_token(storage: Storage, identity: Identity) -> str:
    """A new access token for an identity."""
    file, token = storage.folder / "issued.json", secrets.token_urlsafe(32)
    entry = {_hash(token): (identity.user_name, time.time() + TOKEN_LIFETIME)}
    write_json(file, read_json(file, {}) | entry)
    return token


OAUTH_ERROR = {"error": "invalid_client", "error_description": "Client authentication failed"}

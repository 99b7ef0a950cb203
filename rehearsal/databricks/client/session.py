"""One call of the client: its options, the bundle in its directory, and the workspace."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rehearsal.databricks.bundle import Bundle
from rehearsal.databricks.client.sign_in import sign_in
from rehearsal.databricks.errors import Invalid, Refused, Unreachable
from rehearsal.databricks.workspace.model import Workspace
from rehearsal.databricks.workspace.storage import Storage

HTTP_REASONS = {401: "Unauthorized", 403: "Forbidden"}


def say(text: str) -> None:
    """Prints a line to standard error, where the client reports its progress."""
    print(text, file=sys.stderr)


def show(value: Any) -> None:
    """Prints JSON to standard output."""
    print(json.dumps(value, indent=2))


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

    def load_bundle(self) -> Bundle:
        """The bundle for the target of the options; prints its warnings. Raises Invalid."""
        if not Path("databricks.yml").is_file():
            raise Invalid("Unable to locate the bundle root: databricks.yml not found.")
        for pair in self.options.var:
            if "=" not in pair:
                raise Invalid(f"unexpected flag value for variable assignment: {pair}")
        variables = dict(pair.split("=", 1) for pair in self.options.var)
        target = self.options.target or os.environ.get("DATABRICKS_BUNDLE_TARGET")
        try:
            self.bundle.load(target, variables, self.connect)
        except Unreachable as unreachable:
            raise Invalid(str(unreachable)) from None
        except Refused as refused:
            raise self._invalid(refused) from None
        finally:  # an invalid bundle may have warnings too
            for warning in self.bundle.warnings:
                say(f"Warning: {warning}\n")
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

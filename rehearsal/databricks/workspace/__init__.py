"""A Databricks workspace: identities, files, resources, runs. Two ways in: HTTP, and the client."""

from rehearsal.databricks.errors import Unreachable
from rehearsal.databricks.workspace.api import respond
from rehearsal.databricks.workspace.identities import Identity, declare

__all__ = ["Identity", "Unreachable", "declare", "respond"]

"""A stand-in for the `databricks` client, on folders that stand in for workspaces.

It does what builds call, with the real client's outputs and exit codes; all else fails loudly. It
follows tests/data/client-recordings.json, which are the real client's own answers, and
docs.databricks.com/aws/en/dev-tools/cli/{bundle-commands,reference/workspace-commands}.
"""

from rehearsal.databricks.client.command_line import main, warm_up

__all__ = ["main", "warm_up"]

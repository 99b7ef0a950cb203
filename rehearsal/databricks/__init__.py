"""The Databricks workspaces that a rehearsal plays, and the client that deploys to them."""

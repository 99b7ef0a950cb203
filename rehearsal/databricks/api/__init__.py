"""A workspace's HTTP API, for the real client and for whoever asks a workspace without a client."""

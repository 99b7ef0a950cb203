"""What of the user's environment must not change a rehearsal."""

import contextlib
import os
import re
from collections.abc import Iterator

LOOPBACK = "127.0.0.1,localhost"
# Profiles, credentials and settings of programs that a rehearsal uses itself.
FOREIGN = re.compile(r"(AWS|DATABRICKS|BUNDLE_VAR)_\w+|PYTHON[A-Z]\w*")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hides those settings, and keeps the user's proxy away from loopback; restores all of it."""
    before = dict(os.environ)
    for name in filter(FOREIGN.fullmatch, before):
        del os.environ[name]
    os.environ.update({"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [before.get(name, ""), LOOPBACK]))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

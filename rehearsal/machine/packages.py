"""This machine's package caches and wheels, which make installs quick."""

import functools
import os
import subprocess
import sys
from pathlib import Path

UV = Path(sys.prefix, "bin/uv")
WHEELS = Path(sys.prefix, "wheels")  # what would be built from source at every install


@functools.cache
def uv_cache() -> str:
    """uv's cache."""
    shown = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True)
    return shown.stdout.strip()


def cache_variables() -> dict[str, str]:
    """The variables that let pip and uv use what this machine has."""
    variables = {
        "UV_CACHE_DIR": uv_cache(),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", os.path.expanduser("~/.cache/pip")),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",  # pip would ask for its own newest version
    }
    if WHEELS.is_dir():
        variables["UV_FIND_LINKS"] = str(WHEELS)
    return variables

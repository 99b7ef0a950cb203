"""What makes a rehearsal quick: this machine's package caches and wheels, and compiled Python."""

import functools
import os
import subprocess
import sys
import sysconfig
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


BYTECODE = Path(sys.prefix, "bytecode")


def shared_bytecode(folder: Path, **environments: Path) -> dict[str, str]:
    """The variables that let Python keep what it compiles, for the next use of these environments.

    Python looks for bytecode by the path of its source, below a prefix in `folder`; links lead from
    there to BYTECODE. It takes none that was made of another source, by time and size.
    """
    prefix = folder / "bytecode"
    environments |= {"stdlib": Path(sysconfig.get_path("stdlib")), "tools": Path(sys.prefix)}
    for name, place in environments.items():
        (BYTECODE / name).mkdir(parents=True, exist_ok=True)
        link = prefix / place.relative_to("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(BYTECODE / name)
    return {"PYTHONPYCACHEPREFIX": str(prefix)}

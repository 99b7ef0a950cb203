"""Lets the Pythons of a rehearsal keep what they compile, which takes most of their time."""

import sys
import sysconfig
from pathlib import Path

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

"""Warm servers that all rehearsals of this process share (see warm.py).

A call has its caller's directory and environment and nothing of other calls, so sharing is safe:
it saves each rehearsal but the first the imports.
"""

import atexit
import contextlib
import functools
import shutil
import sys
import tempfile
from pathlib import Path

from rehearsal.machine import warm


@functools.cache
def server(module: str) -> Path:
    """The address of a server of a module's calls, which runs until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-server-"))
    running = contextlib.ExitStack()
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    running.enter_context(warm.serving(sys.executable, folder / "socket", module))
    atexit.register(running.close)
    return folder / "socket"

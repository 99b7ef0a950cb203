"""Compute of a workspace: runs notebooks, wheels and pipelines on the engine that spark.py starts.

Each task is a process of its own, with nothing of this one's environment.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal.machine import warm

UNSUPPORTED = "UnsupportedHere: "  # begins the error of what cannot run on one machine
START_LIMIT, TASK_LIMIT = 180, 300  # seconds
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
# Installing a library needs the configuration of uv and of the network.
INSTALL_VARIABLES = re.compile(r"PATH|HOME|LANG|(UV|PIP|SSL)_.*|(https?|no)_proxy", re.I)


class Outcome(NamedTuple):
    """How a task ended: what it printed; "Type: message" and the trace, or "" if it went well.

    `values` are the task values that it has set.
    """

    ok: bool
    output: str
    error: str
    values: Mapping[str, Any] = {}


class Compute:
    """Runs tasks on the engine in home, which this process or another one has started.

    `files` stands for the workspace's root: /Workspace/x is files/"Workspace/x". Nothing is raised
    for what goes wrong in a task: the outcome says it.
    """

    def __init__(self, home: Path, files: Path, env: Mapping[str, str] = os.environ):
        self.home, self.files, self.env = home.resolve(), files.resolve(), env

    def notebook(
        self,
        path: str,
        parameters: dict[str, str],
        libraries: list[str],
        values: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Outcome:
        """Run a notebook, whose path is with a suffix or without.

        `values` are the task values of the tasks before it, by task and key.
        """
        details = {"path": path, "parameters": parameters, "values": values or {}}
        return self._task("notebook", libraries, **details)

    def wheel(
        self, package: str, entry_point: str, parameters: list[str], libraries: list[str]
    ) -> Outcome:
        """Call a package's entry point, with `parameters` in sys.argv."""
        details = {"package": package, "entry_point": entry_point, "parameters": parameters}
        return self._task("wheel", libraries, **details)

    def script(self, path: str, parameters: list[str], libraries: list[str]) -> Outcome:
        """Run a Python file of the workspace, with `parameters` in sys.argv."""
        return self._task("script", libraries, path=path, parameters=parameters)

    def pipeline(self, spec: dict[str, Any]) -> Outcome:
        """Update a declarative pipeline's datasets; `spec` is the resource, its names resolved."""
        libraries = spec.get("environment", {}).get("dependencies", [])
        return self._task("pipeline", libraries, spec=spec)

    def _task(self, task: str, libraries: list[str], **details: Any) -> Outcome:
        try:
            engine = self._engine()
        except TimeoutError as error:
            return Outcome(False, "", f"TimeoutExpired: {error}")
        if engine["error"]:
            return Outcome(False, "", f"ClusterStartFailed: {engine['error']}")
        catalog = details.get("spec", {}).get("catalog", "samples")
        if catalog not in engine["catalogs"]:
            known = ", ".join(engine["catalogs"])
            return Outcome(False, "", f"CatalogNotFound: {catalog}; there are {known}")
        try:
            folders = self._install(engine, libraries)
        except subprocess.CalledProcessError as error:
            return Outcome(False, "", f"LibraryInstallationFailed: {error.stderr or error}")
        except OSError as error:
            return Outcome(False, "", f"LibraryInstallationFailed: {error}")
        request = {"task": task, "files": str(self.files), "libraries": folders, **details}
        return run_task(self.home, engine, request)

    def _engine(self) -> dict[str, Any]:
        """What spark.py says of the engine once it is up. Raises TimeoutError."""
        ready, deadline = self.home / "engine.json", time.monotonic() + START_LIMIT + TASK_LIMIT
        while not ready.is_file():
            if time.monotonic() > deadline:
                raise TimeoutError("no engine has been started")
            time.sleep(0.1)
        engine: dict[str, Any] = json.loads(ready.read_text())
        return engine

    def _install(self, engine: dict[str, Any], libraries: list[str]) -> list[str]:
        """Return the folder of the libraries; tasks with the same ones share it."""
        if not libraries:
            return []
        names = [self._local(library) for library in libraries]
        wheels = [Path(name).read_bytes() for name in names if name.startswith("/")]
        # A wheel may change under the same name.
        key = hashlib.sha256(b"\n".join([*map(str.encode, names), *wheels])).hexdigest()
        folder = self.home / "libraries" / key[:16]
        if not folder.is_dir():
            folder.parent.mkdir(exist_ok=True)
            # Tasks run side by side: the folder appears when it is complete.
            part = Path(tempfile.mkdtemp(dir=folder.parent))
            _install_into(part, engine, names, self.env)
            with contextlib.suppress(OSError):  # another task was faster
                part.rename(folder)
        return [str(folder)]

    def _local(self, library: str) -> str:
        """The file of a wheel in the workspace; packages keep their names."""
        if library.startswith("/"):
            return str(self.files / library[1:])
        return library


def _install_into(
    folder: Path, engine: dict[str, Any], names: list[str], env: Mapping[str, str]
) -> None:
    """Install libraries into a folder. Raises CalledProcessError."""
    excluded = folder / "excluded.txt"
    excluded.write_text("pyspark\n")  # the runtime brings it
    install = [engine["uv"], "pip", "install", "--quiet", "--python", engine["python"]]
    subprocess.run(
        [*install, "--excludes", excluded, "--target", folder, *names],
        env={name: env[name] for name in env if INSTALL_VARIABLES.fullmatch(name)},
        capture_output=True,
        text=True,
        check=True,
    )


def run_task(home: Path, engine: Mapping[str, Any], request: Mapping[str, Any]) -> Outcome:
    """Run one task in a process that sees nothing of this one's environment."""
    with tempfile.TemporaryDirectory(dir=home / "tasks", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        message, result = folder / "request.json", folder / "result.json"
        place = {"engine": engine, "scratch": scratch, "result": str(result)}
        message.write_text(json.dumps({**request, **place}))
        try:
            _call(engine["tasks"], [str(message)], folder)
            error = "ProcessEnded: before the task was done"
        except TimeoutError:
            error = f"TimeoutExpired: the task was stopped after {TASK_LIMIT} s"
        output = _text(folder / "stdout")
        outcome: dict[str, Any] = {
            "ok": False,
            "error": f"{error}\n{_text(folder / 'stderr')[-2000:]}",
        }
        if result.is_file():
            outcome = json.loads(result.read_text())
    files = request["files"]  # its readers know the workspace's paths only
    output, error = (text.replace(files, "") for text in (output, outcome["error"]))
    return Outcome(outcome["ok"], output, error, outcome.get("values", {}))


def _call(address: str, arguments: list[str], folder: Path) -> None:
    """Call task/program.py, with output to files in a folder. Raises TimeoutError."""
    with (
        open(os.devnull, "rb") as stdin,
        open(folder / "stdout", "wb") as stdout,
        open(folder / "stderr", "wb") as stderr,
    ):
        streams = [stdin.fileno(), stdout.fileno(), stderr.fileno()]
        env = ENVIRONMENT | {"HOME": str(folder)}
        warm.call(address, arguments, str(folder), env, streams, TASK_LIMIT)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")

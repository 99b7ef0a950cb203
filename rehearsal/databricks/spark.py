"""The compute of a stand-in workspace: runs notebooks, wheels and pipelines on this machine.

Two engines. Spark is open-source Spark behind Spark Connect, which is what serverless compute is
too: one server for the whole rehearsal, and a process with a session of its own for each task.
With `quick` the same code runs without Java, on DuckDB through sqlframe.

Unity Catalog's catalogs are Spark's JDBC catalogs, on Derby in the server's memory (with `quick`
DuckDB's files): there are no views in them, and on Spark no arrays, maps or structs.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from rehearsal.databricks.task.program import unquoted
from rehearsal.machine import warm

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
UV = Path(sys.prefix, "bin", "uv")
JAVA = 17
START_LIMIT, TASK_LIMIT = 180, 300  # seconds
# The server ends when its standard input does: also where the rehearsal is killed.
UNTIL_STDIN_ENDS = 'exec 3<&0; "$@" & pid=$!; { cat <&3; kill $pid; } & wait $pid'


class Outcome(NamedTuple):
    """How a task ended: what it printed; "Type: message" and the trace, or "" if it went well."""

    ok: bool
    output: str
    error: str


def java_version() -> int:
    """Return the version of the Java in JAVA_HOME, else on PATH; 0 where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else "java"
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', shown)
    return int(found[1]) if found else 0


def prepare(engine: str = "spark") -> Path:
    """Return the interpreter of an engine's environment ("spark", "quick"); make it if need be.

    Raises RuntimeError without Java for Spark, CalledProcessError where uv fails.
    """
    if engine == "spark" and java_version() < JAVA:
        raise RuntimeError(
            f"Spark needs Java {JAVA} or newer, on PATH or in JAVA_HOME: "
            f"apt-get install openjdk-{JAVA}-jre-headless, or brew install openjdk@{JAVA}"
        )
    groups = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["dependency-groups"]
    quick = [pin for pin in groups["dev"] if str(pin).startswith(("duckdb", "sqlframe"))]
    pins, folder = {"spark": groups["spark"], "quick": quick}[engine], Path(sys.prefix, engine)
    made, python = folder / "pins.json", folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):
        if not made.is_file() or json.loads(made.read_text()) != pins:
            venv = [UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder]
            subprocess.run(venv, check=True)
            install = [UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
            subprocess.run([*install, *pins], check=True)
            made.write_text(json.dumps(pins))
    return python


@contextlib.contextmanager
def start(home: Path, quick: bool, catalogs: Sequence[str] = ("qa", "prod")) -> Iterator[None]:
    """Start the engine in the background, with `catalogs` and `samples`; stop it at the end.

    Tasks wait until the server is up and samples.nyctaxi.trips is there. Raises what prepare does.
    """
    home, names = home.resolve(), sorted({*catalogs, "samples"})
    python = prepare("quick" if quick else "spark")
    (home / "tasks").mkdir(parents=True, exist_ok=True)
    engine = {
        "name": "duckdb" if quick else "spark",
        "python": str(python),
        "uv": str(UV),
        "catalogs": {name: str(home / f"{name}.duckdb") for name in names},
    }
    server = None if quick else _serve(home, python, names)
    boot = threading.Thread(target=_boot, args=(home, engine, server), daemon=True)
    try:
        with warm.serving(python, home / "tasks.socket", "rehearsal.databricks.task.program"):
            boot.start()
            yield
        boot.join(10)  # with the server its task has ended
    finally:
        if server:
            server.stdin.close()
            try:
                server.wait(20)
            finally:
                server.kill()


def _serve(home: Path, python: Path, catalogs: Sequence[str]) -> subprocess.Popen:
    """Start a Spark Connect server on a port that is free; its log says which."""
    spark = next(python.parents[1].glob("lib/python*/site-packages/pyspark"))
    folder = home / "server"
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions":  # starts fast rather than run fast for hours
        f"-Duser.timezone=UTC -Djava.io.tmpdir={folder} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": folder,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.ui.enabled": "false",
    }
    # Spark's pipelines quote no names: a catalog whose name needs it is there under another, too.
    for name in {*catalogs, *map(unquoted, catalogs)}:
        key = f"spark.sql.catalog.{name}"
        conf[key] = "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog"
        conf[f"{key}.url"] = f"jdbc:derby:memory:{unquoted(name)};create=true"
        conf[f"{key}.driver"] = "org.apache.derby.iapi.jdbc.AutoloadedDriver"
        # Strings are CLOBs in Derby, which it cannot compare or group by: that is left to Spark.
        for part in ("Predicate", "Aggregate", "Limit", "Offset", "TableSample"):
            conf[f"{key}.pushDown{part}"] = "false"
    folder.mkdir()
    properties = folder / "spark.conf"
    properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
    main = "org.apache.spark.sql.connect.service.SparkConnectServer"
    submit = [spark / "bin/spark-submit", "--master", "local[2]", "--properties-file", properties]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            ["sh", "-c", UNTIL_STDIN_ENDS, "sh", *submit, "--class", main, "spark-internal"],
            cwd=folder,
            env=kept | {"SPARK_HOME": str(spark), "PYSPARK_PYTHON": str(python)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the rehearsal's to handle
        )


def _boot(home: Path, engine: dict, server: subprocess.Popen | None) -> None:
    """Wait for the server, write the samples, and leave what tasks need to find the engine."""
    error, deadline, log = "", time.monotonic() + START_LIMIT, home / "server" / "log"
    while server and not error and "remote" not in engine:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"server started at: 127\.0\.0\.1:(\d+)", text):
            engine["remote"] = f"sc://127.0.0.1:{found[1]}"
        elif server.poll() is not None or time.monotonic() > deadline:
            error = f"Spark did not start:\n{text[-2000:]}"
        time.sleep(0.1)
    request = {"task": "samples", "files": str(home / "tasks"), "libraries": []}
    error = error or _run(home, engine, request).error
    part = home / "engine.part"
    part.write_text(json.dumps(engine | {"error": error}))
    part.rename(home / "engine.json")


def _run(home: Path, engine: dict, request: dict) -> Outcome:
    """Run task.py in a process that sees nothing of this one's environment."""
    with tempfile.TemporaryDirectory(dir=home / "tasks", ignore_cleanup_errors=True) as scratch:
        sent, result, stdout, stderr = (Path(scratch, name) for name in ("in", "out", "1", "2"))
        about = {"engine": engine, "scratch": scratch, "result": str(result)}
        sent.write_text(json.dumps(request | about))
        env = {"PATH": os.defpath, "HOME": scratch, "LANG": "C.UTF-8", "TZ": "UTC"}
        try:
            with (
                open(os.devnull, "rb") as none,
                open(stdout, "wb") as out,
                open(stderr, "wb") as err,
            ):
                streams = [one.fileno() for one in (none, out, err)]
                server = home / "tasks.socket"
                warm.call(server, [str(sent)], scratch, env, streams, TASK_LIMIT)
            error = "ProcessEnded: before the task was done"
        except TimeoutError:
            error = f"TimeoutExpired: the task was stopped after {TASK_LIMIT} s"
        output, log = (p.read_text(encoding="utf-8", errors="replace") for p in (stdout, stderr))
        ended = {"ok": False, "error": f"{error}\n{log[-2000:]}"}
        if result.is_file():
            ended = json.loads(result.read_text())
        files = request["files"]  # whoever reads it knows the workspace's paths
        return Outcome(ended["ok"], output.replace(files, ""), ended["error"].replace(files, ""))


class Compute:
    """Runs tasks on the engine that start(home, …) has started, in this process or in another.

    `files` stands for the workspace's root: /Workspace/x is files/"Workspace/x". Nothing is raised
    for what goes wrong in a task: the outcome says it.
    """

    def __init__(self, home: Path, files: Path):
        self.home, self.files = home.resolve(), files.resolve()

    def notebook(self, path: str, parameters: dict[str, str], libraries: list[str]) -> Outcome:
        """Run a notebook in source format, given by its workspace path with .py or without."""
        return self._task("notebook", libraries, path=path, parameters=parameters)

    def wheel(
        self, package: str, entry_point: str, parameters: list[str], libraries: list[str]
    ) -> Outcome:
        """Call a package's entry point, with `parameters` in sys.argv."""
        details = {"package": package, "entry_point": entry_point, "parameters": parameters}
        return self._task("wheel", libraries, **details)

    def pipeline(self, spec: dict) -> Outcome:
        """Update a declarative pipeline's datasets; `spec` is the resource, its names resolved."""
        libraries = spec.get("environment", {}).get("dependencies", [])
        return self._task("pipeline", libraries, spec=spec)

    def _task(self, task: str, libraries: list[str], **details: object) -> Outcome:
        ready, deadline = self.home / "engine.json", time.monotonic() + START_LIMIT + TASK_LIMIT
        while not ready.is_file():
            if time.monotonic() > deadline:
                return Outcome(False, "", "TimeoutExpired: no engine has been started")
            time.sleep(0.1)
        engine = json.loads(ready.read_text())
        if engine["error"]:
            return Outcome(False, "", f"ClusterStartFailed: {engine['error']}")
        catalog = details.get("spec", {}).get("catalog", "samples")
        if catalog not in engine["catalogs"]:
            known = ", ".join(engine["catalogs"])
            return Outcome(False, "", f"CatalogNotFound: {catalog}; there are {known}")
        try:
            folders = self._install(engine, libraries)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or error
            return Outcome(False, "", f"LibraryInstallationFailed: {why}")
        request = {"task": task, "files": str(self.files), "libraries": folders, **details}
        return _run(self.home, engine, request)

    def _install(self, engine: dict, libraries: list[str]) -> list[str]:
        """Return the folder of the libraries; tasks with the same ones share it."""
        if not libraries:
            return []
        names = [str(self.files / lib[1:]) if lib.startswith("/") else lib for lib in libraries]
        content = [Path(name).read_bytes() for name in names if name.startswith("/")]
        key = hashlib.sha256(b"\n".join([*map(str.encode, names), *content])).hexdigest()
        folder = self.home / "libraries" / key[:16]
        if not folder.is_dir():
            folder.parent.mkdir(exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=folder.parent))
            excluded = part / "excluded.txt"
            excluded.write_text("pyspark\n")  # the runtime brings it
            kept = re.compile(r"PATH|HOME|LANG|(UV|PIP|SSL)_.*|(https?|no)_proxy", re.I)
            install = [engine["uv"], "pip", "install", "--quiet", "--python", engine["python"]]
            subprocess.run(
                [*install, "--excludes", excluded, "--target", part, *names],
                env={name: os.environ[name] for name in os.environ if kept.fullmatch(name)},
                capture_output=True,
                text=True,
                check=True,
            )
            with contextlib.suppress(OSError):  # another task was faster
                part.rename(folder)
        return [str(folder)]

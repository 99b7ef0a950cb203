"""The engine of a rehearsal's compute: its Python environment, and its server.

There are two. Spark is open-source Spark behind Spark Connect, which is what serverless compute is
too: one server for the whole rehearsal, and a process with a session of its own for each task.
With `quick` the same code runs without Java, on DuckDB through sqlframe.

Unity Catalog's catalogs are Spark's JDBC catalogs, on Derby in the server's memory (with `quick`
DuckDB's files): there are no views in them, and on Spark no arrays, maps or structs.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from rehearsal.databricks.compute import START_LIMIT, run_task
from rehearsal.machine import warm

# In a clone it is beside the package, in an installed package within it.
PLACES = [Path(__file__).parents[number] / "pyproject.toml" for number in (2, 1)]
UV = Path(sys.prefix, "bin", "uv")
JAVA = 17
# The server ends when its standard input does: also if the rehearsal is killed.
UNTIL_STDIN_ENDS = 'exec 3<&0; "$@" & pid=$!; { cat <&3; kill $pid; } & wait $pid'


def java_version() -> int:
    """Return the version of the Java in JAVA_HOME, else on PATH; 0 if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else "java"
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    except OSError:
        return 0
    version = re.search(r'version "(\d+)', shown)
    return int(version[1]) if version else 0


def engine_pins(pyproject: dict[str, Any]) -> dict[str, list[str]]:
    """What each engine's environment has installed, by this project's pyproject.toml."""
    pins = pyproject["project"]["dependencies"]
    quick = [pin for pin in pins if pin.startswith(("duckdb", "sqlframe"))]
    return {"spark": pyproject["dependency-groups"]["spark"], "quick": quick}


def prepare(engine: str = "spark", env: Mapping[str, str] | None = None) -> Path:
    """Return the interpreter of an engine's environment ("spark", "quick"); make it if necessary.

    Raises RuntimeError without Java for Spark, CalledProcessError if uv fails.
    """
    if engine == "spark" and java_version() < JAVA:
        raise RuntimeError(
            f"Spark needs Java {JAVA} or newer, on PATH or in JAVA_HOME: "
            f"apt-get install openjdk-{JAVA}-jre-headless, or brew install openjdk@{JAVA}"
        )
    text = next(place for place in PLACES if place.is_file()).read_text(encoding="utf-8")
    pins, folder = engine_pins(tomllib.loads(text))[engine], Path(sys.prefix, engine)
    installed, python = folder / "pins.json", folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):
        if not installed.is_file() or json.loads(installed.read_text()) != pins:
            venv = ["venv", "--quiet", "--clear", "--python", sys.executable]
            subprocess.run([UV, *venv, folder], env=env, check=True)
            install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
            subprocess.run([UV, *install, *pins], env=env, check=True)
            installed.write_text(json.dumps(pins))
    return python


@contextlib.contextmanager
def start(
    home: Path,
    quick: bool,
    catalogs: Sequence[str] = ("qa", "prod"),
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Start the engine in the background, with `catalogs` and `samples`; stop it at the end.

    `env` is what its packages are installed with. Tasks wait until the server is up and
    samples.nyctaxi.trips is there. Raises what prepare does.
    """
    home, names = home.resolve(), sorted({*catalogs, "samples"})
    (home / "tasks").mkdir(parents=True, exist_ok=True)
    name, python = ("duckdb", prepare("quick", env)) if quick else ("spark", prepare("spark", env))
    files = {catalog: str(home / f"{catalog}.duckdb") for catalog in names}
    tasks = str(warm.server(python, "rehearsal.databricks.task.program"))
    engine = {"name": name, "python": str(python), "uv": str(UV), "catalogs": files, "tasks": tasks}
    server = None if quick else _serve(home, python, names)
    boot = threading.Thread(target=_boot, args=(home, engine, server), daemon=True)
    try:
        boot.start()
        yield
    finally:
        if server:
            _stop(server)
        warm.end_calls()
        boot.join(10)  # with the server its task has ended; it writes into home


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin
    server.stdin.close()
    try:
        server.wait(20)
    finally:
        server.kill()


def _serve(home: Path, python: Path, catalogs: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a Spark Connect server on a free port, which its log names."""
    spark = next(python.parents[1].glob("lib/python*/site-packages/pyspark"))
    folder = home / "server"
    folder.mkdir()
    properties = folder / "spark.conf"
    conf = _configuration(folder, catalogs)
    properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
    main = "org.apache.spark.sql.connect.service.SparkConnectServer"
    submit = [str(spark / "bin/spark-submit"), "--master", "local[2]"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            [
                "sh",
                "-c",
                UNTIL_STDIN_ENDS,
                "sh",
                *submit,
                "--properties-file",
                str(properties),
                "--class",
                main,
                "spark-internal",
            ],
            cwd=folder,
            env=kept | {"SPARK_HOME": str(spark), "PYSPARK_PYTHON": str(python)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the rehearsal's to handle
        )


def _configuration(folder: Path, catalogs: Sequence[str]) -> dict[str, str]:
    """Return the server's properties, with its catalogs in memory."""
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions":  # starts fast rather than run fast for hours
        f"-Duser.timezone=UTC -Djava.io.tmpdir={folder} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
    }
    for number, name in enumerate(catalogs):
        key = f"spark.sql.catalog.{name}"
        conf[key] = "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog"
        conf[f"{key}.url"] = f"jdbc:derby:memory:catalog{number};create=true"
        conf[f"{key}.driver"] = "org.apache.derby.iapi.jdbc.AutoloadedDriver"
        # Strings are CLOBs in Derby, which it cannot compare or group by: that is left to Spark.
        for part in ("Predicate", "Aggregate", "Limit", "Offset", "TableSample"):
            conf[f"{key}.pushDown{part}"] = "false"
    return conf


def _boot(home: Path, engine: dict[str, Any], server: subprocess.Popen[bytes] | None) -> None:
    """Wait for the server, write the samples, and leave what tasks need to find the engine."""
    error = _wait(home / "server" / "log", engine, server) if server else ""
    if not error:
        request = {"task": "samples", "files": str(home / "tasks"), "libraries": []}
        error = run_task(home, engine, request).error
    part = home / "engine.part"
    part.write_text(json.dumps(engine | {"error": error}))
    part.rename(home / "engine.json")


def _wait(log: Path, engine: dict[str, Any], server: subprocess.Popen[bytes]) -> str:
    """Wait for the server and add its address to the engine; return why it did not start, or ""."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        has_ended = server.poll() is not None or time.monotonic() > deadline
        text = log.read_text(encoding="utf-8", errors="replace")
        if started := re.search(r"server started at: 127\.0\.0\.1:(\d+)", text):
            engine["remote"] = f"sc://127.0.0.1:{started[1]}"
            return ""
        if has_ended:
            return f"Spark did not start:\n{text[-2000:]}"
        time.sleep(0.1)

"""What starts the rehearsal's engines: Spark's server, warm processes, their environments."""

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rehearsal.databricks import compute, spark
from rehearsal.databricks.compute import Compute, Outcome
from rehearsal.machine import warm

# --- the server -----------------------------------------------------------------------------------


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """A function that starts the engine with a shell command in the place of Spark's server."""
    monkeypatch.setattr(spark, "prepare", lambda *_: Path(sys.executable))
    for module in (compute, spark):  # no task runs
        monkeypatch.setattr(module, "run_task", lambda *_: Outcome(True, "", ""))
    monkeypatch.setattr(warm, "serving", lambda *_: contextlib.nullcontext())
    started = SimpleNamespace()

    def serve(home, *_):
        (home / "server").mkdir()
        with open(home / "server" / "log", "wb") as log:
            shell = ["sh", "-c", spark.UNTIL_STDIN_ENDS, "sh", "sh", "-c", started.command]
            started.process = subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=log)
        return started.process

    def start(command: str):
        started.command = command
        return spark.start(tmp_path, quick=False)

    monkeypatch.setattr(spark, "_serve", serve)
    return SimpleNamespace(
        start=start, started=started, compute=Compute(tmp_path, tmp_path / "files")
    )


SERVER = "echo Spark Connect server started at: 127.0.0.1:4321; echo $$; exec sleep 60"


def test_the_server_ends_with_the_rehearsal(serving, tmp_path):
    with pytest.raises(KeyboardInterrupt), serving.start(SERVER):
        serving.compute.notebook("/Workspace/any", {}, [])
        pid = int((tmp_path / "server/log").read_text().split()[-1])
        os.kill(pid, 0)
        raise KeyboardInterrupt

    assert serving.started.process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "sc://127.0.0.1:4321" in (tmp_path / "engine.json").read_text()


def test_a_server_that_does_not_start(serving):
    before = time.monotonic()
    with serving.start("echo no memory; exit 1"):
        outcome = serving.compute.notebook("/Workspace/any", {}, [])
    assert time.monotonic() - before < 60, "a limit later than it was known"
    assert outcome[:3] == (False, "", "ClusterStartFailed: Spark did not start:\nno memory\n")


def gone(pid: int) -> bool:
    """Whether a process ends within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_ends_with_a_killed_rehearsal(tmp_path):
    shell = ["sh", "-c", spark.UNTIL_STDIN_ENDS, "sh", "sh", "-c", SERVER]
    log = tmp_path / "log"
    program = f"""\
        import os, subprocess, time
        server = subprocess.Popen({shell!r}, stdin=subprocess.PIPE, start_new_session=True)
        while not os.path.getsize({str(log)!r}):
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
        """

    with open(log, "wb") as stdout:
        subprocess.run([sys.executable, "-c", textwrap.dedent(program)], stdout=stdout)

    assert gone(int(log.read_text().split()[-1]))


# --- warm processes -------------------------------------------------------------------------------


WARM = """\
    import os, subprocess, sys, time
    from pathlib import Path

    def warm_up():
        sys.state = ["warm"]

    def main(arguments):
        sys.state.append(arguments[0])
        print(os.getcwd(), dict(os.environ), sys.state, sys.stdin.read(), sep="|")
        if arguments[0] == "wait":
            child = subprocess.Popen(["sleep", "60"])
            Path(arguments[1]).write_text(f"{os.getpid()} {child.pid} {os.getppid()}")
            child.wait()
        return 7
    """


@pytest.fixture
def package(tmp_path) -> Path:
    """A package below tmp_path/root with warm.py, and WARM in the place of what it serves."""
    package = tmp_path / "root" / "wing" / "package"
    package.mkdir(parents=True)
    shutil.copyfile(warm.__file__, package / "warm.py")
    (package / "served.py").write_text(textwrap.dedent(WARM))
    return package


@pytest.fixture
def warmed(tmp_path, monkeypatch, package):
    """The address of a server that serves WARM, which stands in for one of the rehearsal's."""
    monkeypatch.setattr(warm, "__file__", str(package / "warm.py"))
    with warm.serving(sys.executable, tmp_path / "address", "wing.package.served"):
        yield tmp_path / "address"


def ask(address: Path, folder: Path, *arguments: str, limit: float | None = None) -> tuple:
    """Calls; returns exit code and output."""
    (folder / "in").write_text("typed")
    with open(folder / "in") as stdin, open(folder / "out", "w") as out:
        streams = (stdin.fileno(), out.fileno(), out.fileno())
        code = warm.call(address, [*arguments], folder, {"OWN": "ä"}, streams, limit)
    return code, (folder / "out").read_text()


def test_a_call_has_what_its_caller_has_and_nothing_of_another(warmed, tmp_path):
    for word in ("first", "second"):
        output = f"{tmp_path}|{{'OWN': 'ä'}}|['warm', '{word}']|typed\n"
        assert ask(warmed, tmp_path, word) == (7, output)


def test_a_call_that_takes_too_long_ends_with_what_it_started(warmed, tmp_path):
    ask(warmed, tmp_path, "waits for the server, which takes its time")
    with pytest.raises(TimeoutError):
        ask(warmed, tmp_path, "wait", str(tmp_path / "pids"), limit=1)
    call, child, server = map(int, (tmp_path / "pids").read_text().split())
    assert gone(call) and gone(child)
    os.kill(server, 0)  # which others need


def test_a_call_ends_with_its_caller(warmed, tmp_path):
    arguments = f"{str(warmed)!r}, ['wait', 'pids'], {str(tmp_path)!r}, {{}}"
    caller = f"from rehearsal.machine import warm; warm.call({arguments})"
    env = os.environ | {"PYTHONPATH": str(Path(spark.__file__).parents[2])}
    command, deadline = [sys.executable, "-c", caller], time.monotonic() + 20
    pids = tmp_path / "pids"
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL) as process:
        while not (pids.is_file() and pids.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    call, child, _ = map(int, pids.read_text().split())
    assert gone(call) and gone(child)


def test_the_server_of_calls_ends_with_a_killed_rehearsal(tmp_path, package):
    address, root = tmp_path / "address", tmp_path / "root"
    program = f"""\
        import os, sys
        sys.path.insert(0, {str(root)!r})
        from wing.package import warm
        with warm.serving(sys.executable, {str(address)!r}, "wing.package.served"):
            os.system("pgrep -P " + str(os.getpid()) + " -f warm.py")
            os.kill(os.getpid(), 9)
        """

    command = [sys.executable, "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)

    assert gone(int(ran.stdout.split()[0]))


# --- the environments -----------------------------------------------------------------------------


def make_java(home: Path, version: str) -> None:
    """Makes a java that tells this version."""
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)


def test_spark_needs_java(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert spark.java_version() == 0
    with pytest.raises(RuntimeError, match="Java 17 or newer"):
        spark.prepare()


def test_the_version_of_java(monkeypatch, tmp_path):
    make_java(tmp_path, "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert spark.java_version() == 17


def test_an_old_java_is_not_enough(monkeypatch, tmp_path):
    make_java(tmp_path, "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert spark.java_version() == 1
    with pytest.raises(RuntimeError, match="Java 17 or newer"):
        spark.prepare()


def test_an_environment_is_made_once_for_its_pins(monkeypatch, tmp_path):
    commands = []

    def run(command, env, check):
        assert check
        commands.append(command)
        (tmp_path / "quick").mkdir(exist_ok=True)

    def prepare(pin: str) -> list[str]:
        """Prepares the environment for a pin of duckdb; returns what each command is about."""
        project = f'[project]\ndependencies = ["rich==1", "duckdb=={pin}"]\n'
        groups = '[dependency-groups]\nspark = ["pyspark"]\n'
        (tmp_path / "pyproject.toml").write_text(project + groups)
        commands.clear()
        assert spark.prepare("quick") == tmp_path / "quick/bin/python"
        return [str(command[-1]) for command in commands]

    monkeypatch.setattr(spark.subprocess, "run", run)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(spark, "PLACES", [tmp_path / "none", tmp_path / "pyproject.toml"])

    assert prepare("1") == [str(tmp_path / "quick"), "duckdb==1"]
    assert prepare("1") == []
    assert prepare("2") == [str(tmp_path / "quick"), "duckdb==2"]

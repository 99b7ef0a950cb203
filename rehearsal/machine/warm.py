"""Processes that start warm: a server imports a module once, and forks for each call of it.

A call is `main(arguments)` of the module, in a process of its own. It has the directory,
environment and standard streams of its caller, nothing of other calls, and ends with its caller.
"""

import contextlib
import functools
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing's own takes as long to import as the rest of this module
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

running: "set[int]" = set()  # the calls of this process that have not ended

# The rest is imported where it is used: `call` is what a build waits for, a dozen times.


def call(
    address: "str | PathLike[str]",
    arguments: "Sequence[str]",
    folder: "str | PathLike[str]",
    env: "Mapping[str, str]",
    streams: "Sequence[int]" = (0, 1, 2),
    limit: float | None = None,
) -> int:
    """Make a call and return its exit code, 1 where it ended without one.

    Raises TimeoutError after `limit` seconds, and then the call has been killed.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(limit)
        server.connect(str(address))
        socket.send_fds(server, [b"\0"], streams)
        server.sendall(json.dumps([arguments, str(folder), env]).encode() + b"\n")
        with server.makefile() as answer:
            pid = ""
            try:
                pid = answer.readline()
                running.add(int(pid or 0))
                return int(answer.read() or 1)  # its end is the process's
            except ConnectionError:  # the server ended, and with it all calls
                return 1
            except TimeoutError:
                if pid:
                    _kill(int(pid))
                raise
            finally:
                running.discard(int(pid or 0))


def end_calls() -> None:
    """Kill the calls of this process that have not ended."""
    for pid in running - {0}:
        _kill(pid)


@contextlib.contextmanager
def serving(
    python: "str | PathLike[str]", address: "str | PathLike[str]", module: str
) -> "Iterator[None]":
    """Serve calls of `main(arguments)` at `address`, a Unix socket, meanwhile.

    `python` is the interpreter that has what the module needs. What its `warm_up()` imports, no
    call has to. The server ends with this process, also where this one is killed.
    """
    import subprocess

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        number = listener.fileno()
        server = subprocess.Popen(
            [python, "-I", "-u", "-X", "utf8", __file__, str(number), module],
            env={"PATH": os.defpath},
            pass_fds=[number],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the rehearsal's to handle
        )
    try:
        yield
    finally:
        assert server.stdin
        server.stdin.close()
        server.wait()


@functools.cache
def server(python: "str | PathLike[str]", module: str) -> "Path":
    """The address of a server that all rehearsals of this process share, until it ends.

    Sharing is safe, as no call knows of another; it saves each rehearsal but the first the imports.
    """
    import atexit
    import shutil
    import tempfile
    from pathlib import Path

    # A socket's path has at most 103 bytes on a Mac, 107 on Linux: not every TMPDIR leaves room.
    too_long = len(os.fsencode(tempfile.gettempdir())) > 70
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-server-", dir="/tmp" if too_long else None))
    servers = contextlib.ExitStack()
    atexit.register(servers.close)  # first: Ctrl-C may come while the server starts
    servers.callback(shutil.rmtree, folder, ignore_errors=True)
    servers.enter_context(serving(python, folder / "socket", module))
    return folder / "socket"


def serve(listener: socket.socket, module: str) -> None:
    """Fork for each call, until standard input ends."""
    import gc
    import importlib
    import select
    import signal

    place = os.path.abspath(__file__)
    for _ in range(3):  # rehearsal/machine/warm.py
        place = os.path.dirname(place)
    sys.path.insert(0, place)
    program = importlib.import_module(module)
    program.warm_up()
    del sys.path[0]  # nothing of the rehearsal's is there for a task to import
    gc.freeze()  # no call has to look through what all have
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for the calls
    number = listener.fileno()
    while 0 not in select.select([0, number], [], [])[0]:
        connection = listener.accept()[0]
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = program.main(_take_over(connection, module))
            sys.stdout.flush()
            connection.sendall(str(code).encode())
            os._exit(code)  # taking everything down in order takes longer than most calls
        connection.close()


def _take_over(connection: socket.socket, module: str) -> list[str]:
    """Become the process that the caller asks for; returns the arguments."""
    import threading
    import time

    os.setsid()
    connection.sendall(f"{os.getpid()}\n".encode())
    streams = socket.recv_fds(connection, 1, 3)[1]
    with connection.makefile() as request:
        arguments: list[str]
        arguments, folder, env = json.loads(request.readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = [module, *arguments]

    def watch() -> None:
        connection.recv(1)  # nothing comes, and then the caller's end
        _kill(os.getpid())

    threading.Thread(target=watch, daemon=True).start()
    return arguments


def _kill(pid: int) -> None:
    """Kill a call with what it has started."""
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    number, name = sys.argv[1:]
    serve(socket.socket(fileno=int(number)), name)

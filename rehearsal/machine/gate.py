"""The way out of this machine, and the wall around it.

Where Linux allows it, a rehearsal leaves the machine's network before it starts anything: it moves
into a network namespace, which has a loopback of its own and nothing else, and with it all that it
starts, in whatever language. One small process stays outside, the gate. It opens the connections
that `network.py` asks for, and hands them in as open sockets.
"""

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import socket
import struct
import sys
import threading
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import unquote, urlsplit

NEW_USER = 0x10000000  # CLONE_NEWUSER
NEW_NETWORK = 0x40000000 | 0x04000000  # CLONE_NEWNET, and CLONE_NEWUTS for a name of its own
NAME = b"localhost"  # Java looks up the address of the machine's name, and nobody answers in there
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
TIMEOUT = 30  # seconds until a host has to answer
gates: list[socket.socket] = []  # this process's one, if it is behind one


def close_network() -> bool:
    """Moves this process behind a gate, if the machine allows it; returns whether it did.

    To be called before the process has a second thread: Linux refuses it later.
    """
    if sys.platform != "linux" or not works_in_a_child():
        return False
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        near.close()
        os.setsid()  # Ctrl-C is the rehearsal's to handle
        hand_out(far)
        os._exit(0)
    far.close()
    leave_network()
    gates.append(near)
    return True


def works_in_a_child() -> bool:
    """Whether a process may leave the network here: half of it would be worse than nothing."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(OSError):
            leave_network()
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()[:2], timeout=1).close()
            code = 0
        os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def leave_network() -> None:
    """Moves this process into a network of its own. Raises OSError where that is not allowed."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK):  # only root may, but anybody as root of a namespace of users
        if libc.unshare(NEW_USER | NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    if libc.sethostname(NAME, len(NAME)):
        raise OSError(ctypes.get_errno(), "sethostname")
    with socket.socket() as anyone:
        name = b"lo".ljust(16, b"\0")
        answer = fcntl.ioctl(anyone, GET_FLAGS, struct.pack("16sh14x", name, 0))
        (flags,) = struct.unpack("16xh14x", answer)
        fcntl.ioctl(anyone, SET_FLAGS, struct.pack("16sh14x", name, flags | UP))


def hand_out(requests: socket.socket) -> None:
    """Opens the connections that are asked for, until the process behind the gate has ended."""
    while True:
        message, places, _, _ = socket.recv_fds(requests, 1000, 1)
        if not message:
            return
        host, port = json.loads(message)
        reply = socket.socket(fileno=places[0])
        threading.Thread(target=answer, args=[reply, host, port], daemon=True).start()


def answer(reply: socket.socket, host: str, port: int) -> None:
    """Answers one request with a connection, or with why there is none."""
    with reply, contextlib.suppress(OSError):
        try:
            with connection(host, port) as far:
                socket.send_fds(reply, [b"\0"], [far.fileno()])
        except OSError as error:
            reply.send(str(error).encode())


def reach(host: str, port: int) -> socket.socket:
    """A connection to a host, through the gate if this process is behind one. Raises OSError."""
    if not gates:
        return connection(host, port)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        with far:
            socket.send_fds(gates[0], [json.dumps([host, port]).encode()], [far.fileno()])
        message, places, _, _ = socket.recv_fds(near, 1000, 1)
    if not places:
        raise OSError(message.decode() or "the gate has ended")
    return socket.socket(fileno=places[0])


def connection(host: str, port: int) -> socket.socket:
    """A connection to a host, through the user's own proxy if there is one. Raises OSError."""
    proxy = urlsplit(urllib.request.getproxies().get("https", ""))
    if not proxy.hostname or urllib.request.proxy_bypass(host):
        return socket.create_connection((host, port), timeout=TIMEOUT)
    far = socket.create_connection((proxy.hostname, proxy.port or 80), timeout=TIMEOUT)
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}")
    far.sendall("\r\n".join([*lines, "", ""]).encode())
    reply = http.client.HTTPResponse(far, method="CONNECT")
    reply.begin()
    if reply.status != 200:
        far.close()
        raise OSError(f"the proxy {proxy.hostname} answers {reply.status}")
    return far

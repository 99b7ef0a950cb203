"""Lets Python speak to this machine only, and says so of any other host, by name.

Where a rehearsal has left the network, this is for the message; elsewhere it is all that keeps
from a foreign host what asks no proxy.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # each start of Python reads this file
    from typing import Any

NAMES = ("socket.getaddrinfo", "socket.gethostbyname")
ADDRESSES = ("socket.connect", "socket.sendto", "socket.sendmsg")
LOCAL = ("", "0.0.0.0", "::", "::1", "localhost")


class NetworkRefused(OSError):
    """Why a connection was refused, with its host."""


def forbid(event: str, arguments: "tuple[Any, ...]") -> None:
    """An audit hook. Raises NetworkRefused. https://docs.python.org/3/library/audit_events.html"""
    if event in NAMES:
        host = arguments[0]
        if not is_local(host) and not is_address(text(host)):
            raise refused(host)
    elif event in ADDRESSES:
        address = arguments[1]
        if isinstance(address, tuple) and not is_local(address[0]):  # others are of this machine
            raise refused(address[0])


def refused(host: object) -> NetworkRefused:
    """What is raised for a host."""
    return NetworkRefused(f"{text(host)} is refused: in a rehearsal nothing leaves this machine")


def is_local(host: object) -> bool:
    """Whether a host's name or address is this machine's own; None is, too."""
    name = text(host)
    return host is None or name in LOCAL or name.startswith("127.") or name == own_name()


def own_name() -> str:
    """The machine's name."""
    import socket

    return socket.gethostname()


def is_address(name: str) -> bool:
    """Whether it is an address: looking that up asks nobody."""
    return ":" in name or name.replace(".", "").isdigit()


def text(host: object) -> str:
    """A host as text: it may come in bytes."""
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)


sys.addaudithook(forbid)

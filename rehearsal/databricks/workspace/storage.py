"""The folders that keep the rehearsal's workspaces.

home/workspaces.json         who may sign in where; of a secret only the SHA-256
home/faults.json             the failures that a test asks for (see `Storage.fault`)
home/calls.jsonl             every sign-in and every change: host, user, command, what
home/<host>/issued.json      the access tokens that were issued; only their SHA-256
home/<host>/files/           "/" of the workspace's file system
home/<host>/resources.json   {kind: {id: settings}}: what the workspace has, whoever made it
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]


def host_name(host: str) -> str:
    """`a.example` of `https://a.example/`."""
    return urlsplit("//" + host.rpartition("//")[2]).netloc.lower()


def stable_id(name: str) -> str:
    """A number for a name, always the same."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:10], 16))


def read_json(file: Path, default: Any) -> Any:
    """The content of a file, or the default if there is no file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def write_json(file: Path, value: Any) -> None:
    """Replaces the content of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.replace(file)  # a build that is killed leaves the old or the new content, not half of it


@dataclass(frozen=True)
class Storage:
    """Where the workspace of one host is kept, below the home of all workspaces."""

    home: Path
    host: str

    @property
    def folder(self) -> Path:
        """The workspace's own folder."""
        return self.home / host_name(self.host)

    def record(self, user: str, command: str, what: str) -> None:
        """Appends a sign-in or a change to calls.jsonl."""
        call = {"host": host_name(self.host), "user": user, "command": command, "what": what}
        with (self.home / "calls.jsonl").open("a", encoding="utf-8") as calls:
            calls.write(json.dumps(call) + "\n")

    def fault(self, event: str) -> Json:
        """The fault that faults.json sets for this host and an event, or an empty one.

        The file is a list of {"host", "on": "sign-in" | "deploy" | "run", "message"}. With "after",
        a deployment first applies so many resources. A sign-in is refused with "status"; without it
        there is no network.
        """
        for fault in read_json(self.home / "faults.json", []):
            if host_name(fault["host"]) == host_name(self.host) and fault["on"] == event:
                return dict(fault)
        return {}

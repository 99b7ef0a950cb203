"""The Databricks workspace that a build deploys to: its host, and one request to its API.

Imports nothing of this folder, because ops/ uses parts of it too.
"""

import json
import re
import urllib.parse
import urllib.request
from typing import Any

SECONDS = 15  # for the whole sign-in, name resolution included


class Problem(Exception):
    """What is wrong and how to fix it, in one line."""


def bundle_host(text: str, target: str) -> str | None:
    """Returns the literal `targets.<target>.workspace.host` of databricks.yml, or None.

    Reads by indentation, because plain Python has no YAML; `make check` compares it with a parser.
    """
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"""( *)([\w.-]+): *(?:["']?([^"'#\s]+)["']?)? *(?:#.*)?$""", line)
        if not match:
            continue
        indent, key, value = len(match[1]), match[2], match[3]
        path = [(depth, name) for depth, name in path if depth < indent] + [(indent, key)]
        if [name for _, name in path] == ["targets", target, "workspace", "host"]:
            return value
    return None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A workspace answers itself: a credential goes to its own host and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Follows nothing: the redirect comes back as an HTTPError."""


def ask(url: str, authorization: str = "", form: dict[str, str] | None = None) -> dict[str, Any]:
    """Returns the JSON object that `url` answers; posts the form if there is one.

    Raises urllib's errors, and ValueError or TypeError for an answer that is no JSON object.
    """
    headers = {"Authorization": authorization} if authorization else {}
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data, headers)
    with urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS) as response:
        return dict(json.load(response))

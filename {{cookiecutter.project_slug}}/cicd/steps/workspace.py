"""One request to the API of the workspace that a build deploys to.

Imports nothing of this folder, because ops/ uses parts of it too.
"""

import json
import urllib.parse
import urllib.request
from typing import Any

SECONDS = 15  # for the whole sign-in, name resolution included


class Problem(Exception):
    """What is wrong and how to fix it, in one line."""


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

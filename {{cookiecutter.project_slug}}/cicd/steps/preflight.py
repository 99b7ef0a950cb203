"""Says in one line what would stop this build from signing in to its workspace, before it tries.

Usage: python cicd/steps/preflight.py TARGET

Reads the DATABRICKS_* variables that the CLI reads. The CLI itself retries an unreachable host for
minutes, and takes a host in databricks.yml over a different DATABRICKS_HOST without a word.
"""
{% if cookiecutter.auth == "oauth-m2m" %}
import base64
{%- endif %}
import http.client
import json
import os
import queue
import re
import sys
import threading
import urllib.error
{%- if cookiecutter.auth != "pat" %}
import urllib.parse
{%- endif %}
import urllib.request
from pathlib import Path

PLACEHOLDER = "not-set"
SECONDS = 15  # for the whole sign-in, name resolution included


class Problem(Exception):
    """What is wrong and how to mend it, in one line."""


def bundle_host(text: str, target: str) -> str | None:
    """The literal `targets.<target>.workspace.host` in the text of databricks.yml, or None.

    Reads by indentation, for Python alone has no YAML; `make check` compares it with a YAML parser.
    """
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"""( *)([\w.-]+): *(?:["']?([^"'#\s]+)["']?)? *(?:#.*)?$""", line)
        if not match:
            continue
        indent, key, value = len(match[1]), match[2], match[3]
        path = [(i, k) for i, k in path if i < indent] + [(indent, key)]
        if [k for _, k in path] == ["targets", target, "workspace", "host"]:
            return value
    return None


def check_host(target: str, host: str) -> None:
    """Raises Problem unless databricks.yml and the stack name the same workspace."""
    if not host:
        raise Problem("DATABRICKS_HOST is not set; the stack sets it for its builds: make stack")
    written = bundle_host(Path("databricks.yml").read_text(encoding="utf-8"), target)
    if written != host:
        raise Problem(
            f"databricks.yml says {written}, the stack says {host};"
            " make databricks.yml and cicd/stack.yml equal, commit, then: make stack push"
        )


def credential(name: str, mend: str) -> str:
    """The value of a credential's variable. Raises Problem where there is none yet."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise Problem(f"{name} has no value; {mend}")
    if value == PLACEHOLDER:
        raise Problem(f"{name} is still the stack's placeholder; {mend}")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise Problem(f"{name} holds more than one word; {mend}")
    return value


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Sends a credential to the workspace's own host and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Follows nothing: the redirect comes back as an HTTPError."""

{% if cookiecutter.auth == "pat" %}
def ask(url: str, authorization: str) -> dict:
    """The JSON object that `url` answers. Raises urllib's errors."""
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    with urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS) as response:
        return json.load(response)


def access_token(host: str, mend: str) -> str:
    """The token for the workspace's API: the personal access token itself."""
    return credential("DATABRICKS_TOKEN", mend)
{%- else %}
def ask(url: str, authorization: str | None, form: dict[str, str] | None = None) -> dict:
    """The JSON object that `url` answers; a form is posted. Raises urllib's errors."""
    headers = {"Authorization": authorization} if authorization else {}
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data, headers)
    with urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS) as response:
        return json.load(response)

{% if cookiecutter.auth == "oauth-m2m" %}
def access_token(host: str, mend: str) -> str:
    """A token for the workspace's API, for the service principal's client ID and secret."""
    client_id = credential("DATABRICKS_CLIENT_ID", mend)
    secret = credential("DATABRICKS_CLIENT_SECRET", mend)
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    form = {"grant_type": "client_credentials", "scope": "all-apis"}
    return ask(f"{host}/oidc/v1/token", f"Basic {basic}", form)["access_token"]
{%- else %}
def access_token(host: str, mend: str) -> str:
    """A token for the workspace's API, in exchange for the build's AWS identity token."""
    identity = Path(os.environ.get("DATABRICKS_OIDC_TOKEN_FILEPATH", ""))
    if not identity.is_file():
        raise Problem("no AWS identity token yet; cicd/steps/mint_token.sh comes before this")
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "client_id": credential("DATABRICKS_CLIENT_ID", mend),
        "subject_token": identity.read_text(encoding="ascii").strip(),
        "scope": "all-apis",
    }
    return ask(f"{host}/oidc/v1/token", None, form)["access_token"]
{%- endif %}
{%- endif %}


def sign_in(target: str, host: str) -> str:
    """The user name under which the workspace knows this build. Raises Problem."""
{%- if cookiecutter.auth == "aws-iam" %}
    mend = f"set {target.capitalize()}ClientId in cicd/stack.yml, then: make stack"
    refused = "does its federation policy name this build's role? See docs/security.md"
{%- else %}
    mend = f"set it: make secrets ENV={target}"
    refused = f"expired, revoked or of another workspace? Set a new one: make secrets ENV={target}"
{%- endif %}
    network = f"is the host right, and may this build reach it? ({target} in databricks.yml)"
    try:
        token = access_token(host, mend)
        me = ask(f"{host}/api/2.0/preview/scim/v2/Me", f"Bearer {token}")
        return str(me["userName"])
    except urllib.error.HTTPError as error:
        if re.search(rb"IP (ACL|access list)", error.read(2000)):
            raise Problem(
                f"{host} refuses this build's address (HTTP {error.code}); put it on the"
                " workspace's IP access list (docs/operations.md)"
            ) from None
        if error.code in (400, 401, 403):
            raise Problem(f"{host} refuses the credential (HTTP {error.code}); {refused}") from None
        raise Problem(f"{host} answers HTTP {error.code}; {network}") from None
    except (KeyError, TypeError, ValueError, http.client.HTTPException):
        raise Problem(f"{host} does not answer as a Databricks workspace; {network}") from None
    except OSError as error:
        raise Problem(f"{host} cannot be reached ({error}); {network}") from None


def in_time(target: str, host: str) -> str:
    """What sign_in returns or raises; after SECONDS a Problem, a slow name server included."""
    outcome: queue.SimpleQueue[str | Problem] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            outcome.put(sign_in(target, host))
        except Problem as problem:
            outcome.put(problem)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        result = outcome.get(timeout=SECONDS)
    except queue.Empty:
        raise Problem(
            f"{host} does not answer within {SECONDS} seconds; may this build reach it?"
        ) from None
    if isinstance(result, Problem):
        raise result
    return result


def main() -> int:
    """Checks the target named on the command line; the exit code says whether all is well."""
    if len(sys.argv) != 2:
        print("usage: python cicd/steps/preflight.py TARGET", file=sys.stderr)
        return 2
    target, host = sys.argv[1], os.environ.get("DATABRICKS_HOST", "").strip()
    try:
        check_host(target, host)
        user = in_time(target, host)
    except Problem as problem:
        print(f"preflight.py: {target}: {problem}", file=sys.stderr)
        return 1
    print(f"preflight.py: {target}: signed in to {host} as {user}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Signs a build in to its workspace, or says in one line why it cannot, before it does anything.

Usage: python cicd/steps/preflight.py TARGET

Reads the DATABRICKS_* variables that the CLI reads. The CLI itself retries an unreachable host for
minutes, and silently prefers a host in databricks.yml to a different DATABRICKS_HOST.
"""

import http.client
import os
import re
import sys
import threading
import urllib.error
from concurrent.futures import Future
from pathlib import Path

import bundle
import names
import sign_in
from workspace import SECONDS, Problem, ask


def check_host(target: str, host: str) -> None:
    """Raises Problem unless databricks.yml and the stack name the same workspace.

    Raises bundle.Refused for a commit that must not meet the client.
    """
    if not host:
        raise Problem("DATABRICKS_HOST is not set; the stack sets it for its builds: make stack")
    bundle.check_files(Path())
    written = bundle.read(Path(), target).host
    if written != host:
        raise Problem(
            f"databricks.yml says {written}, the stack says {host};"
            " make databricks.yml and cicd/stack.yml equal, commit, then: make stack push"
        )


def credential(variable: str, target: str) -> str:
    """Returns the value of a credential's variable. Raises Problem if it cannot be right."""
    value, fix = os.environ.get(variable, "").strip(), sign_in.how_to_set(target)
    if not value:
        raise Problem(f"{variable} has no value; {fix}")
    if value == names.PLACEHOLDER:
        raise Problem(f"{variable} is still the stack's placeholder; {fix}")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise Problem(f"{variable} holds more than one word; {fix}")
    return value


def refusal(target: str, host: str, error: urllib.error.HTTPError) -> Problem:
    """Explains an HTTP status that is no success."""
    if re.search(rb"IP (ACL|access list)", error.read(2000)):
        return Problem(
            f"{host} refuses this build's address (HTTP {error.code}); put it on the"
            " workspace's IP access list (docs/operations.md)"
        )
    if error.code in (400, 401, 403):
        fix = sign_in.how_to_replace(target)
        return Problem(f"{host} refuses the credential (HTTP {error.code}); {fix}")
    return Problem(f"{host} answers HTTP {error.code}; {check_network(target)}")


def check_network(target: str) -> str:
    """Says what to look at when something else than the workspace answers, or nothing."""
    return f"is the host right, and may this build reach it? ({target} in databricks.yml)"


def user_name(target: str, host: str) -> str:
    """Returns the user that the workspace knows this build as. Raises Problem."""
    values = {variable: credential(variable, target) for variable in sign_in.VARIABLES}
    try:
        token = sign_in.access_token(host, values)
        return str(ask(f"{host}/api/2.0/preview/scim/v2/Me", f"Bearer {token}")["userName"])
    except urllib.error.HTTPError as error:
        raise refusal(target, host, error) from None
    except (KeyError, TypeError, ValueError, http.client.HTTPException):
        network = check_network(target)
        raise Problem(f"{host} does not answer as a Databricks workspace; {network}") from None
    except OSError as error:
        raise Problem(f"{host} cannot be reached ({error}); {check_network(target)}") from None


def user_name_in_time(target: str, host: str) -> str:
    """Does what user_name does, or raises Problem after SECONDS."""
    future: Future[str] = Future()

    def attempt() -> None:
        try:
            future.set_result(user_name(target, host))
        except BaseException as error:  # for the main thread to raise
            future.set_exception(error)

    # A thread, because nothing else ends the wait for a slow name server.
    threading.Thread(target=attempt, daemon=True).start()
    try:
        return future.result(timeout=SECONDS)
    except TimeoutError:
        what = f"{host} does not answer within {SECONDS} seconds"
        raise Problem(f"{what}; may this build reach it?") from None


def main() -> int:
    """Checks the target that the command line names; returns the exit code."""
    if len(sys.argv) != 2:
        print("usage: python cicd/steps/preflight.py TARGET", file=sys.stderr)
        return 2
    target, host = sys.argv[1], os.environ.get("DATABRICKS_HOST", "").strip()
    try:
        check_host(target, host)
        user = user_name_in_time(target, host)
    except (Problem, bundle.Refused) as problem:
        print(f"preflight.py: {target}: {problem}", file=sys.stderr)
        return 1
    print(f"preflight.py: {target}: signed in to {host} as {user}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

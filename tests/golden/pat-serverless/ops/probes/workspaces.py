"""Probes of the workspaces: databricks.yml and the stack name the same ones, and they answer."""

import http.client
import urllib.error
import urllib.request

from probes import NotChecked, Problem
from probes.account import Account

SECONDS = 5  # for a connection, and for an answer


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A workspace answers itself; a redirect comes from something else."""

    def redirect_request(self, *_: object) -> None:
        """Follows nothing: the redirect comes back as an HTTPError."""


def same_host(account: Account, target: str) -> str:
    """The host of a target, where databricks.yml, cicd/stack.yml and the stack agree about it."""
    name = f"{target.capitalize()}WorkspaceHost"
    host, told = account.project.host(target), account.project.parameters.get(name)
    if host != told:
        what = f"databricks.yml says {host}, cicd/stack.yml says {told}"
        raise Problem(what, "make them equal, then make check stack push")
    try:
        deployed = account.deployed().get(name)
    except NotChecked as why:
        return f"{host} in both files; the stack is not compared ({why})"
    if host != deployed:
        raise Problem(f"databricks.yml says {host}, the stack says {deployed}", "make stack")
    return host


def answers(account: Account, target: str) -> str:
    """Whether a workspace is there. It is asked without a credential, and refuses."""
    host = account.project.host(target)
    mend = f"correct {target}'s host in databricks.yml and cicd/stack.yml, or mend the network"
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(f"{host}/api/2.0/preview/scim/v2/Me", timeout=SECONDS) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except urllib.error.URLError as error:
        raise Problem(f"{host} cannot be reached ({error.reason})", mend) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Problem(f"{host} does not answer ({error})", mend) from None
    if status not in (401, 403):
        raise Problem(f"{host} answers HTTP {status}, as no Databricks workspace does", mend)
    return f"answers (HTTP {status}: it asks who is there)"

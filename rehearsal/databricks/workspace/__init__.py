"""A Databricks workspace that is a folder: who may sign in, its files, its resources, deployments.

home/workspaces.json         who may sign in where; of a secret only the SHA-256
home/faults.json             what shall fail, for tests (see `fault`)
home/calls.jsonl             every sign-in and every change: host, user, command, what
home/<host>/files/           "/" of the workspace's file system
home/<host>/resources.json   {kind: {id: settings}}: what the workspace has, whoever made it
"""

import base64
import copy
import hashlib
import json
import random
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rehearsal.databricks.bundle import (
    KEYED,
    REFERENCE,
    VERSION,
    Bundle,
    Invalid,
    is_notebook,
    leaves,
    user_id,
)

VALID = 3600  # seconds that an issued access token is good for
UNCONFIGURED = (
    "default auth: cannot configure default credentials, please check "
    "https://docs.databricks.com/en/dev-tools/auth.html#databricks-client-unified-authentication "
    "to configure credentials for your preferred authentication method"
)
OAUTH_ERROR = {"error": "invalid_client", "error_description": "Client authentication failed"}
VARIABLES = {  # those of the environment that sign in, and how the client calls them
    "DATABRICKS_TOKEN": "token",
    "DATABRICKS_CLIENT_ID": "client_id",
    "DATABRICKS_CLIENT_SECRET": "client_secret",
    "DATABRICKS_OIDC_TOKEN_FILEPATH": "databricks_id_token_filepath",
}
RECREATE = {  # the fields that cannot be changed in place
    "pipelines": {"storage"},
    "schemas": {"catalog_name", "name", "storage_root"},
    "volumes": {"catalog_name", "schema_name", "name", "storage_location", "volume_type"},
}
# What a workspace adds to the settings of a job and of its tasks.
ADDED = {"email_notifications": {}, "timeout_seconds": 0}
TO_JOB, TO_TASK = ADDED | {"webhook_notifications": {}}, ADDED | {"run_if": "ALL_SUCCESS"}
DEFAULTS = ("ALL_SUCCESS", "WORKSPACE")
NAMED = {"base_parameters", "configuration", "custom_tags", "spark_conf", "tags"}  # keys are names


@dataclass(frozen=True)
class Identity:
    """A user or a service principal and one way to sign in."""

    user_name: str
    token: str = ""
    client_id: str = ""
    client_secret: str = ""
    subject: str = ""  # whom a federation policy trusts: the ARN of a build's role


class Refused(Exception):
    """A failed sign-in: the workspace's status and message; status 0 where it was not asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Unreachable(Exception):
    """There is no such workspace, or no way to it."""


def host_name(host: str) -> str:
    """`a.example` of `https://a.example/`."""
    return urlsplit(host if "//" in host else f"//{host}").netloc.lower()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""


def _read(file: Path, default: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.replace(file)  # a build that is killed leaves the old or the new, not half of it


def declare(home: Path, hosts: Mapping[str, list[Identity]]) -> None:
    """Says which workspaces there are and who may sign in to each, in place of what was said."""
    known: dict[str, list[dict]] = {}
    for host, identities in hosts.items():
        for one in identities:
            hidden = {"token": _hash(one.token), "client_secret": _hash(one.client_secret)}
            known.setdefault(host_name(host), []).append(asdict(one) | hidden)
    _write(home / "workspaces.json", known)


def record(home: Path, host: str, user: str, command: str, what: str) -> None:
    """Appends to calls.jsonl."""
    line = {"host": host_name(host), "user": user, "command": command, "what": what}
    with (home / "calls.jsonl").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(line) + "\n")


def fault(home: Path, host: str, on: str) -> dict:
    """The fault that faults.json sets for a host, or an empty one.

    The file is a list of {"host", "on": "sign-in" | "deploy" | "run", "message"}; with "after", a
    deployment applies so many resources first; with "status", a sign-in is refused with that,
    without it there is no network.
    """
    faults = _read(home / "faults.json", [])
    found = (f for f in faults if (host_name(f["host"]), f["on"]) == (host_name(host), on))
    return next(found, {})


# ---- Signing in ----------------------------------------------------------------------------------


def _find(home: Path, host: str, **wanted: str) -> Identity:
    """Who has these credentials, hashed. Raises Unreachable and Refused."""
    known = _read(home / "workspaces.json", {}).get(host_name(host))
    broken = fault(home, host, "sign-in")
    if "status" in broken:
        raise Refused(broken["status"], broken["message"])
    if broken or known is None:
        why = broken.get("message") or f"lookup {host_name(host)} no such host"
        raise Unreachable(f'Get "{host}/api/2.0/preview/scim/v2/Me?": dial tcp: {why}')
    for one in known:
        if all(value and one[name] == value for name, value in wanted.items()):
            return Identity(**one)
    raise Refused(401, "Invalid access token.")


def _with_token(home: Path, host: str, token: str) -> Identity:
    """Whose token this is: a personal access token, or one that /oidc/v1/token has issued."""
    user, until = _read(home / host_name(host) / "issued.json", {}).get(_hash(token), ("", 0))
    wanted = {"user_name": user} if until > time.time() else {"token": _hash(token)}
    return _find(home, host, **wanted)


def _with_secret(home: Path, host: str, client_id: str, secret: str) -> Identity:
    return _find(home, host, client_id=client_id, client_secret=_hash(secret))


def _with_jwt(home: Path, host: str, client_id: str, jwt: str) -> Identity:
    """Whom a federation policy takes a JWT for. The JWT's signature is not checked.

    docs.databricks.com/aws/en/dev-tools/auth/oauth-federation-policy
    """
    try:
        claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
        audience, subject, until = claims["aud"], claims["sub"], float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        audience, subject, until = "", "", 0
    right = "databricks" in (audience if isinstance(audience, list) else [audience])
    fits = subject if right and until > time.time() else ""
    return _find(home, host, client_id=client_id, subject=fits)


def sign_in(home: Path, host: str, env: Mapping[str, str]) -> Identity:
    """Who these variables sign in as: with a personal access token, OAuth M2M or file-oidc.

    docs.databricks.com/aws/en/dev-tools/auth/unified-auth. Raises Refused, Unreachable, and
    NotImplementedError for another DATABRICKS_AUTH_TYPE.
    """
    given = {name: env[name] for name in VARIABLES if env.get(name)}
    token, client_id, secret, path = (given.get(name, "") for name in VARIABLES)
    hidden = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET")
    shown = [f"{VARIABLES[n]}={'***' if n in hidden else given[n]}" for n in given]
    used = ", ".join(name for name in ("DATABRICKS_HOST", *given) if env.get(name))

    def no(why: str) -> Refused:
        return Refused(0, f"{why}. Config: {', '.join([f'host={host}', *shown])}. Env: {used}")

    asked = env.get("DATABRICKS_AUTH_TYPE")
    if token and secret and not asked:
        raise no("validate: more than one authorization method configured: oauth and pat")
    way = asked or ("pat" if token else "oauth-m2m" if client_id and secret else "default")
    posted = f'Post "{host}/oidc/v1/token": {json.dumps(OAUTH_ERROR)}'
    if way == "pat":
        if not token:
            raise no("pat auth: token is required")
        identity = _with_token(home, host, token)
    elif way == "oauth-m2m":
        if not (client_id and secret):
            raise no("oauth-m2m auth: not configured")
        try:
            identity = _with_secret(home, host, client_id, secret)
        except Refused:
            told = Refused(0, f"error getting token: {posted}")
            raise (told if asked else no(UNCONFIGURED)) from None
    elif way == "file-oidc":
        try:
            jwt = Path(path).read_text(encoding="utf-8").strip()
        except OSError:
            missing = f'file "{path}" does not exist' if path else "missing path"
            raise no(f"file-oidc auth: {missing}") from None
        if not jwt:
            raise no(f'file-oidc auth: file "{path}" is empty')
        try:
            identity = _with_jwt(home, host, client_id, jwt)
        except Refused:
            raise no(f"file-oidc auth: {posted}") from None
    elif way == "default":
        raise no(UNCONFIGURED)
    else:
        raise NotImplementedError(f"DATABRICKS_AUTH_TYPE={way}")
    record(home, host, identity.user_name, "sign-in", way)
    return identity


def respond(
    home: Path, host: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict]:
    """What a workspace answers over HTTP: who one is, OAuth's token endpoint, and 404 elsewhere.

    docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m and .../oauth-federation-exchange.
    Raises Unreachable.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    scheme, _, given = headers.get("authorization", "").partition(" ")
    form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
    asked = f"{method} {urlsplit(path).path}"
    try:
        if asked == "GET /api/2.0/preview/scim/v2/Me":
            user = _with_token(home, host, given if scheme == "Bearer" else "").user_name
            record(home, host, user, "sign-in", "HTTP")
            return 200, {"id": user_id(user), "userName": user}
        if asked == "POST /oidc/v1/token":
            if form.get("grant_type") == "client_credentials":
                pair = base64.b64decode(given + "==").decode(errors="replace").partition(":")
                user = _with_secret(home, host, pair[0], pair[2]).user_name
            else:  # urn:ietf:params:oauth:grant-type:token-exchange
                sent = form.get("client_id", ""), form.get("subject_token", "")
                user = _with_jwt(home, host, *sent).user_name
            file, token = home / host_name(host) / "issued.json", secrets.token_urlsafe(32)
            _write(file, _read(file, {}) | {_hash(token): (user, time.time() + VALID)})
            return 200, {"access_token": token, "token_type": "Bearer", "expires_in": VALID}
    except Refused as refused:
        if method == "POST":
            return refused.status, OAUTH_ERROR
        return refused.status, {"error_code": str(refused.status), "message": refused.message}
    return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API found for '{asked}'"}


# ---- Files and resources -------------------------------------------------------------------------


class Workspace:
    """One workspace as one user sees it."""

    def __init__(self, home: Path, host: str, user: str) -> None:
        self.home, self.host, self.user = home, host, user
        self.files = home / host_name(host) / "files"
        self.resources: dict[str, dict[str, dict]] = _read(self.files.parent / "resources.json", {})

    def file(self, path: str) -> Path:
        """Where a path of the workspace is kept; a notebook's has no suffix there.

        Raises Invalid for a path that is not absolute or climbs.
        """
        parts = PurePosixPath(path).parts
        if parts[:1] != ("/",) or ".." in parts:
            raise Invalid(f"Path ({path}) doesn't start with '/'")
        base = "Workspace" if parts[1:2] in [("Users",), ("Shared",), ("Repos",)] else ""
        file = self.files.joinpath(base, *parts[1:])
        source = file.parent / f"{file.name}.py"
        return source if is_notebook(source) and not file.exists() else file

    def put(self, kind: str, key: str, settings: dict | None) -> None:
        """Creates or replaces a resource; without settings, deletes it, if it is there."""
        self.resources.setdefault(kind, {})[key] = settings
        if settings is None:
            del self.resources[kind][key]
        _write(self.files.parent / "resources.json", self.resources)

    def record(self, command: str, what: str) -> None:
        """Notes a change for the rehearsal's summary."""
        record(self.home, self.host, self.user, command, what)


# ---- Deployments ---------------------------------------------------------------------------------


class Deployment:
    """What a target has deployed, as resources.json in its state_path says, and what would change.

    Follows bundle/direct of github.com/databricks/cli, as that client's test workspace shows it.
    """

    def __init__(self, bundle: Bundle, workspace: Workspace) -> None:
        self.bundle, self.workspace = bundle, workspace
        self.file = workspace.file(f"{bundle.config['workspace']['state_path']}/resources.json")
        self.data = _read(self.file, {})
        self.known: dict[str, dict] = self.data.get("state", {})

    def id(self, key: str) -> str | None:
        """The id of a deployed resource, `resources.<kind>.<key>`."""
        return self.known.get(key, {}).get("__id__")

    def wanted(self) -> dict[str, dict]:
        """Settings by key; permissions and grants are resources of their own, as in the client."""
        found = {}
        for kind, resources in self.bundle.section("resources").items():
            for name, resource in resources.items():
                key, settings = f"resources.{kind}.{name}", dict(sorted(resource.items()))
                settings = {k: v for k, v in settings.items() if v not in (None, {})}
                settings.pop("lifecycle", None)
                for part in settings.keys() & {"grants", "permissions"}:
                    at = f"/{kind}/${{{key}.id}}"
                    found[f"{key}.{part}"] = {"object_id": at, "__embed__": settings.pop(part)}
                found[key] = settings
        return found

    def remote(self, key: str) -> dict | None:
        """What the workspace has of a deployed resource, with what it adds itself; None if gone."""
        settings = copy.deepcopy(self.workspace.resources.get(_kind(key), {}).get(self.id(key)))
        if settings and "object_id" in settings:
            settings["object_id"] = self.id(key)  # the client asks the object that it knows
        if settings and _kind(key) == "jobs":
            settings = TO_JOB | settings
            for task in settings.get("tasks", []):
                task |= TO_TASK | task
                if "notebook_task" in task:
                    task["notebook_task"].setdefault("source", "WORKSPACE")
        return settings

    def plan(self) -> dict:
        """What a deployment would do: `bundle plan -o json`. Raises Invalid."""
        about = {name: self.data[name] for name in ("lineage", "serial") if name in self.data}
        plan = self.entries(set())
        if again := {key for key, entry in plan.items() if entry["action"] == "recreate"}:
            plan = self.entries(again)
        return {"plan_version": 2, "cli_version": VERSION, **about, "plan": plan}

    def entries(self, again: set[str]) -> dict[str, dict]:
        """A plan's entries by key; the ids of what is recreated, `again`, are not known yet."""
        wanted, plan = self.wanted(), {}
        for key in sorted(wanted | self.known):
            remote = self.remote(key)
            if key not in wanted:
                needs = self.known[key].get("depends_on")
                plan[key] = ({"depends_on": needs} if needs else {}) | {"action": "delete"}
                plan[key] |= {"remote_state": remote} if remote else {}
                continue
            texts = {p: v for p, _, _, v in leaves(wanted[key]) if _references(v)}
            references = {one for text in texts.values() for one in _references(text)}
            nodes = {one: one[2:].rpartition(".")[0] for one in sorted(references)}
            for one, node in nodes.items():
                if not one.endswith(".id}"):
                    raise NotImplementedError(f"the reference {one}")
                if node not in wanted:
                    raise Invalid(f'invalid dependency "{one}", no such node "{node}"')
            there = {one: node for one, node in nodes.items() if node not in again}
            ids = {one: self.id(node) for one, node in there.items() if self.remote(node)}
            value: dict[str, Any] = {"value": _replace(wanted[key], ids)}
            left = {p: t for p, t in texts.items() if set(_references(t)) - ids.keys()}
            if left:
                value["vars"] = left
            entry: dict[str, Any] = {}
            if nodes:
                entry["depends_on"] = [{"node": node, "label": one} for one, node in nodes.items()]
            changes, action = {}, "create"
            if remote:
                old = self.known[key]["state"]
                changes = _compare(_kind(key), old, value["value"], remote)
                actions = {change["action"] for change in changes.values()}
                action = next((a for a in ("recreate", "update") if a in actions), "skip")
            plan[key] = entry | {"action": action}
            plan[key] |= {"new_state": value} if action != "skip" else {}
            plan[key] |= {"remote_state": remote} if remote else {}
            plan[key] |= {"changes": changes} if changes else {}
        return plan

    def check(self, plan: dict) -> None:
        """Raises Invalid for a plan that was made for another state; a first plan has none."""
        lineage, serial = plan.get("lineage", ""), plan.get("serial", 0)
        actual = self.data.get("lineage", "")
        if lineage and lineage != actual:
            raise Invalid(
                f'plan lineage "{lineage}" does not match state lineage "{actual}";'
                " the state may have been modified by another process"
            )
        if lineage and serial != self.data["serial"]:
            raise Invalid(
                f"plan serial {serial} does not match state serial {self.data['serial']}; the state"
                " has been modified since the plan was created. Please run 'bundle plan' again"
            )

    def apply(self, plan: dict) -> list[str]:
        """Does what a plan says, as far as it goes, and saves the state; returns what failed."""
        entries = {key: e for key, e in plan["plan"].items() if e["action"] != "skip"}
        needs = {
            key: {one["node"] for one in entry.get("depends_on", [])} & entries.keys()
            for key, entry in sorted(entries.items())
        }
        order = list(TopologicalSorter(needs).static_order())
        order.sort(key=lambda key: entries[key]["action"] == "delete")  # last, as far as it goes
        broken = fault(self.workspace.home, self.workspace.host, "deploy")
        errors: dict[str, str] = {}
        for number, key in enumerate(order):
            failed = needs[key] & errors.keys()
            if failed:
                errors[key] = f"dependency failed: {min(failed)}"
            elif broken and number >= broken.get("after", 0):
                errors[key] = broken["message"]
            else:
                self._apply(key, entries[key])
        if len(errors) < len(order):
            about = {"lineage": str(uuid.uuid4()), "serial": 0} | self.data
            about |= {"state_version": 2, "cli_version": VERSION, "serial": about["serial"] + 1}
            self.data = about | {"state": self.known}
            _write(self.file, self.data)
        return [f"cannot {entries[key]['action']} {key}: {why}" for key, why in errors.items()]

    def _apply(self, key: str, entry: dict) -> None:
        action = entry["action"]
        if action in ("delete", "recreate"):
            self.delete(key)
        if action != "delete":
            needs = entry.get("depends_on", [])
            ids = {one["label"]: self.id(one["node"]) for one in needs}
            settings = _replace(entry["new_state"]["value"], ids)
            number, long = str(random.randrange(10**14, 10**15)), str(uuid.uuid4())
            new = settings.get("object_id") or (number if _kind(key) == "jobs" else long)
            at = self.id(key) if action == "update" else new
            self.known[key] = {"__id__": at, "state": settings}
            self.known[key] |= {"depends_on": needs} if needs else {}
            self.workspace.put(_kind(key), at, settings)
        self.workspace.record("bundle deploy", f"{action} {key.removeprefix('resources.')}")

    def delete(self, key: str) -> None:
        """Deletes one resource from the workspace and from the state in memory."""
        self.workspace.put(_kind(key), self.known.pop(key)["__id__"], None)


def _kind(key: str) -> str:
    """`jobs` of `resources.jobs.x`; `jobs.permissions` of `resources.jobs.x.permissions`."""
    parts = key.split(".")
    return ".".join([parts[1], *parts[3:]])


def _references(text: Any) -> list[str]:
    """The references, `${resources.<kind>.<key>.id}`, in a text."""
    return [match[0] for match in REFERENCE.finditer(str(text))]


def _replace(settings: dict, ids: Mapping[str, str | None]) -> dict:
    """A copy of settings with ids for references."""
    text = json.dumps(settings)
    for reference, found in ids.items():
        text = text.replace(reference, found or reference)
    return json.loads(text)


def _by_key(items: list[dict], names: str) -> dict[str, dict]:
    """Items of a list by the first of these names that they have."""
    keys = [next(name for name in names.split() if name in item) for item in items]
    return {f"{key}='{item[key]}'": item for key, item in zip(keys, items, strict=True)}


def _differ(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of what differs; lists by the key of their items, if they have one."""
    field = path.rpartition(".")[2]
    lists = isinstance(one, list) and isinstance(other, list)
    if field in KEYED and lists and all(isinstance(item, dict) for item in one + other):
        one, other = (_by_key(items, KEYED[field]) for items in (one, other))
        path, shape = path.removesuffix("__embed__"), "[%s]"
    elif isinstance(one, dict) and isinstance(other, dict):
        shape = "['%s']" if field in NAMED else ".%s"
    elif one == other:
        return
    else:
        yield path, one, other
        return
    for name in sorted(one | other):
        yield from _differ(one.get(name), other.get(name), (path + shape % name).lstrip("."))


def _compare(kind: str, old: dict, new: dict, remote: dict) -> dict[str, dict]:
    """The changes of a resource by field: old, new and remote value, and what to do about them."""
    local, far = ({p: (a, b) for p, a, b in _differ(state, new)} for state in (old, remote))
    changes = {}
    for path in sorted(local | far):
        was, will = local[path] if path in local else (far[path][1],) * 2
        now = far[path][0] if path in far else will
        if now == will:
            verdict = {"action": "skip", "reason": "remote_already_set"}
        elif not (was or will or now):
            verdict = {"action": "skip", "reason": "empty"}
        elif was is None and will is None and now in DEFAULTS:
            verdict = {"action": "skip", "reason": "backend_default"}
        else:
            verdict = {"action": "recreate" if path in RECREATE.get(kind, ()) else "update"}
        values = {"old": was, "new": will, "remote": now}
        changes[path] = verdict | {name: v for name, v in values.items() if v is not None}
    return changes

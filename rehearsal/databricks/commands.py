"""The commands that change no deployment: of bundles validate, summary and plan; files; users."""

import os
import re
import shutil
import sys
from pathlib import Path

from rehearsal.databricks.bundle import VERSION, Bundle
from rehearsal.databricks.calls import DELETE, PLAN
from rehearsal.databricks.errors import ClientError, Invalid, NotSupported, Refused
from rehearsal.databricks.plan import Planner, State, count
from rehearsal.databricks.session import Session, show
from rehearsal.databricks.workspace import Json, stable_id


def state_of(session: Session) -> State:
    """The state of the target's deployment."""
    path = f"{session.bundle.config['workspace']['state_path']}/resources.json"
    return State(session.workspace.files.locate(path))


def make_plan(session: Session, state: State) -> Json:
    """The plan for the bundle as it is now."""
    resources = session.bundle.config.section("resources")
    return Planner(resources, state, session.workspace).plan()


def validate(session: Session) -> None:
    """databricks bundle validate [--strict]"""
    error = None
    try:
        session.load_bundle(validating=True)
    except Invalid as invalid:
        error = invalid
    findings = _findings(error, len(session.bundle.warnings))
    if session.json:
        _print_configuration(session.bundle)
    else:
        _print_header(session.bundle)
        print(f"\nFound {findings}" if findings else "\nValidation OK!")
    if error:
        raise error
    if findings and session.options.strict:
        verb = "was" if len(session.bundle.warnings) == 1 else "were"
        rule = "Warnings are not allowed in strict mode"
        raise ClientError(f"{findings} {verb} found. {rule}")


def _findings(error: Invalid | None, warnings: int) -> str:
    """`1 error and 2 warnings`, or "" if there are none."""
    counts = ["1 error"] if error else []
    if warnings:
        counts.append("1 warning" if warnings == 1 else f"{warnings} warnings")
    return " and ".join(counts)


def _print_header(bundle: Bundle) -> None:
    """Prints name, target and workspace of the bundle, as far as it was read."""
    workspace = bundle.config.get("workspace") or {}
    if bundle.name:
        print(f"Name: {bundle.name}")
    if not bundle.target:
        return
    print(f"Target: {bundle.target}\nWorkspace:")
    paths = {"Host": workspace.get("host"), "User": bundle.user, "Path": workspace.get("root_path")}
    for label, value in paths.items():
        if value:
            print(f"  {label}: {value}")


def _print_configuration(bundle: Bundle) -> None:
    """Prints the resolved bundle as JSON."""
    show({key: value for key, value in sorted(bundle.config.items()) if value})


def summary(session: Session) -> None:
    """databricks bundle summary"""
    bundle = session.load_bundle()
    state, resources = state_of(session), bundle.config.section("resources")
    for kind, named in resources.items():
        for key, resource in named.items():
            if id_ := state.id(f"resources.{kind}.{key}"):
                resource |= {"id": id_, "url": f"{session.host}/{kind}/{id_}"}
    if session.json:
        _print_configuration(bundle)
        return
    _print_header(bundle)
    print("Resources:")
    for kind, named in sorted(resources.items()):
        print(f"  {kind.replace('_', ' ').title()}:")
        for key, resource in sorted(named.items()):
            print(f"    {key}:\n      Name: {resource.get('name', key)}")
            print(f"      URL:  {resource.get('url', '(not deployed)')}")


def plan(session: Session) -> None:
    """databricks bundle plan"""
    bundle = session.load_bundle()
    bundle.place_libraries()
    bundle.check_branch()
    planned = make_plan(session, state_of(session))
    session.workspace.record(PLAN, session.bundle.target)
    if session.json:
        show(planned)
        return
    actions = {key: entry["action"] for key, entry in planned["plan"].items()}
    changes = [
        f"{action} {key.removeprefix('resources.')}"
        for key, action in actions.items()
        if action != "skip"
    ]
    if changes:
        print(*changes, "", sep="\n")
    print("Plan: {} to add, {} to change, {} to delete, {} unchanged".format(*count(planned)))


def version(session: Session) -> None:
    """databricks --version"""
    print(f"Databricks CLI v{VERSION}")


def current_user(session: Session) -> None:
    """databricks current-user me"""
    try:
        user = session.connect()
    except Refused as refused:
        raise ClientError(f"{refused}{_advice(refused.status, session.host)}") from None
    show({"id": stable_id(user), "userName": user})


def _advice(status: int, host: str) -> str:
    """What the client adds to an answer of the workspace; nothing if there was none."""
    if not status:
        return ""
    settings, step = "", "Check your authentication credentials"
    if os.environ.get("DATABRICKS_AUTH_TYPE") == "pat":
        settings = f"Host:      {host}\nAuth type: Personal Access Token (pat)\n"
        step = "Regenerate your access token"
    if status == 403:
        step = "Verify you have the required permissions for this operation"
    return (
        f"\n\n{settings}\nNext steps:\n  - {step}"
        "\n  - Check your identity: databricks auth describe"
        "\n  - Consider setting up a profile: databricks auth login --profile <name>"
    )


def list_jobs(session: Session) -> None:
    """databricks jobs list [--name NAME] -o json"""
    name = session.options.name
    session.connect()
    show(
        [
            {"job_id": int(id_), "creator_user_name": creator, "settings": settings}
            for id_, settings, creator in session.workspace.resources.list("jobs")
            if name is None or settings["name"].lower() == name.lower()
        ]
    )


def list_pipelines(session: Session) -> None:
    """databricks pipelines list-pipelines [--filter "name LIKE 'NAME'"] -o json"""
    match = re.fullmatch(r"name LIKE '([^']*)'", session.options.filter or "name LIKE '%'")
    if not match:
        raise NotSupported("pipelines list-pipelines with another filter")
    pattern = re.escape(match[1]).replace("_", ".").replace("%", ".*")
    session.connect()
    show(
        [
            {"pipeline_id": id_, "creator_user_name": creator, "name": settings["name"]}
            for id_, settings, creator in session.workspace.resources.list("pipelines")
            if re.fullmatch(pattern, settings["name"])
        ]
    )


def list_folder(session: Session, path: str) -> None:
    """databricks workspace list PATH -o json"""
    if not session.json:
        raise NotSupported("workspace list without -o json")
    folder = _existing(session, path)
    entries = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    show([session.workspace.files.status(entry) for entry in entries])


def get_status(session: Session, path: str) -> None:
    """databricks workspace get-status PATH"""
    file = _existing(session, path)
    show(session.workspace.files.status(file))


def export(session: Session, path: str) -> None:
    """databricks workspace export PATH"""
    file = _existing(session, path)
    if file.is_dir():
        raise NotSupported("workspace export of a directory")
    sys.stdout.write(file.read_text(encoding="utf-8"))


def export_dir(session: Session, source: str, target: str) -> None:
    """databricks workspace export-dir SOURCE TARGET --overwrite"""
    if not session.options.overwrite:
        raise NotSupported("workspace export-dir without --overwrite")
    session.connect()
    print(f"Exporting files from {source}")
    files = session.workspace.files
    folder = files.locate(source)
    if not folder.is_dir():
        raise ClientError(f"file does not exist: {source}")
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        copy = Path(target, file.relative_to(folder))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        print(f"{files.status(file)['path']} -> {copy}")
    print("Export complete")


def delete(session: Session, path: str) -> None:
    """databricks workspace delete PATH [--recursive]"""
    file = _existing(session, path)
    if not file.is_dir():
        file.unlink()
    elif session.options.recursive or not any(file.iterdir()):
        shutil.rmtree(file)
    else:
        raise ClientError(f"Folder ({path}) is not empty")
    session.workspace.record(DELETE, path)


def _existing(session: Session, path: str) -> Path:
    """Signs in; returns where a path of the workspace is kept. Raises ClientError if it is gone."""
    session.connect()
    return session.workspace.files.existing(path)

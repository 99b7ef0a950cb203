"""The commands without a bundle: who is signed in, and the workspace's files."""

import os
import shutil
import sys
from pathlib import Path

from rehearsal.databricks.bundle import VERSION
from rehearsal.databricks.client.session import Session, show
from rehearsal.databricks.errors import ClientError, NotSupported, Refused
from rehearsal.databricks.workspace.storage import stable_id


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
    session.workspace.record("workspace delete", path)


def _existing(session: Session, path: str) -> Path:
    """Signs in; returns where a path of the workspace is kept. Raises ClientError if it is gone."""
    session.connect()
    return session.workspace.files.existing(path)

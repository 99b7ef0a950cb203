"""The API's files, notebooks and folders. docs.databricks.com/api/workspace/workspace"""

import base64
import shutil
from pathlib import Path

from rehearsal.databricks.api.protocol import ApiError, Reply, Request, Routes, missing
from rehearsal.databricks.calls import DELETE
from rehearsal.databricks.errors import ClientError
from rehearsal.databricks.workspace import Workspace


def existing(workspace: Workspace, path: str) -> Path:
    """Where an existing path is kept. Raises ApiError."""
    try:
        return workspace.files.existing(path)
    except ClientError as error:
        raise missing(str(error)) from None


def place(workspace: Workspace, path: str) -> Path:
    """Where a path is kept, whether or not it exists. Raises ApiError."""
    try:
        return workspace.files.locate(path)
    except ClientError as error:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", str(error)) from None


def get_status(workspace: Workspace, request: Request) -> Reply:
    """Describes a file, a notebook or a folder."""
    return workspace.files.status(existing(workspace, request.query["path"]))


def list_folder(workspace: Workspace, request: Request) -> Reply:
    """Lists a folder; a file lists itself."""
    folder = existing(workspace, request.query["path"])
    entries = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    return {"objects": [workspace.files.status(entry) for entry in entries]}


def make_folder(workspace: Workspace, request: Request) -> Reply:
    """Makes a folder and those above it."""
    path = request.json["path"]
    try:
        place(workspace, path).mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.") from None
    return {}


def export(workspace: Workspace, request: Request) -> Reply:
    """Answers with a file's content: as it is, or in base64."""
    file = existing(workspace, request.query["path"])
    if file.is_dir():
        raise ApiError(400, "BAD_REQUEST", f"{request.query['path']} is a folder")
    content = file.read_bytes()
    if request.query.get("direct_download") == "true":
        return content
    return {"content": base64.b64encode(content).decode(), "file_type": file.suffix[1:]}


def import_file(workspace: Workspace, request: Request) -> Reply:
    """Writes a file; a Python file that begins as a notebook becomes one."""
    path = f"/{request.fields['path']}"
    write(workspace, path, request.body, request.query.get("overwrite") == "true")
    return {}


def import_object(workspace: Workspace, request: Request) -> Reply:
    """Writes a file, or a notebook in source format."""
    asked = request.json
    content = base64.b64decode(asked.get("content", ""))
    write(workspace, asked["path"], content, bool(asked.get("overwrite")))
    return {}


def write(workspace: Workspace, path: str, content: bytes, overwrite: bool) -> None:
    """Writes a file into a folder that must be there. Raises ApiError."""
    file = place(workspace, path)
    if not file.parent.is_dir():
        raise missing(f"The parent folder ({file.parent.name}) does not exist.")
    if file.exists() and not overwrite:
        raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.")
    file.write_bytes(content)


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a file, or a folder with all that is in it if it is asked to."""
    asked = request.json
    file = existing(workspace, asked["path"])
    if not file.is_dir():
        file.unlink()
    elif asked.get("recursive") or not any(file.iterdir()):
        shutil.rmtree(file)
    else:
        message = f"Folder ({asked['path']}) is not empty"
        raise ApiError(400, "DIRECTORY_NOT_EMPTY", message)
    if request.note.command == DELETE:
        workspace.record(DELETE, asked["path"])
    return {}


ROUTES: Routes = {
    "GET /api/2.0/workspace/get-status": get_status,
    "GET /api/2.0/workspace/list": list_folder,
    "GET /api/2.0/workspace/export": export,
    "POST /api/2.0/workspace/mkdirs": make_folder,
    "POST /api/2.0/workspace/import": import_object,
    "POST /api/2.0/workspace/delete": delete,
    "POST /api/2.0/workspace-files/import-file/{path*}": import_file,
}

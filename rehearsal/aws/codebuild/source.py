"""A build's sources: artifacts in S3, or a clone of the repository."""

import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import yaml

from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.model import PhaseError
from rehearsal.aws.errors import Unsupported

Buildspec = dict[str, Any]
KEYS = {"version", "env", "phases", "reports", "artifacts", "cache"}


def download(context: Context) -> None:
    """Puts the sources into the build's folder. Raises PhaseError and ClientError."""
    kind = context.project["Source"]["Type"]
    if kind not in ("CODEPIPELINE", "CODECOMMIT", "NO_SOURCE"):
        raise Unsupported(f"the rehearsal does not know the source {kind}")
    if kind == "CODECOMMIT":
        clone(context)
    unpack_inputs(context)


def unpack_inputs(context: Context) -> None:
    """Downloads and unpacks the input artifacts, with the build's role."""
    s3, folder = context.client("s3"), context.folder
    for position, (name, location) in enumerate(context.request.inputs.items()):
        body = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        if position == 0:
            unpack(body, folder.source)
        else:
            target = folder.root / f"src-{name}"
            context.variables[f"CODEBUILD_SRC_DIR_{name}"] = str(target)
            unpack(body, target)


def unpack(content: bytes, target: Path) -> None:
    """Unpacks a zip, with the modes of its files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, target))
            if mode := entry.external_attr >> 16 & 0o777:
                path.chmod(mode)


def clone(context: Context) -> None:
    """Clones the repository at the commit or branch that is asked for, with the build's role."""
    account, source = context.account, context.folder.source
    location = context.project["Source"]["Location"]
    repository = account.stack.logical("CodeCommit::Repository", location)
    account.authorizer.require(
        context.build.role, "codecommit:GitPull", account.stack.arn(repository)
    )
    version = context.request.version or context.project.get("SourceVersion") or "HEAD"
    # A whole clone, not a hard-linked one: the build may write into its .git.
    commands = (
        ["clone", "--quiet", "--no-local", "--no-checkout", str(account.codecommit.folder), "."],
        ["checkout", "--quiet", version, "--"],
        # What the build itself pulls or pushes needs AWS's address, and a credential.
        ["remote", "set-url", "origin", location],
    )
    for command in commands:
        git(source, version, *command)
    context.variables |= {
        "CODEBUILD_RESOLVED_SOURCE_VERSION": git(source, version, "rev-parse", "HEAD").strip(),
        "CODEBUILD_SOURCE_REPO_URL": location,
        "CODEBUILD_SOURCE_VERSION": version,
    }


def git(folder: Path, version: str, *arguments: str) -> str:
    """What git prints in a folder. Raises PhaseError as CodeBuild words it."""
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise PhaseError(f"CLIENT_ERROR: {result.stderr.strip()} for source version {version}")
    return result.stdout


def read_buildspec(context: Context) -> Buildspec:
    """The buildspec that the project names, or holds itself. Raises PhaseError."""
    default = context.project["Source"].get("BuildSpec", "buildspec.yml")
    name = text = context.request.buildspec or default
    if "\n" not in name:
        path = context.folder.source / name
        if not path.is_file():
            raise PhaseError(f"YAML_FILE_ERROR: {name}: no such file in the source")
        text = path.read_text(encoding="utf-8")
    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PhaseError(f"YAML_FILE_ERROR: {name}: {' '.join(str(error).split())}") from None
    if not isinstance(spec, dict) or str(spec.get("version")) != "0.2":
        raise PhaseError(f"YAML_FILE_ERROR: {name}: the rehearsal knows version 0.2")
    unknown = sorted(set(spec) - KEYS)
    if unknown or not spec.get("phases"):
        raise PhaseError(f"YAML_FILE_ERROR: {name}: no phases, or unknown keys: {unknown}")
    return spec

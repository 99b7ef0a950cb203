"""A build's output artifacts: zips of the files that the buildspec names."""

import glob
import io
import zipfile
from pathlib import Path
from typing import Any

from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.model import PhaseError
from rehearsal.aws.codebuild.source import Buildspec


def upload(context: Context, spec: Buildspec) -> None:
    """Uploads the output artifacts, with the build's role. Raises PhaseError and ClientError."""
    outputs = context.request.outputs
    if not outputs:
        return
    section = spec.get("artifacts")
    if not section:
        raise PhaseError("the action has output artifacts, but the buildspec has no artifacts")
    secondary = section.get("secondary-artifacts", {})
    s3 = context.client("s3")
    for name, location in outputs.items():
        content = pack(context.folder.source, secondary.get(name, section))
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=content)
        context.build.artifacts[name] = location.key


def pack(source: Path, section: dict[str, Any]) -> bytes:
    """A zip of the files that an artifacts section names."""
    base = source / section.get("base-directory", ".")
    names = files(base, section["files"]) - files(base, section.get("exclude-paths", []))
    if not names:
        raise PhaseError(f"CLIENT_ERROR: no matching artifact paths found: {section['files']}")
    flat = str(section.get("discard-paths", "no")).lower() in ("yes", "true")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(names):
            archive.write(base / name, Path(name).name if flat else name)
    return content.getvalue()


def files(base: Path, patterns: list[str]) -> set[str]:
    """The files that match one of the patterns."""
    matches = (
        name
        for pattern in patterns
        for name in glob.glob(pattern, root_dir=base, recursive=True, include_hidden=True)
    )
    return {name for name in matches if (base / name).is_file()}

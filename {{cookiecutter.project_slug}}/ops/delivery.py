"""cicd/ as an administrator deploys it: builds with production's credential run nothing else."""

import hashlib
import io
import os
import stat
import subprocess
import zipfile
from pathlib import Path

from botocore.exceptions import ClientError

from ops import ROOT, Stop
from ops.aws import Stack

FOLDER, KEY = "cicd", "cicd.zip"  # the key also stands in cicd/stack.yml
DIGEST = "sha256"  # of the archive, in the object's metadata


def listed_by_git(root: Path) -> str:
    """The files of cicd/ that git has or would take, each with a NUL. Raises Stop without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", FOLDER]
    try:
        result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        raise Stop("git is missing") from None
    if result.returncode:
        raise Stop(f"git cannot list the files of {FOLDER}/: {result.stderr.strip()}")
    return result.stdout


def names(root: Path) -> list[str]:
    """The files of cicd/ that git would commit; without git, all but compiled Python."""
    if (root / ".git").exists():
        found = filter(None, listed_by_git(root).split("\0"))
        return sorted(name for name in found if os.path.lexists(root / name))  # not yet deleted
    paths = [
        path.relative_to(root)
        for path in (root / FOLDER).rglob("*")
        if path.is_symlink() or not path.is_dir()
    ]
    return sorted(path.as_posix() for path in paths if "__pycache__" not in path.parts)


def uncommitted(root: Path = ROOT) -> bool:
    """Whether git has a commit, and cicd/ differs from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    if not (root / ".git").exists() or git("rev-parse", "HEAD").returncode:
        return False
    return bool(git("status", "--porcelain", FOLDER).stdout.strip())


def archive(root: Path = ROOT) -> bytes:
    """A zip of cicd/, the same bytes for the same files. Raises Stop for what is no plain file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names(root):
            path = root / name
            if not stat.S_ISREG(path.lstat().st_mode):
                raise Stop(f"{name} is no plain file; replace it by one, or remove it")
            packed.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def digest_of(body: bytes) -> str:
    """What tells one cicd.zip from another."""
    return hashlib.sha256(body).hexdigest()


def deployed_digest(stack: Stack) -> str:
    """The digest of the cicd.zip that the pipeline takes, or "" if there is none yet."""
    try:
        head = stack.client("s3").head_object(Bucket=stack.output("CicdBucketName"), Key=KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
        return ""
    return str(head["Metadata"].get(DIGEST, ""))


def upload(stack: Stack) -> None:
    """Uploads cicd/ to the bucket that the pipeline takes it from; says whether it is new."""
    body = archive()
    digest = digest_of(body)
    if uncommitted():
        print("warning: cicd/ has uncommitted changes. The plan stops at a commit without them.")
    if deployed_digest(stack) == digest:
        print("cicd/ is deployed already.")
        return
    bucket = stack.output("CicdBucketName")
    stack.client("s3").put_object(Bucket=bucket, Key=KEY, Body=body, Metadata={DIGEST: digest})
    print("cicd/ is deployed: the next execution of the pipeline runs it.")

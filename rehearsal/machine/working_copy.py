"""A working copy of the repository that is rehearsed, as one person has it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rehearsal.machine.caches import UV, cache_variables, shared_bytecode
from rehearsal.machine.process import group

IGNORED = {".git", ".venv", "dist", "__pycache__", ".databricks"}
# Without compression: of a large file that is most of the time.
SETTINGS = {"commit.gpgsign": "false", "core.compression": "0", "core.bigFileThreshold": "1m"}
SETTINGS |= {"user.name": "Ada", "user.email": "ada@example.com"}
PERSON = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
# Variables of this process that would mislead a repository's own `make`.
FOREIGN = ("AWS_", "DATABRICKS_", "MAKE", "MFLAGS", "VIRTUAL_ENV")


class WorkingCopy:
    """The repository in `folder`, its remote, and the environment of the person who works in it."""

    def __init__(self, folder: Path, remote: Path) -> None:
        self.folder, self.remote = folder, remote
        self.environment = person_environment(folder, remote.parent)

    def init(self) -> None:
        """Makes both repositories, without a commit."""
        subprocess.run(["git", "init", "--quiet", "--bare", self.remote], check=True)
        self.git("init", "--quiet")

    def set_default_branch(self, branch: str) -> None:
        """Sets the default branch, here and in the remote: in CodeCommit the first one pushed."""
        head = ["symbolic-ref", "HEAD", f"refs/heads/{branch}"]
        self.git(*head)
        subprocess.run(["git", "--git-dir", self.remote, *head], check=True)

    def git(self, *arguments: str) -> str:
        """What git prints in the folder. Raises CalledProcessError."""
        command = ["git", *PERSON, *arguments]
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout

    def push(self, branch: str) -> None:
        """Commits what the folder holds, and pushes it to a branch of the remote."""
        self.git("add", "--all")
        if self.git("status", "--porcelain"):
            self.git("commit", "--quiet", "--message", "Rehearsal")
        self.git("push", "--quiet", str(self.remote), f"HEAD:refs/heads/{branch}")

    @contextlib.contextmanager
    def locking(self) -> Iterator[subprocess.Popen[bytes]]:
        """Begins what the first `make` does: it locks packages and installs what operators need.

        Where that fails, the first `make` says why.
        """
        with group(
            [UV, "sync", "--quiet", "--only-group", "ops"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            yield process


def person_environment(folder: Path, home: Path) -> dict[str, str]:
    """The environment in which a person works with a repository."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    variables |= cache_variables() | shared_bytecode(home, project=folder / ".venv")
    variables["TMPDIR"] = str(home)  # uv leaves its locks in there
    variables["PATH"] = f"{Path(sys.prefix, 'bin')}{os.pathsep}{variables.get('PATH', os.defpath)}"
    return variables


def copy_repository(path: Path, target: Path) -> None:
    """Copies what git would commit of a repository, uncommitted changes included.

    Of links, the files that they lead to: not what is missing, nor folders.
    """
    for name in committable(path):
        if (path / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path / name, target / name)


def committable(path: Path) -> list[str]:
    """The files that git would commit; where the folder is no repository of its own, nearly all."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (path / ".git").exists():
        listed = subprocess.run(command, cwd=path, capture_output=True)
        if listed.returncode == 0:
            return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return list(files(path))


def files(path: Path) -> Iterator[str]:
    """All files in a folder but what is never committed."""
    for folder, folders, names in os.walk(path):
        folders[:] = set(folders) - IGNORED
        yield from (
            os.path.relpath(os.path.join(folder, name), path) for name in set(names) - IGNORED
        )

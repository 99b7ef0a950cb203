"""A working copy of the repository that is rehearsed, as one person has it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rehearsal.machine.caches import UV, cache_variables, shared_bytecode

IGNORED = shutil.ignore_patterns(".git", ".venv", "dist", "__pycache__", ".databricks")
PERSON = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
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
        with subprocess.Popen(
            [UV, "sync", "--quiet", "--only-group", "ops"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def person_environment(folder: Path, home: Path) -> dict[str, str]:
    """The environment in which a person works with a repository."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    variables |= cache_variables() | shared_bytecode(home, project=folder / ".venv")
    variables["PATH"] = f"{Path(sys.prefix, 'bin')}{os.pathsep}{variables['PATH']}"
    return variables


def copy_repository(path: Path, target: Path) -> None:
    """Copies what git would commit of a repository, uncommitted changes included."""
    names = committable(path)
    if names is None:
        shutil.copytree(path, target, ignore=IGNORED)
        return
    for name in names:
        if (path / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path / name, target / name)


def committable(path: Path) -> list[str] | None:
    """The files that git would commit; None where the folder is no repository of its own."""
    if not (path / ".git").exists():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=path, capture_output=True, text=True)
    if listed.returncode:
        return None
    return [name for name in listed.stdout.split("\0") if name]

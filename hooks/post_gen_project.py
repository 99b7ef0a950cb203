"""Removes unneeded files, checks the repository, prints the next commands. Works offline."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ANSWERS: dict[str, Any] = json.loads({{cookiecutter | jsonify | jsonify}})  # type: ignore[name-defined, arg-type]
NAME, BRANCH, AUTH = ANSWERS["project_slug"], ANSWERS["branch"], ANSWERS["auth"]

# A file is kept only if its condition is true.
OPTIONAL = {
    "cicd/steps/mint_token.sh": AUTH == "aws-iam",
    "ops/secrets.py": AUTH != "aws-iam",
}
# Written once for each way to sign in: x.py for pat, x_oauth_m2m.py, x_aws_iam.py. The answer's
# file gets the plain name, the others go.
BY_AUTH: tuple[str, ...] = ("cicd/steps/sign_in.py", "ops/credentials.py")
SUFFIX = {"pat": "", "oauth-m2m": "_oauth_m2m", "aws-iam": "_aws_iam"}

# -B: no __pycache__ in the new repository.
CHECK = [sys.executable, "-B", "-m", "ops", "check"]
WITH_LIBRARIES = "uvx --with cfn-lint --with databricks-bundles cookiecutter gh:org/dabs-aws-cicd"


class Start(NamedTuple):
    """The state of git, and the commands that come next."""

    git: str
    commands: list[str]


def prune() -> None:
    """Deletes the optional files whose condition is false."""
    for path, stays in OPTIONAL.items():
        if not stays:
            Path(path).unlink()


def choose() -> None:
    """Keeps the answer's version of each file that differs by authentication."""
    for name in BY_AUTH:
        plain = Path(name)
        versions = {auth: plain.with_stem(plain.stem + suffix) for auth, suffix in SUFFIX.items()}
        versions.pop(AUTH).replace(plain)
        for version in versions.values():
            if version != plain:
                version.unlink()


def check() -> list[str]:
    """Runs the repository's own check; exits if it fails. Returns what could not be checked."""
    # With that variable Python would not look for modules in the new repository.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    result = subprocess.run(CHECK, env=env, capture_output=True, text=True)
    if result.returncode:
        print("The rendered repository does not pass its own check:\n", file=sys.stderr)
        print(result.stdout + result.stderr, file=sys.stderr)
        sys.exit(1)
    return [line for line in result.stdout.splitlines() if line.startswith("not checked:")]


def first_deployment() -> list[str]:
    """The commands from here to the first deployment."""
    sign_in = "less docs/security.md" if AUTH == "aws-iam" else "make secrets"
    push = "git add --all && git commit --message Start && make push"
    return [f"cd {NAME}", "make stack", sign_in, push]


def move_out_of(top: Path) -> list[str]:
    """The commands that move the new repository beside the one around it."""
    target = top.with_name(NAME)
    if target.exists():
        target = top.with_name(f"{top.name}-{NAME}")
    old, new = shlex.quote(str(Path.cwd())), shlex.quote(str(target))
    return [f"mv {old} {new}", f"cd {new}", f"git init -b {BRANCH}", "less README.md"]


def start_git() -> Start:
    """Makes a git repository on the pipeline's branch, unless one is around this folder."""
    if not shutil.which("git"):
        by_hand = f"git is not installed: install it, then run git init -b {BRANCH} here"
        return Start(by_hand, first_deployment())
    around = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True)
    if around.returncode == 0:  # a push from here would push that repository
        top = Path(around.stdout.strip())
        return Start("inside another git repository: move it out", move_out_of(top))
    # `git init -b` would need git 2.28.
    for command in (["init", "--quiet"], ["symbolic-ref", "HEAD", f"refs/heads/{BRANCH}"]):
        result = subprocess.run(["git", *command], capture_output=True, text=True)
        if result.returncode:
            reason = result.stderr.strip()
            by_hand = f"git failed ({reason}): run git init -b {BRANCH} here"
            return Start(by_hand, first_deployment())
    return Start(f"a git repository on the branch {BRANCH}", first_deployment())


def main() -> None:
    """Every step, in order."""
    prune()
    choose()
    not_checked = check()
    git, commands = start_git()
    checked = "partly checked" if not_checked else "checked"
    print(f"\n{NAME}: rendered and {checked}; {git}.")
    if not_checked:
        print("\n".join(["", *not_checked, f"To check everything: {WITH_LIBRARIES}"]))
    print("\nNext:", *commands, sep="\n  ", end="\n\n")


if __name__ == "__main__":
    main()

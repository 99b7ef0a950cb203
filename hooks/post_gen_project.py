"""Prunes what the answers rule out, proves what is left, says what to do next. Works offline."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ANSWERS = json.loads({{ cookiecutter | jsonify | jsonify }})

# What stays only where the answers want it.
OPTIONAL = {
    "cicd/steps/mint_token.sh": ANSWERS["auth"] == "aws-iam",
    "ops/put_secret.py": ANSWERS["auth"] != "aws-iam",
}
# Written once for each way to sign in: the answer's file gets the plain name, the others go.
BY_AUTH: tuple[str, ...] = ()
SUFFIX = {"pat": "", "oauth-m2m": "_oauth_m2m", "aws-iam": "_aws_iam"}
GET_EVERYTHING = (
    "uvx --with cfn-lint --with databricks-bundles cookiecutter gh:org/dabs-aws-cicd"
)


def prune() -> None:
    """Deletes the optional files that are not wanted."""
    for path, wanted in OPTIONAL.items():
        if not wanted:
            Path(path).unlink()


def choose() -> None:
    """Keeps of each file that differs by authentication the one that the answer wants."""
    for name in BY_AUTH:
        plain = Path(name)
        variants = {auth: plain.with_stem(plain.stem + SUFFIX[auth]) for auth in SUFFIX}
        variants[ANSWERS["auth"]].replace(plain)
        for path in variants.values():
            if path != plain:
                path.unlink(missing_ok=True)


def prove() -> list[str]:
    """Runs the repository's own check; exits where it finds anything. Returns what it left out."""
    # -B: no __pycache__ in the new repository
    check = [sys.executable, "-B", "-m", "ops", "check"]
    result = subprocess.run(check, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    if result.returncode:
        print("The rendered repository does not pass its own check:\n", file=sys.stderr)
        print(result.stdout + result.stderr, file=sys.stderr)
        sys.exit(1)
    return [line for line in lines if line.startswith("not checked:")]


def start_git() -> tuple[str, list[str]]:
    """Makes a git repository on the pipeline's branch; says so, and which commands come next."""
    name, init = ANSWERS["project_slug"], f"git init -b {ANSWERS['branch']}"
    sign_in = "make secrets" if ANSWERS["auth"] != "aws-iam" else "less docs/security.md"
    push = "git add --all && git commit --message Start && make push"
    steps = [f"cd {name}", "make stack", sign_in, push]
    if not shutil.which("git"):
        return f"git is not installed: install it, then run {init} here", steps
    inside = ["git", "rev-parse", "--show-toplevel"]
    around = subprocess.run(inside, capture_output=True, text=True)
    if around.returncode == 0:  # a push from here would be that repository's
        top = Path(around.stdout.strip())
        free = top.with_name(name)
        new = shlex.quote(str(top.with_name(f"{top.name}-{name}") if free.exists() else free))
        steps = [f"mv {shlex.quote(str(Path.cwd()))} {new}", f"cd {new}", init, "less README.md"]
        return "inside a git repository already: none was made, move it out", steps
    subprocess.run(["git", "init", "--quiet"], check=True)
    # `git init -b` would need git 2.28.
    head = ["git", "symbolic-ref", "HEAD", f"refs/heads/{ANSWERS['branch']}"]
    subprocess.run(head, check=True)
    return f"a git repository on the branch {ANSWERS['branch']}", steps


def main() -> None:
    """Every step, in order."""
    prune()
    choose()
    left_out = prove()
    git, steps = start_git()
    checked = "partly checked" if left_out else "checked"
    print(f"\n{ANSWERS['project_slug']}: rendered and {checked}; {git}.")
    if left_out:
        print("\n".join(["", *left_out, f"To check everything: {GET_EVERYTHING}"]))
    print("\nNext:", *steps, sep="\n  ", end="\n\n")


if __name__ == "__main__":
    main()

"""Prunes what the answers rule out, proves what is left, and says what to do next. Works offline."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ANSWERS = json.loads({{ cookiecutter | jsonify | jsonify }})

# What stays only where the answers want it.
OPTIONAL = {
    "cicd/mint_token.sh": ANSWERS["auth"] == "aws-iam",
    "tools/put_secret.py": ANSWERS["auth"] != "aws-iam",
}
GET_EVERYTHING = (
    "uvx --with cfn-lint --with databricks-bundles cookiecutter gh:org/dabs-aws-cicd"
)


def prune() -> None:
    """Deletes the optional files that are not wanted."""
    for path, wanted in OPTIONAL.items():
        if not wanted:
            Path(path).unlink()


def prove() -> list[str]:
    """Runs the repository's own check; exits where it finds anything. Returns what it left out."""
    # -B: no __pycache__ in the new repository
    check = [sys.executable, "-B", "tools/check.py"]
    result = subprocess.run(check, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    if result.returncode:
        print("The rendered repository does not pass its own check:\n", file=sys.stderr)
        print(result.stdout + result.stderr, file=sys.stderr)
        sys.exit(1)
    return [line for line in lines if line.startswith("not checked:")]


def start_git() -> str:
    """Makes a git repository on the pipeline's branch; returns what there is to say about it."""
    if not shutil.which("git"):
        return "git is not installed: install it, then run git init here"
    inside = ["git", "rev-parse", "--is-inside-work-tree"]
    if subprocess.run(inside, capture_output=True).returncode == 0:
        return "inside a git repository already: none was made"
    subprocess.run(["git", "init", "--quiet"], check=True)
    # `git init -b` would need git 2.28.
    head = ["git", "symbolic-ref", "HEAD", f"refs/heads/{ANSWERS['branch']}"]
    subprocess.run(head, check=True)
    return f"a git repository on the branch {ANSWERS['branch']}"


def main() -> None:
    """Every step, in order."""
    prune()
    left_out = prove()
    git = start_git()
    sign_in = "make secrets" if ANSWERS["auth"] != "aws-iam" else "open docs/security.md"
    print(f"\n{ANSWERS['project_slug']}: rendered and {'partly ' if left_out else ''}checked; {git}.")
    if left_out:
        print("\n".join(["", *left_out, f"To check everything: {GET_EVERYTHING}"]))
    print(f"""
Next:
  cd {ANSWERS["project_slug"]}
  make stack
  {sign_in}
  git add --all && git commit --message Start && make push
""")


if __name__ == "__main__":
    main()

"""Prints who wrote a commit, for the approval, as a command for a shell.

Usage: python author.py REPOSITORY COMMIT

Whoever commits chooses this name. It is quoted and cut, so that it cannot be taken for another
sentence of the approval.
"""

import argparse
import json
import shlex
import sys
import unicodedata

from release import Refused, aws

LONGEST = 60  # characters
BRACES = str.maketrans({"{": "(", "}": ")", "#": " ", "`": "'", '"': "'", "\\": "/"})


def quoted(name: str) -> str:
    """Returns a name in double quotes: one line, none of its own quotes, not long."""
    # Wide and other variants of a character become the usual one; so does a wide quote.
    visible = unicodedata.normalize("NFKC", name)
    letters = [
        "'" if unicodedata.category(letter) in ("Pi", "Pf") else letter
        for letter in visible
        if letter.isprintable() or letter.isspace()
    ]
    text = " ".join("".join(letters).translate(BRACES).split())
    return f'"{text[:LONGEST]}{"..." if len(text) > LONGEST else ""}"'


def author(repository: str, commit: str) -> str:
    """Returns the name of a commit's author. Raises Refused."""
    call = ("codecommit", "get-commit", "--repository-name", repository, "--commit-id", commit)
    return str(json.loads(aws(*call, "--query", "commit.author.name")) or "unknown")


def main() -> None:
    """Prints the command."""
    parser = argparse.ArgumentParser(description="Says who wrote a commit.")
    parser.add_argument("repository")
    parser.add_argument("commit")
    options = parser.parse_args()
    try:
        name = author(options.repository, options.commit)
    except Refused as refused:
        sys.exit(f"author.py: {refused}")
    print(f"export COMMIT_AUTHOR={shlex.quote(quoted(name))}")


if __name__ == "__main__":
    main()

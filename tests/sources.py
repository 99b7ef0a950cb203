"""Which file of the template each rendered file comes from."""

import re
import subprocess
from pathlib import Path

from conftest import ROOT, TEMPLATE

# What only some answers to `auth` render.
ONLY_FOR = {
    "ops/put_secret.py": {"pat", "oauth-m2m"},
    "cicd/steps/mint_token.sh": {"aws-iam"},
}
# A file x.py may have versions for the other ways to sign in; one is rendered, as x.py.
VERSION = {"pat": "", "oauth-m2m": "_oauth_m2m", "aws-iam": "_aws_iam"}


def template_files() -> list[Path]:
    """What git knows or would take: no cache, no editor's copy."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", TEMPLATE.name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = {ROOT / name for name in result.stdout.split("\0") if name}
    return sorted(path for path in paths if path.exists())


def sources(package: str, auth: str) -> dict[str, Path]:
    """The source of each file that answers render, by its path in the rendering."""
    named = {
        path.relative_to(TEMPLATE).as_posix().replace("{{cookiecutter.__pkg}}", package): path
        for path in template_files()
    }
    for name in [*named]:
        if match := re.fullmatch(r"(.*)(_oauth_m2m|_aws_iam)(\.py)", name):
            version = named.pop(name)
            if match[2] == VERSION[auth]:
                named[match[1] + match[3]] = version
    return {name: path for name, path in named.items() if auth in ONLY_FOR.get(name, VERSION)}


def has_jinja(source: Path) -> bool:
    """Whether rendering changes the file's text."""
    return re.search(r"\{[{%#]", source.read_text(encoding="utf-8")) is not None
